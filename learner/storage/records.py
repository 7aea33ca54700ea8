"""Cursor, series, cases, rounds, results and flags, in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dicom_io.codes import Code
from learner.domain.case import Case, Round, RoundEvent, RoundState, next_state
from learner.domain.result_kinds import REFUSAL
from learner.domain.task import Label, MatchingRule, Task
from learner.ports import Clock, ResultRecord
from learner.storage.database import Database

_ROUND_FIELDS = frozenset({"case_id", "number", "reason", "reader", "checkpoint", "answered_at"})

_DRAWN_BEFORE = """
SELECT latest.*, max(latest.round_id) FROM study_patients AS own JOIN study_patients AS other USING (patient_key)
JOIN cases ON cases.study_uid = other.study_uid AND cases.task_id = :task
JOIN rounds AS latest ON latest.case_id = cases.case_id AND latest.state = 'answered'
WHERE own.study_uid = :study AND other.study_uid <> :study
AND EXISTS (SELECT 1 FROM rounds AS drawn WHERE drawn.case_id = cases.case_id AND drawn.state = 'answered' AND drawn.number > 0
    AND json_extract(drawn.facts, '$.annotation_uid') IS NOT NULL AND json_extract(drawn.facts, '$.withdrawn') IS NULL)
AND NOT EXISTS (SELECT 1 FROM rounds AS open WHERE open.case_id = cases.case_id AND open.state IN ('queued', 'computed')
    AND open.trigger_uid LIKE 'withdrawal of round %')
