"""A small issuer of OpenID Connect on loopback: discovery, keys, authorization and tokens; what it says can be changed."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey

CLIENT, SECRET = "apprentice", "the client's secret"
Change = Callable[[dict[str, Any]], dict[str, Any]]


def as_it_is(content: dict[str, Any]) -> dict[str, Any]:
    return content


@dataclass
class TestIssuer:
    """What the issuer knows, and how it misbehaves.

    Attributes:
        person: claims about whoever signs in.
        change_token: changes the claims of an ID token.
        change_configuration: changes the discovery document.
        sign: makes the token of the claims; by its own key if None.
        requests: paths that were asked for, in order.
        status: of the answers to everything; 200 while it is well.
    """

    __test__ = False
    url: str = ""
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "s-1", "preferred_username": "eva", "groups": ["radiology"]})
    change_token: Change = as_it_is
    change_configuration: Change = as_it_is
    sign: Callable[[dict[str, Any]], str] | None = None
    requests: list[str] = field(default_factory=list)
    status: int = 200
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"}))
    codes: dict[str, dict[str, str]] = field(default_factory=dict)

    def configuration(self) -> dict[str, Any]:
        found = {"issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "response_types_supported": ["code"]}
        return self.change_configuration(found | {"token_endpoint": f"{self.url}/token", "jwks_uri": f"{self.url}/keys"})

    def authorize(self, asked: dict[str, str]) -> str:
        """Signs the person in at once; where the browser is sent back to."""
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state'], 'iss': self.url})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """RFC 6749, section 4.1.3, with client_secret_basic and PKCE: a code is good once."""
        name, _, secret = base64.b64decode(authorization.partition(" ")[2]).decode().partition(":")
        asked = self.codes.pop(form.get("code", ""), None)
        if (unquote(name), unquote(secret)) != (CLIENT, SECRET):
            return 401, {"error": "invalid_client"}
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).rstrip(b"=").decode()
        )
        if asked is None or challenge != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        now = int(time.time())
        times = {"iat": now, "exp": now + 300}
        claims = {"iss": self.url, "aud": CLIENT, "nonce": asked["nonce"], **times, **self.person}
        token = (self.sign or self.signed)(self.change_token(claims))
        return 200, {"access_token": "opaque", "token_type": "Bearer", "expires_in": 300, "id_token": token}

    def signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "RS256", "kid": self.key.kid}, claims, self.key)

    def signed_by_another(self, claims: dict[str, Any]) -> str:
        """With a key that nobody published, under the name of the one that is."""
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, RSAKey.generate_key(2048))

    def signed_by_unknown(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": "ES256", "kid": "k9"}, claims, ECKey.generate_key("P-256"))

    def signed_by_secret(self, claims: dict[str, Any]) -> str:
        """By HMAC with what everybody can read: the published key (the confusion of algorithms)."""
        public = json.dumps(self.key.as_dict(private=False)).encode()
        return jwt.encode({"alg": "HS256", "kid": "k1"}, claims, OctKey.import_key(public))

    def unsigned(self, claims: dict[str, Any]) -> str:
        parts = ({"alg": "none", "kid": "k1"}, claims)
        return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


class _Handler(BaseHTTPRequestHandler):
    issuer: TestIssuer

    def do_GET(self) -> None:
        path, issuer = urlsplit(self.path), self.issuer
        issuer.requests.append(path.path)
        if path.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", issuer.authorize({name: values[0] for name, values in parse_qs(path.query).items()}))
            self.end_headers()
            return
        found = {
            "/.well-known/openid-configuration": issuer.configuration,
            "/keys": lambda: {"keys": [issuer.key.as_dict(private=False)]},
        }
        self._answer(issuer.status, found[path.path]())

    def do_POST(self) -> None:
        self.issuer.requests.append(self.path)
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        status, content = self.issuer.token({n: v[0] for n, v in form.items()}, self.headers.get("Authorization", ""))
        self._answer(status if self.issuer.status == 200 else self.issuer.status, content)

    def _answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def running_issuer(tls: Any = None) -> Iterator[TestIssuer]:
    """An issuer that answers, by TLS if a context is given."""
    issuer = TestIssuer()
    handler = type("Handler", (_Handler,), {"issuer": issuer})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        issuer.url = f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield issuer
        finally:
            server.shutdown()
            thread.join()
