"""A copy of a data folder in one file, made while the node works on it.

All that the database names lies in files that are whole, replaced and never changed, and removed only after the database names
them no longer. So a moment in which nobody writes to the database is enough to link all of them aside; the database is read as
it was in that moment, and everything is copied after it, while the node goes on. The file is a tar archive (POSIX.1-2001 pax)
of the data folder, of a manifest with the SHA-256 of each file, and of the manifest's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from learner.errors import StoreError
from learner.storage.accounts import KEY_FILE
from learner.storage.sweep import FolderLock
from learner.storage.vault import FOLDERS, RECIPIENTS
from learner.version import __version__

FORMAT = 1
DATABASE = "apprentice.sqlite"
DATA, MANIFEST, MANIFEST_HASH = "data/", "manifest.json", "manifest.sha256"
"""Names in the archive: the folder that all of the node's files are below, and what describes them, last."""
_DATABASES = (DATABASE, "inbox/index.sqlite")
_BESIDE = ("case-key", KEY_FILE, RECIPIENTS)
_HALF_WRITTEN = ".part"
_LONGEST_WAIT_S = 30.0


class BackupError(StoreError):
    """A backup cannot be made, or one is damaged, cut off, or of a later version."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a backup.

    Attributes:
        size: in bytes.
        sha256: 64 hexadecimal digits.
    """

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds.

    Attributes:
        format: of the backup, :data:`FORMAT`.
        program: version of the program that made it.
        schema: version of the database's schema.
        made_at: ISO 8601, the moment that it shows.
        files: by path below the data folder.
    """

    format: int
    program: str
    schema: int
    made_at: str
    files: dict[str, Entry]

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())

    def to_json(self) -> bytes:
        """As it stands in the archive."""
        return json.dumps(asdict(self), indent=1).encode()


def make_backup(data: Path, target: Path) -> tuple[Path, Manifest]:
    """Copies a data folder into a file, whether a node works on it or not.

    Args:
        data: the data folder.
        target: the file, which must not exist; or a folder, in which one is named after the moment.

    Returns:
        The file, readable by its owner alone, and what it holds.

    Raises:
        BackupError: the store cannot be read, another backup is being made, or the file cannot be written; nothing is left.
    """
    try:
        with _alone(data) as aside:
            made_at = datetime.now(UTC)
            file = target / f"pacs-apprentice-{made_at:%Y%m%dT%H%M%SZ}.tar" if target.is_dir() else target
            if file.exists():
                raise BackupError(f"{file} exists; name another file")
            _copy_aside(data, aside)
            _check_room(file.parent, sum(path.stat().st_size for path in _files_of(aside)))
            return file, _write(file, aside, made_at.isoformat(timespec="seconds"))
    except sqlite3.Error as error:
        raise BackupError(
            f"the database in {data} cannot be copied ({error}); check the folder's rights and the disk"
        ) from error
    except OSError as error:
        raise BackupError(f"{error.filename or target}: {error.strerror or error}; check path, rights and disk") from error


@contextmanager
def _alone(data: Path) -> Iterator[Path]:
    """A folder in the data folder, on its file system, for one backup at a time; what a killed one left goes first."""
    lock = FolderLock(data, "backup")
    aside = data / ".backup"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        yield aside
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        lock.release()


def _copy_aside(data: Path, aside: Path) -> None:
    """Links all files, and copies the databases, as they are in one moment."""
    databases = [name for name in _DATABASES if (data / name).exists()]
    with ExitStack() as readers:
        with ExitStack() as writers:
            reading = {}
            for name in databases:
                writers.enter_context(closing(_connected(data / name))).execute("BEGIN IMMEDIATE")  # nobody commits meanwhile
                reading[name] = readers.enter_context(closing(_connected(data / name)))
                reading[name].execute("BEGIN")
                reading[name].execute("SELECT count(*) FROM sqlite_schema").fetchone()  # from here on it sees this moment
            _link_all(data, aside)
        for name, connection in reading.items():
            (aside / name).parent.mkdir(exist_ok=True)
            with closing(sqlite3.connect(aside / name, isolation_level=None)) as copy:
                connection.backup(copy)
                _close_copy(copy, data / name)


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=_LONGEST_WAIT_S, isolation_level=None)


def _close_copy(copy: sqlite3.Connection, original: Path) -> None:
    """Makes one sound file of a copy; whoever was signed in is not after a restore."""
    (found,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        raise BackupError(f"{original} is damaged ({found}); restore an earlier backup")
    if copy.execute("SELECT 1 FROM sqlite_schema WHERE name = 'sessions'").fetchone():
        copy.execute("DELETE FROM sessions")
    copy.execute("PRAGMA journal_mode = DELETE")


def _link_all(data: Path, aside: Path) -> None:
    for name in _BESIDE:
        _link(data / name, aside / name)
    for name in FOLDERS:
        for folder, _, files in os.walk(data / name):
            there = aside / Path(folder).relative_to(data)
            there.mkdir(parents=True, exist_ok=True)
            for file in files:
                if not file.endswith(_HALF_WRITTEN):
                    _link(os.path.join(folder, file), os.path.join(there, file))  # noqa: PTH118 - thousands, and all wait


def _link(file: str | Path, linked: str | Path) -> None:
    try:
        os.link(file, linked)
    except FileNotFoundError:
        pass  # one that the database named no longer before this moment, and that is gone only now; or one never needed
    except OSError as error:
        remedy = "stop the node and copy its folder, or use a snapshot of the file system"
        raise BackupError(f"{file} is on a file system without hard links ({error.strerror}); {remedy}") from error


def _files_of(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != _HALF_WRITTEN)


def _check_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise BackupError(f"{folder} has {free / 2**30:.1f} GiB free, the backup takes {needed / 2**30:.1f}; free some space")


def _write(file: Path, aside: Path, made_at: str) -> Manifest:
    """Writes the archive under another name, syncs and renames it."""
    part = file.with_name(file.name + _HALF_WRITTEN)
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
                manifest = _fill(archive, aside, made_at)
            stream.flush()
            os.fsync(stream.fileno())
        part.rename(file)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return manifest


def _fill(archive: tarfile.TarFile, aside: Path, made_at: str) -> Manifest:
    files = {}
    for path in _files_of(aside):
        name = path.relative_to(aside).as_posix()
        with path.open("rb") as file:
            size, hashing = path.stat().st_size, Hashing(file)
            archive.addfile(_member(DATA + name, size), hashing)
            files[name] = Entry(size, hashing.sha256)
    with closing(sqlite3.connect(aside / DATABASE)) as copy:
        (schema,) = copy.execute("PRAGMA user_version").fetchone()
    manifest = Manifest(FORMAT, __version__, schema, made_at, files)
    content = manifest.to_json()
    for name, text in ((MANIFEST, content), (MANIFEST_HASH, hashlib.sha256(content).hexdigest().encode())):
        archive.addfile(_member(name, len(text)), io.BytesIO(text))
    return manifest


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o600
    return member


class Hashing:
    """A file that is hashed as it is read.

    Args:
        file: what is read, from its beginning to its end.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        content = self._file.read(size)
        self._digest.update(content)
        return content

    @property
    def sha256(self) -> str:
        """Of what was read so far, 64 hexadecimal digits."""
        return self._digest.hexdigest()
