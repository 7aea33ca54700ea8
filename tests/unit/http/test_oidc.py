"""Signing in at an issuer: a real one on loopback, the way there and back, and everything that it or others may send wrong."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from certificates import Certificates
from oidc_issuer import CLIENT, SECRET, TestIssuer, running_issuer
from starlette.testclient import TestClient
from structlog.testing import capture_logs

from learner.domain.user import Role
from learner.http import oidc
from learner.http.access import check_entrance
from learner.http.app import create_app
from learner.http.oidc_routes import BACK_PATH, Pending
from learner.node import Node
from learner.settings import ApiSettings, OidcSettings

NODE = "http://127.0.0.1:8075"
MakeBrowser = Callable[..., TestClient]
REFRESH = re.compile(r'http-equiv="refresh" content="0;url=([^"]+)"')


@pytest.fixture
def issuer() -> Iterator[TestIssuer]:
    with running_issuer() as running:
        yield running


def configure(node: Node, issuer: TestIssuer, tmp_path: Path, **more: Any) -> None:
    (tmp_path / "client-secret").write_text(SECRET)
    roles = {"readers": ("radiology",), "operators": ("it",), "admins": ("it-lead",)}
    given = {
        "issuer": issuer.url,
        "client_id": CLIENT,
        "client_secret_file": tmp_path / "client-secret",
        "title": "St. Mary's <1>",
    }
    settings = OidcSettings(**(given | roles | more))
    api = ApiSettings(public_url=NODE)
    node.settings = node.settings.model_copy(update={"oidc": settings, "api": api})


@pytest.fixture
def make_browser(node: Node, issuer: TestIssuer, tmp_path: Path) -> MakeBrowser:
    """A browser at a node with the issuer; settings of the issuer can be given."""
    configure(node, issuer, tmp_path)
    app = create_app(node, "")
    return lambda: TestClient(app, base_url=NODE, follow_redirects=False)


def sign_in(browser: TestClient, back: str = "/") -> Any:
    """The whole way: to the issuer, and back with its code."""
    return browser.get(returned(browser, back))


def returned(browser: TestClient, back: str = "/") -> str:
    """Where the issuer sends the browser back to, relative to the node."""
    sent = browser.get("/sign-in/oidc", params={"next": back})
    assert sent.status_code == 303, sent.text
    answer = httpx2.get(sent.headers["location"], follow_redirects=False, trust_env=False)
    assert answer.headers["location"].startswith(NODE + BACK_PATH)
    return str(answer.headers["location"].removeprefix(NODE))


def me(browser: TestClient) -> Any:
    answer = browser.get("/api/me")
    return answer.json() if answer.status_code == 200 else answer.status_code


def message(page: Any) -> str:
    found = re.search(r'role="alert">(.*?)</p>', page.text)
    assert found is not None, page.text
    return found[1]


def test_who_opens_a_page_signs_in_at_the_issuer_and_comes_back(make_browser: MakeBrowser, issuer: TestIssuer) -> None:
    browser = make_browser()
    wanted = "/ohif/viewer?StudyInstanceUIDs=1.2"
    first = browser.get(wanted, headers={"Accept": "text/html"})
    page = browser.get(first.headers["location"])
    assert "Sign in with St. Mary&#x27;s &lt;1&gt;" in page.text
    assert 'name="password"' not in page.text, "no user has a password here"
    address = re.search(r'href="(/sign-in/oidc[^"]+)"', page.text)
    assert address is not None
    sent = browser.get(address[1].replace("&amp;", "&"))
    asked = {name: values[0] for name, values in parse_qs(urlsplit(sent.headers["location"]).query).items()}
    assert {"client_id", "nonce", "state", "code_challenge", "redirect_uri", "response_type", "scope"} <= set(asked)
    assert asked["redirect_uri"] == NODE + BACK_PATH
    back = httpx2.get(sent.headers["location"], trust_env=False).headers["location"]
    done = browser.get(back)
    assert (done.status_code, REFRESH.search(done.text)[1]) == (200, wanted)
    assert me(browser) == {"name": "eva", "role": "reader", "is_person": True}
    assert "You are <strong>eva</strong>, reader." in browser.get("/sign-in").text
    assert issuer.requests[-3:] == ["/authorize", "/token", "/keys"]


def test_its_cookies_are_out_of_reach(make_browser: MakeBrowser) -> None:
    browser = make_browser()
    way = browser.get("/sign-in/oidc").headers["set-cookie"]
    assert re.fullmatch(r"apprentice-oidc=[\w-]{43}; HttpOnly; Max-Age=600; Path=/; SameSite=lax", way)
    cookies = sign_in(browser).headers.get_list("set-cookie")
    assert re.fullmatch(r"apprentice-session=[\w-]{43}; HttpOnly; Path=/; SameSite=strict", cookies[0])
    assert 'apprentice-oidc=""' in cookies[1]


@pytest.mark.parametrize(
    ("groups", "role"),
    [(["radiology"], "reader"), (["other", "it", "radiology"], "operator"), (["it-lead"], "admin"), ("radiology", "reader")],
)
def test_the_role_is_what_the_claim_says(make_browser: MakeBrowser, issuer: TestIssuer, groups: object, role: str) -> None:
    issuer.person["groups"] = groups
    browser = make_browser()
    sign_in(browser)
    assert me(browser)["role"] == role


def test_claims_may_be_inside_an_object(node: Node, issuer: TestIssuer, tmp_path: Path) -> None:
    configure(node, issuer, tmp_path, role_claim="realm_access.roles", user_claim="email")
    issuer.person |= {"realm_access": {"roles": ["it"]}, "email": "eva@hospital.example"}
    browser = TestClient(create_app(node, ""), base_url=NODE, follow_redirects=False)
    sign_in(browser)
    assert me(browser) == {"name": "eva@hospital.example", "role": "operator", "is_person": True}


@pytest.mark.parametrize("groups", [None, [], ["cardiology"], "cardiology", 7, [7], {"radiology": True}])
def test_who_has_no_role_is_told_so_and_not_signed_in(make_browser: MakeBrowser, issuer: TestIssuer, groups: object) -> None:
    browser = make_browser()
    if groups is None:
        del issuer.person["groups"]
    else:
        issuer.person["groups"] = groups
    page = sign_in(browser)
    assert page.status_code == 403
    assert "You are known, but may not use this node" in message(page)
    assert "(claim &#x27;groups&#x27;)" in message(page)
    assert me(browser) == 401


def test_a_role_that_is_taken_away_ends_what_was_open(make_browser: MakeBrowser, issuer: TestIssuer, node: Node) -> None:
    browser, other = make_browser(), make_browser()
    sign_in(browser)
    issuer.person["groups"] = ["it"]
    sign_in(other)
    assert (me(browser)["role"], me(other)["role"]) == ("operator", "operator")
    issuer.person["groups"] = []
    assert sign_in(make_browser()).status_code == 403
    assert (me(browser), me(other)) == (401, 401)
    assert node.store.accounts.all() == ()


def change(**claims: object) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda found: {name: value for name, value in (found | claims).items() if value is not None}


PAST = time.time() - 3600
UNSOUND = {
    "wrong nonce": (change(nonce="another"), "InvalidClaimError nonce"),
    "no nonce": (change(nonce=None), "MissingClaimError nonce"),
    "wrong audience": (change(aud="another-client"), "InvalidClaimError aud"),
    "no audience": (change(aud=None), "MissingClaimError aud"),
    "several audiences and no authorized party": (change(aud=["another-client", CLIENT]), "MissingClaimError azp"),
    "another authorized party": (change(aud=[CLIENT, "other"], azp="other"), "InvalidClaimError azp"),
    "expired": (change(iat=PAST - 60, exp=PAST), "ExpiredTokenError exp"),
    "no expiry": (change(exp=None), "MissingClaimError exp"),
    "not valid yet": (change(nbf=time.time() + 3600), "InvalidClaimError nbf"),
    "wrong issuer": (change(iss="https://elsewhere.example"), "InvalidClaimError iss"),
    "no issuer": (change(iss=None), "MissingClaimError iss"),
    "no subject": (change(sub=None), "MissingClaimError sub"),
    "access token of another": (change(at_hash="AAAAAAAAAAAAAAAAAAAAAA"), "InvalidClaimError at_hash"),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_a_token_that_says_something_wrong_signs_nobody_in(make_browser: MakeBrowser, issuer: TestIssuer, what: str) -> None:
    issuer.change_token, reason = UNSOUND[what]
    browser = make_browser()
    with capture_logs() as told:
        page = sign_in(browser)
    assert (page.status_code, message(page)[:39]) == (403, "What the issuer sent is not valid here.")
    assert [one["reason"] for one in told] == [f"ID token: {reason}"]
    assert "apprentice-session" not in page.headers.get("set-cookie", "")
    assert me(browser) == 401


@pytest.mark.parametrize("how", ["signed_by_another", "signed_by_unknown", "signed_by_secret", "unsigned"])
def test_a_token_that_the_issuer_did_not_sign_signs_nobody_in(make_browser: MakeBrowser, issuer: TestIssuer, how: str) -> None:
    issuer.sign = getattr(issuer, how)
    browser = make_browser()
    assert sign_in(browser).status_code == 403
    assert me(browser) == 401


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "eyJhbGciOiJSUzI1NiJ9..", "é.é.é"])
def test_a_token_that_is_none_signs_nobody_in(make_browser: MakeBrowser, issuer: TestIssuer, token: str) -> None:
    issuer.sign = lambda _claims: token
    assert sign_in(make_browser()).status_code == 403


def test_the_issuer_may_change_its_key(make_browser: MakeBrowser, issuer: TestIssuer, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = make_browser()
    assert sign_in(browser).status_code == 200
    issuer.key = type(issuer.key).generate_key(2048, {"kid": "k2"})
    assert sign_in(make_browser()).status_code == 403, "the keys were fetched a moment ago"
    monkeypatch.setattr(oidc, "_ASKED_AGAIN_S", 0.0)
    assert sign_in(make_browser()).status_code == 200
    assert issuer.requests.count("/keys") == 2


def test_a_code_is_good_once_and_so_is_a_state(make_browser: MakeBrowser) -> None:
    browser = make_browser()
    address = returned(browser)
    assert browser.get(address).status_code == 200
    replayed = browser.get(address)
    assert (replayed.status_code, "was used" in message(replayed)) == (403, True)


def test_a_sign_in_is_taken_by_the_browser_that_began_it(make_browser: MakeBrowser, issuer: TestIssuer) -> None:
    """Otherwise somebody could sign another's browser in as themselves, and have them draw in their name."""
    victim, attacker = make_browser(), make_browser()
    address = returned(attacker)
    assert victim.get(address).status_code == 403
    victim.get("/sign-in/oidc")
    assert victim.get(returned(attacker)).status_code == 403
    assert me(victim) == 401
    assert "/token" not in issuer.requests


