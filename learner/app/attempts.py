"""What becomes of a job that failed: for no foreseen reason, or because something outside did."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress

import structlog

from learner.domain.job import Job
from learner.errors import LeaseLost, StoreUnavailable
from learner.ports import Clock, Jobs

BACKOFF_CAP_S = 60.0
_log = structlog.get_logger(__name__)


def backoff_s(attempts: int, *, first_s: float = 0.5, cap_s: float = BACKOFF_CAP_S) -> float:
    """Seconds to wait before the next attempt: doubling with each, capped, with jitter of a quarter."""
    delay = min(cap_s, first_s * 2.0 ** min(attempts, 16))
    return delay * random.uniform(0.75, 1.0)  # noqa: S311 - no secret


def retry_or_park(jobs: Jobs, job: Job, error: Exception, now: float, attempts: int) -> None:
    """Gives the job another try after a while, or parks it with a reason after its last; logs the fault whole.

    Call it from the ``except`` block that caught ``error``.
    """
    reason = f"unexpected {type(error).__name__}; the log has the traceback of round {job.round_id}"
    _log.exception("job failed", kind=job.kind, round=job.round_id, attempt=job.attempts)
    if job.attempts >= attempts:
        jobs.park(job, reason)
    else:
        jobs.release(job, now + backoff_s(job.attempts), reason)


def park_what_kills(jobs: Jobs, job: Job, attempts: int) -> bool:
    """Gives a job up that was begun too often and never failed: each time the process ended, for want of memory mostly.

    Returns:
        Whether it was given up; else it would end the process again and again, and nothing else would ever be done.
    """
    if job.attempts <= attempts:
        return False
    jobs.park(job, f"the process ended {attempts} times while it worked on this; look at the machine's memory, then retry")
    _log.error("job ended its process too often, parked", kind=job.kind, round=job.round_id)
    return True


class OutsideFaults:
    """Gives jobs back that something outside kept from being done: an archive, a disk. No attempt is counted, without end.

    Args:
        jobs: where they go back to.
        clock: time.
    """

    def __init__(self, jobs: Jobs, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock
        self._times: Counter[int] = Counter()
        self._held: tuple[Job, str] | None = None

    def postpone(self, job: Job, reason: str) -> None:
        """The job waits, longer each time; others go on meanwhile."""
        self._times[job.job_id] += 1
        pause = backoff_s(self._times[job.job_id])
        self._jobs.release(job, self._clock.now() + pause, reason, count_attempt=False)

    def hold(self, job: Job, reason: str) -> None:
        """The store cannot be used: the job is ready again, now if that can be written, else with the next :meth:`settle`."""
        self._held = (job, reason)
        with suppress(StoreUnavailable):
            self.settle()

    def settle(self) -> None:
        """Gives back what could not be given back before.

        Raises:
            StoreUnavailable: that cannot be written yet.
        """
        if self._held is not None:
            with suppress(LeaseLost):
                self._jobs.release(self._held[0], 0.0, self._held[1], count_attempt=False)
            self._held = None

    def forget(self, job: Job) -> None:
        """The job is done."""
        self._times.pop(job.job_id, None)
