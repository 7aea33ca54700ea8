"""What faults of a site are made of: a proxy that spoils answers, certificates of any date, files of a built OHIF, settings."""

from __future__ import annotations

import http.client
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Answer = tuple[int, bytes]
Spoil = Callable[[Answer], Answer]
_PASSED = ("Authorization", "Content-Type", "Accept", "Accept-Encoding")


@contextmanager
def proxy(target: str, spoil: Mapping[str, Spoil], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A proxy in front of an archive that spoils the answers to some paths; gives its address."""
    address = urlsplit(target)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            connection = http.client.HTTPConnection(str(address.hostname), int(address.port or 80), timeout=20)
            headers = {name: self.headers[name] for name in _PASSED if name in self.headers}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            status, content = answer.status, answer.read()
            connection.close()
            if (change := spoil.get(self.path.partition("?")[0])) is not None:
                status, content = change((status, content))
            self.send_response(status)
            for name in ("Content-Type", "Content-Encoding"):
                if name in answer.headers:
                    self.send_header(name, str(answer.headers[name]))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def certificate(folder: Path, begins_days: int, ends_days: int) -> Path:
    """A self-signed certificate for 127.0.0.1 with its key in one file, valid between two days counted from now."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + timedelta(days=begins_days))
        .not_valid_after(now + timedelta(days=ends_days))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / f"certificate-{ends_days}.pem"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    return path


def built_ohif(folder: Path) -> Path:
    """A folder that looks like a built OHIF."""
    folder.mkdir()
    (folder / "index.html").write_text('<script src="/app.bundle.0123456789abcdef0123.js"></script>')
    (folder / "app.bundle.0123456789abcdef0123.js").write_text('var version = "3.12.10";')
    return folder


def changed(configuration: Path, name: str, *changes: tuple[str, str], more: str = "") -> Path:
    """A settings file beside another, with some lines changed (by a regular expression each) and some more at its end."""
    text = configuration.read_text(encoding="utf-8")
    for pattern, line in changes:
        text, count = re.subn(pattern, line, text, count=1, flags=re.MULTILINE)
        assert count == 1, pattern
    path = configuration.with_name(f"{name}.toml")
    path.write_text(f"{text}\n{more}\n", encoding="utf-8")
    return path
