"""One suite for every way into an archive, and what a wrong, stopped or unwilling archive becomes."""

from __future__ import annotations

import gc

import pytest
from benches import Clients, read_all, store_all
from orthanc_fixtures import MakeOrthanc
from slices import make_slices, uids

from dicom_io.errors import NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.pacs.dimse import DimseSink, send
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.pacs.port import Archive, Sink
from learner.demo.orthanc import LocalOrthanc


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
    uid = store_all(target, files)
    store_all(target, files)
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
    first = store_all(archive, make_slices(2))
    before = read_all(archive, 0)[-1].cursor
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
        uid = store_all(archive, make_slices(1))
        told = [one.series_instance_uid for page in read_all(archive, before) for one in page.touched]
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
