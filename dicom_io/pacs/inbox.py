"""What others send to the node itself: a folder of files, an index of it, and the log that a feed needs.

An object counts as received once its file is whole on disk and its line in the index is committed; the sender is told success
after that and never before. File names are hashes: nothing that came over the network becomes a path. Files that the index
does not know (a crash between the two, a lost index) are read again when the inbox is opened.

The folder is a spool and not an archive: when it is full, image series that are no longer needed go, those that were not used
for longest first. Drawings are small and stay. What has no room is refused as *out of resources*, which senders try again.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom import Dataset

from dicom_io.datasets import lenient, text
from dicom_io.errors import NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.pacs.part10 import is_uid, patient_of, read_whole
from dicom_io.pacs.port import FeedPage, SeriesStatus
from dicom_io.whole_files import PLAIN, DamagedFile, WholeFiles

_KEPT_MODALITIES = ("SEG", "SR", "RTSTRUCT")
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
_PATIENTS_KEPT = 20_000
_TOLD = ("Modality", "SeriesDescription", "StudyDescription", "BodyPartExamined", "ProtocolName")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    series_uid TEXT PRIMARY KEY, study_uid TEXT NOT NULL, modality TEXT NOT NULL, series_description TEXT NOT NULL,
    study_description TEXT NOT NULL, body_part TEXT NOT NULL, protocol_name TEXT NOT NULL,
    number INTEGER NOT NULL, touched_at REAL NOT NULL, is_stable INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE INDEX IF NOT EXISTS series_number ON series (number);
CREATE TABLE IF NOT EXISTS instances (
    name TEXT PRIMARY KEY, series_uid TEXT NOT NULL REFERENCES series, sop_uid TEXT NOT NULL, sop_class TEXT NOT NULL,
    bytes INTEGER NOT NULL, UNIQUE (series_uid, sop_uid)) STRICT;
CREATE INDEX IF NOT EXISTS instances_sop ON instances (sop_uid);
CREATE TABLE IF NOT EXISTS log (last INTEGER NOT NULL) STRICT;
INSERT INTO log SELECT 0 WHERE NOT EXISTS (SELECT * FROM log);
"""

MayGo = Callable[[str], bool]


