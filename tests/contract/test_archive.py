"""One suite for every archive and every sink; the laws are those that dicom_io/pacs/port.py states."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BytesIO
from typing import TypeVar

import pytest
from orthanc_fixtures import PASSWORD, USER, MakeOrthanc
from pydicom import dcmread
from pydicom.uid import generate_uid
from slices import make_slices, uids

from dicom_io.errors import NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.pacs.dicomweb import DicomWebSink
from dicom_io.pacs.dimse import DimseSink, send
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.pacs.port import Archive, FeedPage, SeriesStatus, Sink
from learner.demo.orthanc import LocalOrthanc

_DEADLINE_S = 30.0
_T = TypeVar("_T")


@dataclass
class Bench:
    """An archive, and how to let its series become stable."""

    archive: Archive
    settle: Callable[[], None]

    def start(self) -> int:
        """The cursor at the end of what other tests left."""
        return _read_all(self.archive, 0)[-1].cursor

    def wait_stable(self, uid: str) -> SeriesStatus:
        self.settle()
        return _until(lambda: self.archive.find_series(uid), lambda status: status.is_stable)


def _until(read: Callable[[], _T], good: Callable[[_T], bool]) -> _T:
    deadline = time.monotonic() + _DEADLINE_S
    while not good(value := read()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return value


def _read_all(archive: Archive, cursor: int, limit: int = 500) -> list[FeedPage]:
    pages = [archive.page(cursor, limit)]
    while not pages[-1].done:
        pages.append(archive.page(pages[-1].cursor, limit))
    return pages


class Clients:
    """The HTTP clients of a test, closed after it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack

    def archive(self, orthanc: LocalOrthanc, password: str = PASSWORD, path: str = "") -> OrthancArchive:
        return self._stack.enter_context(OrthancArchive(orthanc.url + path, USER, password, timeout=10))

    def stow(self, orthanc: LocalOrthanc, password: str = PASSWORD, path: str = "/dicom-web") -> DicomWebSink:
        return self._stack.enter_context(DicomWebSink(orthanc.url + path, USER, password, timeout=10))


@pytest.fixture
def clients() -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(stack)


@pytest.fixture(params=["memory", pytest.param("orthanc", marks=pytest.mark.orthanc)])
def bench(request: pytest.FixtureRequest, clients: Clients) -> Bench:
    if request.param == "memory":
        memory = MemoryArchive()
        return Bench(memory, memory.settle)
    return Bench(clients.archive(request.getfixturevalue("orthanc")), lambda: None)


def _store_all(sink: Sink, files: list[bytes]) -> str:
    for file in files:
        sink.store(file)
    return uids(files[0])[1]


def test_a_series_is_told_with_all_that_a_task_is_matched_by(bench: Bench) -> None:
    files = make_slices(3)
    uid = _store_all(bench.archive, files)
    found = bench.archive.find_series(uid)
    assert found.series_instance_uid == uid
    assert (found.modality, found.series_description, found.study_description) == ("MR", "t2 axial", "prostate")
    assert (found.body_part, found.protocol_name) == ("PROSTATE", "t2_tse")
    assert len(found.instance_ids) == 3
    assert list(found.instance_ids) == sorted(found.instance_ids)


def test_the_log_tells_each_touched_series_once_in_order_of_its_last_entry(bench: Bench) -> None:
    start = bench.start()
    early, late = make_slices(3), make_slices(2)
    for file in (early[0], late[0], early[1], late[1], early[2]):
        bench.archive.store(file)
    page = bench.archive.page(start)
    assert [one.series_instance_uid for one in page.touched] == [uids(late[0])[1], uids(early[0])[1]]
    assert [len(one.instance_ids) for one in page.touched] == [2, 3]
    assert page.cursor > start


def test_small_pages_add_up_to_the_whole_log(bench: Bench) -> None:
    start = bench.start()
    stored = [_store_all(bench.archive, make_slices(2)) for _ in range(3)]
    pages = _read_all(bench.archive, start, limit=2)
    assert len(pages) > 2
    cursors = [start, *(page.cursor for page in pages)]
    assert cursors == sorted(set(cursors))
    assert [page.done for page in pages] == [False] * (len(pages) - 1) + [True]
    told = [one.series_instance_uid for page in pages for one in page.touched]
    assert list(dict.fromkeys(told)) == stored


def test_at_the_end_of_the_log_the_cursor_stays(bench: Bench) -> None:
    bench.wait_stable(_store_all(bench.archive, make_slices(1)))
    end = _until(bench.start, lambda cursor: bench.archive.page(cursor).touched == ())
    page = bench.archive.page(end)
    assert (page.touched, page.done) == ((), True)
    assert page.cursor >= end


