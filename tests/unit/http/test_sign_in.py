"""Signing in with a browser, without a script: page, cookie, forged requests, guessing, and how sessions end."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from learner.domain.case import RoundEvent
from learner.domain.user import Role
from learner.http.sign_in import safe_address
from learner.node import Node
from learner.operations import training_paused
from learner.storage.store import LocalStore

MakeClient = Callable[..., TestClient]
PASSWORD = "twelve green apples"
BASE = "http://127.0.0.1:8075"
HTML = {"Accept": "text/html,application/xhtml+xml"}
pytestmark = pytest.mark.usefixtures("people")


def sign_in(client: TestClient, name: str = "reader", password: str = PASSWORD, back: str = "/", **headers: str) -> object:
    form = {"name": name, "password": password, "next": back}
    return client.post("/sign-in", data=form, headers={"Origin": str(client.base_url), **headers}, follow_redirects=False)


@pytest.fixture
def browser(make_client: MakeClient) -> TestClient:
    return make_client(base_url=BASE)


class Fields(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: dict[str, dict[str, str]] = {}
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "input":
            given = {name: value or "" for name, value in attrs}
            self.found[given["name"]] = given


@pytest.mark.parametrize("path", ["/", "/ohif/viewer?StudyInstanceUIDs=1.2&x=%2F", "/nothing"])
def test_who_opens_a_page_signs_in_and_comes_back(browser: TestClient, path: str) -> None:
    sent = browser.get(path, headers=HTML, follow_redirects=False)
    assert sent.status_code == 303
    page = browser.get(sent.headers["location"], headers=HTML)
    fields = Fields(page.text)
    assert (page.status_code, fields.found["password"]["type"]) == (200, "password")
    assert fields.found["next"]["value"] == path
    answer = sign_in(browser, back=fields.found["next"]["value"])
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert browser.get("/api/me").json() == {"name": "reader", "role": "reader", "is_person": True}
    assert browser.get("/", headers=HTML, follow_redirects=False).status_code == 200


def test_the_page_needs_no_script_and_keeps_to_its_policy(browser: TestClient) -> None:
    page = browser.get("/sign-in")
    assert "script" not in Fields(page.text).tags
    assert " style=" not in page.text
    assert "form-action 'self'" in page.headers["content-security-policy"]
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["referrer-policy"] == "same-origin"
    assert page.headers["cache-control"] == "no-store"
    for address in re.findall(r'href="(/static/[^"]+)"', page.text):
        assert browser.get(address).status_code == 200


@pytest.mark.parametrize("path", ["/api/status", "/dicom-web/studies", "/metrics"])
def test_who_asks_the_api_is_told_and_not_sent_to_a_page(browser: TestClient, path: str) -> None:
    answer = browser.get(path, headers=HTML, follow_redirects=False)
    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


ELSEWHERE = ["//elsewhere.example", "https://elsewhere.example/", "/\\elsewhere", "\\\\elsewhere", "javascript:alert(1)"]
NO_PATHS = [
    "ohif",
    "/\t/elsewhere.example",
    "/\n//elsewhere",
    "http:elsewhere",
    "/sign-in?next=/",
    "",
    "/" + 5000 * "a",
    "//[b",
]


@pytest.mark.parametrize("address", [*ELSEWHERE, *NO_PATHS])
def test_nobody_is_sent_elsewhere_after_signing_in(browser: TestClient, address: str) -> None:
    assert safe_address(address) == "/"
    answer = sign_in(browser, back=address)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_what_is_sent_back_in_the_form_is_text(browser: TestClient) -> None:
    page = browser.get("/sign-in", params={"next": '/"><script>alert(1)</script>'}).text
    assert "<script" not in page
    refused = sign_in(browser, '"><script>alert(1)</script>', "wrong")
    assert "<script" not in refused.text


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(browser: TestClient, make_client: MakeClient) -> None:
    plain = sign_in(browser).headers["set-cookie"]
    assert re.fullmatch(r"apprentice-session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", plain)
    secured = sign_in(make_client(base_url="https://node.example")).headers["set-cookie"]
    assert re.fullmatch(r"__Host-apprentice-session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", secured)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": BASE}, 200),
        ({"Sec-Fetch-Site": "same-origin"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, 200),
        ({"Origin": "https://other.example"}, 403),
        ({"Origin": "http://127.0.0.1:8042"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": ""}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": BASE}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Origin": BASE}, 403),
        ({"Sec-Fetch-Site": "none", "Origin": BASE}, 403),
        ({}, 403),
    ],
)
def test_a_cookie_changes_nothing_from_another_sites_page(
    browser: TestClient, node: Node, headers: dict[str, str], status: int
) -> None:
    assert sign_in(browser, "operator").status_code == 303
    assert browser.post("/api/training/pause", headers=headers).status_code == status
    assert training_paused(node.store) == (status == 200)


def test_a_bearer_token_needs_no_page_of_ours(make_client: MakeClient, people: LocalStore) -> None:
    client = make_client(sent=people.accounts.add_token("script", Role.OPERATOR))
    assert client.post("/api/training/pause").status_code == 200


def test_another_site_cannot_sign_its_own_user_in(browser: TestClient) -> None:
    answer = sign_in(browser, Origin="https://other.example")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_a_wrong_name_and_a_wrong_password_are_told_alike(browser: TestClient) -> None:
    name, password = sign_in(browser, "nobody", PASSWORD), sign_in(browser, "reader", "wrong")
    assert (name.status_code, password.status_code) == (403, 403)
    assert name.text.replace("nobody", "reader") == password.text
    assert "set-cookie" not in name.headers


def test_a_name_that_nobody_has_takes_a_hash_too(people: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    people.accounts.add_user("by-proxy", Role.READER)
    checked: list[str] = []
    verify = type(people.accounts._hasher).verify
    monkeypatch.setattr(
        type(people.accounts._hasher), "verify", lambda self, known, given: checked.append(known) or verify(self, known, given)
    )
    assert not any(people.accounts.check_password(name, "wrong") for name in ("nobody", "by-proxy", "reader"))
    assert len(checked) == 3


def test_guessing_is_slowed_down_and_says_how_long(browser: TestClient, make_client: MakeClient) -> None:
    assert [sign_in(browser, password="wrong").status_code for _ in range(6)] == [403] * 5 + [429]
    told = sign_in(browser)
    assert told.status_code == 429
    assert 1 <= int(told.headers["retry-after"]) <= 15
    assert "Too many failed tries. Wait" in told.text
    assert sign_in(browser, "operator").status_code == 303


@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"name=reader", b"password=" + PASSWORD.encode(), b"&".join([b"name=reader"] * 50), b"%%%"]
)
def test_a_form_that_is_none_is_a_failed_try(browser: TestClient, body: bytes) -> None:
    headers = {"Origin": BASE, "Content-Type": "application/x-www-form-urlencoded"}
    assert browser.post("/sign-in", content=body, headers=headers).status_code == 403


def test_signing_out_ends_the_session_everywhere(browser: TestClient, make_client: MakeClient) -> None:
    sign_in(browser)
    cookie = browser.cookies["apprentice-session"]
    shown = browser.get("/sign-in")
    assert "You are <strong>reader</strong>, reader." in shown.text
    assert browser.post("/sign-out", headers={"Origin": "https://other.example"}).status_code == 403
    assert browser.get("/api/me").status_code == 200
    left = browser.post("/sign-out", headers={"Origin": BASE}, follow_redirects=False)
    assert (left.status_code, left.headers["location"]) == (303, "/sign-in")
    thief = make_client(base_url=BASE)
    thief.cookies.set("apprentice-session", cookie)
    assert thief.get("/api/me").status_code == 401


def test_signing_in_again_ends_the_session_before(browser: TestClient, make_client: MakeClient) -> None:
    sign_in(browser)
    before = browser.cookies["apprentice-session"]
    sign_in(browser, "operator")
    assert browser.get("/api/me").json()["name"] == "operator"
    assert browser.cookies["apprentice-session"] != before
    old = make_client(base_url=BASE)
    old.cookies.set("apprentice-session", before)
    assert old.get("/api/me").status_code == 401


def test_a_user_who_is_removed_is_out_at_once_and_a_new_role_holds_at_once(browser: TestClient, people: LocalStore) -> None:
    sign_in(browser)
    people.accounts.set_role("reader", Role.ADMIN)
    assert browser.get("/api/me").json()["role"] == "admin"
    people.accounts.remove("reader")
    assert browser.get("/api/me").status_code == 401
    people.accounts.add_user("reader", Role.READER, PASSWORD)
    assert browser.get("/api/me").status_code == 401


def test_another_password_ends_the_sessions(browser: TestClient, people: LocalStore) -> None:
    sign_in(browser)
    people.accounts.set_password("reader", "thirteen red plums")
    assert browser.get("/api/me").status_code == 401
    assert sign_in(browser).status_code == 403
    assert sign_in(browser, password="thirteen red plums").status_code == 303


def test_names_are_in_no_log(browser: TestClient, capfd: pytest.CaptureFixture[str]) -> None:
    sign_in(browser, "operator")
    sign_in(browser, "operator", "wrong-password")
    written = "".join(capfd.readouterr())
    assert "sign-in failed" in written
    assert "operator" not in written
    assert "wrong-password" not in written


def test_without_users_with_passwords_the_page_says_how_to_add_one(make_client: MakeClient, people: LocalStore) -> None:
    for account in people.accounts.all():
        people.accounts.remove(account.name)
    assert "apprentice access add-user" in make_client("token").get("/sign-in").text
    assert make_client("token").get("/").status_code == 200
    assert make_client().get("/sign-in", follow_redirects=False).headers["location"] == "/"


def test_a_link_on_another_sites_page_finds_who_is_signed_in(browser: TestClient) -> None:
    """Browsers leave a strict cookie out of what another site's page begins, and send it when our own page asks again."""
    linked = browser.get("/ohif/viewer?a=1&b=%22", headers=HTML | {"Sec-Fetch-Site": "cross-site"}, follow_redirects=False)
    assert linked.status_code == 200
    assert 'content="0;url=/ohif/viewer?a=1&amp;b=%22"' in linked.text
    again = browser.get("/ohif/viewer", headers=HTML | {"Sec-Fetch-Site": "same-origin"}, follow_redirects=False)
    assert again.status_code == 303
    doubled = browser.get(
        f"{BASE}//elsewhere.example/x", headers=HTML | {"Sec-Fetch-Site": "cross-site"}, follow_redirects=False
    )
    assert "url=/elsewhere.example/x" in doubled.text


def test_names_of_readers_are_told_to_people_and_not_to_machines(
    browser: TestClient, make_client: MakeClient, people: LocalStore
) -> None:
    round_id = people.records.open_round("object", "2.25.7")
    assert round_id is not None
    people.records.apply(round_id, RoundEvent.NOTHING_NEW, reader="Somebody^Else")
    sign_in(browser)
    assert browser.get("/api/rounds").json()[0]["reader"] == "Somebody^Else"
    machine = make_client(sent=people.accounts.add_token("prometheus", Role.READER))
    assert machine.get("/api/rounds").json()[0]["reader"] == ""
