"""A real browser for tests: Debian's Chromium without a display, driven by Playwright, WebGL in software.

Nothing is downloaded: Playwright's own browsers are never installed. The browser may ask loopback addresses alone, and what a
page says to its console and throws is kept, so that a test can ask that nothing went wrong.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, Request, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",  # /dev/shm of a container is small
    "--disable-quic",
    "--disable-sync",
    "--enable-unsafe-swiftshader",
    "--no-first-run",
    "--no-sandbox",  # tests run as root in containers
    "--use-angle=swiftshader",
    "--use-gl=angle",
)
_LOOPBACK = frozenset({"127.0.0.1", "localhost"})


@dataclass(eq=False)
class Browsing:
    """One browser profile, new and empty.

    Attributes:
        context: Playwright's context; pages are made by :meth:`page`.
        errors: errors that pages threw or wrote to the console.
        outside: addresses beyond loopback that pages asked for; none of them was answered.
    """

    context: BrowserContext
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def page(self) -> Page:
        """A new tab whose faults are collected."""
        page = self.context.new_page()
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._on_request)
        return page

    def local_storage(self, **items: object) -> None:
        """What every page finds in its local storage, as JSON."""
        lines = "".join(
            f"localStorage.setItem({json.dumps(key)}, {json.dumps(json.dumps(value))});" for key, value in items.items()
        )
        self.context.add_init_script(f"try {{ {lines} }} catch (error) {{ /* about:blank has no storage */ }}")

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _on_request(self, request: Request) -> None:
        address = urlsplit(request.url)
        if address.scheme in {"http", "https", "ws", "wss"} and address.hostname not in _LOOPBACK:
            self.outside.append(request.url)


@contextlib.contextmanager
def browsing(playwright: Playwright, *, width: int = 1280, height: int = 800, timeout_s: float = 60.0) -> Iterator[Browsing]:
    """A browser with an empty profile, gone at the end.

    Args:
        playwright: the driver.
        width: of the window, in CSS pixels, which are device pixels here.
        height: of the window.
        timeout_s: longest wait for one condition.
    """
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(_FLAGS), chromium_sandbox=False)
    try:
        context = browser.new_context(viewport={"width": width, "height": height}, locale="en-GB", accept_downloads=True)
        context.set_default_timeout(timeout_s * 1000)
        context.route(lambda url: urlsplit(url).hostname not in _LOOPBACK, lambda route: route.abort())
        yield Browsing(context)
    finally:
        browser.close()


@contextlib.contextmanager
def driver() -> Iterator[Playwright]:
    """Playwright's driver process."""
    with sync_playwright() as playwright:
        yield playwright
