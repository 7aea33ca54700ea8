"""Versions of models: files beside a table."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from pathlib import Path

from dicom_io.whole_files import WholeFiles
from learner.domain.checkpoint import Checkpoint, CheckpointState
from learner.domain.gate import Verdict
from learner.errors import CorruptFile
from learner.ports import Clock
from learner.storage.database import Database
from learner.storage.disk import on_disk
from learner.storage.files import read_whole


class LocalCheckpoints:
    """:class:`learner.ports.Checkpoints` in a folder, recorded in SQLite.

    Args:
        database: where versions are recorded.
        folder: the data folder.
        keep: how many of the newest files of a model stay.
        clock: time.
        files: how files lie on disk; recorded hashes are of what they hold, however it lies there.
    """

    def __init__(self, database: Database, folder: Path, keep: int, clock: Clock, files: WholeFiles) -> None:
        self._db = database
        self._folder = folder
        self._keep = keep
        self._clock = clock
        self._files = files

    def add(
        self, model_id: str, state: bytes, *, round_id: int, steps: int, facts: dict[str, object], anew: bool = False
    ) -> Checkpoint:
        """See :meth:`learner.ports.Checkpoints.add`."""
        newest, head = self.versions(model_id)[:1], None if anew else self.head(model_id)
        number = newest[0].number + 1 if newest else 1
        digest = hashlib.sha256(state).hexdigest()
        path = f"checkpoints/{model_id}/{number:06d}-{digest[:12]}.pt"
        with on_disk(self._folder):
            self._files.write(self._folder / path, state)
        name, parent = f"{model_id}-{number}", head.name if head is not None else ""
        with self._db.transaction():
            self._db.run("UPDATE checkpoints SET head = 0 WHERE model_id = ? AND head", (model_id,))
            self._db.run(
                "INSERT INTO checkpoints (name, model_id, number, parent, path, sha256, round_id, steps, created_at, facts, "
                "head, from_forgotten) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1, "
                "coalesce((SELECT from_forgotten FROM checkpoints WHERE name = ?4), 0))",
                (name, model_id, number, parent, path, digest, round_id, steps, self._clock.now(), json.dumps(facts)),
            )
        return self._named(name)

    def judge(self, checkpoint: Checkpoint, verdict: Verdict) -> Checkpoint:
        """See :meth:`learner.ports.Checkpoints.judge`."""
        gate = json.dumps(verdict.facts())
        with self._db.transaction():
            self._db.run("UPDATE checkpoints SET gate = ? WHERE name = ?", (gate, checkpoint.name))
            if verdict.serve:
                self._serve(checkpoint, CheckpointState.RETIRED, verdict.tasks)
        return self._named(checkpoint.name)

    def roll_back(self, checkpoint: Checkpoint, *, retrain: bool) -> Checkpoint:
        """See :meth:`learner.ports.Checkpoints.roll_back`."""
        model_id = checkpoint.model_id
        with self._db.transaction():
            serving = self.serving(model_id)
            tasks = tuple(sorted({*checkpoint.tasks, *(serving.tasks if serving is not None else ())}))
            self._serve(checkpoint, CheckpointState.ROLLED_BACK, tasks)
            self._db.run("UPDATE checkpoints SET pinned = 1 WHERE name = ?", (checkpoint.name,))
            if retrain:
                self._db.run(
                    "UPDATE checkpoints SET state = ? WHERE model_id = ? AND number > ?",
                    (CheckpointState.ROLLED_BACK, model_id, checkpoint.number),
                )
                self._db.run("UPDATE checkpoints SET head = 0 WHERE model_id = ? AND head", (model_id,))
                self._db.run("UPDATE checkpoints SET head = 1 WHERE name = ?", (checkpoint.name,))
        return self._named(checkpoint.name)

    def _serve(self, checkpoint: Checkpoint, before: CheckpointState, tasks: tuple[str, ...]) -> None:
        """Makes a version serve, for ``tasks``; another one that served comes into state ``before``."""
        self._db.run(
            "UPDATE checkpoints SET state = ?, pinned = 0 WHERE model_id = ? AND state = ? AND name <> ?",
            (before, checkpoint.model_id, CheckpointState.SERVING, checkpoint.name),
        )
        self._db.run(
            "UPDATE checkpoints SET state = ?, tasks = ? WHERE name = ?",
            (CheckpointState.SERVING, json.dumps(tasks), checkpoint.name),
        )

    def drop_marked(self, model_id: str, *, all_of_them: bool) -> tuple[Checkpoint, ...]:
        """See :meth:`learner.ports.Checkpoints.drop_marked`."""
        with self._db.transaction():
            needed = () if all_of_them else (self.head(model_id), self.serving(model_id))
            names = {one.name for one in needed if one is not None}
            dropped = tuple(one for one in self.history(model_id) if one.from_forgotten and one.name not in names)
            for one in dropped:
                state = CheckpointState.ROLLED_BACK if one.state is CheckpointState.SERVING else one.state
                self._db.run("UPDATE checkpoints SET kept = 0, head = 0, state = ? WHERE name = ?", (state, one.name))
            if dropped and self.head(model_id) is None:
                self._db.run(
                    "UPDATE checkpoints SET head = 1 WHERE name = (SELECT name FROM checkpoints WHERE model_id = ? AND kept "
                    "ORDER BY number DESC LIMIT 1)",
                    (model_id,),
                )
        for one in dropped:
            (self._folder / one.path).unlink(missing_ok=True)
        return dropped

    def marked(self) -> tuple[Checkpoint, ...]:
        """See :meth:`learner.ports.Checkpoints.marked`."""
        rows = self._db.rows("SELECT * FROM checkpoints WHERE from_forgotten AND kept ORDER BY model_id, number")
        return tuple(_checkpoint(row) for row in rows)

    def prune(self, model_id: str) -> None:
        """See :meth:`learner.ports.Checkpoints.prune`."""
        kept, head, serving = self.history(model_id), self.head(model_id), self.serving(model_id)
        retired = [one for one in kept if one.state is CheckpointState.RETIRED]
        needed = {one.name for one in (*kept[: self._keep], *retired[:1], head, serving) if one is not None}
        for old in kept:
            if old.name not in needed:
                self._db.run("UPDATE checkpoints SET kept = 0 WHERE name = ?", (old.name,))
                with on_disk(self._folder):
                    (self._folder / old.path).unlink(missing_ok=True)
        recorded = {self._folder / one.path for one in self.history(model_id)}
        with on_disk(self._folder):
            for path in (self._folder / "checkpoints" / model_id).glob("*"):
                if path not in recorded:
                    path.unlink(missing_ok=True)

    def prune_all(self) -> None:
        """Prunes every model: how many versions are kept may have been lowered."""
        for row in self._db.rows("SELECT DISTINCT model_id FROM checkpoints WHERE kept"):
            self.prune(row["model_id"])

    def head(self, model_id: str) -> Checkpoint | None:
        """See :meth:`learner.ports.Checkpoints.head`."""
        return self._one("model_id = ? AND head", model_id)

    def serving(self, model_id: str) -> Checkpoint | None:
        """See :meth:`learner.ports.Checkpoints.serving`."""
        return self._one("model_id = ? AND state = 'serving'", model_id)

    def history(self, model_id: str) -> tuple[Checkpoint, ...]:
        """See :meth:`learner.ports.Checkpoints.history`."""
        return tuple(one for one in self.versions(model_id) if one.kept)

    def versions(self, model_id: str) -> tuple[Checkpoint, ...]:
        """See :meth:`learner.ports.Checkpoints.versions`."""
        rows = self._db.rows("SELECT * FROM checkpoints WHERE model_id = ? ORDER BY number DESC", (model_id,))
        return tuple(_checkpoint(row) for row in rows)

    def page(self, model_id: str, limit: int, offset: int = 0) -> tuple[Checkpoint, ...]:
        """Versions of a model, newest first, some of them."""
        sql = "SELECT * FROM checkpoints WHERE model_id = ? ORDER BY number DESC LIMIT ? OFFSET ?"
        return tuple(_checkpoint(row) for row in self._db.rows(sql, (model_id, limit, offset)))

    def read(self, checkpoint: Checkpoint) -> bytes:
        """See :meth:`learner.ports.Checkpoints.read`."""
        state = read_whole(self._folder / checkpoint.path, self._files)
        if hashlib.sha256(state).hexdigest() != checkpoint.sha256:
            raise CorruptFile(f"checkpoint {checkpoint.name} does not have its recorded hash; the version before it is used")
        return state

    def _named(self, name: str) -> Checkpoint:
        found = self._one("name = ?", name)
        assert found is not None
        return found

    def _one(self, condition: str, value: str) -> Checkpoint | None:
        row = self._db.row(f"SELECT * FROM checkpoints WHERE {condition}", (value,))  # noqa: S608 - our own literals
        return _checkpoint(row) if row else None


def _checkpoint(row: sqlite3.Row) -> Checkpoint:
    return Checkpoint(
        name=row["name"],
        model_id=row["model_id"],
        number=row["number"],
        parent=row["parent"],
        path=row["path"],
        sha256=row["sha256"],
        round_id=row["round_id"],
        steps=row["steps"],
        created_at=row["created_at"],
        facts=json.loads(row["facts"]),
        state=CheckpointState(row["state"]),
        tasks=tuple(json.loads(row["tasks"])),
        gate=json.loads(row["gate"]),
        pinned=bool(row["pinned"]),
        kept=bool(row["kept"]),
        from_forgotten=bool(row["from_forgotten"]),
    )
