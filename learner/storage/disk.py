"""The disk below the data folder: how much of it is free, and what it means when it does not do what it should."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from learner.errors import StoreUnavailable

_MIB = 2**20
_FULL = ("the disk is full", "Free some space on it")
_READ_ONLY = ("the disk is read-only", "Mount it for writing; after a fault of the disk look at the system's log first")
_NO_RIGHTS = ("the node's user may not write there", "Give it the right to")
_FAULT = ("the disk reports a fault", "Look at the system's log, and replace the disk")
_BY_ERRNO = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: ("the quota on the disk is used up", "Raise it, or free some space"),
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _NO_RIGHTS,
    errno.EPERM: _NO_RIGHTS,
    errno.EIO: _FAULT,
}
_BY_RESULT_CODE = {
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_READONLY: ("the database cannot be written", "Look at the disk and the folder's rights"),
    sqlite3.SQLITE_CANTOPEN: ("the database cannot be opened", "Look at the disk and the folder's rights"),
    sqlite3.SQLITE_IOERR: _FAULT,
    sqlite3.SQLITE_BUSY: ("another process holds the database", "End what locks it, a backup say"),
}
_PRIMARY = 0xFF
"""Mask of SQLite's primary result codes in the extended ones (https://www.sqlite.org/rescode.html)."""


def free_bytes(folder: Path) -> int:
    """Bytes that the node's user may still write on the disk of a folder; none where the folder is gone."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return 0
    return disk.f_bavail * disk.f_frsize


def trouble(folder: Path) -> str:
    """Why nothing can be written below a folder, as far as a look tells; empty where it does not."""
    try:
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    except OSError as error:
        return f"{folder}: {error.strerror}. Look at the disk."
    if read_only:
        return _told(folder, _READ_ONLY)
    return _told(folder, _FULL) if free_bytes(folder) < _MIB else ""


def _told(folder: Path, found: tuple[str, str]) -> str:
    what, remedy = found
    return f"{folder}: {what} ({free_bytes(folder) // _MIB} MiB free). {remedy}; the node goes on by itself then."


def unavailable(error: OSError | sqlite3.Error, folder: Path) -> StoreUnavailable | None:
    """What an error says of the disk of a folder: the folder, how much is free, and the remedy; None if it says nothing."""
    if isinstance(error, OSError):
        found = _BY_ERRNO.get(error.errno or 0)
    else:
        found = _BY_RESULT_CODE.get(getattr(error, "sqlite_errorcode", 0) & _PRIMARY)
    return StoreUnavailable(_told(folder, found)) if found is not None else None


@contextmanager
def on_disk(folder: Path) -> Iterator[None]:
    """Around what reads and writes below a folder: tells a disk that is full, read-only or broken from all other errors.

    Raises:
        StoreUnavailable.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if (found := unavailable(error, folder)) is not None:
            raise found from error
        raise


def shortage(folder: Path, least_mib: int) -> str:
    """Why there is too little room to learn, with the remedy; empty while there is enough.

    Args:
        folder: the data folder.
        least_mib: MiB that are to stay free.
    """
    free = free_bytes(folder) // _MIB
    if free >= least_mib:
        return ""
    return (
        f"{folder}: {free} MiB are free, and node.min_free_mb keeps {least_mib} for answers: nothing is learned for now. "
        "Free some space; learning goes on by itself then."
    )
