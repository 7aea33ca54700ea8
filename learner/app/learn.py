"""Learning in the background: one fixed number of steps a job, preempted between steps, exactly once."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import structlog

from learner.app.attempts import retry_or_park
from learner.domain.example import Example, Withdrawal
from learner.domain.job import Job, JobKind
from learner.errors import CorruptFile, LeaseLost
from learner.ports import Clock, Store, Trainer

PAUSED = "training_paused"
"""Flag: training stands still while it is ``yes``."""
_log = structlog.get_logger(__name__)


class Preempted(Exception):
    """The node stops, or training was paused, in the middle of a job; the job begins anew later."""


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """How learn jobs are done.

    Attributes:
        steps: training steps a job.
        lease_s: how long a job stays ours without a sign of life, in seconds.
        yield_s: how long a step waits at most while readers are being answered, in seconds.
        attempts: how often an unexpected failure is tried before the job is parked.
    """

    steps: int
    lease_s: float = 120.0
    yield_s: float = 30.0
    attempts: int = 5


class Learn:
    """Takes learn jobs one after the other.

    The trainer of a task stays in memory between jobs. When a job fails or is preempted, it is thrown away and restored from
    the newest checkpoint, so that a job that is done again starts from the same state and gives the same weights.

    Args:
        store: jobs, examples and checkpoints.
        make_trainer: a new trainer for a task and its number of labels.
        settings: how.
        stopping: whether the node is about to stop.
        wait: waits for so many seconds; returns early when the node stops.
        clock: time.
    """

    def __init__(
        self,
        store: Store,
        make_trainer: Callable[[str, int], Trainer],
        settings: LearnSettings,
        stopping: Callable[[], bool],
        wait: Callable[[float], object],
        clock: Clock,
    ) -> None:
        self._store = store
        self._make_trainer = make_trainer
        self._settings = settings
        self._stopping = stopping
        self._wait = wait
        self._clock = clock
        self._trainers: dict[str, Trainer] = {}

    def run_once(self) -> bool:
        """Does the oldest learn job.

        Returns:
            Whether there was one.
        """
        if self._paused():
            return False
        job = self._store.jobs.claim(JobKind.LEARN, self._settings.lease_s)
        if job is None:
            return False
        try:
            self._learn(job)
        except LeaseLost:
            self._trainers.clear()
            _log.warning("learn job taken over by another worker", round=job.round_id)
        except Preempted:
            self._trainers.clear()
            self._store.jobs.release(job, 0.0, "preempted", count_attempt=False)
        except CorruptFile as error:
            self._trainers.clear()
            self._store.jobs.park(job, str(error))
            _log.error("learn job given up", round=job.round_id, error=str(error))
        except Exception as error:
            self._trainers.clear()
            retry_or_park(self._store.jobs, job, error, self._clock.now(), self._settings.attempts)
        return True

    def _learn(self, job: Job) -> None:
        example = self._store.files.get_example(job.round_id)
        taken_back = isinstance(example, Withdrawal)
        trainer = self._trainer(example.task_id, example.label_count)
        if taken_back and trainer.steps == 0:  # nothing was learned yet
            self._store.jobs.finish(job)
            self._store.files.drop_example(job.round_id)
            return
        began = time.monotonic()
        facts = self._work(job, trainer, example)
        facts["seconds"] = round(time.monotonic() - began, 2)
        state = trainer.save()
        with self._store.transaction():
            checkpoint = self._store.checkpoints.add(
                example.task_id, state, round_id=job.round_id, steps=trainer.steps, facts=facts
            )
            self._store.jobs.finish(job)
        self._store.files.drop_example(job.round_id)
        self._store.checkpoints.prune(example.task_id)
        trainer.tidy()
        _log.info("forgotten" if taken_back else "learned", round=job.round_id, checkpoint=checkpoint.name, **facts)

    def _work(self, job: Job, trainer: Trainer, example: Example | Withdrawal) -> dict[str, object]:
        """Learns from what was drawn, or forgets what was taken back."""
        if isinstance(example, Withdrawal):
            trainer.forget(example.key)
            return {"forgotten": 1}
        return asdict(trainer.learn(example, self._settings.steps, lambda: self._between_steps(job)))

    def _trainer(self, task_id: str, label_count: int) -> Trainer:
        """The trainer of a task as its newest readable checkpoint has it."""
        trainer = self._trainers.get(task_id)
        if trainer is None:
            trainer = self._make_trainer(task_id, label_count)
            for checkpoint in self._store.checkpoints.history(task_id):
                try:
                    trainer.restore(self._store.checkpoints.read(checkpoint))
                except CorruptFile as error:
                    _log.error("checkpoint unusable", checkpoint=checkpoint.name, error=str(error))
                else:
                    break
            self._trainers[task_id] = trainer
        return trainer

    def _between_steps(self, job: Job) -> None:
        """Lets readers go first, keeps the lease alive, and stops when told to."""
        waited = 0.0
        while True:
            if self._stopping() or self._paused():
                raise Preempted
            self._store.jobs.renew(job, self._settings.lease_s)
            if waited >= self._settings.yield_s or not self._store.jobs.pending(JobKind.RESPOND):
                return
            self._wait(0.05)
            waited += 0.05

    def _paused(self) -> bool:
        return self._store.records.flag(PAUSED) == "yes"
