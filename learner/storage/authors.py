"""Who stored which object, in SQLite."""

from __future__ import annotations

from collections.abc import Collection

from learner.ports import Clock
from learner.storage.database import Database


class SqliteAuthors:
    """:class:`learner.ports.Authors` on a table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def claim(self, sop_instance_uid: str, name: str) -> bool:
        """See :meth:`learner.ports.Authors.claim`."""
        with self._db.transaction():
            known = "SELECT 1 FROM rounds WHERE json_extract(facts, '$.annotation_uid') = ?"
            if self._db.row(known, (sop_instance_uid,)) is not None:
                return False
            made = self._db.run(
                "INSERT INTO stored_by VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (sop_instance_uid, name, self._clock.now())
            )
            return made.rowcount > 0

    def disclaim(self, sop_instance_uids: Collection[str], name: str) -> None:
        """See :meth:`learner.ports.Authors.disclaim`."""
        with self._db.transaction():
            for uid in sop_instance_uids:
                self._db.run("DELETE FROM stored_by WHERE sop_uid = ? AND name = ?", (uid, name))

    def author_of(self, sop_instance_uid: str) -> str:
        """See :meth:`learner.ports.Authors.author_of`."""
        row = self._db.row("SELECT name FROM stored_by WHERE sop_uid = ?", (sop_instance_uid,))
        return str(row["name"]) if row else ""
