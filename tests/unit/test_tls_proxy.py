"""nginx as it stands in front of the learner: it takes its configuration, and passes on what the learner trusts."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import pytest
from certificates import Certificates
from node_harness import free_port, wait_for

ROOT = Path(__file__).resolve().parents[2]
_EXTRACTED = ROOT / ".cache" / "nginx"
"""Where ``.ci/run`` puts Debian's, whose package would start a service."""


class _Echo(BaseHTTPRequestHandler):
    """In the learner's place: answers with what reached it."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size = 0
        if self.headers.get("Transfer-Encoding") == "chunked":
            while length := int(self.rfile.readline(), 16):
                size += len(self.rfile.read(length))
                self.rfile.readline()
            self.rfile.readline()
        else:
            size = len(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        body = json.dumps({"headers": {k.lower(): v for k, v in self.headers.items()}, "size": size}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST

    def log_message(self, *_arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def nginx() -> str:
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", str(_EXTRACTED / "usr" / "sbin")])
    found = shutil.which("nginx", path=places)
    if found is None:
        pytest.skip("nginx absent: it is in Debian's package nginx")
    return found


@pytest.fixture(scope="module")
def learner() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def proxy(nginx: str, learner: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """A client of nginx with the configuration as it is, but for addresses and paths."""
    folder = tmp_path_factory.mktemp("nginx")
    certificates = Certificates(folder)
    certificates.make("ca")
    certificates.make("server", signer="ca")
    (folder / "mime.types").write_text("types { }")
    port, health = free_port(), free_port()
    text = (ROOT / "docker" / "nginx" / "nginx.conf").read_text("utf-8")
    for old, new in {
        "/tmp/": f"{folder}/",
        "learner:8075": f"127.0.0.1:{learner}",
        "listen 8443": f"listen 127.0.0.1:{port}",
        "127.0.0.1:8080": f"127.0.0.1:{health}",
        "/run/secrets/tls_certificate": str(certificates.certificate("server")),
        "/run/secrets/tls_key": str(certificates.key("server")),
        "/etc/nginx/mime.types": str(folder / "mime.types"),
    }.items():
        assert old in text
        text = text.replace(old, new)
    (folder / "nginx.conf").write_text(text)
    arguments = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    checked = subprocess.run([*arguments, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen([*arguments, "-g", "daemon off;"])
    context = ssl.create_default_context(cafile=str(certificates.ca))
    with httpx2.Client(base_url=f"https://127.0.0.1:{port}", verify=context) as client:

        def well() -> bool:
            try:
                return httpx2.get(f"http://127.0.0.1:{health}/health").status_code == 204
            except httpx2.TransportError:
                return False

        wait_for(well, "nginx")
        yield client
    process.terminate()
    process.wait(timeout=20)


def test_the_learner_is_told_who_connected_and_how(proxy: httpx2.Client) -> None:
    answer = proxy.get("/api/status", headers={"X-Forwarded-For": "10.9.9.9", "X-Forwarded-Proto": "http"})
    assert answer.status_code == 200
    headers = answer.json()["headers"]
    assert headers["x-forwarded-for"] == "127.0.0.1", "what a client says of itself must not arrive"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["host"] == f"127.0.0.1:{proxy.base_url.port}"
    assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_nobody_can_say_who_they_are(proxy: httpx2.Client) -> None:
    assert not proxy.get("/", headers={"X-Remote-User": "admin"}).json()["headers"].get("x-remote-user")


def test_a_drawing_of_many_megabytes_passes(proxy: httpx2.Client) -> None:
    assert proxy.post("/dicom-web/studies", content=bytes(20 * 2**20)).json()["size"] == 20 * 2**20


def test_old_tls_is_refused(proxy: httpx2.Client, nginx: str) -> None:
    address = f"127.0.0.1:{proxy.base_url.port}"
    done = subprocess.run(
        ["openssl", "s_client", "-connect", address, "-tls1_1", "-cipher", "DEFAULT:@SECLEVEL=0"],
        input="",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
