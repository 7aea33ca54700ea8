"""One node a data folder, and no file in it that nothing refers to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Literal

from learner.errors import StoreError
from learner.storage.database import Database
from learner.storage.disk import on_disk


class FolderLock:
    """Exclusive use of a data folder, for as long as this process lives.

    Args:
        folder: the data folder.
        role: what there is one of.

    Raises:
        StoreError: if another process has it.
    """

    def __init__(self, folder: Path, role: Literal["node", "trainer"] = "node") -> None:
        name = "lock" if role == "node" else f"{role}-lock"
        with on_disk(folder):
            self._file = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise StoreError(
                f"{folder} is in use by another {role}; stop that one, or give this one another folder (node.data)"
            ) from None

    def release(self) -> None:
        """Gives the folder free."""
        os.close(self._file)


ALL = ("outbox", "examples", "rounds", "checkpoints")
"""Folders in which each file is named by a record, or goes."""
OF_ANSWERS = ("outbox", "examples", "rounds")
"""Those that answers are written to, by one thread; the others are the trainer's."""


def sweep(database: Database, folder: Path, names: Collection[str] = ALL) -> int:
    """Removes what a killed process left behind: files half written, and whole ones that no record names, or no more.

    Args:
        database: the records.
        folder: the data folder.
        names: folders below it; nothing else may write to them meanwhile.

    Returns:
        Number of files removed.
    """
    removed = 0
    for path in _leftovers(database, folder, names):
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def _leftovers(database: Database, folder: Path, names: Collection[str]) -> Iterator[Path]:
    unsent = {row["path"] for row in database.rows("SELECT path FROM results WHERE sent_at IS NULL")}
    learning = {
        f"examples/{row['round_id']:08d}.npz"
        for row in database.rows("SELECT round_id FROM jobs WHERE kind = 'learn' AND state <> 'done'")
    }
    held = {f"examples/{row['round_id']:08d}.npz" for row in database.rows("SELECT round_id FROM lessons WHERE held")}
    rounds = {
        f"rounds/{row['round_id']:08d}.npz"
        for row in database.rows(
            "SELECT round_id FROM rounds WHERE state IN ('computed', 'answered') AND json_extract(facts, '$.pruned') IS NULL"
        )
    }
    checkpoints = {row["path"] for row in database.rows("SELECT path FROM checkpoints WHERE kept")}
    wanted = unsent | learning | held | rounds | checkpoints
    for name in names:
        for path in (folder / name).rglob("*"):
            if path.is_file() and path.relative_to(folder).as_posix() not in wanted:
                yield path
