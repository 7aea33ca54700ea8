"""Archives for the contract suite: every adapter, on what it is made for."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TypeVar

import pytest
from orthanc_fixtures import PASSWORD, USER, MakeOrthanc
from pydicom import Dataset, dcmread
from slices import uids

from dicom_io.pacs.association import Peer
from dicom_io.pacs.dicomweb import DicomWebSink
from dicom_io.pacs.dicomweb_archive import DicomWebArchive
from dicom_io.pacs.dimse import send_to
from dicom_io.pacs.dimse_archive import DimseArchive, MoveReceiver
from dicom_io.pacs.inbox import Inbox
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.pacs.port import Archive, FeedPage, SeriesStatus, Sink
from dicom_io.pacs.scp import StorageScp
from learner.demo.orthanc import LocalOrthanc

NODE = "APPRENTICE"
STABLE_AGE_S = 0.3
_DEADLINE_S = 30.0
_T = TypeVar("_T")


@dataclass
class Bench:
    """An archive, and the world around it.

    Attributes:
        archive: what is tested.
        store: how an object comes to stand in it.
        delete: how a series is taken from it; by itself, where it can.
        settle: lets time pass, where that is in our hands.
        is_polled: whether its log is made of polls, so that it does not tell what came first between two of them.
        makes_files: whether it makes the files anew from data sets, so that their meta information differs.
    """

    archive: Archive
    store: Callable[[bytes], None]
    delete: Callable[[str], None]
    settle: Callable[[], None] = field(default=lambda: None)
    is_polled: bool = False
    makes_files: bool = False

    def start(self) -> int:
        """The cursor at the end of what other tests left."""
        return read_all(self.archive, 0)[-1].cursor

    def store_all(self, files: list[bytes]) -> str:
        for file in files:
            self.store(file)
        return uids(files[0])[1]

    def wait_stable(self, uid: str) -> SeriesStatus:
        self.settle()
        return until(lambda: self.archive.find_series(uid), lambda status: status.is_stable)

    def same(self, fetched: bytes, stored: bytes) -> bool:
        return fetched == stored if not self.makes_files else dataset(fetched) == dataset(stored)


def dataset(file: bytes) -> Dataset:
    return dcmread(BytesIO(file))


def written(content: Dataset) -> bytes:
    buffer = BytesIO()
    content.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def until(read: Callable[[], _T], good: Callable[[_T], bool]) -> _T:
    deadline = time.monotonic() + _DEADLINE_S
    while not good(value := read()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return value


def read_all(archive: Archive, cursor: int, limit: int = 500) -> list[FeedPage]:
    pages = [archive.page(cursor, limit)]
    while not pages[-1].done:
        pages.append(archive.page(pages[-1].cursor, limit))
    return pages


class Clients:
    """The clients of a test, closed after it."""

    def __init__(self, stack: ExitStack) -> None:
        self.stack = stack

    def archive(self, orthanc: LocalOrthanc, password: str = PASSWORD, path: str = "") -> OrthancArchive:
        return self.stack.enter_context(OrthancArchive(orthanc.url + path, USER, password, timeout=10))

    def stow(self, orthanc: LocalOrthanc, password: str = PASSWORD, path: str = "/dicom-web") -> DicomWebSink:
        return self.stack.enter_context(DicomWebSink(orthanc.url + path, USER, password, timeout=10))

    def dicomweb(self, orthanc: LocalOrthanc, password: str = PASSWORD, path: str = "/dicom-web") -> DicomWebArchive:
        url = orthanc.url + path
        made = DicomWebArchive(url, USER, password, timeout=10, stable_age=STABLE_AGE_S, days=0, page_size=3)
        return self.stack.enter_context(made)

    def dimse(self, orthanc: LocalOrthanc, receiver: MoveReceiver | None = None) -> DimseArchive:
        peer = Peer(*orthanc.dicom_address, orthanc.aet, NODE, timeout=10)
        return self.stack.enter_context(DimseArchive(peer, stable_age=STABLE_AGE_S, days=0, receiver=receiver))


KINDS = [
    "memory",
    *(pytest.param(kind, marks=pytest.mark.orthanc) for kind in ("orthanc", "dicomweb", "dimse-get", "dimse-move")),
    "inbox",
]


def make_bench(kind: str, clients: Clients, folder: Path, request: pytest.FixtureRequest) -> Bench:
    """The bench of one of ``KINDS``."""
    if kind == "memory":
        memory = MemoryArchive()
        return Bench(memory, memory.store, memory.delete_series, memory.settle)
    if kind == "inbox":
        now = [time.time()]
        inbox = clients.stack.enter_context(closing(Inbox(folder, stable_age=60, clock=lambda: now[0])))
        scp = clients.stack.enter_context(StorageScp(inbox, NODE))
        peer = Peer("127.0.0.1", scp.port, NODE, "MODALITY", timeout=10)

        def pass_time() -> None:
            now[0] += 61

        return Bench(inbox, lambda file: send_to(peer, [file]), inbox.delete_series, pass_time, makes_files=True)
    if kind == "orthanc":
        rest = clients.archive(request.getfixturevalue("orthanc"))
        return Bench(rest, rest.store, rest.delete_series)
    queried: QueriedOrthanc = request.getfixturevalue("queried_orthanc")
    rest = clients.archive(queried.orthanc)
    for series in rest.scan():  # a poll begins with everything that is there
        rest.delete_series(series.series_instance_uid)
    if kind == "dicomweb":
        return _polled(clients.dicomweb(queried.orthanc), rest, makes_files=False)
    if kind == "dimse-get":
        return _polled(clients.dimse(queried.orthanc), rest, makes_files=True)
    receiver = MoveReceiver()
    clients.stack.enter_context(StorageScp(receiver, NODE, port=queried.move_port, allowed_aets=[queried.orthanc.aet]))
    return _polled(clients.dimse(queried.orthanc, receiver), rest, makes_files=True)


def _polled(archive: Archive, rest: OrthancArchive, *, makes_files: bool) -> Bench:
    return Bench(archive, archive.store, rest.delete_series, is_polled=True, makes_files=makes_files)


@dataclass(frozen=True)
class QueriedOrthanc:
    """An Orthanc that answers queries of anybody, and moves objects to our SCP.

    Attributes:
        orthanc: itself.
        move_port: the port at which it expects our SCP.
    """

    orthanc: LocalOrthanc
    move_port: int


def make_queried_orthanc(make_orthanc: MakeOrthanc, move_port: int) -> QueriedOrthanc:
    allowed = {f"DicomAlwaysAllow{service}": True for service in ("Find", "Get", "Move", "Store")}
    node = {"AET": NODE, "Host": "127.0.0.1", "Port": move_port, "AllowFind": True, "AllowGet": True, "AllowMove": True}
    orthanc = make_orthanc(settings=allowed | {"DicomModalities": {"node": node}})
    orthanc.start()
    return QueriedOrthanc(orthanc, move_port)


def store_all(sink: Sink, files: list[bytes]) -> str:
    for file in files:
        sink.store(file)
    return uids(files[0])[1]
