"""A backup is of one moment, whole, and checked; what is damaged, hostile or in the way is refused and leaves nothing."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import sqlite3
import stat
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import numpy as np
import pytest
from filled_store import FilledStore, SetClock
from test_migrations import VERSION_1

from dicom_io.pacs.inbox import Inbox
from learner.domain.case import RoundEvent
from learner.domain.job import JobKind
from learner.domain.user import Role
from learner.errors import StoreError
from learner.ports import CaseRecord, ResultRecord
from learner.storage import backup
from learner.storage.backup import DATA, DATABASE, MANIFEST, MANIFEST_HASH, BackupError, make_backup
from learner.storage.database import SCHEMA_VERSION
from learner.storage.restore import restore_backup, verify_backup
from learner.storage.sessions import SessionLimits
from learner.storage.store import LocalStore
from learner.storage.sweep import FolderLock, recorded_files
from learner.wiring import case_key


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder in which something happened; its node is gone."""
    folder, clock = tmp_path_factory.mktemp("used") / "data", SetClock(1000.0)
    store = LocalStore(folder, clock=clock)
    FilledStore(store, clock).play(2, 3)
    store.accounts.add_token("prometheus", Role.READER)
    store.sessions.open("eva", SessionLimits())
    case_key(folder)
    (folder / "replay" / "prostate").mkdir(parents=True)
    (folder / "replay" / "prostate" / "a.npz").write_bytes(b"voxels")
    store.close()
    return folder


@pytest.fixture
def data(used: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(used, tmp_path / "data"))


def content(folder: Path) -> dict[str, bytes]:
    """All but the databases, and what a process holds."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    apart = {"lock", "backup-lock"}
    return {name: path.read_bytes() for name, path in files.items() if ".sqlite" not in name and name not in apart}


def tables(database: Path) -> dict[str, list[tuple[object, ...]]]:
    with sqlite3.connect(database) as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        rows = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}
    connection.close()
    return rows


def test_what_is_restored_is_what_was_there(data: Path, tmp_path: Path) -> None:
    (tmp_path / "safe").mkdir()
    file, manifest = make_backup(data, tmp_path / "safe")
    assert file.match("safe/pacs-apprentice-*Z.tar")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(data.glob(".backup*"))
    assert (verify_backup(file), manifest.schema) == (manifest, SCHEMA_VERSION)
    before, rows = content(data), tables(data / DATABASE)
    assert {"case-key", "access-key", "replay/prostate/a.npz", "rounds/00000001.npz"} <= set(before)
    restored = tmp_path / "restored"
    assert restore_backup(file, restored) == manifest
    assert content(restored) == before
    sessions = rows.pop("sessions")
    assert len(sessions) == 1
    assert tables(restored / DATABASE) == rows | {"sessions": []}, "nobody is signed in after a restore"
    assert {path.stat().st_mode & 0o077 for path in restored.rglob("*") if path.is_file()} == {0}
    assert stat.S_IMODE(restored.stat().st_mode) == 0o700
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_empty_folder_is_taken_and_so_is_one_that_cannot_be_exchanged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's volume is a mount: it stays, and what belongs in it is moved there."""
    file, _ = make_backup(data, tmp_path / "b.tar")
    for is_mount in (False, True):
        monkeypatch.setattr(Path, "is_mount", lambda path, is_mount=is_mount: is_mount and path.name.startswith("empty"))
        folder = tmp_path / f"empty-{is_mount}"
        folder.mkdir()
        inode = folder.stat().st_ino
        restore_backup(file, folder)
        assert (content(folder), folder.stat().st_ino == inode) == (content(data), is_mount)
        assert not list(folder.glob(".*"))


