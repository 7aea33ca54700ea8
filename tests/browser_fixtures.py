"""Fixtures with a real browser; a ``conftest.py`` imports them by name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_harness import CHROMIUM, Browsing, browsing, driver
from playwright.sync_api import Playwright


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    """The driver, one for all tests of a process."""
    if not CHROMIUM.exists():
        pytest.skip("Chromium absent: apt-get install --no-install-recommends chromium")
    with driver() as started:
        yield started


@pytest.fixture
def browser(playwright: Playwright) -> Iterator[Browsing]:
    """A browser with an empty profile."""
    with browsing(playwright) as started:
        yield started
