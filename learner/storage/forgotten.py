"""Studies that were forgotten, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping, Sequence

from learner.ports import Clock, ForgottenStudy
from learner.storage.database import Database
from learner.storage.records import as_case

_ROUNDS = """
SELECT round_id, facts FROM rounds WHERE case_id IN (SELECT case_id FROM cases WHERE study_uid = :study)
OR (case_id IS NULL AND json_extract(facts, '$.study_instance_uid') = :study)
OR round_id IN (SELECT value FROM json_each(:known))
"""
_RESULTS = """
SELECT DISTINCT series_uid FROM results WHERE deleted_at IS NULL AND round_id IN (SELECT value FROM json_each(?))
"""
_MARK = """
WITH RECURSIVE marked (name) AS (
    SELECT name FROM checkpoints WHERE round_id IN (SELECT value FROM json_each(:rounds))
        OR EXISTS (SELECT 1 FROM json_each(facts, '$.learned_cases') AS learned JOIN json_each(:cases) AS gone USING (value))
    UNION SELECT checkpoints.name FROM checkpoints JOIN marked ON checkpoints.parent = marked.name)
UPDATE checkpoints SET from_forgotten = 1 WHERE name IN (SELECT name FROM marked) AND NOT from_forgotten
"""
_REDUCE = (
    """INSERT INTO jobs (kind, round_id, state, lane) SELECT 'forget', min(round_id), 'ready', lane FROM jobs
    WHERE kind = 'learn' AND lane <> '' AND round_id IN (SELECT value FROM json_each(:rounds)) GROUP BY lane
    ON CONFLICT DO NOTHING""",
    """DELETE FROM jobs WHERE kind IN ('respond', 'learn')
    AND round_id IN (SELECT value FROM json_each(:rounds))""",
    "UPDATE jobs SET reason = '' WHERE reason <> '' AND round_id IN (SELECT value FROM json_each(:rounds))",
    "DELETE FROM case_images WHERE case_id IN (SELECT value FROM json_each(:cases))",
    "DELETE FROM lessons WHERE case_id IN (SELECT value FROM json_each(:cases))",
    """DELETE FROM stored_by WHERE sop_uid IN (SELECT value FROM json_each(:objects))
    OR sop_uid IN (SELECT sop_uid FROM results WHERE round_id IN (SELECT value FROM json_each(:rounds)))""",
    "DELETE FROM results WHERE round_id IN (SELECT value FROM json_each(:rounds))",
    "DELETE FROM study_patients WHERE study_uid = :study",
    "DELETE FROM series WHERE study_uid = :study OR series_uid IN (SELECT series_uid FROM cases WHERE study_uid = :study)",
    """UPDATE rounds SET trigger_uid = 'forgotten round ' || round_id, series_uid = '', source_uid = '', number = NULL,
    state = 'forgotten', reason = '', reader = '', checkpoint = '', answered_at = NULL, facts = '{}'
    WHERE round_id IN (SELECT value FROM json_each(:rounds))""",
    "UPDATE rounds SET facts = json_remove(facts, '$.prior') WHERE json_extract(facts, '$.prior.study_instance_uid') = :study",
    """UPDATE rounds SET facts = json_remove(facts, '$.study_instance_uid')
    WHERE json_extract(facts, '$.study_instance_uid') = :study""",
    "UPDATE cases SET study_uid = '', series_uid = 'forgotten ' || case_id, part = '' WHERE study_uid = :study",
)
"""In this order: each needs what the later ones take away."""
_LEARNED_AWAY = """
UPDATE forgotten SET keys = '[]' WHERE keys <> '[]' AND NOT EXISTS (
    SELECT 1 FROM jobs WHERE kind = 'forget' AND state <> 'done'
    AND round_id IN (SELECT value FROM json_each(forgotten.rounds)))
