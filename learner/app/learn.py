"""Learning in the background: so many steps a job, more while nothing waits; judged by the gate, preempted, exactly once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import structlog

from learner.app.attempts import OutsideFaults, park_what_kills, retry_or_park
from learner.app.gate import Evidence, Gate, Placement
from learner.app.outcome import Outcomes, Preempted, Work
from learner.app.retraining import TURN_STEPS, Retraining
from learner.domain.checkpoint import Checkpoint, CheckpointState
from learner.domain.example import Example, Withdrawal
from learner.domain.job import Job, JobKind
from learner.errors import CorruptFile, LeaseLost, StoreUnavailable
from learner.ports import Clock, Lesson, Store, Trainer

IDLE_TURN = 5
"""Steps on what is remembered before it is looked again whether anything waits."""
PAUSED = "training_paused"
"""Flag: training stands still while it is ``yes``."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class LearnSettings:
    """How learn jobs are done.

    Attributes:
        steps: training steps a job.
        idle_steps: steps more at most, on what is remembered, as long as no other drawing waits.
        lease_s: how long a job stays ours without a sign of life, in seconds.
        yield_s: how long a step waits at most while readers are being answered or the archive goes first, in seconds.
        attempts: how often an unexpected failure is tried before the job is parked.
    """

    steps: int
    idle_steps: int = 0
    lease_s: float = 120.0
    yield_s: float = 30.0
    attempts: int = 5


@dataclass(frozen=True, slots=True)
class _InHand:
    """A trainer, and the version whose state it has; None before the first."""

    trainer: Trainer
    head: Checkpoint | None


