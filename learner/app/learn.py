"""Learning in the background: one fixed number of steps a job, judged by the gate, preempted between steps, exactly once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import structlog

from learner.app.attempts import gave_up, retry_or_park
from learner.app.gate import Evidence, Gate, Placement
from learner.domain.checkpoint import Checkpoint, CheckpointState
from learner.domain.example import Example, Withdrawal
from learner.domain.gate import Verdict
from learner.domain.job import Job, JobKind
from learner.errors import CorruptFile, LeaseLost
from learner.ports import Clock, Lesson, Store, Trainer

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


@dataclass(frozen=True, slots=True)
class _InHand:
    """A trainer, and the version whose state it has; None before the first."""

    trainer: Trainer
    head: Checkpoint | None


@dataclass(eq=False, slots=True)
class _Work:
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


class Learn:
    """Takes learn jobs one after the other; models that have any take turns.

    The trainer of a model stays in memory between jobs. When a job fails or is preempted, it is thrown away and restored from
    the head, so that a job that is done again starts from the same state and gives the same weights. The same holds where a
    person rolls back in the middle of a job: versions are only recorded on top of those that they were made and judged from.

    Args:
        store: jobs, examples and checkpoints.
        make_trainer: a new trainer for a model; it has the given number of labels for a task at least.
        gate: holds cases back, and judges versions by them.
        settings: how.
        stopping: whether the node is about to stop.
        wait: waits for so many seconds; returns early when the node stops.
        clock: time.
    """

    def __init__(
        self,
        store: Store,
        make_trainer: Callable[[str, Mapping[str, int]], Trainer],
        gate: Gate,
        settings: LearnSettings,
        stopping: Callable[[], bool],
        wait: Callable[[float], object],
        clock: Clock,
    ) -> None:
        self._store = store
        self._make_trainer = make_trainer
        self._gate = gate
        self._settings = settings
        self._stopping = stopping
        self._wait = wait
        self._clock = clock
        self._in_hand: dict[str, _InHand] = {}
        self._turn_after = ""

    def run_once(self) -> bool:
        """Does the oldest learn job of the model whose turn it is.

        Returns:
            Whether there was one.
        """
        if self._paused():
            return False
        job = self._store.jobs.claim(JobKind.LEARN, self._settings.lease_s, self._turn_after)
        if job is None:
            return False
        self._turn_after = job.lane
        if gave_up(self._store.jobs, job, self._settings.attempts):
            return True
        try:
            self._learn(job)
        except LeaseLost:
            self._in_hand.clear()
            _log.warning("learn job taken over by another worker", round=job.round_id)
        except Preempted:
            self._in_hand.clear()
            self._store.jobs.release(job, 0.0, "preempted", count_attempt=False)
        except CorruptFile as error:
            self._in_hand.clear()
            self._store.jobs.park(job, str(error))
            _log.error("learn job given up", round=job.round_id, error=str(error))
        except Exception as error:
            self._in_hand.clear()
            retry_or_park(self._store.jobs, job, error, self._clock.now(), self._settings.attempts)
        return True

    def _learn(self, job: Job) -> None:
        example = self._store.files.get_example(job.round_id)
        model_id = job.lane or example.task_id
        if isinstance(example, Withdrawal):
            self._forget(job, model_id, example)
        else:
            self._take(job, model_id, example)

    def _take(self, job: Job, model_id: str, example: Example) -> None:
        """Learns from an example, or holds it back and learns from one that was; a version is judged, and all is recorded."""
        placement = self._gate.place(model_id, job.round_id, example)
        lesson: Example | None = None if placement.lesson.held else example
        round_id = job.round_id
        if placement.released is not None:
            lesson, round_id = self._released(placement.released)
        work = self._begin(job, model_id, {example.task_id: example.label_count}, round_id)
        held = self._gate.evidence(placement.held)
        first = not any(one.example.task_id == example.task_id for one in held)
        if first:
            cleared = work.serving.tasks if work.serving is not None else ()
            unseen = self._gate.unseen(placement.lesson, example, cleared)
            self._judge(work, [*held, *unseen] if unseen else [])
        if lesson is not None:
            self._train(work, lesson)
        if not first:
            self._judge(work, held)
        self._record(work, placement)

    def _released(self, lesson: Lesson) -> tuple[Example | None, int]:
        """The example of a case that is held no longer; None if its file is damaged, which costs no other case."""
        try:
            example = self._store.files.get_example(lesson.round_id)
        except CorruptFile as error:
            _log.error("example lost, nothing is learned of it", round=lesson.round_id, reason=str(error))
            return None, lesson.round_id
        assert isinstance(example, Example), "what was taken back is held no longer"
        return example, lesson.round_id

    def _forget(self, job: Job, model_id: str, withdrawal: Withdrawal) -> None:
        """Forgets what was taken back; what was held is dropped, what was learned makes a version without it."""
        case_id = self._store.records.find_round(job.round_id).case_id
        held = [one for one in self._store.lessons.of_model(model_id) if one.held and one.case_id == case_id]
        work = self._begin(job, model_id, {withdrawal.task_id: withdrawal.label_count}, job.round_id)
        if not held and work.trainer.steps:
            work.trainer.forget(withdrawal.key)
            work.facts = {"forgotten": 1}
            work.state = work.trainer.save()
        self._record(work, None, dropped=held)

    def _begin(self, job: Job, model_id: str, label_counts: Mapping[str, int], round_id: int) -> _Work:
        in_hand = self._trainer(model_id, label_counts)
        serving = self._store.checkpoints.serving(model_id)
        return _Work(job, model_id, in_hand.trainer, in_hand.head, serving, round_id)

    def _train(self, work: _Work, example: Example) -> None:
        began = time.monotonic()
        report = work.trainer.learn(example, self._settings.steps, self._between(work.job))
        work.facts = {**asdict(report), "seconds": round(time.monotonic() - began, 2)}
        work.state = work.trainer.save()

    def _judge(self, work: _Work, evidence: Sequence[Evidence]) -> None:
        """Judges what the trainer has now: the new version, or else the head, unless a person took that back."""
        sha256 = work.head.sha256 if work.head is not None else ""
        work.on_head = work.state is None
        if work.state is not None:
            sha256 = hashlib.sha256(work.state).hexdigest()
        elif work.head is None or work.head.state is CheckpointState.ROLLED_BACK:
            return
        if evidence:
            work.verdict = self._gate.judge(sha256, work.trainer.network, work.serving, evidence, self._between(work.job))

    def _record(self, work: _Work, placement: Placement | None, dropped: Sequence[Lesson] = ()) -> None:
        """Records all that a job came to in one transaction, then removes what is needed no longer."""
        store, job = self._store, work.job
        before = store.lessons.of_model(work.model_id)
        with store.transaction():
            store.jobs.renew(job, self._settings.lease_s)  # before a file is written that nobody would record
            if (work.head, work.serving) != (store.checkpoints.head(work.model_id), store.checkpoints.serving(work.model_id)):
                raise Preempted  # a person rolled back meanwhile
            checkpoint = self._added(work)
            for lesson in _changed(placement):
                store.lessons.put(lesson)
            for lesson in dropped:
                store.lessons.drop(lesson.case_id)
            store.jobs.finish(job)
        self._in_hand[work.model_id] = _InHand(work.trainer, checkpoint)
        self._clear_up(work, before)
        self._tell(work, placement)

    def _added(self, work: _Work) -> Checkpoint | None:
        """The head after the job, judged if it was."""
        checkpoints, head = self._store.checkpoints, work.head
        if work.verdict is not None and work.on_head and head is not None:
            head = checkpoints.judge(head, work.verdict)
        if work.state is None:
            return head
        added = checkpoints.add(work.model_id, work.state, round_id=work.round_id, steps=work.trainer.steps, facts=work.facts)
        return checkpoints.judge(added, work.verdict) if work.verdict is not None and not work.on_head else added

    def _clear_up(self, work: _Work, before: Sequence[Lesson]) -> None:
        """Removes examples, versions and files of the replay memory that are needed no longer."""
        now = [one for one in self._store.lessons.of_model(work.model_id) if one.held]
        kept = {one.round_id for one in now}
        for round_id in {work.job.round_id, *(one.round_id for one in before if one.held)} - kept:
            self._store.files.drop_example(round_id)
        self._store.checkpoints.prune(work.model_id)
        self._gate.forget_scores(self._store.checkpoints.history(work.model_id), now)
        if work.state is not None:
            work.trainer.tidy()

    def _tell(self, work: _Work, placement: Placement | None) -> None:
        if work.verdict is not None:
            _log.info("judged", model=work.model_id, serves=work.verdict.serve, reason=work.verdict.reason)
        done = "forgotten" if placement is None else "held back" if work.state is None else "learned"
        told = {name: value for name, value in work.facts.items() if name != "memory"}
        _log.info(done, model=work.model_id, round=work.job.round_id, **told)

    def _trainer(self, model_id: str, label_counts: Mapping[str, int]) -> _InHand:
        """The trainer of a model in the state of its head, or of the newest version before that which can be read."""
        head = self._store.checkpoints.head(model_id)
        found = self._in_hand.get(model_id)
        if found is None or _name(found.head) != _name(head):
            trainer = self._make_trainer(model_id, label_counts)
            older = self._store.checkpoints.history(model_id)
            for checkpoint in (one for one in older if head is not None and one.number <= head.number):
                try:
                    trainer.restore(self._store.checkpoints.read(checkpoint))
                except CorruptFile as error:
                    _log.error("checkpoint unusable", checkpoint=checkpoint.name, error=str(error))
                else:
                    break
            found = self._in_hand[model_id] = _InHand(trainer, head)
        return _InHand(found.trainer, head)

    def _between(self, job: Job) -> Callable[[], None]:
        return lambda: self._between_steps(job)

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


def _name(checkpoint: Checkpoint | None) -> str:
    return checkpoint.name if checkpoint is not None else ""


def _changed(placement: Placement | None) -> Iterator[Lesson]:
    """What is to be recorded of the cases of a job."""
    if placement is not None:
        yield placement.lesson
        if placement.released is not None:
            yield replace(placement.released, held=False)
