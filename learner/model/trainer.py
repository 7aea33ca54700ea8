"""The online trainer: a new case, some replayed ones, a fixed number of steps.

On the CPU the same state, example and number of steps give the same weights: all randomness comes from one generator that is
part of the state, threads and precision are fixed. On a GPU they do up to the order in which it adds. A job that is broken off
leaves the state as it was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar, cast

import numpy as np
import structlog
import torch

from learner.domain.example import Example
from learner.errors import StoreError
from learner.memory.replay import ReplayEntry, ReplayMemory
from learner.model.batches import Batches
from learner.model.growth import grown, with_task
from learner.model.network import copy_weights, weights_of_task
from learner.model.optimisation import Optimisation
from learner.model.plan import Plan, plan_for
from learner.model.prepare import working_example
from learner.model.serving import ServingNetwork
from learner.model.settings import TrainingSettings
from learner.model.state import TrainerState, dump_state, load_state
from learner.ports import LearnReport

_log = structlog.get_logger(__name__)
_Result = TypeVar("_Result")
_REHEARSAL_STEPS = 20
"""After so many steps of a rehearsal the averaged weights become the earlier model's, as they do between jobs."""


class OnlineTrainer:
    """Trains one model from a stream of examples; implements :class:`learner.ports.Trainer`.

    Args:
        labels: number of labels of each task of the model; more once a state or an example with more is met. A task that is not
            among them is added with its first example.
        settings: choices of training.
        memory: the replay memory; its index becomes part of this trainer's state.
        seed: of the first weights and of all sampling.
    """

    def __init__(
        self,
        labels: Mapping[str, int],
        settings: TrainingSettings,
        memory: ReplayMemory,
        seed: int = 0,
    ) -> None:
        self._labels = dict(labels)
        self._settings = settings
        self._memory = memory
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._batches = Batches(memory, settings)
        self._plans: dict[str, Plan] = {}
        self._optimisation: Optimisation | None = None
        self._steps = 0
        self._skipped = 0
        self._index_before = memory.index()

    @property
    def steps(self) -> int:
        """Training steps since the beginning."""
        return self._steps

    @property
    def skipped(self) -> int:
        """Steps whose loss or gradient was not finite; they changed nothing."""
        return self._skipped

    @property
    def plans(self) -> Mapping[str, Plan]:
        """Of each task that something was learned of, what the network looks like and on which grid it works."""
        return self._plans

    def network(self, task_id: str = "") -> ServingNetwork:
        """The averaged weights of a task as they are now; training may go on meanwhile.

        Args:
            task_id: the task; may be left out where the model has one.

        Raises:
            StoreError: if nothing was learned of it yet.
        """
        task_id = task_id or (next(iter(self._plans)) if len(self._plans) == 1 else "")
        if self._optimisation is None or task_id not in self._plans:
            raise StoreError(f"there is no network yet: nothing was learned of task {task_id!r}")
        weights = weights_of_task(self._optimisation.average.state_dict(), list(self._plans).index(task_id))
        return ServingNetwork(self._plans[task_id], weights, self._settings.precision, self._optimisation.device)

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on ``example`` and on replayed ones, then remembers it.

        Where the task gained labels, whichever of example, model and replayed examples has fewer is brought up to the others:
        a label that an example lacks is unknown in it.

        The first job of a model makes at least ``first_case_steps`` steps, and so does the first of a task that joins one. If
        ``between_steps`` raises, the state is what it was before the job.

        Args:
            example: the new case, or a case seen before with more drawn on it.
            steps: training steps to make.
            between_steps: called before each step.

        Raises:
            StoreError: if the replay memory cannot be written.
        """

        def work() -> LearnReport:
            least = self._settings.first_case_steps - (self._steps if example.task_id in self._plans else 0)
            trace, entry = _Trace(), self._store(example)
            self._train(max(steps, least), between_steps, entry, trace)
            if self._settings.logit_replay > 0:
                entry = self._store(example, recall=True)
            self._memory.admit(entry)
            self._memory.note_loss(entry.key, float(np.mean(trace.own)) if trace.own else math.nan)
            return trace.report(self._memory)

        return self._whole_or_not_at_all(work)

    def rehearse(self, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on the replay memory alone: offline training as a baseline, or in idle time. Broken off as ``learn`` is.

        Args:
            steps: training steps to make; none are made if nothing is remembered.
            between_steps: called before each step.
        """

        def work() -> LearnReport:
            trace = _Trace()
            for first in range(0, steps if self._memory.tasks() else 0, _REHEARSAL_STEPS):
                self._train(min(_REHEARSAL_STEPS, steps - first), between_steps, None, trace)
            return trace.report(self._memory)

        return self._whole_or_not_at_all(work)

    def remember(self, example: Example) -> None:
        """Takes an example into the replay memory without training on it.

        Raises:
            StoreError: if the replay memory cannot be written.
        """
        self._whole_or_not_at_all(lambda: self._memory.admit(self._store(example)))

    def _whole_or_not_at_all(self, work: Callable[[], _Result]) -> _Result:
        torch.set_num_threads(self._settings.threads)
        before = self._capture()
        self._index_before = before.replay
        try:
            return work()
        except BaseException:
            self._apply(before)
            raise

    def _train(self, steps: int, between_steps: Callable[[], None], new: ReplayEntry | None, trace: _Trace) -> None:
        optimisation = self._optimisation
        if optimisation is None:
            raise StoreError("nothing is planned to train on")
        optimisation.begin_job()
        for _ in range(steps):
            between_steps()
            batch = self._batches.draw(new, self._rng)
            if batch is None:
                return
            each, moved = optimisation.step(batch, self._steps, self._rng)
            self._steps += 1
            self._skipped += not moved
            trace.losses.append(float(np.mean(each)))
            for source, loss in zip(batch.sources[: len(each)], each, strict=True):
                if source is None:
                    trace.own.append(loss)
                else:
                    trace.replayed += 1
                    self._memory.note_loss(source.key, loss)

    def _store(self, example: Example, *, recall: bool = False) -> ReplayEntry:
        """Writes the example on the working grid, with what the network makes of it if wanted; nothing is remembered yet."""
        self._ensure(example)
        working = working_example(self._plans[example.task_id], example)
        recalled = None
        if recall:
            recalled = self.network(example.task_id).predict(working.image_DHW, working.spacing_DHW)[1:]
        return self._memory.store(working, recalled)

    def _ensure(self, example: Example) -> None:
        """Sees that there is a network with a head for the example's task, with all of its labels."""
        task_id, known = example.task_id, self._labels.get(example.task_id, 0)
        count = max(known, example.label_count)
        if "" in self._plans or (task_id in self._plans and count > known):
            self._apply(grown(self._capture(), {task_id: count}))
        if task_id not in self._plans:
            shape, trunk = example.image_DHW.shape, next(iter(self._plans.values()), None)
            plan = plan_for((shape[0], shape[1], shape[2]), example.spacing_DHW, count, self._settings.dimensions, trunk)
            self._apply(with_task(self._capture(), task_id, plan, self._seed))
            _log.info("network planned", dimensions=plan.dimensions, patch=plan.patch_DHW, spacing=plan.spacing_DHW)

    def forget(self, keys: Iterable[str]) -> int:
        """Removes examples from the replay memory. See :meth:`learner.ports.Trainer.forget`."""
        forgotten = self._memory.forget(keys)
        self._index_before = self._memory.index()  # their files go with the next ``tidy``: done again, this needs none
        return forgotten

    def start_over(self) -> frozenset[str]:
        """Begins anew with what is remembered. See :meth:`learner.ports.Trainer.start_over`.

        The plans are made anew, too; what an earlier network made of an example is not taken over.

        Raises:
            StoreError: if the replay memory cannot be written.
        """

        def work() -> frozenset[str]:
            remembered = self._memory.entries
            if all(self._memory.load(entry) is None for entry in remembered):
                return frozenset()
            rng = np.random.default_rng(self._seed).bit_generator.state
            self._apply(replace(self._capture(), plans={}, steps=0, skipped=0, replay=[], rng=dict(rng)))
            for entry in remembered:  # one after the other: what is not mapped takes memory
                if (stored := self._memory.load(entry)) is not None:
                    self._memory.admit(self._store(stored.example()))
            return frozenset(entry.key for entry in self._memory.entries)

        return self._whole_or_not_at_all(work)

    def save(self) -> bytes:
        """The whole state as one file; loads without pickle, and on any device."""
        return dump_state(self._capture())

    def tidy(self) -> None:
        """See :meth:`learner.ports.Trainer.tidy`."""
        self._batches.tidy()
        self._memory.collect_garbage(keep=[self._index_before])

    def restore(self, state: bytes) -> None:
        """Goes back to a state that ``save`` gave.

        Raises:
            StoreError: if it cannot be read.
            ConfigurationError: if a task has more labels in it; one with fewer gains what it lacks.
        """
        loaded = grown(load_state(state), self._labels)
        if loaded.settings != self._settings.digest():
            _log.warning("training settings changed since the checkpoint; learning goes on with the new ones")
        self._apply(loaded)

    def _capture(self) -> TrainerState:
        optimisation = self._optimisation
        return TrainerState(
            labels=dict(self._labels),
            plans=dict(self._plans),
            steps=self._steps,
            skipped=self._skipped,
            rng=cast("dict[str, object]", copy.deepcopy(self._rng.bit_generator.state)),
            replay=self._memory.index(),
            settings=self._settings.digest(),
            weights=copy_weights(optimisation.network) if optimisation else {},
            average=copy_weights(optimisation.average) if optimisation else {},
            moments=optimisation.moments() if optimisation else {},
        )

    def _apply(self, state: TrainerState) -> None:
        optimisation = None
        if state.plans:
            optimisation = Optimisation(state.plans, self._settings, self._seed)
            optimisation.load(state.weights, state.average, state.moments)
        self._memory.restore_index(state.replay)
        self._batches.plan(state.plans)
        self._rng.bit_generator.state = state.rng
        self._labels, self._plans = dict(state.labels), dict(state.plans)
        self._optimisation, self._steps, self._skipped = optimisation, state.steps, state.skipped


@dataclass(eq=False)
class _Trace:
    """What happened in the steps of a job."""

    losses: list[float] = field(default_factory=list)
    own: list[float] = field(default_factory=list)
    replayed: int = 0

    def report(self, memory: ReplayMemory) -> LearnReport:
        quarter = max(1, len(self.losses) // 4)
        return LearnReport(
            steps=len(self.losses),
            loss_first=float(np.mean(self.losses[:quarter])) if self.losses else math.nan,
            loss_last=float(np.mean(self.losses[-quarter:])) if self.losses else math.nan,
            replayed=self.replayed,
            remembered=len(memory),
            memory=memory.content(),
        )
