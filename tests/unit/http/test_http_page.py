"""The page loads nothing from elsewhere, sets text as text, and names only routes and elements that exist."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from learner.http.app import STATIC

PAGE = (STATIC / "index.html").read_text(encoding="utf-8")
MODULES = {path.name: path.read_text(encoding="utf-8") for path in sorted(STATIC.glob("*.js")) if "companion" not in path.name}
SCRIPT = "\n".join(MODULES.values())
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


@pytest.mark.parametrize("content", [PAGE, *MODULES.values(), STYLE, (STATIC / "icon.svg").read_text(encoding="utf-8")])
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
        "srcdoc",
    ):
        assert way not in SCRIPT
    assert "textContent" in SCRIPT
    assert [name for name, text in MODULES.items() if "setAttribute" in text] == ["dom.js"]


def test_attributes_are_set_by_name_from_a_list_without_code_or_addresses() -> None:
    lists = re.findall(r"new Set\(\[(.*?)\]\)", MODULES["dom.js"], re.DOTALL)
    names = {name for one in lists for name in re.findall(r'"([\w-]+)"', one)}
    assert {"class", "role", "viewBox"} <= names
    assert not [name for name in names if name.startswith("on") or name in {"href", "src", "style", "action", "formaction"}]


def test_modules_are_small_and_every_one_is_announced_in_the_page() -> None:
    assert all(text.count("\n") < 300 for text in MODULES.values())
    announced = {one.removeprefix("/static/") for one in Elements(PAGE).values("src", "href") if one.endswith(".js")}
    assert announced == set(MODULES)
    imported = set(re.findall(r'from "\./([\w.]+)"', SCRIPT))
    assert imported == set(MODULES) - {"page.js"}


def test_the_token_lives_no_longer_than_the_tab() -> None:
    assert "sessionStorage" in SCRIPT
    assert [name for name, text in MODULES.items() if "localStorage" in text] == ["theme.js"], "colours, nothing else"
    assert "document.cookie" not in SCRIPT


def test_the_script_finds_its_elements() -> None:
    identifiers = Elements(PAGE).values("id")
    assert len(identifiers) == len(set(identifiers))
    wanted = set(re.findall(r"""\bplace\("([\w-]+)"\)""", SCRIPT))
    assert len(wanted) > 8
    assert wanted <= set(identifiers)
    assert set(Elements(PAGE).values("for", "aria-labelledby")) <= set(identifiers)


def test_the_script_asks_for_routes_that_exist(client: TestClient) -> None:
    described = client.get("/api/openapi.json").json()["paths"]
    patterns = [re.compile(re.sub(r"\{\w+\}", "[^/]+", path)) for path in described]
    texts = re.findall(r"[\"`](/api/[^\"`]+)[\"`]", SCRIPT)
    asked = {re.sub(r"\$\{[^{}]*\}", "1", one).partition("?")[0] for one in texts}
    asked = {re.sub(r"^/api/models/1/1$", "/api/models/1/memory", one) for one in asked}
    assert {"/api/status", "/api/overview/cases", "/api/changes", "/api/training/pause", "/api/rounds/1/retry"} <= asked
    for path in asked:
        assert any(pattern.fullmatch(path) for pattern in patterns), path


def test_files_beside_the_static_folder_are_not_served(client: TestClient) -> None:
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static/"):
        assert client.get(path).status_code == 404