class Inbox:
    """An :class:`~dicom_io.pacs.port.Archive` of what was sent here. ``store`` is what our SCP calls.

    Deletion frees space here and nowhere else, so that ``can_delete`` is false: what readers see stands in another archive.

    Args:
        folder: where files and index stand; made if absent, readable by its owner alone.
        stable_age: seconds after its last instance at which a series is stable.
        limit_bytes: what the files may take together; 0 for no limit.
        may_go: whether the image series of that UID is not needed any more.
        clock: POSIX time.
        files: how the files lie on disk.
    """

    can_delete = False

    def __init__(
        self,
        folder: Path,
        *,
        stable_age: float = 10.0,
        limit_bytes: int = 0,
        may_go: MayGo = lambda _uid: False,
        clock: Callable[[], float] = time.time,
        files: WholeFiles = PLAIN,
    ) -> None:
        self._folder = folder / "files"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._files = files
        folder.chmod(0o700)
        self._stable_age = stable_age
        self._limit = limit_bytes
        self._may_go = may_go
        self._clock = clock
        self._lock = threading.RLock()
        self._index = sqlite3.connect(folder / "index.sqlite", isolation_level=None, check_same_thread=False, timeout=30)
        self._index.execute("PRAGMA journal_mode = WAL")
        self._index.execute("PRAGMA synchronous = FULL")
        self._index.execute("PRAGMA temp_store = MEMORY")
        self._index.executescript(_SCHEMA)
        self._patients: dict[str, tuple[str, str]] = {}
        self._bytes = 0
        self._adopt()
        (self._bytes,) = self._index.execute("SELECT coalesce(sum(bytes), 0) FROM instances").fetchone()

    def close(self) -> None:
        """Closes the index."""
        with self._lock:
            self._index.close()

    def page(self, cursor: int, limit: int = 500) -> FeedPage:
        """Series that changed or became stable after ``cursor``. See :meth:`dicom_io.pacs.port.Feed.page`.

        The log keeps the last entry of each series only, so that it does not grow.
        """
        with self._transaction():
            self._ripen()
            rows = self._rows("SELECT * FROM series WHERE number > ? ORDER BY number LIMIT ?", cursor, limit + 1)
            (last,) = self._rows("SELECT last FROM log")[0]
            told = [self._status(row) for row in rows[:limit]]
        end = rows[limit - 1][7] if len(rows) > limit else max(cursor, last)
        return FeedPage(tuple(told), end, len(rows) <= limit)

    def scan(self) -> Iterator[SeriesStatus]:
        """Every series. See :meth:`dicom_io.pacs.port.Feed.scan`."""
        with self._transaction():
            self._ripen()
            told = [self._status(row) for row in self._rows("SELECT * FROM series ORDER BY number")]
        yield from told

    def find_series(self, series_instance_uid: str) -> SeriesStatus:
        """The series of that UID. See :meth:`dicom_io.pacs.port.Source.find_series`."""
        with self._transaction():
            self._ripen()
            rows = self._rows("SELECT * FROM series WHERE series_uid = ?", series_instance_uid)
            if not rows:
                raise NotInPacs(series_instance_uid, "the inbox has no such series", "Send it to this node.")
            return self._status(rows[0])

    def series_of(self, sop_instance_uid: str) -> tuple[str, ...]:
        """Series with that instance. See :meth:`dicom_io.pacs.port.Source.series_of`."""
        with self._lock:
            rows = self._rows("SELECT series_uid FROM instances WHERE sop_uid = ? ORDER BY series_uid", sop_instance_uid)
        return tuple(row[0] for row in rows)

    def holds(self, sop_instance_uid: str) -> str:
        """SOP class of an instance whose file is there, empty if there is none; what storage commitment promises."""
        with self._lock:
            rows = self._rows("SELECT name, sop_class FROM instances WHERE sop_uid = ?", sop_instance_uid)
        return next((str(sop_class) for name, sop_class in rows if self._path(name).is_file()), "")

    def fetch(self, instance_id: str) -> bytes:
        """One instance. See :meth:`dicom_io.pacs.port.Source.fetch`."""
        with self._lock:
            known = self._rows("SELECT sop_uid FROM instances WHERE name = ?", instance_id)
        try:
            if known:
                return self._files.read(self._path(instance_id))
        except FileNotFoundError:
            pass  # dropped meanwhile
        raise NotInPacs(f"instance {instance_id}", "the inbox has no such object", "Send it to this node again.")

    def fetch_series(self, series: SeriesStatus) -> list[bytes]:
        """All instances of a series. See :meth:`dicom_io.pacs.port.Source.fetch_series`. What is used stays longer."""
        used = (self._clock(), series.series_instance_uid)
        with self._lock:
            self._index.execute("UPDATE series SET touched_at = ? WHERE series_uid = ? AND is_stable", used)
        return [self.fetch(name) for name in series.instance_ids]

    def store(self, file: bytes) -> None:
        """Takes one file; returns once it is on disk for good. See :meth:`dicom_io.pacs.port.Sink.store`.

        Raises:
            PacsRefused: it is not whole, or its UIDs are none.
            PacsUnavailable: there is no room for it now.
        """
        dataset = read_whole(file)
        name = _name(dataset)
        with self._lock:
            if self._rows("SELECT name FROM instances WHERE name = ?", name) and self._path(name).is_file():
                return
            self._make_room(len(file))
        try:
            self._files.write(self._path(name), file)
        except ValueError as error:
            raise PacsRefused("DICOM object", f"it cannot be kept ({error})", "Send it with an empty preamble.") from error
        except OSError as error:
            raise PacsUnavailable("inbox", f"the file cannot be written ({error.strerror})", "Free some space.") from error
        with self._transaction():
            self._record(name, dataset, len(file))

    def delete_series(self, series_instance_uid: str) -> None:
        """Drops a series from the inbox. See :meth:`dicom_io.pacs.port.Archive.delete_series`."""
        with self._transaction():
            names = self._rows("SELECT name, bytes FROM instances WHERE series_uid = ?", series_instance_uid)
            self._index.execute("DELETE FROM instances WHERE series_uid = ?", (series_instance_uid,))
            self._index.execute("DELETE FROM series WHERE series_uid = ?", (series_instance_uid,))
            self._bytes -= sum(size for _, size in names)
        for name, _ in names:
            self._path(name).unlink(missing_ok=True)

    def purge_study(self, study_instance_uid: str) -> None:
        """Drops all series of a study, and empties what the index's file still holds of deleted lines."""
        with self._lock:
            for (uid,) in self._rows("SELECT series_uid FROM series WHERE study_uid = ?", study_instance_uid):
                self.delete_series(uid)
                self._patients.pop(uid, None)
            self._index.execute("VACUUM")
            self._index.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _record(self, name: str, dataset: Dataset, size: int) -> None:
        """A line for a file that is on disk; its series is touched."""
        study, series, instance, sop_class = (str(dataset[keyword].value) for keyword in _UIDS)
        with lenient():
            told = [text(dataset, keyword) for keyword in _TOLD]
        self._index.execute(
            "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0) "
            "ON CONFLICT DO UPDATE SET number = excluded.number, touched_at = excluded.touched_at, is_stable = 0",
            (series, study, *told, self._next(), self._clock()),
        )
        added = self._index.execute(
            "INSERT OR IGNORE INTO instances VALUES (?, ?, ?, ?, ?)", (name, series, instance, sop_class, size)
        )
        self._bytes += size * added.rowcount

    def _ripen(self) -> None:
        """Series to which nothing came for a while become stable, which is an entry of the log."""
        ripe = self._rows(
            "SELECT series_uid FROM series WHERE NOT is_stable AND touched_at <= ? ORDER BY touched_at",
            self._clock() - self._stable_age,
        )
        for (uid,) in ripe:
            self._index.execute("UPDATE series SET is_stable = 1, number = ? WHERE series_uid = ?", (self._next(), uid))

    def _next(self) -> int:
        return int(self._index.execute("UPDATE log SET last = last + 1 RETURNING last").fetchone()[0])

    def _make_room(self, size: int) -> None:
        """Drops image series that may go until ``size`` bytes fit.

        Raises:
            PacsUnavailable: they do not.
        """
        if not self._limit or self._bytes + size <= self._limit:
            return
        with self._transaction():
            self._ripen()
        for uid, modality in self._rows("SELECT series_uid, modality FROM series WHERE is_stable ORDER BY touched_at"):
            if modality not in _KEPT_MODALITIES and self._may_go(uid):
                self.delete_series(uid)
                if self._bytes + size <= self._limit:
                    return
        raise PacsUnavailable("inbox", "it is full", "Raise its limit, or look why nothing in it is answered.")

    def _adopt(self) -> None:
        """Takes in files that the index does not know; removes what was never whole, and lines without a file."""
        with self._transaction():
            known = {row[0] for row in self._rows("SELECT name FROM instances")}
            there = {path.name: path for path in self._folder.glob("*/*")}
            for name in known - there.keys():
                self._index.execute("DELETE FROM instances WHERE name = ?", (name,))
            self._index.execute("DELETE FROM series WHERE series_uid NOT IN (SELECT series_uid FROM instances)")
            for name in sorted(there.keys() - known):
                try:
                    file = self._files.read(there[name])
                    dataset = read_whole(file)
                    if _name(dataset) == name:
                        self._record(name, dataset, len(file))
                        continue
                except (PacsRefused, DamagedFile):
                    pass  # its sender was never told success
                there[name].unlink()

    def _status(self, row: tuple[Any, ...]) -> SeriesStatus:
        names = self._rows("SELECT name FROM instances WHERE series_uid = ? ORDER BY name", row[0])
        series, study, modality, description, study_description, body_part, protocol = map(str, row[:7])
        patient_id, issuer = self._patient_of(series, names)
        return SeriesStatus(
            archive_id=series,
            study_instance_uid=study,
            series_instance_uid=series,
            modality=modality,
            series_description=description,
            instance_ids=tuple(str(name) for (name,) in names),
            is_stable=bool(row[9]),
            study_description=study_description,
            body_part=body_part,
            protocol_name=protocol,
            patient_id=patient_id,
            issuer_of_patient_id=issuer,
        )

    def _patient_of(self, series_uid: str, names: list[tuple[Any, ...]]) -> tuple[str, str]:
        """Patient ID and its issuer, read from a file and kept in memory alone: the index knows no patient."""
        if series_uid not in self._patients and names:
            if len(self._patients) >= _PATIENTS_KEPT:
                self._patients.clear()
            self._patients[series_uid] = self._read_patient(self._path(names[0][0]))
        return self._patients.get(series_uid, ("", ""))

    def _read_patient(self, path: Path) -> tuple[str, str]:
        try:
            with self._files.open(path) as file:
                return patient_of(file)
        except (OSError, DamagedFile):
            return "", ""

    def _rows(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        return self._index.execute(sql, parameters).fetchall()

    def _path(self, name: str) -> Path:
        return self._folder / name[:2] / name

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; an inner one joins the outer one."""
        with self._lock:
            if self._index.in_transaction:
                yield
                return
            self._index.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._index.execute("ROLLBACK")
                raise
            self._index.execute("COMMIT")


def _name(dataset: Dataset) -> str:
    """The file's name: a hash, because what comes over the network is no path.

    Raises:
        PacsRefused: a UID is none.
    """
    uids = [str(dataset[keyword].value) for keyword in _UIDS]
    if not all(map(is_uid, uids)):
        raise PacsRefused("DICOM object", "one of its UIDs is none by its form", "Send a valid object.")
    return hashlib.sha256("/".join(uids[1:3]).encode()).hexdigest()