class Work:
    """What a node does to its store, as fast as it can: rounds, results that come and go, versions that are pruned."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(act,)) for act in (self._answer, self._learn)]
        self._record = CaseRecord(None, None, np.zeros((2, 3, 4), dtype=np.uint8), None)
        self.done = [0, 0]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, act: Callable[[LocalStore, int], None]) -> None:
        store, number = LocalStore(self._folder, keep_checkpoints=2), 0
        while not self._stop.is_set():
            act(store, number)
            number += 1
        store.close()

    def _answer(self, store: LocalStore, number: int) -> None:
        round_id = store.records.open_round(f"trigger-{number}", "2.25.7")
        assert round_id is not None
        store.jobs.add(JobKind.RESPOND, round_id)
        path = store.files.put_outgoing(f"2.25.{number}", b"object")
        store.files.put_record(round_id, self._record)
        with store.transaction():
            store.records.add_results([ResultRecord(f"2.25.{number}", "2.25.8", round_id, "prediction", path, sent=False)])
            store.records.apply(round_id, RoundEvent.COMPUTED)
        store.records.mark_sent(f"2.25.{number}")
        store.files.drop_outgoing(path)
        store.records.apply(round_id, RoundEvent.DELIVERED, answered_at=1.0)
        self.done[0] += 1

    def _learn(self, store: LocalStore, number: int) -> None:
        store.checkpoints.add("liver", f"weights {number}".encode() * 1000, round_id=1, steps=number, facts={})
        store.checkpoints.prune("liver")
        self.done[1] += 1


def test_a_backup_of_a_folder_at_work_is_of_one_moment(tmp_path: Path) -> None:
    data = tmp_path / "data"
    LocalStore(data).close()
    with Work(data) as work:
        for number in range(8):
            before = list(work.done)
            file, _ = make_backup(data, tmp_path / f"{number}.tar")
            restored = tmp_path / f"{number}"
            restore_backup(file, restored)
            store = LocalStore(restored)
            recorded = recorded_files(store._database)
            assert [name for name in recorded if not (restored / name).is_file()] == []
            for checkpoint in store.checkpoints.history("liver"):
                store.checkpoints.read(checkpoint)
            assert len(store.checkpoints.versions("liver")) >= before[1], "it shows a moment after it was asked for"
            store.close()
    assert min(work.done) > 8, "the node worked on meanwhile"


def test_a_moment_stays_one_while_it_is_copied(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something is written, and its version removed, after all was linked and before the database is copied."""
    store = LocalStore(data, keep_checkpoints=2)
    versions = [one.name for one in store.checkpoints.history("prostate")]
    close_copy, hits = backup._close_copy, []

    def late(*arguments: object) -> None:
        for number in range(6):
            store.checkpoints.add("prostate", f"later {number}".encode(), round_id=1, steps=1, facts={})
        store.checkpoints.prune("prostate")
        hits.append(1)
        close_copy(*arguments)

    monkeypatch.setattr(backup, "_close_copy", late)
    file, _ = make_backup(data, tmp_path / "b.tar")
    assert hits
    restore_backup(file, tmp_path / "restored")
    restored = LocalStore(tmp_path / "restored")
    assert [one.name for one in restored.checkpoints.history("prostate")] == versions
    for one in restored.checkpoints.history("prostate"):
        restored.checkpoints.read(one)


def test_what_was_sent_to_the_node_itself_is_part_of_it(data: Path, tmp_path: Path) -> None:
    inbox = Inbox(data / "inbox")
    inbox.close()
    (data / "inbox" / "files" / "ab").mkdir(parents=True)
    (data / "inbox" / "files" / "ab" / "abcd.dcm").write_bytes(b"object")
    (data / "inbox" / "files" / "ab" / ".abcd.dcm.1.2.part").write_bytes(b"half")
    file, manifest = make_backup(data, tmp_path / "b.tar")
    assert {"inbox/index.sqlite", "inbox/files/ab/abcd.dcm"} == {n for n in manifest.files if n.startswith("inbox/")}
    restore_backup(file, tmp_path / "restored")
    assert tables(tmp_path / "restored" / "inbox" / "index.sqlite")["log"] == [(0,)]


