"""The HTTP client that all adapters use: who we are, whom we trust, and nothing of the environment."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Mapping

import httpx2


class _Bearer(httpx2.Auth):
    """The Authorization header of RFC 6750. Like a password, it is not sent on to another host."""

    def __init__(self, token: str) -> None:
        self._value = f"Bearer {token}"

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers["Authorization"] = self._value
        yield request


def open_client(
    url: str,
    *,
    user: str = "",
    password: str = "",
    token: str = "",
    timeout: float,
    verify: ssl.SSLContext | bool = True,
    headers: Mapping[str, str] | None = None,
) -> httpx2.Client:
    """A client for paths below ``url``.

    Args:
        url: base address.
        user: name for HTTP's basic authentication, empty for none.
        password: the user's password.
        token: bearer token, used where no user is given; empty for none.
        timeout: seconds to wait for a connection, and for each piece of an answer.
        verify: whether and against what a TLS certificate is checked; a context may hold a certificate of ours.
        headers: sent with each request.
    """
    auth: httpx2.Auth | None = _Bearer(token) if token else None
    if user:
        auth = httpx2.BasicAuth(user, password)
    return httpx2.Client(
        base_url=url.rstrip("/"),
        auth=auth,
        timeout=timeout,
        verify=verify,
        headers={"Accept-Encoding": "identity", **(headers or {})},
        trust_env=False,  # images do not leave by a proxy that somebody's environment names
    )
