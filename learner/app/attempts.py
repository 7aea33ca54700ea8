"""What becomes of a job that failed for no foreseen reason."""

from __future__ import annotations

import random

import structlog

from learner.domain.job import Job
from learner.ports import Jobs

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
