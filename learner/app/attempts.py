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


def gave_up(jobs: Jobs, job: Job, attempts: int) -> bool:
    """Parks a job on which the process itself ended too often, such as one for which the memory does not suffice.

    It would be the first again after every start, and nothing behind it would ever be done.

    Args:
        jobs: where it is.
        job: claimed.
        attempts: most that a job has; one that failed and was told of is parked by ``retry_or_park`` before it exceeds them.

    Returns:
        Whether it was parked.
    """
    if job.attempts <= attempts:
        return False
    reason = (
        f"the process ended {attempts} times while it worked on this; see the system's log (lack of memory?), "
        f"then `apprentice retry {job.round_id}`"
    )
    jobs.park(job, reason)
    _log.error("job given up", kind=job.kind, round=job.round_id, reason=reason)
    return True


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
