"""The spool: nothing half is received, nothing received is lost, nothing that is needed goes."""

from __future__ import annotations

import os
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from pydicom import dcmread
from slices import make_slices, uids

from dicom_io.datasets import lenient
from dicom_io.errors import NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.pacs.inbox import Inbox


def changed(file: bytes, **values: str) -> bytes:
    dataset = dcmread(BytesIO(file))
    for keyword, value in values.items():
        dataset.add_new(keyword, dataset[keyword].VR, value)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def store(inbox: Inbox, files: list[bytes]) -> str:
    for file in files:
        inbox.store(file)
    return uids(files[0])[1]


def test_what_was_received_is_there_after_a_restart(tmp_path: Path) -> None:
    files = make_slices(3)
    with closing(Inbox(tmp_path)) as inbox:
        uid = store(inbox, files)
        cursor = inbox.page(0).cursor
    with closing(Inbox(tmp_path)) as inbox:
        series = inbox.find_series(uid)
        assert sorted(inbox.fetch_series(series)) == sorted(files)
        assert inbox.page(cursor).touched == ()
        store(inbox, make_slices(1))
        assert inbox.page(cursor).cursor > cursor


def test_the_cursor_never_goes_back_even_when_all_is_deleted(tmp_path: Path) -> None:
    with closing(Inbox(tmp_path)) as inbox:
        inbox.delete_series(store(inbox, make_slices(2)))
        end = inbox.page(0).cursor
    with closing(Inbox(tmp_path)) as inbox:
        store(inbox, make_slices(1))
        page = inbox.page(end)
        assert len(page.touched) == 1
        assert page.cursor > end


@pytest.mark.parametrize("lost", ["index.sqlite*", "files/*/*"])
def test_a_lost_index_is_made_anew_and_lost_files_are_not_told(tmp_path: Path, lost: str) -> None:
    files = make_slices(2)
    with closing(Inbox(tmp_path)) as inbox:
        uid = store(inbox, files)
    for path in tmp_path.glob(lost):
        path.unlink()
    with closing(Inbox(tmp_path)) as inbox:
        if lost.startswith("index"):
            assert sorted(inbox.fetch_series(inbox.find_series(uid))) == sorted(files)
            assert inbox.holds(uids(files[0])[0])
        else:
            assert list(inbox.scan()) == []
            assert not inbox.holds(uids(files[0])[0])


def test_what_a_crash_left_half_written_is_removed(tmp_path: Path) -> None:
    file = make_slices(1)[0]
    with closing(Inbox(tmp_path)) as inbox:
        store(inbox, [file])
    (whole,) = tmp_path.glob("files/*/*")
    whole.with_name("a" * 64).write_bytes(file)  # not under its own name
    whole.with_name(f"{whole.name}.17.part").write_bytes(file[:500])
    with closing(Inbox(tmp_path)) as inbox:
        assert [len(series.instance_ids) for series in inbox.scan()] == [1]
    assert list(tmp_path.glob("files/*/*")) == [whole]


def test_a_disk_that_cannot_be_written_keeps_nothing_half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    file = make_slices(1)[0]
    with closing(Inbox(tmp_path)) as inbox:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(PacsUnavailable, match="No space left"):
                inbox.store(file)
        assert list(inbox.scan()) == []
        assert list(tmp_path.glob("files/*/*")) == []
        inbox.store(file)
        assert len(list(inbox.scan())) == 1


@pytest.mark.parametrize("uid", ["../../../etc/passwd", "1.2.x", "1..2", "1." * 40 + "1", "1.2/3"])
def test_text_of_others_is_no_path(tmp_path: Path, uid: str) -> None:
    file = make_slices(1)[0]
    with closing(Inbox(tmp_path / "inbox")) as inbox:
        with lenient():
            bad = changed(file, SeriesInstanceUID=uid)
        with pytest.raises(PacsRefused):
            inbox.store(bad)
        with pytest.raises(NotInPacs):
            inbox.fetch("../index.sqlite")
        assert list((tmp_path / "inbox").glob("files/*/*")) == []
    assert [path.name for path in tmp_path.iterdir()] == ["inbox"]


def test_the_folder_is_its_owners_alone(tmp_path: Path) -> None:
    with closing(Inbox(tmp_path / "inbox")):
        assert (tmp_path / "inbox").stat().st_mode & 0o077 == 0


def test_a_full_spool_drops_what_may_go_longest_unused_first(tmp_path: Path) -> None:
    now, needed = [1000.0], set[str]()
    size = sum(map(len, make_slices(2)))
    with closing(
        Inbox(
            tmp_path,
            stable_age=10,
            limit_bytes=3 * size + 100,
            may_go=lambda uid: uid not in needed,
            clock=lambda: now[0],
        )
    ) as inbox:
        stored = []
        for _ in range(3):
            now[0] += 20
            stored.append(store(inbox, make_slices(2)))
        now[0] += 20
        needed.add(stored[1])
        inbox.fetch_series(inbox.find_series(stored[0]))  # used again
        stored.append(store(inbox, make_slices(2)))
        there = {series.series_instance_uid for series in inbox.scan()}
        assert there == {stored[0], stored[1], stored[3]}, "the one that was neither needed nor used again is gone"
        assert len(list(tmp_path.glob("files/*/*"))) == 6


def test_a_full_spool_of_what_is_needed_takes_nothing_more(tmp_path: Path) -> None:
    now = [1000.0]
    files = make_slices(2)
    limit = sum(map(len, files)) + 100
    with closing(Inbox(tmp_path, limit_bytes=limit, clock=lambda: now[0])) as inbox:
        uid = store(inbox, files)
        now[0] += 60
        with pytest.raises(PacsUnavailable, match="full"):
            inbox.store(make_slices(1)[0])
        store(inbox, files)  # what is there is there
        assert [series.series_instance_uid for series in inbox.scan()] == [uid]


def test_drawings_and_what_still_arrives_do_not_go(tmp_path: Path) -> None:
    now = [1000.0]
    drawing = changed(make_slices(1)[0], Modality="SEG")
    arriving = make_slices(1)[0]
    with closing(Inbox(tmp_path, limit_bytes=2 * len(drawing) + 1000, may_go=lambda _uid: True, clock=lambda: now[0])) as inbox:
        inbox.store(drawing)
        now[0] += 60
        inbox.store(arriving)
        with pytest.raises(PacsUnavailable):
            inbox.store(make_slices(1)[0])
        now[0] += 60
        inbox.store(make_slices(1)[0])
        assert uids(drawing)[1] in {series.series_instance_uid for series in inbox.scan()}


def test_a_study_is_purged_with_its_lines_and_nothing_else(tmp_path: Path) -> None:
    gone, stays = make_slices(2), [changed(file, StudyInstanceUID="1.2.777") for file in make_slices(2)]
    with closing(Inbox(tmp_path)) as inbox:
        uid, other = store(inbox, gone), store(inbox, stays)
        inbox.purge_study(inbox.find_series(uid).study_instance_uid)
        assert [one.series_instance_uid for one in inbox.scan()] == [other]
        content = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        for file in gone:
            assert not any(name.encode() in content for name in uids(file))
        assert uids(stays[0])[0].encode() in content
