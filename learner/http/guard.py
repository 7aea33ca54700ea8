"""What stands before every route: the token, the size of a request, where it comes from, and headers for browsers.

Everything needs the token but the page, its files and the health checks; what is new is closed until it is listed here. Without
a token the node listens on loopback alone (the settings see to that). A page of another site could still reach it through the
reader's browser, so that then the Host and Origin headers must name loopback.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learner.http.problems import problem

OPEN_PATHS = frozenset({"/", "/health/live", "/health/ready"})
OPEN_PREFIX = "/static/"
LARGEST_BODY = 64 * 1024
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
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


class Guard:
    """ASGI middleware around the whole API.

    Args:
        app: what it guards.
        token: the bearer token; empty for none.
        beside: applications that take the paths below a prefix, with bodies and headers of their own; as closed as the rest.
    """

    def __init__(self, app: ASGIApp, token: str, beside: Mapping[str, ASGIApp] | None = None) -> None:
        self._app = app
        self._token = token.encode()
        self._beside = beside or {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        headers = Headers(scope=scope)
        if not self._token and not _from_loopback(headers):
            refusal = problem(403, "without a token only loopback is served", "Set api.token_file and send the token.")
            await refusal(scope, receive, send_with_headers)
        elif not self._admits(scope["path"], headers):
            refusal = problem(401, "the bearer token is missing or wrong", headers={"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send_with_headers)
        elif (other := self._other(scope["path"])) is not None:
            await other(scope, receive, send)
        else:
            await self._pass_on(scope, receive, send_with_headers)

    def _other(self, path: str) -> ASGIApp | None:
        return next((app for prefix, app in self._beside.items() if path == prefix or path.startswith(f"{prefix}/")), None)

    def _admits(self, path: str, headers: Headers) -> bool:
        if not self._token or path in OPEN_PATHS or path.startswith(OPEN_PREFIX):
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and secrets.compare_digest(given.strip().encode(), self._token)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the whole body first, so that no route sees one that is too large."""
        body = await _read_body(Headers(scope=scope), receive)
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


def _from_loopback(headers: Headers) -> bool:
    """Whether the request was meant for a loopback address and comes from no other site's page."""
    origin = headers.get("origin")
    return _is_loopback(f"//{headers.get('host', '')}") and (origin is None or _is_loopback(origin))


def _is_loopback(address: str) -> bool:
    try:
        return urlsplit(address).hostname in _LOOPBACK
    except ValueError:
        return False
