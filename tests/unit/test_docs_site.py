"""The check of the built site sees what would be loaded from outside, and the navigation is that of the page."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def check_site() -> ModuleType:
    specification = importlib.util.spec_from_file_location("check_site", DOCS / "check_site.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "loading",
    [
        '<script src="https://cdn.example.org/x.js"></script>',
        '<link rel="stylesheet" href="//cdn.example.org/x.css">',
        '<img alt="" src="http://example.org/x.png">',
        "<style>@import 'https://example.org/x.css';</style>",
        '<p style="background: url(https://example.org/x.png)">',
    ],
)
def test_what_is_loaded_from_outside_is_seen(tmp_path: Path, check_site: ModuleType, loading: str) -> None:
    (tmp_path / "page.html").write_text(f"<html>{loading}</html>")
    assert check_site.main(tmp_path) == 1


def test_style_sheets_are_read_too(tmp_path: Path, check_site: ModuleType) -> None:
    (tmp_path / "page.html").write_text("<html></html>")
    (tmp_path / "page.css").write_text("@font-face { src: url('https://fonts.example.org/x.woff2') }")
    assert check_site.main(tmp_path) == 1


def test_links_and_own_files_are_no_finding(tmp_path: Path, check_site: ModuleType) -> None:
    own = '<script src="_static/x.js"></script><a href="https://example.org">x</a><style>a { background: url(x.png) }</style>'
    (tmp_path / "page.html").write_text(f"<html>{own}</html>")
    assert check_site.main(tmp_path) == 0


def test_a_site_without_pages_is_a_finding(tmp_path: Path, check_site: ModuleType) -> None:
    assert check_site.main(tmp_path) == 1


def test_pages_use_nothing_that_only_the_generator_understands() -> None:
    directive = re.compile(r"^ *(?:```|~~~|:::) *\{|(?<![\w/])\{[a-z:]+\}`\S", re.MULTILINE)
    assert [page.name for page in DOCS.rglob("*.md") if directive.search(page.read_text("utf-8"))] == []
