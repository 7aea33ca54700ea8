"""The harness itself: a page is shown, WebGL 2 works, and what a page does wrong is known."""

from __future__ import annotations

import pytest
from browser_harness import Browsing

pytestmark = pytest.mark.browser


def test_a_page_is_shown_and_webgl_2_works(browser: Browsing) -> None:
    page = browser.page()
    page.set_content("<h1>Apprentice</h1><canvas></canvas>")
    assert page.inner_text("h1") == "Apprentice"
    assert page.evaluate("document.querySelector('canvas').getContext('webgl2').getParameter(WebGL2RenderingContext.VERSION)")
    assert browser.errors == []


def test_what_a_page_does_wrong_is_known(browser: Browsing) -> None:
    page = browser.page()
    with page.expect_event("requestfailed"):
        page.set_content(
            '<img src="http://192.0.2.1/a.png"><script>setTimeout(() => { throw new Error("on purpose") })</script>'
        )
    assert browser.outside == ["http://192.0.2.1/a.png"]
    assert any("on purpose" in error for error in browser.errors)
