"""Settings of the HTTP service, and of who may use it."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

Port = Annotated[int, Field(ge=1, le=65535)]
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - no address to listen on


class Section(BaseModel):
    """A section of the settings file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def is_loopback(host: str) -> bool:
    """Whether a host is this very machine, by the names that are used for it."""
    return host in _LOOPBACK


class ApiSettings(Section):
    """The node's own HTTP service."""

    host: str = Field(
        "127.0.0.1", description="Address to listen on; anything but loopback needs `tls_certificate`, and users or tokens."
    )
    port: Port = Field(8075, description="Port to listen on.")
    token_file: Path | None = Field(
        None, description="File that holds a bearer token that may do everything; `apprentice access add-token` makes others."
    )
    tls_certificate: Path | None = Field(None, description="The service's certificate (PEM): it speaks HTTPS then.")
    tls_key: Path | None = Field(None, description="Its private key, if it stands in a file of its own.")
    client_ca: Path | None = Field(
        None, description="Certificates that must have signed the client's (PEM, mutual TLS); no check without."
    )
    behind_proxy: bool = Field(
        False, description="Whether a proxy with TLS stands in front: no TLS is needed here, and everybody must sign in."
    )
    viewer_url: str = Field(
        "",
        description="Address of a study in a viewer: `{study}` for its UID and, if it can, `{instance}` for the image to open "
        "at and `{segmentation}` for the series to lay over it. Empty for OHIF as the node serves it, or for no link.",
    )
    public_url: str = Field(
        "", description="Address at which readers reach the node, for links in objects of the archive; host and port if empty."
    )

    @property
    def address(self) -> str:
        """Where the service answers, as whoever runs on the same machine would say it."""
        named = _EVERYWHERE.get(self.host, self.host)
        host = f"[{named}]" if ":" in named else named
        return f"{'https' if self.tls_certificate else 'http'}://{host}:{self.port}"

    @model_validator(mode="after")
    def _encrypted_beyond_loopback(self) -> Self:
        if self.tls_certificate is None and (self.tls_key is not None or self.client_ca is not None):
            raise ValueError("tls_key and client_ca need tls_certificate")
        if not is_loopback(self.host) and self.tls_certificate is None and not self.behind_proxy:
            raise ValueError("an address beyond loopback needs tls_certificate, or behind_proxy where a proxy has one")
        return self


class AccessSettings(Section):
    """Who may use the node. Users and tokens are managed by `apprentice access`; see `docs/access.md`."""

    session_hours: float = Field(12.0, gt=0, description="Hours after which somebody must sign in again.")
    session_idle_minutes: float = Field(120.0, gt=0, description="Minutes without any request after which a session ends.")
    requests_per_minute: int = Field(
        3000, ge=0, description="Requests to the API that one address may make in a minute; 0 for no limit."
    )
    proxy_user_header: str = Field(
        "", pattern=r"^[A-Za-z0-9-]*$", description="Header in which a proxy names who is signed in; empty for none."
    )
    proxy_role: Literal["reader", "operator", "admin"] = Field(
        "reader", description="Role of people whom the proxy names and who have no account here."
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses or networks of proxies whose headers are believed; the header from others is refused."
    )

    @model_validator(mode="after")
    def _trusts_somebody(self) -> Self:
        for one in self.trusted_proxies:
            ip_network(one)
        if self.proxy_user_header and not self.trusted_proxies:
            raise ValueError("proxy_user_header needs trusted_proxies")
        return self


class OidcSettings(Section):
    """Signing in by OpenID Connect, at an issuer of the hospital's; needs `api.public_url`. See `docs/access.md`."""

    issuer: str = Field("", description="Address of the issuer, as it names itself in its tokens; empty for none.")
    client_id: str = Field("", description="Name by which the issuer knows this node.")
    client_secret_file: Path | None = Field(None, description="File that holds the client's secret; a public client has none.")
    title: str = Field("the hospital's account", description="What the sign-in page says: Sign in with ...")
    scopes: tuple[str, ...] = Field(("openid", "profile"), description="Scopes that are asked for; `openid` among them.")
    user_claim: str = Field("preferred_username", description="Claim of the ID token that is the user's name here.")
    role_claim: str = Field(
        "groups", description="Claim that holds what the roles follow from, a text or a list; dots lead into an object."
    )
    readers: tuple[str, ...] = Field((), description="Values of `role_claim` that make somebody a reader.")
    operators: tuple[str, ...] = Field((), description="Values that make somebody an operator.")
    admins: tuple[str, ...] = Field((), description="Values that make somebody an admin.")
    ca_file: Path | None = Field(None, description="Certificates that may sign the issuer's (PEM); the system's if left out.")
    timeout_s: float = Field(10.0, gt=0, description="Longest wait for the issuer, in seconds.")

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if not self.issuer:
            return self
        if not is_trustworthy(self.issuer):
            raise ValueError("issuer must be an https address (http on loopback alone)")
        if not self.client_id or not self.user_claim or not self.role_claim:
            raise ValueError("an issuer needs client_id, user_claim and role_claim")
        if not (self.readers or self.operators or self.admins):
            raise ValueError("an issuer needs readers, operators or admins: nobody would have a role")
        if "openid" not in self.scopes:
            raise ValueError("scopes must hold openid")
        return self


def is_trustworthy(address: str) -> bool:
    """Whether an address is reached by TLS, or is on this very machine."""
    parts = urlsplit(address)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))
