"""From a backup back to a data folder: everything is checked before anything is in its place."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO

from learner.storage.backup import DATA, DATABASE, FORMAT, MANIFEST, MANIFEST_HASH, BackupError, Entry, Hashing, Manifest
from learner.storage.database import SCHEMA_VERSION
from learner.storage.sweep import FolderLock

_CHUNK = 2**20
_LARGEST_MANIFEST = 2**28


def verify_backup(backup: Path) -> Manifest:
    """Reads a backup to its end and compares every file with the manifest.

    Raises:
        BackupError: it is damaged, cut off, of a later version, or none; names what is wrong.
    """
    return _read(backup, None)


def restore_backup(backup: Path, data: Path) -> Manifest:
    """Makes a data folder of a backup: whole and checked, or not at all.

    Args:
        backup: what :func:`learner.storage.backup.make_backup` made.
        data: does not exist, or is empty and not in use.

    Raises:
        BackupError: the backup is damaged, cut off or of a later version, or the folder cannot be used; nothing is left.
        StoreError: a node works on the folder.
    """
    _check_target(data)
    is_mount = data.is_mount()  # a container's volume: nothing can take its place, so what it holds comes one by one
    aside = (data if is_mount else data.parent) / f".{data.name}.restore-{secrets.token_hex(4)}"
    try:
        aside.mkdir(mode=0o700)
        _check_room(aside, backup)
        manifest = _read(backup, aside)
        if manifest.schema > SCHEMA_VERSION:
            what = f"{backup} is of version {manifest.program} (schema {manifest.schema}, this version knows {SCHEMA_VERSION})"
            raise BackupError(f"{what}; install that version")
        _check_database(aside / DATABASE)
        os.sync()
        _place(aside, data, one_by_one=is_mount)
    except OSError as error:
        raise BackupError(f"{error.filename or data}: {error.strerror or error}; check path, rights and disk") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return manifest


def _check_target(data: Path) -> None:
    if not data.exists():
        return
    if not data.is_dir():
        raise BackupError(f"{data} is no folder; name another")
    if (data / "lock").exists():  # a node that is at work is told by its name
        FolderLock(data).release()
    if any(data.iterdir()):
        raise BackupError(f"{data} is not empty; move what is in it away, or name another folder")


def _check_room(folder: Path, backup: Path) -> None:
    needed, free = backup.stat().st_size, shutil.disk_usage(folder).free
    if needed > free:
        raise BackupError(f"{folder.parent} has {free / 2**30:.1f} GiB free, the backup takes {needed / 2**30:.1f}")


def _check_database(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as database:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        raise BackupError(f"the backup's database is damaged ({found}); take another backup")


def _place(aside: Path, data: Path, *, one_by_one: bool) -> None:
    if not one_by_one:
        aside.rename(data)
        return
    for path in sorted(aside.iterdir(), key=lambda path: path.name == DATABASE):  # a node is there once its database is
        path.rename(data / path.name)


def _read(backup: Path, folder: Path | None) -> Manifest:
    """Reads all of a backup, writes its files into a folder if there is one, and checks them."""
    try:
        with tarfile.open(backup, "r:") as archive:
            files: dict[str, Entry] = {}
            texts: dict[str, bytes] = {}
            for member in archive:
                content = archive.extractfile(member) if member.type == tarfile.REGTYPE and not member.issparse() else None
                if content is None:
                    raise BackupError(f"{backup} holds {member.name!r}, which is no plain file; it is no backup of a node")
                if member.name in (MANIFEST, MANIFEST_HASH):
                    texts[member.name] = content.read(_LARGEST_MANIFEST)
                else:
                    name = _safe(member.name, backup)
                    files[name] = _copy(content, folder / name if folder is not None else None)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise BackupError(f"{backup} is damaged or no backup ({error}); take another one") from error
    except OSError as error:
        raise BackupError(f"{error.filename or backup}: {error.strerror or error}; check path, rights and disk") from error
    manifest = _manifest(texts, backup)
    _compare(files, manifest, backup)
    return manifest


def _safe(name: str, backup: Path) -> str:
    """A path below the data folder."""
    path = PurePosixPath(name)
    if not name.startswith(DATA) or path.is_absolute() or ".." in path.parts or len(path.parts) < 2:
        raise BackupError(f"{backup} holds {name!r}, which has no place in a data folder; it is no backup of a node")
    return path.relative_to(DATA).as_posix()


def _copy(content: IO[bytes], target: Path | None) -> Entry:
    hashing, size = Hashing(content), 0  # type: ignore[arg-type]  # it is read, no more
    if target is None:
        while chunk := hashing.read(_CHUNK):
            size += len(chunk)
        return Entry(size, hashing.sha256)
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while chunk := hashing.read(_CHUNK):
            size += file.write(chunk)
    return Entry(size, hashing.sha256)


def _manifest(texts: dict[str, bytes], backup: Path) -> Manifest:
    content = texts.get(MANIFEST, b"")
    if hashlib.sha256(content).hexdigest().encode() != texts.get(MANIFEST_HASH):
        raise BackupError(f"{backup} is cut off or damaged: its manifest is missing or not sound; take another one")
    try:
        found = json.loads(content)
        if found["format"] > FORMAT:
            raise BackupError(f"{backup} was made by version {found['program']} in a later format; install that version")
        return Manifest(**found | {"files": {name: Entry(**entry) for name, entry in found["files"].items()}})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BackupError(f"{backup} has a manifest that says nothing of a data folder; it is no backup of a node") from error


def _compare(files: dict[str, Entry], manifest: Manifest, backup: Path) -> None:
    differing = sorted(name for name in files.keys() | manifest.files.keys() if files.get(name) != manifest.files.get(name))
    if differing:
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        raise BackupError(f"{backup} is damaged: {differing[0]}{more} not as it was written; take another backup")
