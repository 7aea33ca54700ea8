"""An issuer of OpenID Connect (Core 1.0): where people are sent, and who they are when they come back with a code.

Authorization code flow with PKCE (RFC 7636), by Authlib; ID tokens are checked by joserfc and Authlib. All is asked of the one
issuer that the settings name, over TLS, at addresses of its own origin.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from dicom_io.pacs.tls import client_tls
from learner.domain.user import Role, is_name
from learner.errors import ApprenticeError, ConfigurationError
from learner.settings_access import OidcSettings, is_trustworthy

_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
"""Signatures by a key that the issuer alone has: no ``none``, nothing by the client's secret."""
_CONFIGURATION = "/.well-known/openid-configuration"
_LEEWAY_S = 60
_KEPT_S = 3600.0
_ASKED_AGAIN_S = 30.0


class NotSignedIn(ApprenticeError):
    """The issuer, or what it says, signs nobody in.

    Args:
        text: what the person is told.
        reason: what the log is told; nothing of a person.
        status: the HTTP status.
        subject: who it was, where the issuer said so and gives them no role.
    """

    def __init__(self, text: str, reason: str, status: int = 403, subject: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.status = status
        self.subject = subject


@dataclass(frozen=True, slots=True)
class Person:
    """Whom the issuer signed in.

    Attributes:
        subject: who they are to the issuer, its address included; never given to another.
        name: what they are called here.
        role: the highest that the issuer's claim gives them.
    """

    subject: str
    name: str
    role: Role


@dataclass(frozen=True, slots=True)
class _Endpoints:
    authorization: str
    token: str
    keys: str


class Issuer:
    """One issuer, and this node as its client.

    Args:
        settings: of the section `oidc`.
        secret: the client's; empty for a public client.
        redirect: address to which the issuer sends people back.

    Raises:
        ConfigurationError: the file of certificates cannot be read.
    """

    def __init__(self, settings: OidcSettings, secret: str, redirect: str) -> None:
        self._settings = settings
        self._secret = secret
        self._redirect = redirect
        self._endpoints: _Endpoints | None = None
        self._keys: KeySet | None = None
        self._keys_at = -_KEPT_S
        self._lock = threading.Lock()
        try:
            self._tls = client_tls(settings.ca_file)
        except OSError as error:
            what = f"oidc.ca_file {settings.ca_file} cannot be used ({error.strerror or error})"
            raise ConfigurationError(f"{what}; check path, rights and content") from None

    def address(self, state: str, nonce: str, verifier: str) -> str:
        """Where a person is sent to sign in.

        Raises:
            NotSignedIn: the issuer cannot be reached, or is not what the settings name.
        """
        endpoint = self._discovered().authorization
        with self._client() as client:
            address, _ = client.create_authorization_url(endpoint, state=state, code_verifier=verifier, nonce=nonce)
        return str(address)

    def person(self, code: str, nonce: str, verifier: str) -> Person:
        """Who came back.

        Args:
            code: what the issuer sent along.
            nonce: what their ID token must hold.
            verifier: of which the issuer was shown the hash (PKCE).

        Raises:
            NotSignedIn: the issuer cannot be reached or refuses the code; the token is not sound; no name, no role.
        """
        endpoint = self._discovered().token
        try:
            with self._client() as client:
                answer = client.fetch_token(endpoint, grant_type="authorization_code", code=code, code_verifier=verifier)
        except (httpx2.HTTPError, ValueError) as error:
            raise _unreachable(error) from error
        except OAuthError as error:
            raise NotSignedIn("The issuer refused the sign-in. Try again.", f"token endpoint: {error.error}") from error
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise NotSignedIn("The issuer sent no ID token. Tell the node's administrator.", "no ID token", 502)
        return self._known(self._claims(token, nonce, str(answer.get("access_token", ""))))

    def _claims(self, token: str, nonce: str, access_token: str) -> Mapping[str, Any]:
        """The claims of an ID token, checked as Core 1.0, section 3.1.3.7, says."""
        settings = self._settings
        try:
            decoded = self._decoded(token)
            options = {
                "iss": {"essential": True, "value": settings.issuer},
                "aud": {"essential": True, "value": settings.client_id},
            }
            params = {"nonce": nonce, "client_id": settings.client_id, "access_token": access_token}
            claims = CodeIDToken(decoded.claims, decoded.header, options, params)
            claims.validate(leeway=_LEEWAY_S)
        except (JoseError, ValueError, TypeError) as error:
            reason = f"ID token: {type(error).__name__} {getattr(error, 'claim', '') or ''}".strip()
            raise NotSignedIn(
                "What the issuer sent is not valid here. Try again; if it stays so, tell the administrator.", reason
            ) from error
        return dict(claims)

    def _decoded(self, token: str) -> jwt.Token:
        """The token, its signature checked; the keys are fetched anew, once in a while, for one that none of them made."""
        try:
            return jwt.decode(token, self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            with self._lock:
                if time.monotonic() - self._keys_at < _ASKED_AGAIN_S:
                    raise
                self._keys = None
            return jwt.decode(token, self._key_set(), algorithms=_ALGORITHMS)

    def _known(self, claims: Mapping[str, Any]) -> Person:
        subject = f"{self._settings.issuer} {claims['sub']}"
        name, values = claims.get(self._settings.user_claim), _values(claims, self._settings.role_claim)
        if not isinstance(name, str) or not is_name(name) or not isinstance(claims["sub"], str) or not claims["sub"]:
            text = f"The issuer names you by no claim {self._settings.user_claim!r}. Tell the node's administrator."
            raise NotSignedIn(text, f"no usable claim {self._settings.user_claim}")
        role = self._role(values)
        if role is Role.NONE:
            what = "names no group of yours" if values is None else "names no group of yours that may use this node"
            text = f"You are known, but may not use this node: the issuer {what} (claim {self._settings.role_claim!r})."
            raise NotSignedIn(
                f"{text} Ask its administrator.", f"no role by claim {self._settings.role_claim}", subject=subject
            )
        return Person(subject, name, role)

    def _role(self, values: frozenset[str] | None) -> Role:
        settings = self._settings
        for role, wanted in (
            (Role.ADMIN, settings.admins),
            (Role.OPERATOR, settings.operators),
            (Role.READER, settings.readers),
        ):
            if values is not None and not values.isdisjoint(wanted):
                return role
        return Role.NONE

    def _discovered(self) -> _Endpoints:
        with self._lock:
            if self._endpoints is None:
                self._endpoints = self._checked(self._fetched(self._settings.issuer.rstrip("/") + _CONFIGURATION))
            return self._endpoints

    def _checked(self, told: Mapping[str, Any]) -> _Endpoints:
        """Endpoints of the issuer that the settings name (Discovery 1.0, section 4.3), asked at its own origin alone."""
        if told.get("issuer") != self._settings.issuer:
            raise _misconfigured("the issuer calls itself by another address than oidc.issuer")
        found = _Endpoints(*(str(told.get(name, "")) for name in ("authorization_endpoint", "token_endpoint", "jwks_uri")))
        if {_origin(found.token), _origin(found.keys)} != {_origin(self._settings.issuer)}:
            raise _misconfigured("token_endpoint or jwks_uri is of another origin than the issuer")
        if not is_trustworthy(found.authorization):
            raise _misconfigured("authorization_endpoint is no https address")
        return found

    def _key_set(self) -> KeySet:
        endpoint = self._discovered().keys
        with self._lock:
            if self._keys is None or time.monotonic() - self._keys_at > _KEPT_S:
                self._keys = KeySet.import_key_set(self._fetched(endpoint))  # type: ignore[arg-type]  # checked by it
                self._keys_at = time.monotonic()
            return self._keys

    def _fetched(self, address: str) -> dict[str, Any]:
        try:
            with httpx2.Client(verify=self._tls, timeout=self._settings.timeout_s, trust_env=False) as client:
                answer = client.get(address, headers={"Accept": "application/json"})
                answer.raise_for_status()
                told = answer.json()
        except (httpx2.HTTPError, ValueError) as error:
            raise _unreachable(error) from error
        if not isinstance(told, dict):
            raise _misconfigured(f"{urlsplit(address).path} is no JSON object")
        return told

    def _client(self) -> OAuth2Client:
        settings = self._settings
        return OAuth2Client(
            client_id=settings.client_id,
            client_secret=self._secret or None,
            scope=" ".join(settings.scopes),
            redirect_uri=self._redirect,
            code_challenge_method="S256",
            verify=self._tls,
            timeout=settings.timeout_s,
            trust_env=False,
        )


def _values(claims: Mapping[str, Any], name: str) -> frozenset[str] | None:
    """Texts of a claim, by its name or, step by step, by the parts of its name; None if it is not there."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    if isinstance(found, str):
        return frozenset({found})
    return frozenset(one for one in found if isinstance(one, str)) if isinstance(found, list) else None


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc.lower()


def _unreachable(error: Exception) -> NotSignedIn:
    text = "The issuer cannot be reached, or does not answer as it should. Try again in a while, or sign in with a password."
    return NotSignedIn(text, f"issuer: {type(error).__name__}", 502)


def _misconfigured(reason: str) -> NotSignedIn:
    return NotSignedIn(
        "The issuer is not what this node's settings say. Tell the node's administrator.", f"issuer: {reason}", 502
    )
