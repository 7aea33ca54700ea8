"""The doctor asks a node that speaks HTTPS, or that asks who comes in."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from certificates import Certificates

from learner.doctor import Finding, Level, examine
from learner.version import __version__

STATUS = {"version": __version__, "node": {"archive_error": "", "trainer_alive": True, "trainer_restarts": 0}}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        content = json.dumps(STATUS).encode()
        self.send_response(200 if self.headers["Authorization"] == "Bearer secret" else 401)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    made = Certificates(tmp_path)
    for name, signer in (("ca", ""), ("node", "ca"), ("other", "ca")):
        made.make(name, signer)
    return made


@pytest.fixture
def port(certificates: Certificates) -> Iterator[int]:
    """Of a pretended node with a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.certificate("node"), certificates.key("node"))
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def findings(configuration: Path, port: int, *settings: str) -> dict[str, Finding]:
    text = "\n".join(["[api]", f"port = {port}", *settings, "[pacs]", 'url = "http://127.0.0.1:9"'])
    configuration.write_text(f'[node]\ndata = "data"\n{text}\n', encoding="utf-8")
    return {finding.name: finding for finding in examine(configuration, only=["node", "trainer"])}


def tls(certificates: Certificates, name: str) -> tuple[str, str]:
    return f'tls_certificate = "{certificates.certificate(name)}"', f'tls_key = "{certificates.key(name)}"'


def test_the_certificate_of_the_settings_is_trusted_and_no_other(
    configuration: Path, certificates: Certificates, port: int
) -> None:
    token = configuration.with_name("token")
    token.write_text("secret", encoding="utf-8")
    found = findings(configuration, port, *tls(certificates, "node"), 'token_file = "token"')
    assert {name: one.level for name, one in found.items()} == {"node": Level.OK, "trainer": Level.OK}
    other = findings(configuration, port, *tls(certificates, "other"), 'token_file = "token"')
    assert other["node"].level is Level.ERROR
    assert "https://127.0.0.1" in other["node"].what


def test_without_a_token_it_is_said_what_to_do(configuration: Path, certificates: Certificates, port: int) -> None:
    found = findings(configuration, port, *tls(certificates, "node"))
    assert found["node"].level is Level.WARNING
    assert "apprentice access add-token" in found["node"].remedy
    assert "trainer" not in found


def test_a_node_that_asks_for_clients_certificates_is_not_asked(
    configuration: Path, certificates: Certificates, port: int
) -> None:
    found = findings(configuration, port, *tls(certificates, "node"), f'client_ca = "{certificates.ca}"')
    assert (found["node"].level, "trainer" in found) == (Level.WARNING, False)


def test_certificates_and_key_of_the_service_are_looked_at(configuration: Path, certificates: Certificates) -> None:
    certificates.key("node").chmod(0o644)
    text = "\n".join(["[api]", *tls(certificates, "node"), f'client_ca = "{certificates.ca}"'])
    configuration.write_text(f'[node]\ndata = "data"\n{text}\n', encoding="utf-8")
    told = list(examine(configuration, only=["certificates", "secrets"]))
    assert {one.what.split(":")[0] for one in told} >= {"api.tls_certificate", "api.client_ca", "api.tls_key"}
    assert any(one.level is not Level.OK and "api.tls_key" in one.what for one in told)
