"""Durable jobs under leases, in SQLite."""

from __future__ import annotations

import itertools
import math
import secrets
import sqlite3

from learner.app.attempts import BACKOFF_CAP_S
from learner.domain.job import Job, JobKind, JobState
from learner.errors import LeaseLost
from learner.ports import Clock
from learner.storage.database import Database

_MAY_BE_TAKEN = """
j.kind = :kind AND ((j.state = 'ready' AND NOT j.not_before BETWEEN :soon AND :paused)
    OR (j.state = 'leased' AND NOT j.expires BETWEEN :soon AND :leased))
AND (j.lane = '' OR NOT EXISTS (SELECT 1 FROM jobs AS other
    WHERE other.kind = j.kind AND other.lane = j.lane AND other.job_id < j.job_id AND other.state IN ('ready', 'leased')))
"""
"""A time beyond the longest pause, or the longest lease, was written before the clock was put back: it is over."""
_QUEUES = f"""
SELECT min(j.job_id) AS job_id, CASE WHEN j.kind <> 'respond' THEN j.lane WHEN number = 0 THEN task_id END AS queue
FROM jobs AS j JOIN rounds USING (round_id) LEFT JOIN cases USING (case_id)
WHERE {_MAY_BE_TAKEN} GROUP BY queue ORDER BY job_id
"""  # noqa: S608 - our own literals
"""The oldest job of each queue: that of all readers (NULL), those of rounds 0 by task; of learn jobs by lane."""
_CLAIM = f"""
UPDATE jobs AS j SET state = 'leased', attempts = attempts + 1, lease = :lease, expires = :now + :lease_s
WHERE job_id = :job AND {_MAY_BE_TAKEN} RETURNING job_id, kind, round_id, attempts, lease, lane
"""  # noqa: S608 - our own literals
_LONGEST_PAUSE_S = 2 * BACKOFF_CAP_S
_PENDING = """
SELECT count(*) AS n FROM jobs JOIN rounds USING (round_id)
WHERE kind = ?1 AND (jobs.state = 'leased' OR (jobs.state = 'ready' AND not_before <= ?2)) AND (?3 OR number IS NOT 0)
"""
_UNDRAWN = """
SELECT count(*) AS n FROM jobs JOIN rounds USING (round_id)
WHERE kind = 'respond' AND jobs.state IN ('ready', 'leased') AND number = 0
"""


class SqliteJobs:
    """:class:`learner.ports.Jobs` on a table; exclusive by lease, lost leases are taken up again.

    Whose turn it is among queues is remembered by the process that claims.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock
        self._claims = itertools.count(1)
        self._turns: dict[str, int] = {}

    def add(self, kind: JobKind, round_id: int, lane: str = "") -> None:
        """See :meth:`learner.ports.Jobs.add`."""
        self._db.run(
            "INSERT INTO jobs (kind, round_id, state, lane) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
            (kind, round_id, JobState.READY, lane),
        )

    def claim(self, kind: JobKind, lease_s: float) -> Job | None:
        """See :meth:`learner.ports.Jobs.claim`."""
        now = self._clock.now()
        times = {
            "now": now,
            "soon": math.nextafter(now, math.inf),
            "paused": now + _LONGEST_PAUSE_S,
            "leased": now + 2 * lease_s,
        }
        while queues := self._db.rows(_QUEUES, {"kind": kind, **times}):
            chosen = min(queues, key=self._turn)
            wanted = {"kind": kind, "job": chosen["job_id"], "lease": secrets.token_hex(8), "lease_s": lease_s, **times}
            row = self._db.row(_CLAIM, wanted)
            if row is not None:  # else another worker was faster
                self._turns[chosen["queue"]] = next(self._claims)
                return Job(row["job_id"], JobKind(row["kind"]), row["round_id"], row["attempts"], row["lease"], row["lane"])
        return None

    def _turn(self, queue: sqlite3.Row) -> tuple[int, int]:
        """Readers first, then the queue that was served least recently, then the oldest job."""
        return -1 if queue["queue"] is None else self._turns.get(queue["queue"], 0), queue["job_id"]

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

    def order(self, kind: JobKind, round_id: int, lane: str) -> bool:
        """See :meth:`learner.ports.Jobs.order`."""
        with self._db.transaction():
            of_lane = "SELECT 1 FROM jobs WHERE kind = ? AND lane = ? AND state IN (?, ?)"
            if self._db.row(of_lane, (kind, lane, JobState.READY, JobState.LEASED)) is not None:
                return False
            self._db.run("DELETE FROM jobs WHERE kind = ? AND lane = ?", (kind, lane))
            self.add(kind, round_id, lane)
            return True

    def release_all(self, kind: JobKind) -> None:
        """Makes leased jobs of a kind ready again; for a process that knows that nobody else works on them."""
        self._db.run(
            "UPDATE jobs SET state = ?, lease = '' WHERE kind = ? AND state = ?", (JobState.READY, kind, JobState.LEASED)
        )

    def pending(self, kind: JobKind, *, of_readers: bool = False) -> int:
        """See :meth:`learner.ports.Jobs.pending`."""
        row = self._db.row(_PENDING, (kind, self._clock.now(), not of_readers))
        assert row is not None
        return int(row["n"])

    def undrawn(self) -> int:
        """See :meth:`learner.ports.Jobs.undrawn`."""
        row = self._db.row(_UNDRAWN)
        assert row is not None
        return int(row["n"])

    def _change(self, job: Job, assignments: str, values: tuple[object, ...]) -> None:
        changed = self._db.run(
            f"UPDATE jobs SET {assignments} WHERE job_id = ? AND lease = ? AND state = 'leased'",  # noqa: S608 - our own literals
            (*values, job.job_id, job.lease),
        )
        if changed.rowcount != 1:
            raise LeaseLost(f"{job.kind} job {job.job_id} was taken over by another worker")