@pytest.mark.parametrize("query", ["", "?state=x&code=y", "?code=y", "?error=access_denied", "?state=" + 5000 * "x"])
def test_who_was_never_sent_there_does_not_come_back(make_browser: MakeBrowser, query: str) -> None:
    browser = make_browser()
    browser.get("/sign-in/oidc")
    assert browser.get(BACK_PATH + query).status_code == 403


def test_what_the_issuer_refuses_is_told_without_its_words(make_browser: MakeBrowser) -> None:
    browser = make_browser()
    state = parse_qs(urlsplit(browser.get("/sign-in/oidc").headers["location"]).query)["state"][0]
    page = browser.get(f"{BACK_PATH}?state={state}&error=access_denied&error_description=<script>alert(1)</script>")
    assert (page.status_code, message(page)[:34]) == (403, "The issuer did not sign you in. Tr")
    assert "script" not in page.text


def test_another_issuers_answer_is_refused(make_browser: MakeBrowser, issuer: TestIssuer) -> None:
    browser = make_browser()
    address = returned(browser).replace("iss=", "iss=https%3A%2F%2Felsewhere.example&was=")
    assert browser.get(address).status_code == 403
    assert "/token" not in issuer.requests


def test_a_sign_in_that_takes_too_long_is_over() -> None:
    now = [0.0]
    pending = Pending(lambda: now[0])
    for seconds, found in ((599.0, True), (601.0, False)):
        state, cookie, begun = pending.begin("/")
        now[0] += seconds
        assert (pending.take(state, cookie) == begun) is found
        assert pending.take(state, cookie) is None