def test_stability_is_told_by_the_log(bench: Bench) -> None:
    start = bench.start()
    uid = _store_all(bench.archive, make_slices(2))
    page = bench.archive.page(start)
    assert [one.is_stable for one in page.touched if one.series_instance_uid == uid] == [False]
    bench.settle()
    _until(
        lambda: [one for later in _read_all(bench.archive, page.cursor) for one in later.touched],
        lambda touched: any(one.series_instance_uid == uid and one.is_stable for one in touched),
    )


def test_a_series_that_is_gone_is_left_out(bench: Bench) -> None:
    start = bench.start()
    gone, kept = (_store_all(bench.archive, make_slices(2)) for _ in range(2))
    bench.archive.delete_series(gone)
    told = [one.series_instance_uid for page in _read_all(bench.archive, start) for one in page.touched]
    assert gone not in told
    assert kept in told
    assert gone not in [one.series_instance_uid for one in bench.archive.scan()]


def test_the_scan_tells_every_series_once(bench: Bench) -> None:
    stored = {_store_all(bench.archive, make_slices(1)) for _ in range(3)}
    told = [one.series_instance_uid for one in bench.archive.scan()]
    assert stored <= set(told)
    assert len(told) == len(set(told))


def test_what_is_fetched_is_what_was_stored(bench: Bench) -> None:
    files = make_slices(5)
    series = bench.archive.find_series(_store_all(bench.archive, files))
    fetched = bench.archive.fetch_series(series)
    assert sorted(fetched) == sorted(files)
    assert [bench.archive.fetch(name) for name in series.instance_ids] == fetched


def test_storing_again_changes_nothing(bench: Bench) -> None:
    files = make_slices(2)
    uid = _store_all(bench.archive, files)
    before = bench.wait_stable(uid)
    end = _until(bench.start, lambda cursor: bench.archive.page(cursor).touched == ())
    _store_all(bench.archive, files)
    assert bench.archive.find_series(uid).instance_ids == before.instance_ids
    assert bench.archive.page(end).touched == ()


def test_what_is_not_there_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotInPacs):
        bench.archive.find_series("1.2.3.4")
    with pytest.raises(NotInPacs):
        bench.archive.fetch("1.2.3.4")
    series = bench.archive.find_series(_store_all(bench.archive, make_slices(2)))
    bench.archive.delete_series(series.series_instance_uid)
    with pytest.raises(NotInPacs):
        bench.archive.fetch_series(series)


def test_the_series_of_an_instance_are_told_all_of_them(bench: Bench) -> None:
    files = make_slices(2)
    other_uid = str(generate_uid())
    twin = _moved(files[0], other_uid)
    for file in (*files, twin):
        bench.archive.store(file)
    sop_uid, series_uid = uids(files[0])
    assert bench.archive.series_of(sop_uid) == tuple(sorted([series_uid, other_uid]))
    assert bench.archive.series_of(uids(files[1])[0]) == (series_uid,)
    assert bench.archive.series_of("1.2.3.4.5.6.7") == ()


def _moved(file: bytes, series_uid: str) -> bytes:
    """The same instance, said to be of another series."""
    dataset = dcmread(BytesIO(file))
    dataset.SeriesInstanceUID = series_uid
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def test_deleting_twice_is_no_error(bench: Bench) -> None:
    uid = _store_all(bench.archive, make_slices(1))
    bench.archive.delete_series(uid)
    bench.archive.delete_series(uid)
    with pytest.raises(NotInPacs):
        bench.archive.find_series(uid)


def test_the_memory_archive_can_be_down() -> None:
    archive = MemoryArchive()
    archive.outage = PacsUnavailable("memory", "down", "Wait.")
    for call in (
        lambda: archive.page(0),
        lambda: list(archive.scan()),
        lambda: archive.fetch("1"),
        lambda: archive.find_series("1"),
    ):
        with pytest.raises(PacsUnavailable):
            call()


# Sinks


@pytest.fixture(params=["memory", *(pytest.param(kind, marks=pytest.mark.orthanc) for kind in ("rest", "stow", "dimse"))])
def sink(request: pytest.FixtureRequest, clients: Clients) -> tuple[Sink, Archive]:
    """A sink, and the archive behind it."""
    if request.param == "memory":
        memory = MemoryArchive()
        return memory, memory
    orthanc: LocalOrthanc = request.getfixturevalue("orthanc")
    archive = clients.archive(orthanc)
    if request.param == "stow":
        return clients.stow(orthanc), archive
    return (DimseSink(*orthanc.dicom_address, orthanc.aet), archive) if request.param == "dimse" else (archive, archive)


