"""Summaries for the node's page: few rows whatever there is, each by one statement, none of them by reading files."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from learner.domain.case import Case, Round
from learner.domain.progress import CaseProgress
from learner.domain.result_kinds import PREDICTION
from learner.storage.database import Database
from learner.storage.records import as_round

_CASES = """
WITH latest AS (
    SELECT case_id, max(round_id) AS round_id, count(*) AS rounds,
        max(CASE WHEN state IN ('computed', 'answered') THEN round_id END) AS answer_id
    FROM rounds WHERE case_id IS NOT NULL GROUP BY case_id)
SELECT cases.case_id, task_id, study_uid, cases.series_uid AS image_uid, part, rounds, answer_id, last.*,
    answer.facts AS answer,
    (SELECT series_uid FROM results WHERE results.round_id = answer_id AND kind = ?4 LIMIT 1) AS prediction
FROM latest JOIN cases USING (case_id) JOIN rounds AS last ON last.round_id = latest.round_id
LEFT JOIN rounds AS answer ON answer.round_id = answer_id
WHERE (?1 IS NULL OR task_id = ?1) AND study_uid <> '' ORDER BY latest.round_id DESC LIMIT ?2 OFFSET ?3
"""
_COUNT = """
SELECT count(*) FROM cases WHERE (?1 IS NULL OR task_id = ?1) AND study_uid <> ''
AND EXISTS (SELECT 1 FROM rounds WHERE rounds.case_id = cases.case_id)
"""
_TROUBLE = """
WITH trouble AS (
    SELECT round_id, job_id FROM jobs JOIN rounds USING (round_id)
    WHERE rounds.state NOT IN ('waiting', 'refused') AND (jobs.state = 'parked'
        OR (jobs.state IN ('ready', 'leased') AND jobs.reason <> ''))
    UNION ALL SELECT round_id, NULL FROM rounds WHERE state IN ('waiting', 'refused'))
SELECT rounds.*, task_id, study_uid, cases.series_uid AS image_uid, part, jobs.kind AS job_kind, jobs.state AS job_state,
    jobs.attempts, jobs.reason AS job_reason, count(*) OVER () AS total
FROM trouble JOIN rounds USING (round_id) LEFT JOIN cases USING (case_id) LEFT JOIN jobs USING (job_id)
ORDER BY rounds.round_id DESC LIMIT ?
"""
_DRAWN = """
SELECT case_id, round_id, number, received_at, rounds.checkpoint AS version, json_extract(facts, '$.withdrawn', '$.foresight',
    '$.drawn_slices', '$.slices', '$.structure_slices', '$.estimated_dice', '$.annotation_uid') AS facts
FROM rounds JOIN cases USING (case_id)
WHERE task_id = ? AND rounds.state IN ('computed', 'answered') AND number > 0 ORDER BY round_id
"""


@dataclass(frozen=True, slots=True)
class CaseSummary:
    """A case as it stands.

    Attributes:
        case: the case.
        rounds: how many rounds it has.
        latest: the latest of them.
        answer_id: its latest round that has an answer, or None.
        answer: what was measured in that; empty without.
        prediction: Series Instance UID of its prediction; empty without.
    """

    case: Case
    rounds: int
    latest: Round
    answer_id: int | None
    answer: dict[str, Any]
    prediction: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What waits for something, failed, or was given up.

    Attributes:
        round_: the round that it is about.
        case: its case, or None before it is known.
        job: kind of the job; empty where the round itself waits or is refused.
        state: that of the job, else of the round.
        attempts: how often the job was begun.
        reason: why, with the remedy.
    """

    round_: Round
    case: Case | None
    job: str
    state: str
    attempts: int
    reason: str


class Overview:
    """Summaries of a store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def revision(self) -> int:
        """A number that rises with every change of rounds, jobs, versions, lessons and flags."""
        row = self._db.row("SELECT number FROM revision")
        assert row is not None
        return int(row["number"])

    def cases(self, task_id: str | None = None, limit: int = 50, offset: int = 0) -> tuple[int, list[CaseSummary]]:
        """Cases that have a round, the one with the latest round first: how many there are, and those of a page."""
        row = self._db.row(_COUNT, (task_id,))
        rows = self._db.rows(_CASES, (task_id, limit, offset, PREDICTION))
        return int(row[0]) if row else 0, [_summary(found) for found in rows]

    def trouble(self, limit: int = 50) -> tuple[int, list[Trouble]]:
        """What waits or failed, newest first: how much of it there is, and the first of it."""
        rows = self._db.rows(_TROUBLE, (limit,))
        return int(rows[0]["total"]) if rows else 0, [_trouble(found) for found in rows]

    def progress(self, task_id: str) -> list[CaseProgress]:
        """The cases of a task on which something was drawn, in the order of their first drawing."""
        rounds: dict[int, list[sqlite3.Row]] = {}
        for row in self._db.rows(_DRAWN, (task_id,)):
            rounds.setdefault(row["case_id"], []).append(row)
        return [progress for rows in rounds.values() if (progress := _progress(rows)) is not None]

    def remembered(self, model_id: str) -> tuple[str, list[dict[str, Any]]]:
        """What the replay memory of a model held after its latest training, by task and site, and the version of that."""
        row = self._db.row(
            "SELECT name, json_extract(facts, '$.memory') AS memory FROM checkpoints AS one WHERE model_id = ?1 "
            "AND number <= (SELECT number FROM checkpoints WHERE model_id = ?1 AND head) "
            "AND json_extract(facts, '$.memory') IS NOT NULL ORDER BY number DESC LIMIT 1",
            (model_id,),
        )
        return (str(row["name"]), json.loads(row["memory"])) if row else ("", [])


def _summary(row: sqlite3.Row) -> CaseSummary:
    case = Case(row["case_id"], row["task_id"], row["study_uid"], row["image_uid"], row["part"])
    return CaseSummary(
        case, row["rounds"], as_round(row), row["answer_id"], json.loads(row["answer"] or "{}"), row["prediction"] or ""
    )


def _trouble(row: sqlite3.Row) -> Trouble:
    case = None
    if row["task_id"] is not None:
        case = Case(row["case_id"], row["task_id"], row["study_uid"], row["image_uid"], row["part"])
    if row["job_kind"] is None:
        return Trouble(as_round(row), case, "", row["state"], 0, row["reason"])
    return Trouble(as_round(row), case, row["job_kind"], row["job_state"], row["attempts"], row["job_reason"])


def _progress(rows: list[sqlite3.Row]) -> CaseProgress | None:
    """A case from its answered rounds, oldest first; None where all of its drawings were withdrawn."""
    facts = [json.loads(row["facts"]) for row in rows]
    drawn = [place for place, one in enumerate(facts) if one[6] is not None and one[0] is None]
    if not drawn:
        return None
    first, (_, _, slices_drawn, slices, structure, estimated, _) = rows[drawn[0]], facts[-1]
    foreseen = facts[drawn[0]][1] if first["number"] == 1 else None
    return CaseProgress(
        case_id=first["case_id"],
        drawn_at=first["received_at"],
        version=first["version"],
        foresight=_mean(foreseen),
        rounds=len(drawn),
        drawn=len(slices_drawn) if slices_drawn else None,
        slices=slices,
        structure=structure,
        estimated_dice=_mean(estimated),
    )


def _mean(values: Any) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, int | float)] if isinstance(values, list) else []
    return fmean(numbers) if numbers else None
