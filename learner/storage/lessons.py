"""Which cases each model has met, in SQLite."""

from __future__ import annotations

from learner.ports import Lesson
from learner.storage.database import Database


class SqliteLessons:
    """:class:`learner.ports.Lessons` on a table."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def of_model(self, model_id: str) -> tuple[Lesson, ...]:
        """See :meth:`learner.ports.Lessons.of_model`."""
        rows = self._db.rows("SELECT * FROM lessons WHERE model_id = ? ORDER BY place", (model_id,))
        return tuple(
            Lesson(row["case_id"], row["model_id"], row["task_id"], row["site"], row["round_id"], bool(row["held"]))
            for row in rows
        )

    def put(self, lesson: Lesson) -> None:
        """See :meth:`learner.ports.Lessons.put`."""
        self._db.run(
            "INSERT INTO lessons (case_id, model_id, task_id, site, round_id, held) VALUES (?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (case_id) DO UPDATE SET model_id = excluded.model_id, task_id = excluded.task_id, "
            "site = excluded.site, round_id = excluded.round_id, held = excluded.held",
            (lesson.case_id, lesson.model_id, lesson.task_id, lesson.site, lesson.round_id, int(lesson.held)),
        )

    def release_older(self, before: float) -> int:
        """See :meth:`learner.ports.Lessons.release_older`."""
        older = "SELECT round_id FROM rounds WHERE received_at < ?"
        return self._db.run(f"UPDATE lessons SET held = 0 WHERE held AND round_id IN ({older})", (before,)).rowcount  # noqa: S608

    def drop(self, case_id: int) -> None:
        """See :meth:`learner.ports.Lessons.drop`."""
        self._db.run("DELETE FROM lessons WHERE case_id = ?", (case_id,))
