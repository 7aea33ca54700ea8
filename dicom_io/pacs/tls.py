"""TLS for DICOM and HTTP: 1.2 or newer (BCP 195, which PS3.15 annex B.9 and B.10 name), certificates always checked."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_tls(
    ca: Path | None = None, certificate: Path | None = None, key: Path | None = None, *, check_hostname: bool = True
) -> ssl.SSLContext:
    """TLS of the side that connects.

    Args:
        ca: file of the certificates that may have signed the other side's (PEM); the system's if None.
        certificate: our own certificate, for a server that asks for one.
        key: its private key; None if it stands in the same file.
        check_hostname: whether the certificate must name the host. Certificates of DICOM devices often do not; then ``ca``
            should hold the device's own certificate and nothing else.

    Raises:
        OSError: a file cannot be read, or is none (``ssl.SSLError``).
    """
    context = ssl.create_default_context(cafile=None if ca is None else str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = check_hostname
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def server_tls(certificate: Path, key: Path | None = None, ca: Path | None = None) -> ssl.SSLContext:
    """TLS of the side that listens.

    Args:
        certificate: its certificate (PEM).
        key: the private key; None if it stands in the same file.
        ca: with it whoever connects must show a certificate that one of these signed (mutual TLS).

    Raises:
        OSError: a file cannot be read, or is none (``ssl.SSLError``).
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    if ca is not None:
        context.load_verify_locations(ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
