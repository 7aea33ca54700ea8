"""One node and one trainer a data folder, and no file in it that nothing refers to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from learner.errors import FolderInUse
from learner.storage.database import Database
from learner.storage.disk import on_disk

Role = Literal["node", "trainer", "backup"]
_TAKEN: dict[Role, str] = {
    "node": "{folder} is in use by another node; stop that one, or give this one another folder (node.data)",
    "trainer": "{folder} is in use by another trainer; stop that one, or give this one another folder (node.data)",
    "backup": "another backup of {folder} is being made; wait for its end",
}


class FolderLock:
    """Exclusive use of a data folder, or of a part of it, for as long as this process lives.

    Args:
        folder: the data folder.
        role: what there is one of.

    Raises:
        FolderInUse: if another process has it.
    """

    def __init__(self, folder: Path, role: Role = "node") -> None:
        name = "lock" if role == "node" else f"{role}-lock"
        with on_disk(folder):
            self._file = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise FolderInUse(_TAKEN[role].format(folder=folder)) from None

    def release(self) -> None:
        """Gives it free."""
        os.close(self._file)


def sweep_answers(database: Database, folder: Path) -> int:
    """Removes what a killed node left behind: answers half written, and whole ones that were never recorded.

    Call it while nothing else answers.

    Returns:
        Number of files removed.
    """
    wanted = _of_answers(database)
    return _remove(path for name in ("outbox", "examples", "rounds") for path in _unwanted(folder, name, wanted))


def sweep_training(database: Database, folder: Path) -> int:
    """Removes what a killed trainer left behind: files half written, versions never recorded, examples that it is done with.

    Call it while nothing else trains; answers may be given meanwhile.

    Returns:
        Number of files removed.
    """
    done = {
        _example(row["round_id"]) for row in database.rows("SELECT round_id FROM jobs WHERE kind = 'learn' AND state = 'done'")
    }
    learned = (folder / name for name in done - _held(database) if (folder / name).exists())
    return _remove([*_unwanted(folder, "checkpoints", _of_versions(database)), *learned, *(folder / "replay").rglob("*.part")])


def _of_answers(database: Database) -> set[str]:
    """Files of outbox, rounds and examples that are recorded."""
    unsent = {row["path"] for row in database.rows("SELECT path FROM results WHERE sent_at IS NULL")}
    learning = {
        _example(row["round_id"]) for row in database.rows("SELECT round_id FROM jobs WHERE kind = 'learn' AND state <> 'done'")
    }
    rounds = {
        f"rounds/{row['round_id']:08d}.npz"
        for row in database.rows(
            "SELECT round_id FROM rounds WHERE state IN ('computed', 'answered') AND json_extract(facts, '$.pruned') IS NULL"
        )
    }
    return unsent | learning | _held(database) | rounds  # what is held is asked last: a job that ends meanwhile may hold it


def _of_versions(database: Database) -> set[str]:
    return {row["path"] for row in database.rows("SELECT path FROM checkpoints WHERE kept")}


def _held(database: Database) -> set[str]:
    return {_example(row["round_id"]) for row in database.rows("SELECT round_id FROM lessons WHERE held")}


def _example(round_id: int) -> str:
    return f"examples/{round_id:08d}.npz"


def _unwanted(folder: Path, name: str, wanted: set[str]) -> Iterator[Path]:
    return (p for p in (folder / name).rglob("*") if p.is_file() and p.relative_to(folder).as_posix() not in wanted)


def _remove(paths: Iterable[Path]) -> int:
    removed = 0
    for path in paths:
        path.unlink(missing_ok=True)
        removed += 1
    return removed


def recorded_files(database: Database) -> set[str]:
    """Files that the database names, by path below the data folder; those of replay memories stand in the checkpoints."""
    return _of_answers(database) | _of_versions(database)