"""


class SqliteForgotten:
    """:class:`learner.ports.Forgotten` on a table."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def order(
        self, study_uid: str, study_key: str, key: Callable[[str], str], *, why: str, asked_by: str = "", results: bool = True
    ) -> ForgottenStudy:
        """See :meth:`learner.ports.Forgotten.order`."""
        with self._db.transaction():
            known = self._db.row("SELECT * FROM forgotten WHERE study_key = ?", (study_key,))
            if known is not None:
                return _study(known)
            cases = self._db.rows("SELECT * FROM cases WHERE study_uid = ?", (study_uid,))
            what = self._found(study_uid)
            keys = sorted({key(as_case(row).identity) for row in cases})
            sent = [row["series_uid"] for row in self._db.rows(_RESULTS, (what["rounds"],))] if results else []
            self._db.run(_MARK, {"rounds": what["rounds"], "cases": what["cases"]})
            self._reduce(what)
            self._db.run(
                "INSERT INTO forgotten (study_key, study_uid, why, asked_by, asked_at, rounds, keys, results) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (study_key, study_uid, why, asked_by, self._clock.now(), what["rounds"], json.dumps(keys), json.dumps(sent)),
            )
            made = self._db.row("SELECT * FROM forgotten WHERE study_key = ?", (study_key,))
        assert made is not None
        return _study(made)

    def _found(self, study_uid: str, known: Sequence[int] = ()) -> dict[str, str]:
        """Numbers of the study's rounds and cases, and SOP Instance UIDs of its annotations, as JSON.

        Args:
            study_uid: its Study Instance UID.
            known: rounds that are known to be of it.
        """
        rounds = self._db.rows(_ROUNDS, {"study": study_uid, "known": json.dumps(known)})
        facts = [json.loads(row["facts"]) for row in rounds]
        cases = self._db.rows("SELECT case_id FROM cases WHERE study_uid = ?", (study_uid,))
        return {
            "study": study_uid,
            "rounds": json.dumps([row["round_id"] for row in rounds]),
            "cases": json.dumps([row["case_id"] for row in cases]),
            "objects": json.dumps([one["annotation_uid"] for one in facts if "annotation_uid" in one]),
        }

    def _reduce(self, what: Mapping[str, str]) -> None:
        for statement in _REDUCE:
            self._db.run(statement, what)

    def has(self, study_key: str) -> bool:
        """See :meth:`learner.ports.Forgotten.has`."""
        return self._db.row("SELECT 1 FROM forgotten WHERE study_key = ?", (study_key,)) is not None

    def all(self) -> tuple[ForgottenStudy, ...]:
        """See :meth:`learner.ports.Forgotten.all`."""
        return tuple(_study(row) for row in self._db.rows("SELECT * FROM forgotten ORDER BY place DESC"))

    def unfinished(self) -> tuple[ForgottenStudy, ...]:
        """See :meth:`learner.ports.Forgotten.unfinished`."""
        condition = "purged_at IS NULL OR results <> '[]' OR keys <> '[]'"
        return tuple(_study(row) for row in self._db.rows(f"SELECT * FROM forgotten WHERE {condition} ORDER BY place"))  # noqa: S608

    def reduce(self, study: ForgottenStudy) -> None:
        """See :meth:`learner.ports.Forgotten.reduce`."""
        with self._db.transaction():
            self._reduce(self._found(study.study_uid, study.rounds))

    def note_purged(self, study: ForgottenStudy) -> None:
        """See :meth:`learner.ports.Forgotten.note_purged`."""
        self._db.run("UPDATE forgotten SET purged_at = ?, study_uid = '' WHERE place = ?", (self._clock.now(), study.place))

    def note_result(self, study: ForgottenStudy, series_instance_uid: str, *, deleted: bool) -> None:
        """See :meth:`learner.ports.Forgotten.note_result`."""
        self._db.run(
            'UPDATE forgotten SET "left" = "left" + ?, results = '
            "(SELECT json_group_array(value) FROM json_each(forgotten.results) WHERE value <> ?) WHERE place = ?",
            (0 if deleted else 1, series_instance_uid, study.place),
        )

    def keys(self) -> frozenset[str]:
        """See :meth:`learner.ports.Forgotten.keys`."""
        return frozenset(row["value"] for row in self._db.rows("SELECT value FROM forgotten, json_each(forgotten.keys)"))

    def settle(self) -> bool:
        """See :meth:`learner.ports.Forgotten.settle`."""
        return self._db.run(_LEARNED_AWAY).rowcount > 0

    def lift(self, study_key: str) -> bool:
        """See :meth:`learner.ports.Forgotten.lift`."""
        over = "purged_at IS NOT NULL AND results = '[]' AND keys = '[]'"
        return self._db.run(f"DELETE FROM forgotten WHERE study_key = ? AND {over}", (study_key,)).rowcount > 0  # noqa: S608


def _study(row: sqlite3.Row) -> ForgottenStudy:
    return ForgottenStudy(
        place=row["place"],
        study_key=row["study_key"],
        study_uid=row["study_uid"],
        why=row["why"],
        asked_by=row["asked_by"],
        asked_at=row["asked_at"],
        rounds=tuple(json.loads(row["rounds"])),
        keys=tuple(json.loads(row["keys"])),
        results=tuple(json.loads(row["results"])),
        left=row["left"],
        purged_at=row["purged_at"],
    )
