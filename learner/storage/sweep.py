"""One node a data folder, and no file in it that nothing refers to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from learner.errors import StoreError
from learner.storage.database import Database

_BY_A_NODE = "{folder} is in use by another node; stop that one, or give this one another folder (node.data)"


class FolderLock:
    """Exclusive use of a folder, for as long as this process lives.

    Args:
        folder: the data folder.
        name: of the file in it that is locked; who works on the folder takes ``lock``.
        taken: what the error says if another process has it.

    Raises:
        StoreError: if another process has it.
    """

    def __init__(self, folder: Path, name: str = "lock", taken: str = _BY_A_NODE) -> None:
        self._file = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise StoreError(taken.format(folder=folder)) from None

    def release(self) -> None:
        """Gives the folder free."""
        os.close(self._file)


def sweep(database: Database, folder: Path) -> int:
    """Removes what a killed process left behind: files half written, and whole ones that were never recorded.

    Call it while nothing else works on the folder.

    Returns:
        Number of files removed.
    """
    removed = 0
    for path in _leftovers(database, folder):
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def recorded_files(database: Database) -> set[str]:
    """Files that the database names, by path below the data folder; those of replay memories stand in the checkpoints."""
    unsent = {row["path"] for row in database.rows("SELECT path FROM results WHERE sent_at IS NULL")}
    learning = {
        f"examples/{row['round_id']:08d}.npz"
        for row in database.rows("SELECT round_id FROM jobs WHERE kind = 'learn' AND state <> 'done'")
    }
    held = {f"examples/{row['round_id']:08d}.npz" for row in database.rows("SELECT round_id FROM lessons WHERE held")}
    rounds = {
        f"rounds/{row['round_id']:08d}.npz"
        for row in database.rows("SELECT round_id FROM rounds WHERE state IN ('computed', 'answered')")
    }
    checkpoints = {row["path"] for row in database.rows("SELECT path FROM checkpoints WHERE kept")}
    return unsent | learning | held | rounds | checkpoints


def _leftovers(database: Database, folder: Path) -> Iterator[Path]:
    wanted = recorded_files(database)
    for name in ("outbox", "examples", "rounds", "checkpoints"):
        for path in (folder / name).rglob("*"):
            if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
                yield path