class Learn:
    """Takes learn jobs one after the other; models that have any take turns.

    The trainer of a model stays in memory between jobs. When a job fails or is preempted, it is thrown away and restored from
    the head, so that a job that is done again starts from the same state and, with as many steps, gives the same weights: how
    many were made while nothing waited is a fact of the version (``rehearsed``). The same holds where a
    person rolls back in the middle of a job: versions are only recorded on top of those that they were made and judged from.

    Args:
        store: jobs, examples and checkpoints.
        make_trainer: a new trainer for a model; it has the given number of labels for a task at least.
        gate: holds cases back, and judges versions by them.
        settings: how.
        stopping: whether the node is about to stop.
        wait: waits for so many seconds; returns early when the node stops.
        clock: time.
        case_key: keyed hash by which a trainer knows a case, of :attr:`~learner.domain.case.Case.identity`.
        shortage: why there is too little room to learn, empty while there is enough.
        held: whether something else goes first now.
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
        case_key: Callable[[str], str],
        shortage: Callable[[], str] = lambda: "",
        held: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._make_trainer = make_trainer
        self._gate = gate
        self._settings = settings
        self._stopping = stopping
        self._wait = wait
        self._clock = clock
        self._retraining = Retraining(store, case_key)
        self._shortage = shortage
        self._held = held
        self._lacked = ""
        self._outside = OutsideFaults(store.jobs, clock)
        self._outcomes = Outcomes(store, gate, settings.lease_s)
        self._in_hand: dict[str, _InHand] = {}
        self._does = {JobKind.LEARN: self._learn, JobKind.FORGET: self._forget_study, JobKind.RETRAIN: self._retrain}

    def run_once(self) -> bool:
        """Does the oldest job; what is to be forgotten goes before, what is to be trained anew after what is to be learned.

        Returns:
            Whether there was one.

        Raises:
            StoreUnavailable: the job in hand is begun anew once the store can be used.
        """
        self._outside.settle()
        job = self._next_job()
        if job is None:
            return False
        try:
            self._attempt(job)
        except StoreUnavailable as error:
            self._in_hand.clear()
            self._outside.hold(job, str(error))
            raise
        except LeaseLost:
            self._in_hand.clear()
            _log.warning("job taken over by another worker, or its study is forgotten", kind=job.kind, round=job.round_id)
        return True

    def _attempt(self, job: Job) -> None:
        """Does a job, or says what becomes of it."""
        try:
            if not park_what_kills(self._store.jobs, job, self._settings.attempts):
                self._does[job.kind](job)
        except (StoreUnavailable, LeaseLost):
            raise
        except Preempted:
            self._in_hand.clear()
            self._store.jobs.release(job, 0.0, "", count_attempt=False)
        except CorruptFile as error:
            self._in_hand.clear()
            self._store.jobs.park(job, str(error))
            _log.error("learn job given up", round=job.round_id, error=str(error))
        except Exception as error:
            self._in_hand.clear()
            retry_or_park(self._store.jobs, job, error, self._clock.now(), self._settings.attempts)

    def _next_job(self) -> Job | None:
        """Forgetting takes no time and waits for nobody; all else stands still while training is paused, or room is short."""
        held_back = self._paused() or self._lacks_room()
        kinds = (JobKind.FORGET,) if held_back else (JobKind.FORGET, JobKind.LEARN, JobKind.RETRAIN)
        claims = (self._store.jobs.claim(kind, self._settings.lease_s) for kind in kinds)
        return next((job for job in claims if job is not None), None)

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
        self._finish(work, placement)

    def _released(self, lesson: Lesson) -> tuple[Example | None, int]:
        """The example of a case that is held no longer; None if its file is damaged, which costs no other case."""
        try:
            example = self._store.files.get_example(lesson.round_id)
        except CorruptFile as error:
            if lesson not in self._store.lessons.of_model(lesson.model_id):
                raise Preempted from None  # its study was forgotten meanwhile, or it was held for too long
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
            work.trainer.forget([withdrawal.key])
            work.facts = {"forgotten": 1}
            work.state = work.trainer.save()
        self._finish(work, None, dropped=held)

    def _forget_study(self, job: Job) -> None:
        """Cases of forgotten studies leave the replay memory; a version without them goes on from the one before."""
        work = self._begin(job, job.lane, {}, job.round_id)
        if work.trainer.forget(self._store.forgotten.keys()):
            work.facts = {"forgotten": 1}
            work.state = work.trainer.save()
        work.trainer.tidy()  # before it is recorded: what a job in hand wrote of the study meanwhile goes as well
        self._finish(work, None)
        del self._in_hand[job.lane]  # what it has in memory may be of the study

    def _retrain(self, job: Job) -> None:
        """Trains a model anew from what it remembers, so many steps a turn; the last version is judged."""
        work = self._begin(job, job.lane, {}, 0)
        turn = self._retraining.turn(job, work.head, work.trainer)
        if turn is None:
            self._in_hand.clear()
            self._store.jobs.finish(job)
            return
        began = time.monotonic()
        report = work.trainer.rehearse(min(turn.until - work.trainer.steps, TURN_STEPS), self._between(job))
        work.facts = {**asdict(report), **turn.facts, "seconds": round(time.monotonic() - began, 2)}
        work.state = work.trainer.save()
        work.goes_on = report.steps > 0 and work.trainer.steps < turn.until
        if not work.goes_on:
            tasks = {one.task_id for one in report.memory}
            held = [one for one in self._store.lessons.of_model(job.lane) if one.held and one.task_id in tasks]
            self._judge(work, self._gate.evidence(held))
        self._finish(work, None)

    def _begin(self, job: Job, model_id: str, label_counts: Mapping[str, int], round_id: int) -> Work:
        in_hand = self._trainer(model_id, label_counts)
        serving = self._store.checkpoints.serving(model_id)
        return Work(job, model_id, in_hand.trainer, in_hand.head, serving, round_id)

    def _train(self, work: Work, example: Example) -> None:
        began = time.monotonic()
        report = work.trainer.learn(example, self._settings.steps, self._between(work.job))
        rehearsed = self._rehearse_while_idle(work)
        work.facts = {**asdict(report), "rehearsed": rehearsed, "seconds": round(time.monotonic() - began, 2)}
        work.state = work.trainer.save()

    def _rehearse_while_idle(self, work: Work) -> int:
        """Goes on with what is remembered as long as nothing else is to be done; returns how many steps it made."""
        done = 0
        while done < self._settings.idle_steps and not self._another_waits():
            report = work.trainer.rehearse(min(IDLE_TURN, self._settings.idle_steps - done), self._between(work.job))
            done += report.steps
            if not report.steps:
                break
        return done

    def _another_waits(self) -> bool:
        """Whether anything is to be answered, learned or forgotten beside the job in hand."""
        jobs = self._store.jobs
        return (
            jobs.pending(JobKind.LEARN) > 1
            or jobs.pending(JobKind.FORGET) > 0
            or jobs.pending(JobKind.RESPOND, of_readers=True) > 0
        )

    def _judge(self, work: Work, evidence: Sequence[Evidence]) -> None:
        """Judges what the trainer has now: the new version, or else the head, unless a person took that back."""
        sha256 = work.head.sha256 if work.head is not None else ""
        work.on_head = work.state is None
        if work.state is not None:
            sha256 = hashlib.sha256(work.state).hexdigest()
        elif work.head is None or work.head.state is CheckpointState.ROLLED_BACK:
            return
        if evidence:
            work.verdict = self._gate.judge(sha256, work.trainer.network, work.serving, evidence, self._between(work.job))

    def _finish(self, work: Work, placement: Placement | None, dropped: Sequence[Lesson] = ()) -> None:
        self._in_hand[work.model_id] = _InHand(work.trainer, self._outcomes.record(work, placement, dropped))

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
        """Lets readers and the archive go first, keeps the lease alive, and stops when told to."""
        waited = 0.0
        while True:
            if self._stopping() or self._paused():
                raise Preempted
            self._store.jobs.renew(job, self._settings.lease_s)
            pending = self._store.jobs.pending(JobKind.RESPOND, of_readers=True)
            if waited >= self._settings.yield_s or not (pending or self._held()):
                return
            self._wait(0.05)
            waited += 0.05

    def _lacks_room(self) -> bool:
        """Whether nothing is learned because the disk is nearly full; says so once."""
        lacks, lacked = self._shortage(), self._lacked
        if bool(lacks) != bool(lacked):
            _log.warning("learning waits", reason=lacks) if lacks else _log.info("learning goes on")
        self._lacked = lacks
        return bool(lacks)

    def _paused(self) -> bool:
        return self._store.records.flag(PAUSED) == "yes"


def _name(checkpoint: Checkpoint | None) -> str:
    return checkpoint.name if checkpoint is not None else ""
