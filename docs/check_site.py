"""Fails if a page of the built site would load anything from outside: ``python docs/check_site.py SITE``.

Links that a reader may follow are no concern of it; scripts, styles, images, fonts and frames are.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

_LOADS = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "link": ("href",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "use": ("href", "xlink:href"),
    "video": ("src", "poster"),
}
_OUTSIDE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
_IN_STYLE = re.compile(r"""url\(\s*["']?([^"')]+)|@import\s+["']([^"']+)""", re.IGNORECASE)


class _Page(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Addresses of attributes."""
        given = dict(attrs)
        self.loads += [value for name in _LOADS.get(tag, ()) if (value := given.get(name))]
        self.loads += of_style(given.get("style") or "")
        self._in_style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        """The end of a style."""
        self._in_style = self._in_style and tag != "style"

    def handle_data(self, data: str) -> None:
        """Addresses in a style."""
        if self._in_style:
            self.loads += of_style(data)


def of_style(text: str) -> list[str]:
    """Addresses that a style sheet loads."""
    return [one or other for one, other in _IN_STYLE.findall(text)]


def of_page(text: str) -> list[str]:
    """Addresses that an HTML page loads."""
    page = _Page()
    page.feed(text)
    return page.loads


def outside(site: Path) -> Iterator[str]:
    """What is loaded from outside, with the file that does."""
    for path in sorted(site.rglob("*")):
        if path.suffix in (".html", ".css", ".svg"):
            text = path.read_text("utf-8")
            loads = of_style(text) if path.suffix == ".css" else of_page(text)
            yield from (f"{path.relative_to(site)} loads {load}" for load in loads if _OUTSIDE.match(load))


def main(site: Path) -> int:
    """Prints what is wrong; gives the exit status."""
    pages = len(list(site.rglob("*.html")))
    found = list(outside(site))
    if pages == 0:
        found.append(f"{site} has no page")
    print("\n".join(found) if found else f"{site}: {pages} pages, nothing of them is loaded from outside")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