def test_a_store_of_an_earlier_version_is_copied_as_it_is(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with sqlite3.connect(data / DATABASE) as connection:
        connection.executescript(VERSION_1)
    connection.close()
    file, manifest = make_backup(data, tmp_path / "b.tar")
    assert manifest.schema == 1
    with sqlite3.connect(data / DATABASE) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
    restore_backup(file, tmp_path / "restored")
    assert LocalStore(tmp_path / "restored").records.find_round(3).number == 1


def refused(file: Path, folder: Path, match: str) -> None:
    """Neither verified nor restored, and nothing is left behind."""
    around = {path.name for path in folder.parent.iterdir()}
    for act in (lambda: verify_backup(file), lambda: restore_backup(file, folder)):
        with pytest.raises(BackupError, match=match):
            act()
    assert {path.name for path in folder.parent.iterdir()} == around


def test_a_backup_that_is_cut_off_is_refused(data: Path, tmp_path: Path) -> None:
    file, _ = make_backup(data, tmp_path / "b.tar")
    whole = file.read_bytes()
    cut = tmp_path / "cut.tar"
    end = whole.rindex(MANIFEST_HASH.encode())  # what follows its content is padding
    for length in [0, 1, 511, 512, 513, *np.linspace(1000, end + 512, 40, dtype=int)]:
        cut.write_bytes(whole[:length])
        refused(cut, tmp_path / "restored", "damaged|cut off")


def test_a_backup_with_a_wrong_byte_is_refused(data: Path, tmp_path: Path) -> None:
    file, manifest = make_backup(data, tmp_path / "b.tar")
    whole = bytearray(file.read_bytes())
    with tarfile.open(file) as archive:
        members = archive.getmembers()
    places = [member.offset_data + member.size // 2 for member in members] + [member.offset + 2 for member in members]
    assert len(places) == 2 * (len(manifest.files) + 2)
    wrong = tmp_path / "wrong.tar"
    for place in places:
        whole[place] ^= 0x41
        wrong.write_bytes(whole)
        whole[place] ^= 0x41
        refused(wrong, tmp_path / "restored", "damaged|cut off|no backup")


@pytest.fixture
def forge(data: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a backup anew: with members added, left out, or with another manifest."""
    file, _ = make_backup(data, tmp_path / "sound.tar")

    def make(added: tuple[tarfile.TarInfo, bytes] | None = None, drop: str = "", **changes: object) -> Path:
        forged = tmp_path / "forged.tar"
        with tarfile.open(file) as old, tarfile.open(forged, "w") as new:
            manifest = json.loads(old.extractfile(MANIFEST).read()) | changes
            text = json.dumps(manifest).encode()
            for member in old:
                if member.name in (drop, MANIFEST, MANIFEST_HASH):
                    continue
                new.addfile(member, old.extractfile(member))
            if added is not None:
                new.addfile(added[0], io.BytesIO(added[1]))
            for name, content in ((MANIFEST, text), (MANIFEST_HASH, hashlib.sha256(text).hexdigest().encode())):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                new.addfile(member, io.BytesIO(content))
        return forged

    return make


def member(name: str, size: int = 0, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size, made.type, made.linkname = size, kind, target
    return made


@pytest.mark.parametrize("name", ["/etc/evil", "../evil", f"{DATA}../../evil", f"{DATA}", "evil", "data"])
def test_nothing_is_written_outside_the_folder(forge: Callable[..., Path], tmp_path: Path, name: str) -> None:
    refused(forge((member(name, 4), b"evil")), tmp_path / "restored", "no place in a data folder")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_only_plain_files_are_taken(forge: Callable[..., Path], tmp_path: Path, kind: bytes) -> None:
    refused(forge((member(f"{DATA}evil", 0, kind, "/etc/passwd"), b"")), tmp_path / "restored", "no plain file")


def test_what_is_missing_or_added_is_named(forge: Callable[..., Path], tmp_path: Path) -> None:
    refused(forge(drop=f"{DATA}rounds/00000001.npz"), tmp_path / "restored", r"rounds/00000001\.npz not as it was")
    refused(forge((member(f"{DATA}rounds/9.npz", 4), b"more")), tmp_path / "restored", r"rounds/9\.npz not as it was")


def test_what_a_later_version_made_is_refused(forge: Callable[..., Path], tmp_path: Path) -> None:
    refused(forge(format=2, program="9.0"), tmp_path / "restored", "version 9.0 in a later format")
    refused(forge(files=[]), tmp_path / "restored", "says nothing of a data folder")
    later = forge(schema=SCHEMA_VERSION + 1, program="9.0")
    with pytest.raises(BackupError, match=rf"version 9.0 \(schema {SCHEMA_VERSION + 1}"):
        restore_backup(later, tmp_path / "restored")
    assert not (tmp_path / "restored").exists()


def test_a_folder_that_is_not_empty_or_in_use_is_left_alone(data: Path, tmp_path: Path) -> None:
    file, _ = make_backup(data, tmp_path / "b.tar")
    before = content(data)
    with pytest.raises(BackupError, match="is not empty"):
        restore_backup(file, data)
    lock = FolderLock(data)
    with pytest.raises(StoreError, match="in use by another node"):
        restore_backup(file, data)
    lock.release()
    with pytest.raises(BackupError, match="is no folder"):
        restore_backup(file, file)
    assert content(data) == before


def test_a_backup_is_never_written_over_and_a_failed_one_leaves_nothing(data: Path, tmp_path: Path) -> None:
    file, _ = make_backup(data, tmp_path / "b.tar")
    with pytest.raises(BackupError, match="exists; name another file"):
        make_backup(data, file)
    with pytest.raises(BackupError, match="none: No such file"):
        make_backup(data, tmp_path / "none" / "b.tar")
    with pytest.raises(BackupError, match="No such file"):
        restore_backup(tmp_path / "none.tar", tmp_path / "restored")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar", "data"]
    assert not (data / ".backup").exists()


def test_a_damaged_database_is_told_when_it_is_copied(data: Path, tmp_path: Path) -> None:
    with (data / DATABASE).open("r+b") as database:
        database.seek(4096 * 5)
        database.write(b"\xff" * 4096 * 3)
    with pytest.raises(BackupError, match=r"damaged|malformed"):
        make_backup(data, tmp_path / "b.tar")
    assert not (tmp_path / "b.tar").exists()


def test_one_backup_at_a_time_and_what_a_killed_one_left_goes(data: Path, tmp_path: Path) -> None:
    (data / ".backup" / "rounds").mkdir(parents=True)
    lock = FolderLock(data, "backup")
    with pytest.raises(StoreError, match="another backup"):
        make_backup(data, tmp_path / "b.tar")
    lock.release()
    make_backup(data, tmp_path / "b.tar")
    assert not (data / ".backup").exists()
