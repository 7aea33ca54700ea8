"""People whom a proxy signs in: its header is believed from its own address, and refused from any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from argon2 import PasswordHasher
from starlette.testclient import TestClient

from learner.domain.user import Role
from learner.http.app import create_app
from learner.node import Node
from learner.settings_access import AccessSettings, ApiSettings

ORIGIN = {"Origin": "https://node.example"}
MakeBrowser = Callable[..., TestClient]


@pytest.fixture
def browser(node: Node) -> MakeBrowser:
    """A browser behind the proxy, or whoever has another address."""
    access = AccessSettings(proxy_user_header="X-Remote-User", trusted_proxies=("10.0.0.5", "10.1.0.0/16"))
    node.settings = node.settings.model_copy(update={"access": access, "api": ApiSettings(behind_proxy=True)})
    node.store.accounts._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    app = create_app(node, "")

    def make(peer: str = "10.0.0.5", user: str | bytes = "", **headers: str) -> TestClient:
        sent = {**headers, **({"X-Remote-User": user} if user else {})}
        return TestClient(app, base_url="https://node.example", client=(peer, 40000), headers=sent)

    return make


@pytest.mark.parametrize("peer", ["10.0.0.5", "10.1.2.3"])
def test_whom_the_proxy_names_is_signed_in(browser: MakeBrowser, peer: str) -> None:
    client = browser(peer, "Müller, Eva".encode())
    assert client.get("/api/me").json() == {"name": "Müller, Eva", "role": "reader", "is_person": True}
    assert client.get("/", headers={"Accept": "text/html"}).status_code == 200


def test_an_account_gives_whom_the_proxy_names_a_role(browser: MakeBrowser, node: Node) -> None:
    node.store.accounts.add_user("eva", Role.OPERATOR)
    assert browser(user="eva").get("/api/me").json()["role"] == "operator"
    assert browser(user="eva").post("/api/training/pause", headers=ORIGIN).status_code == 200


def test_a_token_of_that_name_gives_no_role(browser: MakeBrowser, node: Node) -> None:
    node.store.accounts.add_token("eva", Role.ADMIN)
    assert browser(user="eva").get("/api/me").json()["role"] == "reader"


@pytest.mark.parametrize("peer", ["10.0.0.6", "127.0.0.1", "::1", "testclient"])
def test_the_header_from_any_other_address_is_refused(browser: MakeBrowser, peer: str) -> None:
    client = browser(peer, "eva", **{"X-Forwarded-For": "10.0.0.5"})
    for path in ("/api/me", "/api/status", "/", "/dicom-web/studies"):
        answer = client.get(path)
        assert (answer.status_code, answer.json()["remedy"]) == (403, "See access.trusted_proxies.")


def test_a_name_that_is_none_or_comes_twice_is_refused(browser: MakeBrowser) -> None:
    twice = [("X-Remote-User", "eva"), ("X-Remote-User", "root")]
    assert browser().get("/api/me", headers=twice).status_code == 400
    assert browser(user=65 * "a").get("/api/me").status_code == 401


def test_without_the_header_nobody_is_signed_in(browser: MakeBrowser) -> None:
    assert browser().get("/api/me").status_code == 401
    assert browser().get("/health/live").status_code == 200
    assert browser().get("/", headers={"Accept": "text/html"}, follow_redirects=False).status_code == 303


def test_another_sites_page_changes_nothing_through_the_proxys_sign_in(browser: MakeBrowser, node: Node) -> None:
    node.store.accounts.add_user("eva", Role.OPERATOR)
    for headers in ({}, {"Origin": "https://other.example"}):
        assert browser(user="eva").post("/api/training/pause", headers=headers).status_code == 403


def test_behind_a_proxy_the_cookie_is_secure_and_clients_are_told_apart(browser: MakeBrowser, node: Node) -> None:
    node.store.accounts.add_user("eva", Role.READER, "twelve green apples")
    form = {"name": "eva", "password": "wrong"}
    one, other = (browser(**{"X-Forwarded-For": address, **ORIGIN}) for address in ("192.0.2.1", "192.0.2.1, 192.0.2.2"))
    assert [one.post("/sign-in", data=form).status_code for _ in range(6)][-1] == 429
    assert other.post("/sign-in", data=form).status_code == 403
    app = other.app
    plain = TestClient(app, base_url="http://node.example", client=("10.0.0.5", 1), headers={"X-Forwarded-Proto": "https"})
    answer = plain.post(
        "/sign-in",
        data=form | {"password": "twelve green apples"},
        headers={"Origin": "https://node.example"},
        follow_redirects=False,
    )
    assert "Secure" in answer.headers["set-cookie"]


def test_a_node_behind_a_proxy_is_never_open(node: Node) -> None:
    node.settings = node.settings.model_copy(update={"api": ApiSettings(behind_proxy=True)})
    client = TestClient(create_app(node, ""), base_url="http://127.0.0.1:8075")
    assert client.get("/api/status").status_code == 401
