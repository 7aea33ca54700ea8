"""What stands before every route: who asks, what they may, the size and rate of requests, and headers for browsers.

Everything needs a role (:mod:`learner.http.roles`); what is new is closed until it is listed there. Without users and tokens
the node listens on loopback alone (:mod:`learner.http.access`). A page of another site could still reach it through the
reader's browser, so that then the Host and Origin headers must name loopback; and what a browser proves by itself, by a cookie
say, must come from the node's own page where it changes something.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from html import escape
from urllib.parse import quote

import structlog
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learner.domain.user import EVERYBODY, NOBODY, Role, User
from learner.errors import StoreError
from learner.http.access import Access, Refused, check_same_origin
from learner.http.names import names_are_told
from learner.http.problems import problem
from learner.http.roles import needed_role

LARGEST_BODY = 64 * 1024
_SLOWEST_BODY_S = 20.0
_LIMITED = ("/api/", "/metrics", "/sign-in")
"""What is limited in rate. A viewer asks for thousands of frames, which the archive has to stand."""
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_AGAIN = '<!doctype html><meta http-equiv="refresh" content="0;url={address}"><title>PACS Apprentice</title><p>One moment.</p>'
"""Where another site's page linked here the browser leaves the cookie out; it is sent when this page asks again by itself."""
_log = structlog.get_logger(__name__)


class Guard:
    """ASGI middleware around the whole API. Whom it lets in stands in ``request.state.user``.

    Args:
        app: what it guards.
        access: who may use the node.
        beside: applications that take the paths below a prefix, with bodies and headers of their own; as closed as the rest.
    """

    def __init__(self, app: ASGIApp, access: Access, beside: Mapping[str, ASGIApp] | None = None) -> None:
        self._app = app
        self._access = access
        self._beside = beside or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            user = await self._admit(scope, Headers(scope=scope))
        except Refused as refused:
            await problem(refused.status, str(refused), refused.remedy)(scope, receive, send_with_headers)
            return
        except (sqlite3.Error, StoreError) as error:
            _log.error("request failed", error=type(error).__name__, what=str(error))
            answer = problem(503, "the node's store cannot be used now", "Look at the node's log, its disk and its folder.")
            await answer(scope, receive, send_with_headers)
            return
        if isinstance(user, Response):
            await user(scope, receive, send_with_headers)
            return
        scope["state"] = {**scope.get("state", {}), "user": user}
        names_are_told.set(user.is_person or user == EVERYBODY)
        if (other := self._other(scope["path"])) is not None:
            await other(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send_with_headers)

    def _other(self, path: str) -> ASGIApp | None:
        return next((app for prefix, app in self._beside.items() if path == prefix or path.startswith(f"{prefix}/")), None)

    async def _admit(self, scope: Scope, headers: Headers) -> User | Response:
        """Who asks, or how that is refused.

        Raises:
            Refused: the request is one that nobody may make.
        """
        access, method, path = self._access, scope["method"], scope["path"]
        if any(ord(character) < 0x20 for character in path):
            raise Refused(400, "the path holds control characters")
        if path.startswith(_LIMITED) and (seconds := access.rate.wait_s(access.client(scope, headers))):
            return _too_often(seconds)
        asker = await run_in_threadpool(access.asker, scope, headers)  # it may wait for the store
        needed = needed_role(method, path)
        if path == "/" and not access.page_is_open:
            needed = Role.READER
        if asker.is_ambient:
            check_same_origin(scope, headers)
        if asker.user.role.covers(needed):
            return asker.user
        if asker.user == NOBODY:
            return _sign_in_first(scope, headers)
        return problem(403, f"{method} here needs the role {needed}, yours is {asker.user.role}", "Ask an administrator.")

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the whole body first, so that no route sees one that is too large."""
        try:
            async with asyncio.timeout(_SLOWEST_BODY_S):
                body = await _read_body(Headers(scope=scope), receive)
        except TimeoutError:
            refusal = problem(408, f"the body did not come within {_SLOWEST_BODY_S:.0f} s", headers={"Connection": "close"})
            await refusal(scope, receive, send)
            return
        if body is None:
            refusal = problem(413, f"the body is larger than {LARGEST_BODY} bytes", headers={"Connection": "close"})
            await refusal(scope, receive, send)
            return
        told = False

        async def replay() -> Message:
            nonlocal told
            if told:
                return await receive()
            told = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


def _sign_in_first(scope: Scope, headers: Headers) -> Response:
    """A person who opens a page goes to the sign-in page and comes back; whoever asks the API is told."""
    path = scope["path"]
    opens_a_page = scope["method"] == "GET" and "text/html" in headers.get("accept", "")
    if opens_a_page and not path.startswith(("/api/", "/dicom-web", "/wado", "/metrics")):
        back = "/" + quote(path).lstrip("/") + (f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else "")
        if headers.get("sec-fetch-site") == "cross-site":
            return HTMLResponse(_AGAIN.format(address=escape(back)))
        return RedirectResponse(f"/sign-in?next={quote(back, safe='')}", 303)
    return problem(401, "you are not signed in, or the bearer token is wrong", headers={"WWW-Authenticate": "Bearer"})


def _too_often(seconds: int) -> Response:
    remedy = f"Wait {seconds} s; access.requests_per_minute is the limit."
    return problem(429, "too many requests from this address", remedy, headers={"Retry-After": str(seconds)})


async def _read_body(headers: Headers, receive: Receive) -> bytes | None:
    """The body, or None as soon as it is known to be too large."""
    announced = headers.get("content-length", "0")
    if not announced.isdecimal() or int(announced) > LARGEST_BODY:
        return None
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            return None
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return bytes(body)