GROUP BY cases.case_id ORDER BY latest.round_id DESC
"""
"""SQLite takes the other columns of a group from the row of its greatest ``round_id``."""


class SqliteRecords:
    """:class:`learner.ports.Records` on tables."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def cursor(self, feed: str) -> int:
        """See :meth:`learner.ports.Records.cursor`."""
        row = self._db.row("SELECT position FROM cursor WHERE feed = ?", (feed,))
        return int(row["position"]) if row else 0

    def set_cursor(self, feed: str, position: int) -> None:
        """See :meth:`learner.ports.Records.set_cursor`."""
        self._db.run(
            "INSERT INTO cursor VALUES (?, ?) ON CONFLICT (feed) DO UPDATE SET position = excluded.position", (feed, position)
        )

    def series_digest(self, series_instance_uid: str) -> str:
        """See :meth:`learner.ports.Records.series_digest`."""
        row = self._db.row("SELECT digest FROM series WHERE series_uid = ?", (series_instance_uid,))
        return str(row["digest"]) if row else ""

    def set_series_digest(self, series_instance_uid: str, study_instance_uid: str, digest: str) -> None:
        """See :meth:`learner.ports.Records.set_series_digest`."""
        self._db.run(
            "INSERT INTO series (series_uid, study_uid, digest) VALUES (?, ?, ?) ON CONFLICT (series_uid) "
            "DO UPDATE SET study_uid = excluded.study_uid, digest = excluded.digest",
            (series_instance_uid, study_instance_uid, digest),
        )

    def case(self, task_id: str, study_instance_uid: str, series_instance_uid: str, part: str = "") -> Case:
        """See :meth:`learner.ports.Records.case`."""
        named = (task_id, series_instance_uid, part)
        with self._db.transaction():
            if part and not self._db.row("SELECT 1 FROM cases WHERE task_id = ? AND series_uid = ? AND part = ?", named):
                self._db.run(
                    "UPDATE cases SET part = ?3 WHERE task_id = ?1 AND series_uid = ?2 AND part = '' AND NOT EXISTS "
                    "(SELECT 1 FROM rounds WHERE rounds.case_id = cases.case_id AND state IN ('computed', 'answered'))",
                    named,
                )
            self._db.run(
                "INSERT INTO cases (task_id, study_uid, series_uid, part) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (task_id, study_instance_uid, series_instance_uid, part),
            )
            row = self._db.row("SELECT * FROM cases WHERE task_id = ? AND series_uid = ? AND part = ?", named)
        assert row is not None
        return as_case(row)

    def find_case(self, case_id: int) -> Case:
        """See :meth:`learner.ports.Records.find_case`."""
        row = self._db.row("SELECT * FROM cases WHERE case_id = ?", (case_id,))
        if row is None:
            raise KeyError(case_id)
        return as_case(row)

    def open_round(
        self, trigger_uid: str, series_instance_uid: str, *, case_id: int | None = None, number: int | None = None
    ) -> int | None:
        """See :meth:`learner.ports.Records.open_round`."""
        with self._db.transaction():
            if self._db.row("SELECT 1 FROM rounds WHERE trigger_uid = ?", (trigger_uid,)):
                return None
            return self._db.run(
                "INSERT INTO rounds (trigger_uid, series_uid, state, case_id, number, received_at) VALUES (?, ?, ?, ?, ?, ?)",
                (trigger_uid, series_instance_uid, RoundState.QUEUED, case_id, number, self._clock.now()),
            ).lastrowid

    def find_round(self, round_id: int) -> Round:
        """See :meth:`learner.ports.Records.find_round`."""
        row = self._db.row("SELECT * FROM rounds WHERE round_id = ?", (round_id,))
        if row is None:
            raise KeyError(round_id)
        return as_round(row)

    def rounds_of(self, case_id: int) -> tuple[Round, ...]:
        """See :meth:`learner.ports.Records.rounds_of`."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE case_id = ? AND state IN (?, ?) ORDER BY number, round_id",
            (case_id, RoundState.COMPUTED, RoundState.ANSWERED),
        )
        return tuple(as_round(row) for row in rows)

    def latest_rounds(self, task_id: str, count: int, *, but_of: int) -> tuple[int, ...]:
        """See :meth:`learner.ports.Records.latest_rounds`."""
        rows = self._db.rows(
            "SELECT max(round_id) AS latest FROM rounds JOIN cases USING (case_id) WHERE task_id = ? AND case_id != ? "
            "AND number > 0 AND state IN (?, ?) AND json_extract(facts, '$.pruned') IS NULL "
            "GROUP BY case_id ORDER BY latest DESC LIMIT ?",
            (task_id, but_of, RoundState.COMPUTED, RoundState.ANSWERED, count),
        )
        return tuple(int(row["latest"]) for row in rows)

    def superseded_rounds(self, before: float, limit: int) -> tuple[int, ...]:
        """See :meth:`learner.ports.Records.superseded_rounds`."""
        return self._aged("slimmed", "later.state IN ('computed', 'answered') AND later.number > rounds.number", before, limit)

    def settled_rounds(self, before: float, limit: int) -> tuple[int, ...]:
        """See :meth:`learner.ports.Records.settled_rounds`."""
        return self._aged("pruned", "later.received_at >= ?1", before, limit, no_later=True)

    def _aged(self, fact: str, later: str, before: float, limit: int, *, no_later: bool = False) -> tuple[int, ...]:
        """Answered rounds without a fact, neither pruned, with (or without) another round of their case."""
        rows = self._db.rows(
            "SELECT round_id FROM rounds WHERE state = 'answered' AND answered_at < ?1 "  # noqa: S608 - our own literals
            f"AND json_extract(facts, '$.{fact}') IS NULL AND json_extract(facts, '$.pruned') IS NULL "
            f"AND {'NOT ' if no_later else ''}EXISTS (SELECT 1 FROM rounds AS later WHERE later.case_id = rounds.case_id "
            f"AND {later}) ORDER BY round_id LIMIT ?2",
            (before, limit),
        )
        return tuple(int(row["round_id"]) for row in rows)

    def image_series(self) -> tuple[tuple[str, str], ...]:
        """See :meth:`learner.ports.Records.image_series`."""
        rows = self._db.rows(
            "SELECT study_uid, series_uid FROM cases WHERE study_uid <> '' GROUP BY study_uid, series_uid "
            "ORDER BY max(case_id) DESC"
        )
        return tuple((str(row["study_uid"]), str(row["series_uid"])) for row in rows)

    def in_effect(self) -> tuple[Round, ...]:
        """See :meth:`learner.ports.Records.in_effect`."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE state = ? AND number > 0 AND json_extract(facts, '$.annotation_uid') IS NOT NULL "
            "AND json_extract(facts, '$.withdrawn') IS NULL ORDER BY round_id",
            (RoundState.ANSWERED,),
        )
        return tuple(as_round(row) for row in rows)

    def measured(self, task_id: str, limit: int = 200) -> tuple[Round, ...]:
        """See :meth:`learner.ports.Records.measured`."""
        rows = self._db.rows(
            "SELECT rounds.* FROM rounds JOIN cases USING (case_id) WHERE task_id = ? AND state = ? AND number > 0 "
            "AND json_extract(facts, '$.annotation_uid') IS NOT NULL AND json_extract(facts, '$.withdrawn') IS NULL "
            "ORDER BY round_id DESC LIMIT ?",
            (task_id, RoundState.ANSWERED, limit),
        )
        return tuple(as_round(row) for row in reversed(rows))

    def unchanged_of(self, case_id: int) -> tuple[Round, ...]:
        """See :meth:`learner.ports.Records.unchanged_of`."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE case_id = ? AND state = ? AND json_extract(facts, '$.annotation_uid') IS NOT NULL "
            "ORDER BY round_id",
            (case_id, RoundState.UNCHANGED),
        )
        return tuple(as_round(row) for row in rows)

    def withdrawn(self, trigger_uid: str) -> Round | None:
        """See :meth:`learner.ports.Records.withdrawn`."""
        sql = "SELECT * FROM rounds WHERE trigger_uid = ? AND state = ?"
        row = self._db.row(sql, (trigger_uid, RoundState.WITHDRAWN))
        return as_round(row) if row else None

    def times_withdrawn(self, instance_id: str) -> int:
        """See :meth:`learner.ports.Records.times_withdrawn`."""
        row = self._db.row(
            "SELECT count(*) FROM rounds WHERE (trigger_uid = ?1 OR (trigger_uid > ?1 || '#' AND trigger_uid < ?1 || '$')) "
            "AND json_extract(facts, '$.withdrawn') IS NOT NULL AND json_extract(facts, '$.withdrawn_by') IS NULL",
            (instance_id,),
        )
        return int(row[0]) if row else 0

    def waiting_for(self, series_instance_uid: str) -> tuple[Round, ...]:
        """See :meth:`learner.ports.Records.waiting_for`."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE source_uid = ? AND state = ? ORDER BY round_id",
            (series_instance_uid, RoundState.WAITING),
        )
        return tuple(as_round(row) for row in rows)

    def apply(self, round_id: int, event: RoundEvent, **changes: object) -> Round:
        """See :meth:`learner.ports.Records.apply`."""
        assert set(changes) <= _ROUND_FIELDS, f"no such field of a round: {set(changes) - _ROUND_FIELDS}"
        with self._db.transaction():
            state = next_state(self.find_round(round_id).state, event)
            assignments = "".join(f", {name} = ?" for name in changes)
            self._db.run(
                f"UPDATE rounds SET state = ?{assignments} WHERE round_id = ?",  # noqa: S608 - names checked above
                (state, *changes.values(), round_id),
            )
            return self.find_round(round_id)

    def await_source(self, round_id: int, series_instance_uid: str, reason: str) -> None:
        """See :meth:`learner.ports.Records.await_source`."""
        with self._db.transaction():
            self.apply(round_id, RoundEvent.SOURCE_MISSING, reason=reason)
            self._db.run("UPDATE rounds SET source_uid = ? WHERE round_id = ?", (series_instance_uid, round_id))

    def note_facts(self, round_id: int, **facts: object) -> None:
        """See :meth:`learner.ports.Records.note_facts`."""
        self._db.run(
            "UPDATE rounds SET facts = json_patch(facts, ?) WHERE round_id = ?", (json.dumps(facts, allow_nan=False), round_id)
        )

    def add_results(self, results: Sequence[ResultRecord]) -> None:
        """See :meth:`learner.ports.Records.add_results`."""
        for result in results:
            self._db.run(
                "INSERT INTO results (sop_uid, series_uid, round_id, kind, path) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (sop_uid) DO UPDATE SET path = excluded.path, sent_at = NULL, deleted_at = NULL",
                (result.sop_instance_uid, result.series_instance_uid, result.round_id, result.kind, result.path),
            )

    def results_of(self, round_id: int) -> tuple[ResultRecord, ...]:
        """See :meth:`learner.ports.Records.results_of`."""
        rows = self._db.rows("SELECT * FROM results WHERE round_id = ? ORDER BY rowid", (round_id,))
        return tuple(_result(row) for row in rows)

    def superseded_results(self, case_id: int | None, round_id: int) -> tuple[ResultRecord, ...]:
        """See :meth:`learner.ports.Records.superseded_results`."""
        rows = self._db.rows(
            "SELECT results.* FROM results JOIN rounds USING (round_id) "
            "WHERE ((rounds.case_id = ?1 AND rounds.round_id < ?2) OR (rounds.round_id = ?2 AND results.kind = ?3)) "
            "AND results.sent_at IS NOT NULL AND results.deleted_at IS NULL ORDER BY results.rowid",
            (case_id, round_id, REFUSAL),
        )
        return tuple(_result(row) for row in rows)

    def note_images(self, case_id: int, digest: str) -> None:
        """See :meth:`learner.ports.Records.note_images`."""
        self._db.run(
            "INSERT INTO case_images VALUES (?1, ?2) ON CONFLICT (case_id) DO UPDATE SET digest = ?2 WHERE digest <> ?2",
            (case_id, digest),
        )

    def cases_of_images(self, digest: str, series_instance_uid: str) -> tuple[Case, ...]:
        """See :meth:`learner.ports.Records.cases_of_images`."""
        same = "SELECT case_id FROM case_images WHERE digest = ?"
        sql = f"SELECT * FROM cases WHERE series_uid = ? OR case_id IN ({same}) ORDER BY case_id"  # noqa: S608 - our own literals
        return tuple(as_case(row) for row in self._db.rows(sql, (series_instance_uid, digest)))

    def shown_results(self, kind: str) -> tuple[ResultRecord, ...]:
        """See :meth:`learner.ports.Records.shown_results`."""
        rows = self._db.rows(
            "SELECT * FROM results WHERE kind = ? AND sent_at IS NOT NULL AND deleted_at IS NULL AND round_id IN "
            "(SELECT max(round_id) FROM rounds WHERE state IN ('computed', 'answered') GROUP BY case_id) ORDER BY round_id",
            (kind,),
        )
        return tuple(_result(row) for row in rows)

    def mark_sent(self, sop_instance_uid: str) -> None:
        """See :meth:`learner.ports.Records.mark_sent`."""
        self._db.run("UPDATE results SET sent_at = ? WHERE sop_uid = ?", (self._clock.now(), sop_instance_uid))

    def mark_deleted(self, series_instance_uid: str) -> None:
        """See :meth:`learner.ports.Records.mark_deleted`."""
        self._db.run("UPDATE results SET deleted_at = ? WHERE series_uid = ?", (self._clock.now(), series_instance_uid))

    def is_own_series(self, series_instance_uid: str) -> bool:
        """See :meth:`learner.ports.Records.is_own_series`."""
        return self._db.row("SELECT 1 FROM results WHERE series_uid = ?", (series_instance_uid,)) is not None

    def is_own_object(self, sop_instance_uid: str) -> bool:
        """See :meth:`learner.ports.Records.is_own_object`."""
        return self._db.row("SELECT 1 FROM results WHERE sop_uid = ?", (sop_instance_uid,)) is not None

    def set_patient(self, study_instance_uid: str, patient_key: str) -> None:
        """See :meth:`learner.ports.Records.set_patient`."""
        row = self._db.row("SELECT patient_key FROM study_patients WHERE study_uid = ?", (study_instance_uid,))
        if patient_key == (row["patient_key"] if row else ""):
            return
        if patient_key:
            self._db.run("INSERT OR REPLACE INTO study_patients VALUES (?, ?)", (study_instance_uid, patient_key))
        else:
            self._db.run("DELETE FROM study_patients WHERE study_uid = ?", (study_instance_uid,))

    def drawn_before(self, task_id: str, study_instance_uid: str) -> tuple[Round, ...]:
        """See :meth:`learner.ports.Records.drawn_before`."""
        rows = self._db.rows(_DRAWN_BEFORE, {"task": task_id, "study": study_instance_uid})
        return tuple(as_round(row) for row in rows)

    def labels_of(self, task_id: str) -> tuple[Label, ...]:
        """See :meth:`learner.ports.Records.labels_of`."""
        row = self._db.row("SELECT labels FROM task_labels WHERE task_id = ?", (task_id,))
        return tuple(_label(one) for one in json.loads(row["labels"])) if row else ()

    def set_labels(self, task: Task) -> None:
        """See :meth:`learner.ports.Records.set_labels`."""
        self._db.run(
            "INSERT INTO task_labels VALUES (?, ?) ON CONFLICT (task_id) DO UPDATE SET labels = excluded.labels",
            (task.task_id, json.dumps([asdict(label) for label in task.labels])),
        )

    def keep_task(self, task: Task) -> None:
        """See :meth:`learner.ports.Records.keep_task`."""
        definition = json.dumps(asdict(task))
        self._db.run("INSERT INTO tasks VALUES (?, ?) ON CONFLICT DO NOTHING", (task.task_id, definition))

    def kept_tasks(self) -> tuple[Task, ...]:
        """See :meth:`learner.ports.Records.kept_tasks`."""
        return tuple(_task(json.loads(row["definition"])) for row in self._db.rows("SELECT * FROM tasks ORDER BY rowid"))

    def flag(self, name: str) -> str:
        """See :meth:`learner.ports.Records.flag`."""
        row = self._db.row("SELECT value FROM flags WHERE name = ?", (name,))
        return str(row["value"]) if row else ""

    def set_flag(self, name: str, value: str) -> None:
        """See :meth:`learner.ports.Records.set_flag`."""
        self._db.run("INSERT INTO flags VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value))


def as_round(row: sqlite3.Row) -> Round:
    """A row of table ``rounds``."""
    return Round(
        row["round_id"],
        row["trigger_uid"],
        row["series_uid"],
        RoundState(row["state"]),
        row["case_id"],
        row["number"],
        row["reason"],
        row["reader"],
        row["checkpoint"],
        row["received_at"],
        row["answered_at"],
        json.loads(row["facts"]),
    )


def as_case(row: sqlite3.Row) -> Case:
    """A row of table ``cases``."""
    return Case(row["case_id"], row["task_id"], row["study_uid"], row["series_uid"], row["part"])


def _result(row: sqlite3.Row) -> ResultRecord:
    sent = row["sent_at"] is not None
    return ResultRecord(row["sop_uid"], row["series_uid"], row["round_id"], row["kind"], row["path"], sent)


def _label(definition: dict[str, Any]) -> Label:
    types = {"category": Code(**definition["category"]), "type": Code(**definition["type"])}
    also = {"codes": tuple(Code(**code) for code in definition.get("codes", ())), "names": tuple(definition.get("names", ()))}
    return Label(**(definition | types | also | {"colour": tuple(definition["colour"])}))


def _task(definition: dict[str, Any]) -> Task:
    labels = tuple(_label(label) for label in definition["labels"])
    rule = definition["match"] | {"modalities": tuple(definition["match"]["modalities"])}
    return Task(**(definition | {"labels": labels, "match": MatchingRule(**rule)}))
