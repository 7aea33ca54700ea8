"""From settings to the archive: transports, their TLS, and the node's own DICOM service."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from pathlib import Path
from typing import TypedDict
from urllib.parse import urljoin

import structlog

from dicom_io.pacs.association import Peer
from dicom_io.pacs.commitment import Holds
from dicom_io.pacs.dicomweb import DicomWebSink
from dicom_io.pacs.dicomweb_archive import DicomWebArchive
from dicom_io.pacs.dimse import DimseSink
from dicom_io.pacs.dimse_archive import DimseArchive, MoveReceiver
from dicom_io.pacs.inbox import Inbox
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.pacs.port import Archive, Sink
from dicom_io.pacs.scp import StorageScp
from dicom_io.pacs.tls import client_tls, server_tls
from learner.errors import ConfigurationError
from learner.settings import PacsSettings, ScpSettings, Settings, read_secret
from learner.storage.store import LocalStore

_MIB = 2**20
_log = structlog.get_logger(__name__)


def build_archive(
    settings: PacsSettings, receiver: MoveReceiver | None = None
) -> OrthancArchive | DicomWebArchive | DimseArchive:
    """The archive that is asked for what there is.

    Args:
        settings: of the archive; of any kind but ``inbox``.
        receiver: where objects arrive that are fetched by C-MOVE; by C-GET if None.

    Raises:
        ConfigurationError: a file with a secret or a certificate cannot be read.
    """
    polling: _Polling = {"stable_age": settings.stable_age_s, "days": settings.poll_days}
    if settings.kind == "dimse":
        return DimseArchive(build_peer(settings), receiver=receiver, **polling)
    if settings.kind == "dicomweb":
        return DicomWebArchive(**http_access(settings), **polling)
    return OrthancArchive(**http_access(settings) | {"url": settings.url})


def build_sink(settings: PacsSettings, archive: Archive) -> Sink:
    """The way in which results are stored.

    Raises:
        ConfigurationError: a file with a secret or a certificate cannot be read.
    """
    if settings.store_by == "dicomweb":
        return DicomWebSink(**http_access(settings))
    if settings.store_by == "dimse":
        peer = build_peer(settings)
        return DimseSink(peer.host, peer.port, peer.called_aet, peer.calling_aet, timeout=peer.timeout, tls=peer.tls)
    return archive


def build_receiving(settings: Settings, store: LocalStore) -> tuple[Archive, StorageScp | None]:
    """The archive that is read, and our own DICOM service where the settings ask for one.

    Raises:
        ConfigurationError: a file with a secret or a certificate cannot be read.
    """
    pacs, scp = settings.pacs, settings.scp
    if pacs.kind == "inbox":
        inbox = Inbox(
            settings.node.data / "inbox",
            stable_age=pacs.stable_age_s,
            limit_bytes=scp.spool_mb * _MIB,
            may_go=lambda uid: not store.queries.needs_images(uid),
            files=store.vault,
        )
        return inbox, _scp(settings, inbox, inbox.holds if scp.commitment else None)
    if pacs.kind == "dimse" and pacs.retrieve_by == "move":
        receiver = MoveReceiver()
        return build_archive(pacs, receiver), _scp(settings, receiver, None)
    return build_archive(pacs), None


def _scp(settings: Settings, sink: Sink, holds: Holds | None) -> StorageScp:
    scp, pacs = settings.scp, settings.pacs
    peers = {
        aet: Peer(host, port, aet, pacs.calling_aet, pacs.timeout_s, _client_tls(pacs) if scp.tls else None)
        for aet, (host, port) in scp.commitment_addresses().items()
    }
    return StorageScp(
        sink,
        pacs.calling_aet,
        scp.host,
        scp.port,
        allowed_aets=scp.allowed_aets,
        tls=_server_tls(scp) if scp.tls else None,
        associations=scp.associations,
        max_object_bytes=scp.max_object_mb * _MIB,
        holds=holds,
        commitment_peers=peers,
    )


class _Polling(TypedDict):
    stable_age: float
    days: int


class HttpAccess(TypedDict):
    """Where an archive's HTTP service is, and how it is entered."""

    url: str
    user: str
    password: str
    token: str
    timeout: float
    verify: ssl.SSLContext | bool


def http_access(settings: PacsSettings) -> HttpAccess:
    """How the DICOMweb service is reached; Orthanc's REST API differs by its path."""
    uses_tls = settings.url.lower().startswith("https:")
    return {
        "url": urljoin(settings.url, settings.dicomweb_root),
        "user": settings.user,
        "password": read_secret(settings.password_file),
        "token": read_secret(settings.token_file),
        "timeout": settings.timeout_s,
        "verify": _client_tls(settings) if uses_tls else True,
    }


def build_peer(settings: PacsSettings) -> Peer:
    """The archive's DIMSE services.

    Raises:
        ConfigurationError: a certificate cannot be read.
    """
    tls = _client_tls(settings) if settings.dimse_tls else None
    address = (settings.dimse_host, settings.dimse_port)
    return Peer(*address, settings.called_aet, settings.calling_aet, settings.timeout_s, tls)


def _client_tls(settings: PacsSettings) -> ssl.SSLContext:
    files = (settings.tls_ca_file, settings.tls_certificate_file, settings.tls_key_file)
    try:
        return client_tls(*files, check_hostname=settings.tls_check_hostname)
    except OSError as error:
        raise ConfigurationError(f"pacs.tls_*_file: {_named(error, files)}; check paths, rights and content") from None


def _server_tls(settings: ScpSettings) -> ssl.SSLContext:
    assert settings.tls_certificate_file is not None
    files = (settings.tls_certificate_file, settings.tls_key_file, settings.tls_ca_file)
    try:
        return server_tls(*files)
    except OSError as error:
        raise ConfigurationError(f"scp.tls_*_file: {_named(error, files)}; check paths, rights and content") from None


def _named(error: OSError, files: Iterable[Path | None]) -> str:
    """What is wrong, and with which files; OpenSSL names none."""
    return f"{error.strerror or error} ({', '.join(str(file) for file in files if file is not None)})"