def test_a_sink_stores_once_and_again(sink: tuple[Sink, Archive]) -> None:
    target, archive = sink
    files = make_slices(2)
    uid = _store_all(target, files)
    _store_all(target, files)
    assert len(archive.find_series(uid).instance_ids) == 2


@pytest.mark.parametrize("cut", [1, 300, 1100, 1400])
def test_a_sink_refuses_what_is_cut_off(sink: tuple[Sink, Archive], cut: int) -> None:
    target, archive = sink
    file = make_slices(1)[0]
    with pytest.raises(PacsRefused):
        target.store(file[:-cut])
    with pytest.raises(NotInPacs):
        archive.find_series(uids(file)[1])


def test_a_sink_refuses_what_is_no_dicom(sink: tuple[Sink, Archive]) -> None:
    with pytest.raises(PacsRefused):
        sink[0].store(b"no DICOM at all" * 40)


@pytest.mark.orthanc
def test_wrong_password_is_refused_without_naming_it(orthanc: LocalOrthanc, clients: Clients) -> None:
    archive, stow = clients.archive(orthanc, "wrong-secret"), clients.stow(orthanc, "wrong-secret")
    for call in (
        lambda: archive.page(0),
        lambda: list(archive.scan()),
        lambda: archive.store(make_slices(1)[0]),
        lambda: archive.delete_series("1.2.3"),
        lambda: stow.store(make_slices(1)[0]),
    ):
        with pytest.raises(PacsRefused) as caught:
            call()
        assert "wrong-secret" not in str(caught.value)


@pytest.mark.orthanc
def test_a_wrong_address_is_refused(orthanc: LocalOrthanc, clients: Clients) -> None:
    with pytest.raises(PacsRefused):
        clients.archive(orthanc, path="/elsewhere").page(0)
    with pytest.raises(PacsRefused):
        clients.stow(orthanc, path="/elsewhere").store(make_slices(1)[0])
    with OrthancArchive("ftp://127.0.0.1") as archive, pytest.raises(PacsRefused):
        archive.page(0)


@pytest.mark.orthanc
def test_the_cursor_survives_sigkill_and_a_stopped_archive_is_unavailable(make_orthanc: MakeOrthanc, clients: Clients) -> None:
    orthanc = make_orthanc(stable_age=60)
    orthanc.start()
    archive, stow = clients.archive(orthanc), clients.stow(orthanc)
    first = _store_all(archive, make_slices(2))
    before = _read_all(archive, 0)[-1].cursor
    for end in (orthanc.kill, orthanc.stop):
        end()
        for call in (
            lambda: archive.page(0),
            lambda: archive.store(make_slices(1)[0]),
            lambda: stow.store(make_slices(1)[0]),
        ):
            with pytest.raises(PacsUnavailable):
                call()
        orthanc.start()
        uid = _store_all(archive, make_slices(1))
        told = [one.series_instance_uid for page in _read_all(archive, before) for one in page.touched]
        assert uid in told
        assert first not in told
    # What Orthanc never called stable because it was killed meanwhile is stable all the same; the scan tells it.
    assert {one.series_instance_uid: one.is_stable for one in archive.scan()}[first]


@pytest.mark.orthanc
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom 3.0.4 leaves a refused socket open
def test_a_stopped_scp_is_unavailable(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc()  # its ports are chosen, but it never runs
    with pytest.raises(PacsUnavailable):
        DimseSink(*orthanc.dicom_address).store(make_slices(1)[0])
    gc.collect()  # so that the socket's warning falls into this test and not into a later one


@pytest.mark.orthanc
def test_a_kind_of_object_that_the_scp_does_not_accept_is_refused(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc(settings={"AcceptedTransferSyntaxes": ["1.2.840.10008.1.2"], "UnknownSopClassAccepted": False})
    orthanc.start()
    with pytest.raises(PacsRefused, match=r"1\.2\.840\.10008\.1\.2\.1"):
        DimseSink(*orthanc.dicom_address).store(make_slices(1)[0])


@pytest.mark.orthanc
def test_a_series_goes_in_one_association_with_its_progress_told(orthanc: LocalOrthanc, clients: Clients) -> None:
    files, told = make_slices(4), []
    send(files, orthanc.dicom_address, called_aet=orthanc.aet, progress=told.append)
    assert told == [1, 2, 3, 4]
    assert len(clients.archive(orthanc).find_series(uids(files[0])[1]).instance_ids) == 4
