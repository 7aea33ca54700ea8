"""One suite for every archive; the laws are those that dicom_io/pacs/port.py states."""

from __future__ import annotations

from pathlib import Path

import pytest
from benches import KINDS, Bench, Clients, dataset, make_bench, read_all, until, written
from pydicom.uid import UID, JPEGLSLossless, RLELossless, generate_uid
from slices import make_slices, uids

from dicom_io.errors import NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.pacs.memory import MemoryArchive


@pytest.fixture(params=KINDS)
def bench(request: pytest.FixtureRequest, clients: Clients, tmp_path: Path) -> Bench:
    return make_bench(request.param, clients, tmp_path, request)


def test_a_series_is_told_with_all_that_a_task_is_matched_by(bench: Bench) -> None:
    files = make_slices(3)
    uid = bench.store_all(files)
    found = bench.archive.find_series(uid)
    assert found.series_instance_uid == uid
    assert (found.modality, found.series_description, found.study_description) == ("MR", "t2 axial", "prostate")
    assert (found.body_part, found.protocol_name) == ("PROSTATE", "t2_tse")
    assert found.patient_id == dataset(files[0]).PatientID
    assert found.patient_id not in repr(found)
    assert len(found.instance_ids) == 3
    assert list(found.instance_ids) == sorted(found.instance_ids)


def test_the_log_tells_each_touched_series_once_in_order_of_its_last_entry(bench: Bench) -> None:
    start = bench.start()
    early, late = make_slices(3), make_slices(2)
    for file in (early[0], late[0], early[1], late[1], early[2]):
        bench.store(file)
    page = bench.archive.page(start)
    told = [(one.series_instance_uid, len(one.instance_ids)) for one in page.touched]
    expected = [(uids(late[0])[1], 2), (uids(early[0])[1], 3)]
    assert (sorted(told) == sorted(expected)) if bench.is_polled else (told == expected)
    assert page.cursor > start


def test_a_flood_tells_a_series_when_it_begins_and_when_it_is_stable(bench: Bench) -> None:
    start = bench.start()
    images, drawing = make_slices(40), make_slices(1)
    for file in (*images[:30], *drawing, *images[30:]):
        bench.store(file)
    told = [one.series_instance_uid for page in read_all(bench.archive, start) for one in page.touched]
    assert {uids(images[0])[1], uids(drawing[0])[1]} <= set(told)
    page = bench.archive.page(start)
    bench.settle()
    until(
        lambda: [one for later in read_all(bench.archive, page.cursor) for one in later.touched],
        lambda touched: any(one.is_stable and len(one.instance_ids) == 40 for one in touched),
    )


def test_small_pages_add_up_to_the_whole_log(bench: Bench) -> None:
    start = bench.start()
    stored = [bench.store_all(make_slices(2)) for _ in range(3)]
    pages = read_all(bench.archive, start, limit=1)
    assert len(pages) > 2
    cursors = [start, *(page.cursor for page in pages)]
    assert cursors == sorted(set(cursors))
    assert [page.done for page in pages] == [False] * (len(pages) - 1) + [True]
    told = [one.series_instance_uid for page in pages for one in page.touched if one.series_instance_uid in stored]
    assert (set(told) == set(stored)) if bench.is_polled else (list(dict.fromkeys(told)) == stored)


def test_at_the_end_of_the_log_the_cursor_stays(bench: Bench) -> None:
    bench.wait_stable(bench.store_all(make_slices(1)))
    end = until(bench.start, lambda cursor: bench.archive.page(cursor).touched == ())
    page = bench.archive.page(end)
    assert (page.touched, page.done) == ((), True)
    assert page.cursor >= end


def test_stability_is_told_by_the_log(bench: Bench) -> None:
    start = bench.start()
    uid = bench.store_all(make_slices(2))
    page = bench.archive.page(start)
    assert [one.is_stable for one in page.touched if one.series_instance_uid == uid] == [False]
    bench.settle()
    until(
        lambda: [one for later in read_all(bench.archive, page.cursor) for one in later.touched],
        lambda touched: any(one.series_instance_uid == uid and one.is_stable for one in touched),
    )


