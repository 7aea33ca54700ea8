"""Signing in at an issuer with a browser: on the way there, and back."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

import structlog
from fastapi import APIRouter, Request
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, RedirectResponse, Response

from learner.http.access import Access
from learner.http.oidc import Issuer, NotSignedIn, Person
from learner.http.problems import problem
from learner.http.sign_in import ISSUER_PATH, begin_session, safe_address, sign_in_failed
from learner.settings import Settings, read_secret
from learner.storage.accounts import AccountError

BACK_PATH = f"{ISSUER_PATH}/back"
_COOKIE = "apprentice-oidc"
_LONGEST_S = 600.0
_MOST = 10_000
_CAME_BACK = (
    '<!doctype html><meta http-equiv="refresh" content="0;url={address}"><title>PACS Apprentice</title><p>Signed in.</p>'
)
"""The next page is asked for by this one: the session's cookie is not sent where another site led here."""
_ONCE_MORE = "This sign-in was begun elsewhere, was used, or took too long. Begin again."
_NO_ISSUER = "this node signs nobody in at an issuer"
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Begun:
    """A sign-in on its way.

    Attributes:
        browser: hash of the secret in the cookie of the browser that began it.
        nonce: what the ID token must hold.
        verifier: of PKCE.
        back: where the person wanted to go.
        at: when it began, in seconds of a clock that never goes back.
    """

    browser: str
    nonce: str
    verifier: str
    back: str
    at: float


class Pending:
    """Sign-ins on their way, by state; each is taken once, by the browser that began it. In memory: a restart forgets them.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun: OrderedDict[str, Begun] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, back: str) -> tuple[str, str, Begun]:
        """Begins one; the oldest are forgotten if there are too many.

        Returns:
            The state, what the browser's cookie holds, and the rest.
        """
        state, cookie = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        begun = Begun(_hashed(cookie), secrets.token_urlsafe(32), secrets.token_urlsafe(48), back, self._clock())
        with self._lock:
            self._begun[state] = begun
            while len(self._begun) > _MOST:
                self._begun.popitem(last=False)
        return state, cookie, begun

    def take(self, state: str, cookie: str) -> Begun | None:
        """The one of that state, or None if there is none, it is too old, or another browser's."""
        with self._lock:
            begun = self._begun.pop(state, None)
        if begun is None or self._clock() - begun.at > _LONGEST_S:
            return None
        return begun if secrets.compare_digest(begun.browser, _hashed(cookie)) else None


def build_issuer(settings: Settings) -> Issuer | None:
    """The issuer that the settings name, or None.

    Raises:
        ConfigurationError: a file that they name cannot be read.
    """
    if not settings.oidc.issuer:
        return None
    redirect = settings.api.public_url.rstrip("/") + BACK_PATH
    return Issuer(settings.oidc, read_secret(settings.oidc.client_secret_file), redirect)


def oidc_router(access: Access, issuer: Issuer | None) -> APIRouter:
    """The way to the issuer, and back; 404 where the settings name none."""
    router = APIRouter(include_in_schema=False)
    pending = Pending()

    @router.get(ISSUER_PATH)
    def leave(request: Request) -> Response:
        """Sends the browser to the issuer."""
        return _leave(access, issuer, pending, request) if issuer is not None else problem(404, _NO_ISSUER)

    @router.get(BACK_PATH)
    def come_back(request: Request) -> Response:
        """Opens a session for whom the issuer signed in."""
        return _come_back(access, issuer, pending, request) if issuer is not None else problem(404, _NO_ISSUER)

    return router


def _leave(access: Access, issuer: Issuer, pending: Pending, request: Request) -> Response:
    state, cookie, begun = pending.begin(safe_address(request.query_params.get("next", "/")))
    try:
        answer = RedirectResponse(issuer.address(state, begun.nonce, begun.verifier), 303)
    except NotSignedIn as error:
        return _refused(error)
    secure = access.is_secure(request.scope, request.headers)
    # Lax: it comes back by a link from the issuer's page.
    answer.set_cookie(_cookie_name(secure=secure), cookie, int(_LONGEST_S), secure=secure, httponly=True, samesite="lax")
    return answer


def _come_back(access: Access, issuer: Issuer, pending: Pending, request: Request) -> Response:
    secure = access.is_secure(request.scope, request.headers)
    cookie = cookie_parser(request.headers.get("cookie", "")).get(_cookie_name(secure=secure), "")[:200]
    begun = pending.take(request.query_params.get("state", ""), cookie)
    if begun is None:
        return _refused(NotSignedIn(_ONCE_MORE, "state is not known to this browser"))
    try:
        person = _person(issuer, begun, request, access.issuer)
        access.accounts.admit_external(person.name, person.subject, person.role)
    except NotSignedIn as error:
        if error.subject:
            access.accounts.dismiss_external(error.subject)
        return _refused(error)
    except AccountError:
        text = "Your name is another account's on this node. Ask its administrator to remove or rename that one."
        return _refused(NotSignedIn(text, "the name is another account's"))
    answer = HTMLResponse(_CAME_BACK.format(address=escape(begun.back)))
    begin_session(access, request, answer, person.name)
    answer.delete_cookie(_cookie_name(secure=secure), secure=secure, httponly=True, samesite="lax")
    return answer


def _person(issuer: Issuer, begun: Begun, request: Request, named: str) -> Person:
    """Who came back.

    Raises:
        NotSignedIn: nobody; says why.
    """
    given = request.query_params
    if "error" in given:
        raise NotSignedIn("The issuer did not sign you in. Try again, or ask its administrator.", "the issuer refused")
    if given.get("iss", named) != named:  # RFC 9207
        raise NotSignedIn(_ONCE_MORE, "another issuer answered")
    if not given.get("code"):
        raise NotSignedIn(_ONCE_MORE, "no code")
    return issuer.person(given["code"], begun.nonce, begun.verifier)


def _refused(error: NotSignedIn) -> Response:
    _log.warning("sign-in at the issuer failed", reason=error.reason)
    return sign_in_failed(str(error), error.status)


def _cookie_name(*, secure: bool) -> str:
    return f"__Host-{_COOKIE}" if secure else _COOKIE


def _hashed(cookie: str) -> str:
    return hashlib.sha256(cookie.encode()).hexdigest()