@pytest.mark.parametrize("kind", ["user", "token"])
def test_nobody_becomes_a_local_user_by_a_name(make_browser: MakeBrowser, node: Node, kind: str) -> None:
    if kind == "user":
        node.store.accounts.add_user("eva", Role.ADMIN, "twelve green apples")
    else:
        node.store.accounts.add_token("eva", Role.ADMIN)
    browser = make_browser()
    page = sign_in(browser)
    assert (page.status_code, message(page)[:38]) == (403, "Your name is another account&#x27;s on")
    assert me(browser) == 401


def test_nobody_becomes_somebody_else_of_the_issuer_by_a_name(make_browser: MakeBrowser, issuer: TestIssuer) -> None:
    sign_in(make_browser())
    issuer.person["sub"] = "s-2"
    assert sign_in(make_browser()).status_code == 403


@pytest.mark.parametrize("name", [None, "", " eva", 65 * "a", "e\nva", 7, ["eva"]])
def test_a_name_that_is_none_is_told(make_browser: MakeBrowser, issuer: TestIssuer, name: object) -> None:
    issuer.person["preferred_username"] = name
    page = sign_in(make_browser())
    assert (page.status_code, "by no claim &#x27;preferred_username&#x27;" in message(page)) == (403, True)


def test_local_users_still_sign_in(make_browser: MakeBrowser, node: Node) -> None:
    node.store.accounts.add_user("ops", Role.OPERATOR, "twelve green apples")
    browser = make_browser()
    page = browser.get("/sign-in").text
    assert 'name="password"' in page
    assert "/sign-in/oidc" in page
    form = {"name": "ops", "password": "wrong"}
    assert "/sign-in/oidc" in browser.post("/sign-in", data=form, headers={"Origin": NODE}).text
    browser.post("/sign-in", data=form | {"password": "twelve green apples"}, headers={"Origin": NODE})
    assert me(browser)["name"] == "ops"