def test_a_series_that_is_gone_is_left_out(bench: Bench) -> None:
    start = bench.start()
    gone, kept = (bench.store_all(make_slices(2)) for _ in range(2))
    bench.delete(gone)
    told = [one.series_instance_uid for page in read_all(bench.archive, start) for one in page.touched]
    assert gone not in told
    assert kept in told
    assert gone not in [one.series_instance_uid for one in bench.archive.scan()]


def test_the_scan_tells_every_series_once(bench: Bench) -> None:
    stored = {bench.store_all(make_slices(1)) for _ in range(3)}
    told = [one.series_instance_uid for one in bench.archive.scan()]
    assert stored <= set(told)
    assert len(told) == len(set(told))


def test_what_is_fetched_is_what_was_stored(bench: Bench) -> None:
    files = make_slices(5)
    series = bench.archive.find_series(bench.store_all(files))
    fetched = bench.archive.fetch_series(series)
    by_uid = {uids(file)[0]: file for file in files}
    assert len(fetched) == len(by_uid)
    assert all(bench.same(file, by_uid[uids(file)[0]]) for file in fetched)
    assert [bench.archive.fetch(name) for name in series.instance_ids] == fetched


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
def test_what_is_compressed_stays_compressed(bench: Bench, syntax: UID) -> None:
    slices = [dataset(file) for file in make_slices(3)]
    for one in slices:
        one.compress(syntax, generate_instance_uid=False)
    files = [written(one) for one in slices]
    fetched = bench.archive.fetch_series(bench.archive.find_series(bench.store_all(files)))
    assert len(fetched) == 3
    by_uid = {uids(file)[0]: file for file in files}
    assert all(bench.same(file, by_uid[uids(file)[0]]) for file in fetched)
    assert {dataset(file).file_meta.TransferSyntaxUID for file in fetched} == {syntax}


def test_storing_again_changes_nothing(bench: Bench) -> None:
    files = make_slices(2)
    uid = bench.store_all(files)
    before = bench.wait_stable(uid)
    end = until(bench.start, lambda cursor: bench.archive.page(cursor).touched == ())
    bench.store_all(files)
    assert bench.archive.find_series(uid).instance_ids == before.instance_ids
    assert bench.archive.page(end).touched == ()


def test_what_is_not_there_is_not_found(bench: Bench) -> None:
    with pytest.raises(NotInPacs):
        bench.archive.find_series("1.2.3.4")
    with pytest.raises(NotInPacs):
        bench.archive.fetch("1.2.3.4")
    series = bench.archive.find_series(bench.store_all(make_slices(2)))
    bench.delete(series.series_instance_uid)
    with pytest.raises(NotInPacs):
        bench.archive.fetch_series(series)
    with pytest.raises(NotInPacs):
        bench.archive.fetch(series.instance_ids[0])


def test_the_series_of_an_instance_are_told_all_of_them(bench: Bench) -> None:
    files = make_slices(2)
    other_uid = str(generate_uid())
    twin = _moved(files[0], other_uid)
    for file in (*files, twin):
        bench.store(file)
    sop_uid, series_uid = uids(files[0])
    assert bench.archive.series_of(sop_uid) == tuple(sorted([series_uid, other_uid]))
    assert bench.archive.series_of(uids(files[1])[0]) == (series_uid,)
    assert bench.archive.series_of("1.2.3.4.5.6.7") == ()


def _moved(file: bytes, series_uid: str) -> bytes:
    """The same instance, said to be of another series."""
    moved = dataset(file)
    moved.SeriesInstanceUID = series_uid
    return written(moved)


def test_deleting_twice_is_no_error_where_series_can_be_deleted(bench: Bench) -> None:
    uid = bench.store_all(make_slices(1))
    if bench.is_polled:
        assert not bench.archive.can_delete
        with pytest.raises(PacsRefused):
            bench.archive.delete_series(uid)
        return
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
