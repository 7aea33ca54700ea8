"""Who asks: a bearer token, a session's cookie, or the header of a proxy that signs people in.

A node on loopback that has no token, no account and no such proxy asks nobody. Everything else is closed, also when its last
account was removed.
"""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import Scope

from learner.domain.user import EVERYBODY, NOBODY, Role, User, is_name
from learner.errors import ConfigurationError
from learner.http.limits import FailedSignIns, RequestRate
from learner.http.roles import SAFE_METHODS
from learner.settings import Settings
from learner.settings_access import AccessSettings, is_loopback
from learner.storage.sessions import SessionLimits
from learner.storage.store import LocalStore

_TOKEN_OF_FILE = User("api.token_file", Role.ADMIN)
_COOKIE = "apprentice-session"


class Refused(Exception):
    """A request that is not served, whoever it comes from.

    Args:
        status: the HTTP status.
        detail: what is wrong.
        remedy: what to do.
    """

    def __init__(self, status: int, detail: str, remedy: str = "") -> None:
        super().__init__(detail)
        self.status = status
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks, and how that is known.

    Attributes:
        user: who; ``NOBODY`` where nothing was shown that says so, or what was shown is not valid.
        is_ambient: whether a browser adds the proof by itself, so that another site's page could make it ask.
    """

    user: User
    is_ambient: bool = False


class Access:
    """Who may use a node.

    Args:
        settings: of the node.
        store: accounts and sessions.
        token: what `api.token_file` holds; empty for none.
    """

    def __init__(self, settings: Settings, store: LocalStore, token: str) -> None:
        self.settings: AccessSettings = settings.access
        self.accounts, self.sessions, self.audit = store.accounts, store.sessions, store.audit
        self.limits = SessionLimits(self.settings.session_hours * 3600, self.settings.session_idle_minutes * 60)
        self.rate = RequestRate(self.settings.requests_per_minute)
        self.failures = FailedSignIns()
        self._token = token.encode()
        self._proxies = tuple(ipaddress.ip_network(one) for one in self.settings.trusted_proxies)
        self._behind_proxy = settings.api.behind_proxy
        self.issuer, self.issuer_title = settings.oidc.issuer, settings.oidc.title
        self._may_be_open = is_loopback(settings.api.host) and not self._behind_proxy

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are."""
        if not self._may_be_open or self._token or self.settings.proxy_user_header or self.issuer:
            return False
        return not self.accounts.exist()

    @property
    def page_is_open(self) -> bool:
        """Whether the page itself, which tells nothing, is shown before signing in: it asks for a token then."""
        return not (self.accounts.users_exist() or self.settings.proxy_user_header or self.issuer)

    def asker(self, scope: Scope, headers: Headers) -> Asker:
        """Who asks.

        Raises:
            Refused: the request is one that nobody may make.
        """
        if self.is_open:
            if not _from_loopback(headers):
                remedy = "Set api.token_file or add a user (`apprentice access add-user`), and sign in."
                raise Refused(403, "without users and tokens only loopback is served", remedy)
            return Asker(EVERYBODY)
        if "authorization" in headers:
            return Asker(self._bearer(headers["authorization"]))
        name = self.settings.proxy_user_header
        if name and name in headers:
            return Asker(self._of_proxy(scope, headers.getlist(name)), is_ambient=True)
        cookie = session_cookie(headers, self.is_secure(scope, headers))
        user = self.sessions.user(cookie, self.limits) if cookie else None
        return Asker(user, is_ambient=True) if user is not None else Asker(NOBODY)

    def client(self, scope: Scope, headers: Headers) -> str:
        """The address that a request comes from; what a trusted proxy says, else the connection's."""
        peer = _peer(scope)
        if self._trusts(peer):
            forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
            return forwarded[:64] or peer
        return peer

    def is_secure(self, scope: Scope, headers: Headers) -> bool:
        """Whether the browser's connection is encrypted, here or at the proxy in front."""
        forwarded = headers.get("x-forwarded-proto", "") if self._behind_proxy else ""
        return scope.get("scheme") == "https" or forwarded.lower() == "https"

    def _bearer(self, header: str) -> User:
        scheme, _, given = header.partition(" ")
        token = given.strip()
        if scheme.lower() != "bearer" or not token:
            return NOBODY
        if self._token and secrets.compare_digest(token.encode(), self._token):
            return _TOKEN_OF_FILE
        return self.accounts.user_of_token(token) or NOBODY

    def _of_proxy(self, scope: Scope, names: list[str]) -> User:
        if not self._trusts(_peer(scope)):
            raise Refused(403, "a proxy's header from an address that is no trusted proxy", "See access.trusted_proxies.")
        try:
            (name,) = (one.encode("latin-1").decode().strip() for one in names)
        except ValueError:
            raise Refused(400, "the proxy names no user, or several", "It must set the header once, in UTF-8.") from None
        if not is_name(name):
            return NOBODY
        account = self.accounts.find(name)
        known = account is not None and account.kind == "user"
        return User(name, account.role if account is not None and known else Role(self.settings.proxy_role), is_person=True)

    def _trusts(self, peer: str) -> bool:
        try:
            address = ipaddress.ip_address(peer)
        except ValueError:
            return False
        return any(address in network for network in self._proxies)


def check_entrance(settings: Settings, store: LocalStore, token: str) -> None:
    """Sees that somebody can enter a node that does not serve loopback alone.

    Raises:
        ConfigurationError: nobody can; says how to add a user.
    """
    beyond = not is_loopback(settings.api.host) or settings.api.behind_proxy
    ways = token or settings.access.proxy_user_header or settings.oidc.issuer
    if beyond and not (ways or store.accounts.exist()):
        raise ConfigurationError(
            "a node that serves more than loopback needs users or tokens: `apprentice access add-user NAME --role admin`, "
            "or set api.token_file"
        )


def session_cookie_name(*, secure: bool) -> str:
    """Name of the cookie; over TLS one that browsers take from this very host alone."""
    return f"__Host-{_COOKIE}" if secure else _COOKIE


def session_cookie(headers: Headers, secure: bool) -> str:
    """The session's secret that a request carries, or an empty string."""
    return cookie_parser(headers.get("cookie", "")).get(session_cookie_name(secure=secure), "")[:200]


def check_same_origin(scope: Scope, headers: Headers) -> None:
    """Sees that a request that changes something was made by this node's own page, as browsers tell.

    ``Sec-Fetch-Site`` is sent by browsers over TLS and to loopback; ``Origin`` by all with each POST.

    Raises:
        Refused: another site's page made it, or nothing tells.
    """
    if scope["method"] in SAFE_METHODS:
        return
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    same = site == "same-origin" if site is not None else origin is not None and _names_host(origin, headers.get("host", ""))
    if not same:
        remedy = "Use the node's own page; scripts send a bearer token."
        raise Refused(403, "the request does not come from this node's own page", remedy)


def _names_host(origin: str, host: str) -> bool:
    try:
        return bool(host) and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


def _from_loopback(headers: Headers) -> bool:
    """Whether the request was meant for a loopback address and comes from no other site's page."""
    origin = headers.get("origin")
    return _names_loopback(f"//{headers.get('host', '')}") and (origin is None or _names_loopback(origin))


def _names_loopback(address: str) -> bool:
    try:
        return is_loopback(urlsplit(address).hostname or "")
    except ValueError:
        return False
