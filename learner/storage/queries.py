"""Read-only views of the store, for the API, the page and the command line."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from learner.domain.case import Case, Round, RoundState
from learner.storage.database import Database
from learner.storage.records import as_case, as_round


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as an operator sees it.

    Attributes:
        job_id: number.
        kind: ``respond``, ``learn``, ``forget`` or ``retrain``.
        round_id: the round that it is about.
        state: ``ready``, ``leased``, ``blocked``, ``done`` or ``parked``.
        attempts: how often it was begun.
        reason: why it waits or was given up.
    """

    job_id: int
    kind: str
    round_id: int
    state: str
    attempts: int
    reason: str


@dataclass(frozen=True, slots=True)
class AnswerSeconds:
    """How long answers took, as a cumulative histogram.

    Attributes:
        count: number of answers.
        total_s: sum of their seconds.
        within: number of answers within each of the bounds that were asked for.
    """

    count: int
    total_s: float
    within: tuple[int, ...]


class Queries:
    """Read-only views."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def cases(self, task_id: str | None = None, limit: int = 200, offset: int = 0) -> list[Case]:
        """Cases, newest first, of one task or of all; those of forgotten studies are left out."""
        rows = self._db.rows(
            "SELECT * FROM cases WHERE (?1 IS NULL OR task_id = ?1) AND study_uid <> '' "
            "ORDER BY case_id DESC LIMIT ?2 OFFSET ?3",
            (task_id, limit, offset),
        )
        return [as_case(row) for row in rows]

    def answered_cases(self, task_id: str, limit: int = 1000) -> list[tuple[Case, Round]]:
        """The newest cases of a task that were answered, each with its last answered round; newest first."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE round_id IN (SELECT max(round_id) FROM rounds JOIN cases USING (case_id) "
            "WHERE task_id = ? AND state = ? GROUP BY case_id) ORDER BY case_id DESC LIMIT ?",
            (task_id, RoundState.ANSWERED, limit),
        )
        cases = {case.case_id: case for case in self.cases(task_id, limit=-1)} if rows else {}
        return [(cases[one.case_id], one) for one in map(as_round, rows) if one.case_id is not None]

    def rounds(self, *, case_id: int | None = None, state: str | None = None, limit: int = 200, offset: int = 0) -> list[Round]:
        """Rounds, newest first, of one case and state or of all."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE (?1 IS NULL OR case_id = ?1) AND (?2 IS NULL OR state = ?2) "
            "ORDER BY round_id DESC LIMIT ?3 OFFSET ?4",
            (case_id, state, limit, offset),
        )
        return [as_round(row) for row in rows]

    def rounds_of_series(self, series_instance_uid: str, limit: int = 200, offset: int = 0) -> list[Round]:
        """Rounds that concern a series, newest first: its cases' rounds, those that wait for it, those that it triggered."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE series_uid = ?1 OR source_uid = ?1 "
            "OR case_id IN (SELECT case_id FROM cases WHERE series_uid = ?1) ORDER BY round_id DESC LIMIT ?2 OFFSET ?3",
            (series_instance_uid, limit, offset),
        )
        return [as_round(row) for row in rows]

    def cases_of_study(self, study_instance_uid: str) -> list[Case]:
        """Cases of a study, oldest first."""
        rows = self._db.rows("SELECT * FROM cases WHERE study_uid = ? ORDER BY case_id", (study_instance_uid,))
        return [as_case(row) for row in rows]

    def rounds_of_study(self, study_instance_uid: str) -> list[Round]:
        """Rounds of a study's cases, and of annotations in it whose case is not known, newest first."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE case_id IN (SELECT case_id FROM cases WHERE study_uid = ?1) "
            "OR (case_id IS NULL AND json_extract(facts, '$.study_instance_uid') = ?1) ORDER BY round_id DESC",
            (study_instance_uid,),
        )
        return [as_round(row) for row in rows]

    def find_trigger(self, trigger_uid: str) -> Round | None:
        """The latest round of a trigger: the archive's identifier, or the SOP Instance UID, of the annotation object."""
        row = self._db.row(
            "SELECT * FROM rounds WHERE trigger_uid = ?1 OR json_extract(facts, '$.annotation_uid') = ?1 "
            "ORDER BY round_id DESC LIMIT 1",
            (trigger_uid,),
        )
        return as_round(row) if row else None

    def find_result(self, sop_instance_uid: str) -> Round | None:
        """The round that a result answers."""
        row = self._db.row("SELECT rounds.* FROM results JOIN rounds USING (round_id) WHERE sop_uid = ?", (sop_instance_uid,))
        return as_round(row) if row else None

    def round_counts(self) -> dict[str, int]:
        """Number of rounds in each state."""
        rows = self._db.rows("SELECT state, count(*) AS n FROM rounds GROUP BY state")
        return {row["state"]: row["n"] for row in rows}

    def needs_images(self, series_instance_uid: str) -> bool:
        """Whether an open round needs the images of that series, or has not been looked at and may need any."""
        return (
            self._db.row(
                "SELECT 1 FROM rounds LEFT JOIN cases USING (case_id) WHERE state IN ('queued', 'waiting', 'computed') AND "
                "(state = 'queued' AND case_id IS NULL OR source_uid = ?1 OR cases.series_uid = ?1)",
                (series_instance_uid,),
            )
            is not None
        )

    def jobs(self, *states: str, limit: int = 200) -> list[JobView]:
        """Jobs in any of ``states`` (all if none is given), oldest first."""
        marks = ", ".join("?" for _ in states) or "state"
        rows = self._db.rows(
            f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY job_id LIMIT ?",  # noqa: S608 - placeholders only
            (*states, limit),
        )
        return [_job_view(row) for row in rows]

    def jobs_of(self, round_id: int) -> list[JobView]:
        """The jobs of one round, oldest first."""
        return [_job_view(row) for row in self._db.rows("SELECT * FROM jobs WHERE round_id = ? ORDER BY job_id", (round_id,))]

    def job_counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by kind and state."""
        rows = self._db.rows("SELECT kind, state, count(*) AS n FROM jobs GROUP BY kind, state")
        return {(row["kind"], row["state"]): row["n"] for row in rows}

    def answer_seconds(self, bounds: Sequence[float]) -> AnswerSeconds:
        """How long answers took, from the trigger to the last object in the archive.

        Args:
            bounds: upper bounds in seconds, ascending; answers are counted up to each.
        """
        counted = "".join(f", coalesce(sum(seconds <= {bound:g}), 0)" for bound in bounds)
        row = self._db.row(
            f"SELECT count(*), coalesce(sum(seconds), 0.0){counted} FROM "  # noqa: S608 - numbers only
            "(SELECT max(answered_at - received_at, 0) AS seconds FROM rounds WHERE answered_at IS NOT NULL)"
        )
        assert row is not None
        return AnswerSeconds(int(row[0]), float(row[1]), tuple(int(count) for count in row[2:]))


def _job_view(row: sqlite3.Row) -> JobView:
    return JobView(row["job_id"], row["kind"], row["round_id"], row["state"], row["attempts"], row["reason"])
