"""What learn jobs came to: recorded in one transaction, cleared up after, told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import structlog

from learner.app.audit import note_verdict, note_version
from learner.app.gate import Gate, Placement
from learner.domain.audit import Event
from learner.domain.case import RoundState
from learner.domain.checkpoint import LEARNED_CASES, Checkpoint
from learner.domain.gate import Verdict
from learner.domain.job import Job, JobKind
from learner.ports import Lesson, Store, Trainer

_log = structlog.get_logger(__name__)


class Preempted(Exception):
    """The node stops, or training was paused, in the middle of a job; the job begins anew later."""


@dataclass(eq=False, slots=True)
class Work:
    """What a job came to so far; nothing of it is recorded yet.

    Attributes:
        job: the job.
        model_id: the model that learns.
        trainer: as it is now.
        head: the version that it began from, or None.
        serving: the version that serves, or None.
        round_id: the round whose example was learned from or forgotten.
        facts: what was measured in training.
        state: what it came to, or None where nothing changed.
        verdict: the gate's, or None where nothing was judged.
        on_head: whether the verdict is about the head, not about the new version.
        goes_on: whether the job has more to do after this.
    """

    job: Job
    model_id: str
    trainer: Trainer
    head: Checkpoint | None
    serving: Checkpoint | None
    round_id: int
    facts: dict[str, object] = field(default_factory=dict)
    state: bytes | None = None
    verdict: Verdict | None = None
    on_head: bool = False
    goes_on: bool = False


class Outcomes:
    """Records what jobs came to.

    Args:
        store: versions, cases that models have met, jobs, the audit record.
        gate: forgets scores that are needed no longer.
        lease_s: how long a job stays ours, in seconds.
    """

    def __init__(self, store: Store, gate: Gate, lease_s: float) -> None:
        self._store = store
        self._gate = gate
        self._lease_s = lease_s

    def record(self, work: Work, placement: Placement | None, dropped: Sequence[Lesson] = ()) -> Checkpoint | None:
        """Records all that a job came to in one transaction, then removes what is needed no longer.

        Args:
            work: what it came to.
            placement: where the gate put the job's case; None where the job had none to learn.
            dropped: cases that are held back no longer.

        Returns:
            The head after the job, or None where there is none.

        Raises:
            Preempted: the job is built on what a person took back, or made forgotten, meanwhile; nothing is recorded.
            LeaseLost.
        """
        store, job = self._store, work.job
        before = store.lessons.of_model(work.model_id)
        with store.transaction():
            store.jobs.renew(job, self._lease_s)  # before a file is written that nobody would record
            if self._is_outdated(work):
                raise Preempted
            checkpoint = self._added(work)
            for lesson in _changed(placement):
                store.lessons.put(lesson)
            for lesson in dropped:
                store.lessons.drop(lesson.case_id)
            self._note(work, placement, checkpoint)
            if work.goes_on:
                store.jobs.release(job, 0.0, "", count_attempt=False)
            else:
                store.jobs.finish(job)
        self._clear_up(work, before)
        self._tell(work, placement)
        return checkpoint

    def _is_outdated(self, work: Work) -> bool:
        """Whether a person rolled back meanwhile, or forgot a study that the work is built on."""
        store = self._store
        if (work.head, work.serving) != (store.checkpoints.head(work.model_id), store.checkpoints.serving(work.model_id)):
            return True
        taught = work.round_id if work.job.kind is JobKind.LEARN else None
        return taught is not None and store.records.find_round(taught).state is RoundState.FORGOTTEN

    def _note(self, work: Work, placement: Placement | None, checkpoint: Checkpoint | None) -> None:
        """What a job came to, for the audit record."""
        audit, job = self._store.audit, work.job
        if placement is not None and placement.lesson.held:
            audit.record(Event.HELD_BACK, round_id=job.round_id, model=work.model_id, job=job.job_id)
        if placement is None and work.state is None:
            audit.record(Event.FORGOTTEN, round_id=job.round_id, model=work.model_id, job=job.job_id)
        if checkpoint is not None and work.state is not None:
            without_example = Event.TRAINED_ANEW if job.kind is JobKind.RETRAIN else Event.FORGOTTEN
            note_version(audit, without_example if placement is None else Event.LEARNED, checkpoint, job.job_id, job.round_id)
        if checkpoint is not None and work.verdict is not None:
            note_verdict(audit, work.head if work.on_head and work.head is not None else checkpoint, work.verdict)

    def _added(self, work: Work) -> Checkpoint | None:
        """The head after the job, judged if it was."""
        checkpoints, head = self._store.checkpoints, work.head
        if work.verdict is not None and work.on_head and head is not None:
            head = checkpoints.judge(head, work.verdict)
        if work.state is None:
            return head
        anew = LEARNED_CASES in work.facts
        steps, facts = work.trainer.steps, work.facts
        added = checkpoints.add(work.model_id, work.state, round_id=work.round_id, steps=steps, facts=facts, anew=anew)
        return checkpoints.judge(added, work.verdict) if work.verdict is not None and not work.on_head else added

    def _clear_up(self, work: Work, before: Sequence[Lesson]) -> None:
        """Removes examples, versions and files of the replay memory that are needed no longer."""
        now = [one for one in self._store.lessons.of_model(work.model_id) if one.held]
        kept = {one.round_id for one in now}
        for round_id in {work.job.round_id, *(one.round_id for one in before if one.held)} - kept:
            self._store.files.drop_example(round_id)
        self._store.checkpoints.prune(work.model_id)
        self._gate.forget_scores(self._store.checkpoints.history(work.model_id), now)
        if work.state is not None:
            work.trainer.tidy()

    def _tell(self, work: Work, placement: Placement | None) -> None:
        if work.verdict is not None:
            _log.info("judged", model=work.model_id, serves=work.verdict.serve, reason=work.verdict.reason)
        done = "forgotten" if placement is None else "held back" if work.state is None else "learned"
        if work.job.kind is JobKind.RETRAIN:
            done = "trained anew"
        told = {name: value for name, value in work.facts.items() if name != "memory"}
        _log.info(done, model=work.model_id, round=work.job.round_id, **told)


def _changed(placement: Placement | None) -> Iterator[Lesson]:
    """What is to be recorded of the cases of a job."""
    if placement is not None:
        yield placement.lesson
        if placement.released is not None:
            yield replace(placement.released, held=False)
