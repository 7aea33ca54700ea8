"""Read-only views of the store, for the API, the page and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from learner.domain.case import Case, Round
from learner.storage.database import Database
from learner.storage.records import as_round


@dataclass(frozen=True, slots=True)
class JobView:
    """A job as an operator sees it.

    Attributes:
        job_id: number.
        kind: ``respond`` or ``learn``.
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


class Queries:
    """Read-only views."""

    def __init__(self, database: Database) -> None:
        self._db = database

    def cases(self, task_id: str | None = None, limit: int = 200, offset: int = 0) -> list[Case]:
        """Cases, newest first, of one task or of all."""
        rows = self._db.rows(
            "SELECT * FROM cases WHERE (?1 IS NULL OR task_id = ?1) ORDER BY case_id DESC LIMIT ?2 OFFSET ?3",
            (task_id, limit, offset),
        )
        return [Case(r["case_id"], r["task_id"], r["study_uid"], r["series_uid"]) for r in rows]

    def find_cases(self, series_instance_uid: str) -> list[Case]:
        """The cases of one image series, one for each task that it belongs to."""
        rows = self._db.rows("SELECT * FROM cases WHERE series_uid = ? ORDER BY case_id", (series_instance_uid,))
        return [Case(r["case_id"], r["task_id"], r["study_uid"], r["series_uid"]) for r in rows]

    def rounds(self, *, case_id: int | None = None, state: str | None = None, limit: int = 200, offset: int = 0) -> list[Round]:
        """Rounds, newest first, of one case and state or of all."""
        rows = self._db.rows(
            "SELECT * FROM rounds WHERE (?1 IS NULL OR case_id = ?1) AND (?2 IS NULL OR state = ?2) "
            "ORDER BY round_id DESC LIMIT ?3 OFFSET ?4",
            (case_id, state, limit, offset),
        )
        return [as_round(row) for row in rows]

    def find_trigger(self, trigger_uid: str) -> Round | None:
        """The round of a trigger: the archive's identifier, or the SOP Instance UID, of the annotation object."""
        row = self._db.row(
            "SELECT * FROM rounds WHERE trigger_uid = ?1 OR json_extract(facts, '$.annotation_uid') = ?1", (trigger_uid,)
        )
        return as_round(row) if row else None

    def round_counts(self) -> dict[str, int]:
        """Number of rounds in each state."""
        rows = self._db.rows("SELECT state, count(*) AS n FROM rounds GROUP BY state")
        return {row["state"]: row["n"] for row in rows}

    def jobs(self, *states: str, limit: int = 200) -> list[JobView]:
        """Jobs in any of ``states`` (all if none is given), oldest first."""
        marks = ", ".join("?" for _ in states) or "state"
        rows = self._db.rows(
            f"SELECT * FROM jobs WHERE state IN ({marks}) ORDER BY job_id LIMIT ?",  # noqa: S608 - placeholders only
            (*states, limit),
        )
        return [JobView(r["job_id"], r["kind"], r["round_id"], r["state"], r["attempts"], r["reason"]) for r in rows]

    def job_counts(self) -> dict[tuple[str, str], int]:
        """Number of jobs by kind and state."""
        rows = self._db.rows("SELECT kind, state, count(*) AS n FROM jobs GROUP BY kind, state")
        return {(row["kind"], row["state"]): row["n"] for row in rows}