def test_whom_the_issuer_signed_in_has_no_password_and_no_token(make_browser: MakeBrowser, node: Node) -> None:
    sign_in(make_browser())
    (account,) = node.store.accounts.all()
    assert (account.name, account.kind, account.has_password) == ("eva", "external", False)
    assert not any(node.store.accounts.check_password("eva", one) for one in ("", "s-1"))
    with pytest.raises(Exception, match="no such account"):
        node.store.accounts.set_password("eva", "twelve green apples")
    node.store.accounts.remove("eva")
    assert node.store.accounts.all() == ()


def test_signing_out_ends_the_session(make_browser: MakeBrowser) -> None:
    browser = make_browser()
    sign_in(browser)
    assert browser.post("/sign-out", headers={"Origin": NODE}).status_code == 303
    assert me(browser) == 401


def test_a_node_with_an_issuer_is_never_open(make_browser: MakeBrowser, node: Node) -> None:
    browser = make_browser()
    assert browser.get("/api/status").status_code == 401
    assert browser.get("/", headers={"Accept": "text/html"}).headers["location"].startswith("/sign-in?")
    api = ApiSettings(host="0.0.0.0", behind_proxy=True, public_url="https://node.example")
    check_entrance(node.settings.model_copy(update={"api": api}), node.store, "")


@pytest.mark.parametrize("back", ["//elsewhere.example", "https://elsewhere.example/", "/sign-in/oidc?next=/", "/sign-in"])
def test_nobody_is_sent_elsewhere(make_browser: MakeBrowser, back: str) -> None:
    assert REFRESH.search(sign_in(make_browser(), back).text)[1] == "/"


MISLEADING = {
    "another issuer": {"issuer": "https://elsewhere.example"},
    "tokens elsewhere": {"token_endpoint": "https://elsewhere.example/token"},
    "keys elsewhere": {"jwks_uri": "http://127.0.0.1:9/keys"},
    "no keys": {"jwks_uri": None},
    "plain sign-in": {"authorization_endpoint": "http://elsewhere.example/authorize"},
    "a script": {"authorization_endpoint": "javascript:alert(1)"},
}


@pytest.mark.parametrize("what", MISLEADING)
def test_an_issuer_that_points_elsewhere_is_not_followed(make_browser: MakeBrowser, issuer: TestIssuer, what: str) -> None:
    issuer.change_configuration = change(**MISLEADING[what])
    page = make_browser().get("/sign-in/oidc")
    assert (page.status_code, message(page)[:20]) == (502, "The issuer is not wh")


def test_an_issuer_that_is_away_is_told_and_asked_again(make_browser: MakeBrowser, issuer: TestIssuer) -> None:
    issuer.status = 503
    browser = make_browser()
    page = browser.get("/sign-in/oidc")
    assert (page.status_code, message(page)[:27]) == (502, "The issuer cannot be reache")
    issuer.status = 200
    address = returned(browser)
    issuer.status = 500
    assert browser.get(address).status_code == 502
    issuer.status = 200
    assert sign_in(browser).status_code == 200


def test_a_wrong_secret_is_told(node: Node, issuer: TestIssuer, tmp_path: Path) -> None:
    configure(node, issuer, tmp_path)
    (tmp_path / "client-secret").write_text("another")
    page = sign_in(TestClient(create_app(node, ""), base_url=NODE, follow_redirects=False))
    assert (page.status_code, message(page)) == (403, "The issuer refused the sign-in. Try again.")


def test_the_issuers_certificate_is_checked(node: Node, tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    certificates.make("ca")
    certificates.make("issuer", "ca")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificates.certificate("issuer"), certificates.key("issuer"))
    with running_issuer(tls) as issuer:
        for ca, status in ((None, 502), (certificates.ca, 303)):
            configure(node, issuer, tmp_path, ca_file=ca)
            browser = TestClient(create_app(node, ""), base_url=NODE, follow_redirects=False)
            assert browser.get("/sign-in/oidc").status_code == status


def test_nothing_of_a_person_is_logged(
    make_browser: MakeBrowser, issuer: TestIssuer, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_in(make_browser())
    issuer.person["groups"] = []
    sign_in(make_browser())
    issuer.change_token = change(nonce="x")
    sign_in(make_browser())
    told = "".join(capsys.readouterr())
    assert "no role by claim groups" in told
    assert not [word for word in ("eva", "s-1", "opaque", SECRET, "eyJ") if word in told]
