"""How the service is entered: TLS, mutual TLS, and no service beyond loopback that nobody can sign in to."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from certificates import Certificates
from node_harness import wait_for

from dicom_io.pacs.tls import client_tls
from learner.storage.store import LocalStore

COMMAND = [sys.executable, "-m", "learner", "serve", "--config"]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    for name, signer in (("ca", ""), ("node", "ca"), ("client", "ca"), ("stranger", "")):
        made.make(name, signer)
    return made


def configured(configuration: Path, api: str) -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    text = configuration.read_text(encoding="utf-8").replace("port = 9", f"port = {port}\n{api}")
    configuration.write_text(text, encoding="utf-8")
    return port


@contextmanager
def serving(configuration: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, str(configuration)], stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def status(url: str, tls: ssl.SSLContext) -> int:
    """The answer's status, or 0 where there is none."""
    try:
        return httpx2.get(f"{url}/health/live", verify=tls, timeout=10, trust_env=False).status_code
    except httpx2.TransportError:
        return 0


def test_the_service_speaks_tls_and_only_to_whoever_shows_a_certificate(
    configuration: Path, certificates: Certificates
) -> None:
    files = {"tls_certificate": certificates.certificate("node"), "tls_key": certificates.key("node")}
    files["client_ca"] = certificates.ca
    port = configured(configuration, "".join(f'{name} = "{path}"\n' for name, path in files.items()))
    ours = client_tls(certificates.ca, certificates.certificate("client"), certificates.key("client"))
    with serving(configuration):
        url = f"https://127.0.0.1:{port}"
        wait_for(lambda: status(url, ours) == 200, "the service by TLS")
        assert status(url, client_tls(certificates.ca)) == 0
        stranger = client_tls(certificates.ca, certificates.certificate("stranger"), certificates.key("stranger"))
        assert status(url, stranger) == 0
        assert status(f"http://127.0.0.1:{port}", ours) == 0
        old = client_tls(certificates.ca, certificates.certificate("client"), certificates.key("client"))
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # that is the point
            old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        assert status(url, old) == 0


def test_a_certificate_that_is_none_is_one_line(configuration: Path, tmp_path: Path) -> None:
    configured(configuration, f'tls_certificate = "{tmp_path / "none.pem"}"\n')
    result = subprocess.run([*COMMAND, str(configuration)], capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "api.tls_certificate" in result.stderr


def test_a_node_beyond_loopback_that_nobody_can_sign_in_to_does_not_start(configuration: Path, tmp_path: Path) -> None:
    configured(configuration, "behind_proxy = true\n")
    result = subprocess.run([*COMMAND, str(configuration)], capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 1
    assert "apprentice access add-user" in result.stderr
    assert LocalStore(tmp_path / "data").accounts.all() == ()
