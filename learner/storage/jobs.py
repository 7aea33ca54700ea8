"""Durable jobs under leases, in SQLite."""

from __future__ import annotations

import secrets

from learner.domain.job import Job, JobKind, JobState
from learner.errors import LeaseLost
from learner.ports import Clock
from learner.storage.database import Database

_CLAIM = """
UPDATE jobs SET state = 'leased', attempts = attempts + 1, lease = :lease, expires = :expires
WHERE job_id = (
    SELECT job_id FROM jobs AS j
    WHERE kind = :kind AND ((state = 'ready' AND not_before <= :now) OR (state = 'leased' AND expires <= :now))
      AND (lane = '' OR NOT EXISTS (
        SELECT 1 FROM jobs AS other
        WHERE other.kind = j.kind AND other.lane = j.lane AND other.job_id < j.job_id AND other.state IN ('ready', 'leased')))
    ORDER BY (SELECT number IS 0 FROM rounds WHERE rounds.round_id = j.round_id),
      CASE WHEN :turn_after IS NULL THEN 0 ELSE lane <= :turn_after END, CASE WHEN :turn_after IS NULL THEN '' ELSE lane END,
      job_id LIMIT 1)
RETURNING job_id, kind, round_id, attempts, lease, lane
"""


class SqliteJobs:
    """:class:`learner.ports.Jobs` on a table; exclusive by lease, lost leases are taken up again."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def add(self, kind: JobKind, round_id: int, lane: str = "") -> None:
        """See :meth:`learner.ports.Jobs.add`."""
        self._db.run(
            "INSERT INTO jobs (kind, round_id, state, lane) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (kind, round_id, JobState.READY, lane),
        )

    def claim(self, kind: JobKind, lease_s: float, turn_after: str | None = None) -> Job | None:
        """See :meth:`learner.ports.Jobs.claim`."""
        now = self._clock.now()
        lease = {"expires": now + lease_s, "lease": secrets.token_hex(8)}
        row = self._db.row(_CLAIM, {"kind": kind, "now": now, "turn_after": turn_after, **lease})
        if row is None:
            return None
        return Job(row["job_id"], JobKind(row["kind"]), row["round_id"], row["attempts"], row["lease"], row["lane"])

    def renew(self, job: Job, lease_s: float) -> None:
        """See :meth:`learner.ports.Jobs.renew`."""
        self._change(job, "expires = ?", (self._clock.now() + lease_s,))

    def finish(self, job: Job) -> None:
        """See :meth:`learner.ports.Jobs.finish`."""
        self._change(job, "state = ?, reason = ''", (JobState.DONE,))

    def block(self, job: Job, reason: str) -> None:
        """See :meth:`learner.ports.Jobs.block`."""
        self._change(job, "state = ?, reason = ?", (JobState.BLOCKED, reason))

    def release(self, job: Job, not_before: float, reason: str, *, count_attempt: bool = True) -> None:
        """See :meth:`learner.ports.Jobs.release`."""
        self._change(
            job,
            "state = ?, not_before = ?, reason = ?, attempts = attempts - ?",
            (JobState.READY, not_before, reason, 0 if count_attempt else 1),
        )

    def park(self, job: Job, reason: str) -> None:
        """See :meth:`learner.ports.Jobs.park`."""
        self._change(job, "state = ?, reason = ?", (JobState.PARKED, reason))

    def reopen(self, kind: JobKind, round_id: int) -> None:
        """See :meth:`learner.ports.Jobs.reopen`."""
        self._db.run(
            "UPDATE jobs SET state = ?, attempts = 0, not_before = 0, reason = '' WHERE kind = ? AND round_id = ? "
            "AND state IN (?, ?, ?)",
            (JobState.READY, kind, round_id, JobState.BLOCKED, JobState.PARKED, JobState.DONE),
        )

    def release_all(self, kind: JobKind) -> None:
        """Makes leased jobs of a kind ready again; for a process that knows that nobody else works on them."""
        self._db.run(
            "UPDATE jobs SET state = ?, lease = '' WHERE kind = ? AND state = ?", (JobState.READY, kind, JobState.LEASED)
        )

    def pending(self, kind: JobKind) -> int:
        """See :meth:`learner.ports.Jobs.pending`."""
        row = self._db.row(
            "SELECT count(*) AS n FROM jobs WHERE kind = ? AND (state = 'leased' OR (state = 'ready' AND not_before <= ?))",
            (kind, self._clock.now()),
        )
        assert row is not None
        return int(row["n"])

    def _change(self, job: Job, assignments: str, values: tuple[object, ...]) -> None:
        changed = self._db.run(
            f"UPDATE jobs SET {assignments} WHERE job_id = ? AND lease = ? AND state = 'leased'",  # noqa: S608 - our own literals
            (*values, job.job_id, job.lease),
        )
        if changed.rowcount != 1:
            raise LeaseLost(f"{job.kind} job {job.job_id} was taken over by another worker")
