"""What a node is doing with a trigger, seen from outside: a read-only look at its database and its files."""

from __future__ import annotations

import ctypes
import hashlib
import os
import select
import sqlite3
from enum import StrEnum
from io import BytesIO
from pathlib import Path

from pydicom import dcmread


class Stage(StrEnum):
    """How far a trigger has come, in the order in which it comes there."""

    STORED = "stored in the archive, not taken in"
    TAKEN_IN = "taken in"
    ANSWERING = "answer being computed"
    WRITTEN = "some of the answer's files written, none recorded"
    DECIDED = "answer recorded, nothing sent"
    SOME_SENT = "some results sent"
    ALL_SENT = "all results sent, the round not closed"
    CLOSED = "round closed, files still in the outbox"
    ANSWERED = "answered, learning not begun"
    LEARNING = "learning begun"
    REMEMBERED = "file of the replay memory written"
    CHECKPOINT = "judged, checkpoint's file written, nothing recorded"
    RECORDED = "learned and recorded, old files not removed"
    LEARNED = "learned"


_ROUND = """
SELECT round_id, rounds.state,
  (SELECT state FROM jobs WHERE jobs.round_id = rounds.round_id AND kind = 'respond') AS respond,
  (SELECT state FROM jobs WHERE jobs.round_id = rounds.round_id AND kind = 'learn') AS learn,
  (SELECT count(*) FROM results WHERE results.round_id = rounds.round_id) AS results,
  (SELECT count(*) FROM results WHERE results.round_id = rounds.round_id AND sent_at IS NOT NULL) AS sent,
  coalesce((SELECT held FROM lessons WHERE lessons.round_id = rounds.round_id), 0) AS held
FROM rounds WHERE trigger_uid = ?
"""


def orthanc_id(file: bytes) -> str:
    """The identifier that Orthanc gives an object: SHA-1 of its four identifiers, in five groups."""
    dataset = dcmread(BytesIO(file), stop_before_pixels=True)
    names = (dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID)
    digest = hashlib.sha1("|".join(map(str, names)).encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[start : start + 8] for start in range(0, 40, 8))


class Look:
    """Looks into a data folder; changes nothing there.

    Args:
        data: the folder.
    """

    def __init__(self, data: Path) -> None:
        self.data = data
        self._database: sqlite3.Connection | None = None

    def stage(self, trigger: str, replay_before: frozenset[str]) -> Stage:
        """How far the trigger has come.

        Args:
            trigger: what it is.
            replay_before: names of the files of the replay memory before the trigger came.

        Raises:
            sqlite3.OperationalError: a process was stopped in the middle of a commit.
        """
        rows = self.rows(_ROUND, (trigger,))
        return self._stage(rows[0], replay_before) if rows else Stage.STORED

    def rows(self, sql: str, parameters: tuple[object, ...] = ()) -> list[sqlite3.Row]:
        """All rows, read from outside; none before the node made its database."""
        if self._database is None:
            if not (self.data / "apprentice.sqlite").exists():
                return []
            self._database = sqlite3.connect(f"file:{self.data}/apprentice.sqlite?mode=ro", uri=True, timeout=10)
            self._database.row_factory = sqlite3.Row
        return self._database.execute(sql, parameters).fetchall()

    def close(self) -> None:
        if self._database is not None:
            self._database.close()

    def _stage(self, row: sqlite3.Row, replay_before: frozenset[str]) -> Stage:
        if row["state"] == "queued":
            begun = Stage.ANSWERING if row["respond"] == "leased" else Stage.TAKEN_IN
            return Stage.WRITTEN if self.files("outbox") else begun
        if row["state"] == "computed":
            begun = Stage.SOME_SENT if row["sent"] < row["results"] else Stage.ALL_SENT
            return begun if row["sent"] else Stage.DECIDED
        return Stage.CLOSED if self.files("outbox") else self._learning(row, replay_before)

    def _learning(self, row: sqlite3.Row, replay_before: frozenset[str]) -> Stage:
        if row["learn"] == "done":
            return Stage.RECORDED if self._uncleared(row) else Stage.LEARNED
        if row["learn"] != "leased":
            return Stage.ANSWERED
        recorded = {one["path"] for one in self.rows("SELECT path FROM checkpoints")}
        if {name for name in self.files("checkpoints") if name.endswith(".pt")} - recorded:
            return Stage.CHECKPOINT
        return Stage.REMEMBERED if self.replay() - replay_before else Stage.LEARNING

    def _uncleared(self, row: sqlite3.Row) -> bool:
        gone = {one["path"] for one in self.rows("SELECT path FROM checkpoints WHERE NOT kept")}
        example = f"examples/{row['round_id']:08d}.npz"
        return (not row["held"] and (self.data / example).exists()) or bool(gone & self.files("checkpoints"))

    def replay(self) -> frozenset[str]:
        """Whole files of the replay memory, relative to the data folder."""
        return frozenset(name for name in self.files("replay") if name.endswith(".npz"))

    def files(self, folder: str = "") -> set[str]:
        """All files of a folder, relative to the data folder."""
        return {path.relative_to(self.data).as_posix() for path in (self.data / folder).rglob("*") if path.is_file()}


class Watch:
    """Wakes when something in some folders changes (inotify(7)); new folders in them count from the next call on."""

    _EVENTS = 0x2 | 0x80 | 0x100 | 0x200  # IN_MODIFY, IN_MOVED_TO, IN_CREATE, IN_DELETE

    def __init__(self, folder: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._folder = folder
        self._number = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._watched: set[Path] = set()

    def wait(self, timeout_s: float) -> bool:
        """Waits for a change; returns whether there was one."""
        for path in (self._folder, *(p for p in self._folder.rglob("*") if p.is_dir())):
            if path not in self._watched and self._libc.inotify_add_watch(self._number, os.fsencode(path), self._EVENTS) >= 0:
                self._watched.add(path)
        changed = bool(select.select([self._number], [], [], timeout_s)[0])
        if changed:
            os.read(self._number, 65536)
        return changed

    def close(self) -> None:
        os.close(self._number)
