"""Versions of models: files beside a table."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

from dicom_io.whole_files import write_whole
from learner.domain.checkpoint import Checkpoint
from learner.errors import CorruptFile
from learner.ports import Clock
from learner.storage.database import Database
from learner.storage.files import read_whole


class LocalCheckpoints:
    """:class:`learner.ports.Checkpoints` in a folder, recorded in SQLite.

    Args:
        database: where versions are recorded.
        folder: the data folder.
        keep: how many of the newest files of a task stay.
        clock: time.
    """

    def __init__(self, database: Database, folder: Path, keep: int, clock: Clock) -> None:
        self._db = database
        self._folder = folder
        self._keep = keep
        self._clock = clock

    def add(self, task_id: str, state: bytes, *, round_id: int, steps: int, facts: dict[str, object]) -> Checkpoint:
        """See :meth:`learner.ports.Checkpoints.add`."""
        newest = self.history(task_id)
        number = newest[0].number + 1 if newest else 1
        digest = hashlib.sha256(state).hexdigest()
        path = f"checkpoints/{task_id}/{number:06d}-{digest[:12]}.pt"
        write_whole(self._folder / path, state)
        checkpoint = Checkpoint(
            name=f"{task_id}-{number}",
            task_id=task_id,
            number=number,
            parent=newest[0].name if newest else "",
            path=path,
            sha256=digest,
            round_id=round_id,
            steps=steps,
            created_at=self._clock.now(),
            facts=facts,
        )
        with self._db.transaction():
            self._db.run(
                "INSERT INTO checkpoints (name, task_id, number, parent, path, sha256, round_id, steps, created_at, facts) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(checkpoint.name, task_id, number, checkpoint.parent, path, digest, round_id, steps),
                    *(checkpoint.created_at, json.dumps(facts)),
                ),
            )
        return checkpoint

    def prune(self, task_id: str) -> None:
        """Removes the files of all but the newest versions of a task; their records stay."""
        for old in self.history(task_id)[self._keep :]:
            self._db.run("UPDATE checkpoints SET kept = 0 WHERE name = ?", (old.name,))
            (self._folder / old.path).unlink(missing_ok=True)

    def serving(self, task_id: str) -> Checkpoint | None:
        """See :meth:`learner.ports.Checkpoints.serving`."""
        row = self._db.row("SELECT * FROM checkpoints WHERE task_id = ? AND kept ORDER BY number DESC LIMIT 1", (task_id,))
        return _checkpoint(row) if row else None

    def history(self, task_id: str) -> tuple[Checkpoint, ...]:
        """See :meth:`learner.ports.Checkpoints.history`."""
        rows = self._db.rows("SELECT * FROM checkpoints WHERE task_id = ? AND kept ORDER BY number DESC", (task_id,))
        return tuple(_checkpoint(row) for row in rows)

    def read(self, checkpoint: Checkpoint) -> bytes:
        """See :meth:`learner.ports.Checkpoints.read`."""
        state = read_whole(self._folder / checkpoint.path)
        if hashlib.sha256(state).hexdigest() != checkpoint.sha256:
            raise CorruptFile(f"checkpoint {checkpoint.name} does not have its recorded hash; the version before it is used")
        return state


def _checkpoint(row: sqlite3.Row) -> Checkpoint:
    return Checkpoint(
        row["name"],
        row["task_id"],
        row["number"],
        row["parent"],
        row["path"],
        row["sha256"],
        row["round_id"],
        row["steps"],
        row["created_at"],
        json.loads(row["facts"]),
    )
