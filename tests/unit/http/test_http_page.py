"""The page loads nothing from elsewhere, sets text as text, and names only routes and elements that exist."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from learner.http.app import STATIC

PAGE = (STATIC / "index.html").read_text(encoding="utf-8")
SCRIPT = (STATIC / "page.js").read_text(encoding="utf-8")
STYLE = (STATIC / "page.css").read_text(encoding="utf-8")


class Elements(HTMLParser):
    """Identifiers, addresses and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def values(self, *names: str) -> list[str]:
        return [value for _, name, value in self.attributes if name in names]


def test_everything_that_the_page_loads_is_served(client: TestClient) -> None:
    addresses = [one for one in Elements(PAGE).values("src", "href") if not one.startswith("#")]
    assert len(addresses) >= 3
    for address in addresses:
        assert address.startswith("/static/")
        assert client.get(address).status_code == 200
    assert client.get("/").text == PAGE


@pytest.mark.parametrize("content", [PAGE, SCRIPT, STYLE, (STATIC / "icon.svg").read_text(encoding="utf-8")])
def test_no_address_leads_elsewhere(content: str) -> None:
    found = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+[^\"'\s]*", content))
    assert found <= {"http://www.w3.org/2000/svg"}
    assert "@import" not in content


def test_the_page_keeps_to_its_own_policy() -> None:
    names = [name for _, name, _ in Elements(PAGE).attributes]
    assert "style" not in names
    assert not [name for name in names if name.startswith("on")]
    assert "<style" not in PAGE
    assert not re.search(r"<script(?![^>]*\bsrc=)", PAGE)


def test_text_is_never_taken_for_markup() -> None:
    for way in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "Function(",
        "setAttribute",
        "srcdoc",
    ):
        assert way not in SCRIPT
    assert "textContent" in SCRIPT


def test_the_token_lives_no_longer_than_the_tab() -> None:
    assert "sessionStorage" in SCRIPT
    assert "localStorage" not in SCRIPT
    assert "cookie" not in SCRIPT


def test_the_script_finds_its_elements() -> None:
    identifiers = Elements(PAGE).values("id")
    assert len(identifiers) == len(set(identifiers))
    wanted = set(re.findall(r"""place\("([\w-]+)"\)""", SCRIPT))
    assert len(wanted) > 8
    assert wanted <= set(identifiers)
    assert set(Elements(PAGE).values("for", "aria-labelledby")) <= set(identifiers)


def test_the_script_asks_for_routes_that_exist(client: TestClient) -> None:
    described = client.get("/api/openapi.json").json()["paths"]
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in described]
    asked = {re.sub(r"\$\{\w+\}", "1", one).partition("?")[0] for one in re.findall(r"[\"`](/api/[^\"`]+)[\"`]", SCRIPT)}
    assert {"/api/status", "/api/rounds", "/api/rounds/1/retry", "/api/training/pause"} <= asked
    for path in asked:
        assert any(pattern.fullmatch(path) for pattern in patterns), path


def test_files_beside_the_static_folder_are_not_served(client: TestClient) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"):
        assert client.get(path).status_code == 404
