"""The online trainer: a new case, some replayed ones, a fixed number of steps.

The same state, example and number of steps give the same weights: all randomness comes from one generator that is part of the
state, threads and precision are fixed, and a job that is broken off leaves the state as it was.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt
import structlog
import torch
from torch import Tensor, nn

from learner.domain.example import Example
from learner.errors import StoreError
from learner.memory.replay import ReplayEntry, ReplayMemory
from learner.model.augment import augment
from learner.model.growth import grown
from learner.model.losses import open_up, segmentation_loss, soft_cross_entropy, temporal_blend
from learner.model.network import build_network, copy_weights, precision_context
from learner.model.plan import Plan, plan_for
from learner.model.prepare import working_example
from learner.model.sampling import CaseCache, PreparedCase, Sampler, prepare_case
from learner.model.serving import ServingNetwork
from learner.model.settings import TrainingSettings
from learner.model.state import TrainerState, dump_state, load_state
from learner.ports import LearnReport, Propagator

_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class _Parts:
    """What exists once there is a plan."""

    plan: Plan
    network: nn.Module
    average: nn.Module
    optimizer: torch.optim.AdamW
    sampler: Sampler


class OnlineTrainer:
    """Trains one model from a stream of examples; implements :class:`learner.ports.Trainer`.

    Args:
        label_count: labels L of the task; more once a state or an example of a task that gained labels is met.
        settings: choices of training.
        memory: the replay memory; its index becomes part of this trainer's state.
        propagator: makes the proxies with one drawn slice left out.
        seed: of the first weights and of all sampling.
    """

    def __init__(
        self, label_count: int, settings: TrainingSettings, memory: ReplayMemory, propagator: Propagator, seed: int = 0
    ) -> None:
        self._label_count = label_count
        self._settings = settings
        self._memory = memory
        self._propagator = propagator
        self._seed = seed
        self._rng = np.random.default_rng(seed)
        self._cache = CaseCache(settings.cache_bytes)
        self._parts: _Parts | None = None
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
    def plan(self) -> Plan | None:
        """What the network looks like; None before the first example."""
        return self._parts.plan if self._parts else None

    def network(self) -> ServingNetwork:
        """The averaged weights as they are now; training may go on meanwhile.

        Raises:
            StoreError: if nothing was learned yet.
        """
        if self._parts is None:
            raise StoreError("there is no network yet: nothing was learned")
        return ServingNetwork(self._parts.plan, copy_weights(self._parts.average), self._settings.precision)

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on ``example`` and on replayed ones, then remembers it.

        Where the task gained labels, whichever of example, model and replayed examples has fewer is brought up to the others:
        a label that an example lacks is unknown in it.

        The first job of a model makes at least ``first_case_steps`` steps. If ``between_steps`` raises, the state is what it
        was before the job.

        Args:
            example: the new case, or a case seen before with more drawn on it.
            steps: training steps to make.
            between_steps: called before each step.

        Raises:
            StoreError: if the replay memory cannot be written.
        """
        torch.set_num_threads(self._settings.threads)
        before = self._capture()
        self._index_before = before.replay
        try:
            if example.annotation.label_count > self._label_count:
                self._apply(grown(before, example.annotation.label_count))
            return self._learn(example, max(steps, self._settings.first_case_steps - self._steps), between_steps)
        except BaseException:
            self._apply(before)
            raise

    def _learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        parts = self._ensure(example)
        entry = self._memory.store(working_example(parts.plan, example))
        current = self._prepared(entry)
        if current is None:
            raise StoreError("an example could not be read back from the replay memory that was just written")
        earlier = copy.deepcopy(parts.average)
        losses: list[float] = []
        own: list[float] = []
        replayed = 0
        for _ in range(steps):
            between_steps()
            cases, drawn = self._choose(parts, entry, current)
            items = np.stack([parts.sampler.item(case, self._rng) for case in cases])
            per_item = self._step(parts, earlier, items, _unknown(cases, self._label_count))
            replayed += sum(source is not None for source in drawn)
            losses.append(float(np.mean(per_item)))
            for source, loss in zip(drawn, per_item, strict=True):
                if source is None:
                    own.append(loss)
                else:
                    self._memory.note_loss(source.key, loss)
        self._memory.admit(entry)
        self._memory.note_loss(entry.key, float(np.mean(own)) if own else math.nan)
        quarter = max(1, len(losses) // 4)
        return LearnReport(
            steps=len(losses),
            loss_first=float(np.mean(losses[:quarter])) if losses else math.nan,
            loss_last=float(np.mean(losses[-quarter:])) if losses else math.nan,
            replayed=replayed,
            remembered=len(self._memory),
        )

    def _ensure(self, example: Example) -> _Parts:
        if self._parts is None:
            shape = example.image_DHW.shape
            plan = plan_for((shape[0], shape[1], shape[2]), example.spacing_DHW, self._label_count)
            self._parts = self._build(plan)
            _log.info("network planned", dimensions=plan.dimensions, patch=plan.patch_DHW, spacing=plan.spacing_DHW)
        return self._parts

    def _build(self, plan: Plan) -> _Parts:
        network = build_network(plan, self._seed).train()
        average = copy.deepcopy(network).eval().requires_grad_(requires_grad=False)
        optimizer = torch.optim.AdamW(
            network.parameters(), lr=self._settings.learning_rate, weight_decay=self._settings.weight_decay
        )
        return _Parts(plan, network, average, optimizer, Sampler(plan, self._settings, self._propagator))

    def _choose(
        self, parts: _Parts, entry: ReplayEntry, current: PreparedCase
    ) -> tuple[list[PreparedCase], list[ReplayEntry | None]]:
        """The cases of a batch; each with the entry that it was replayed from, or None for the new case."""
        wishes = int((self._rng.random(parts.plan.batch) < self._settings.replay_share).sum())
        cases: list[PreparedCase] = []
        drawn: list[ReplayEntry | None] = []
        for source in self._memory.draw(wishes, self._rng, exclude=entry.key):
            case = self._prepared(source)
            if case is not None:
                cases.append(case)
                drawn.append(source)
        missing = parts.plan.batch - len(cases)
        return cases + [current] * missing, drawn + [None] * missing

    def _prepared(self, entry: ReplayEntry) -> PreparedCase | None:
        """The case of an entry, always as it reads from disk, so that a restart changes nothing."""
        case = self._cache.get(entry.file)
        if case is None:
            example = self._memory.load(entry)
            if example is None or self._parts is None:
                return None
            case = prepare_case(example.with_label_count(self._label_count), self._parts.plan, self._settings)
            self._cache.put(entry.file, case)
        return case

    def _step(self, parts: _Parts, earlier: nn.Module, items: npt.NDArray[np.float32], unknown: Tensor | None) -> list[float]:
        """One step; returns the cross-entropy of each item."""
        settings, plan = self._settings, parts.plan
        batch = augment(torch.from_numpy(items), plan, settings, self._rng)
        if plan.dimensions == 2:
            batch = batch[:, :, 0]
        inputs = plan.image_channels + plan.condition_channels
        source, target = batch[:, :inputs], batch[:, inputs : inputs + plan.label_count + 1]
        weight, confidence = batch[:, -2], batch[:, -1]
        share = settings.temporal_smoothing * min(1.0, self._steps / max(1, settings.temporal_ramp_steps))
        if share > 0:
            with torch.no_grad(), precision_context(settings.precision):
                alone = torch.cat([source[:, : plan.image_channels], torch.zeros_like(source[:, plan.image_channels :])], dim=1)
                foreseen = torch.softmax(earlier(alone).float(), dim=1)
            foreseen = foreseen if unknown is None else open_up(foreseen, unknown)
            target = temporal_blend(target, foreseen, confidence, share)
        with precision_context(settings.precision):
            logits = parts.network(source)
        loss = segmentation_loss(logits, target, weight, settings.dice_weight, unknown)
        self._update(parts, loss)
        with torch.no_grad():
            each = [slice(item, item + 1) for item in range(len(logits))]
            return [
                float(soft_cross_entropy(logits[i].float(), target[i], weight[i], None if unknown is None else unknown[i]))
                for i in each
            ]

    def _update(self, parts: _Parts, loss: Tensor) -> None:
        """Back-propagates and moves the weights and their average, unless loss or gradient is not finite."""
        for group in parts.optimizer.param_groups:
            group["lr"] = learning_rate(self._settings, self._steps)
        parts.optimizer.zero_grad(set_to_none=True)
        finite = bool(torch.isfinite(loss))
        if finite:
            loss.backward()  # type: ignore[no-untyped-call]  # torch's own annotation is incomplete
            norm = nn.utils.clip_grad_norm_(parts.network.parameters(), self._settings.gradient_norm)
            finite = bool(torch.isfinite(norm))
        if finite:
            parts.optimizer.step()
            decay = min(self._settings.ema_decay, (1 + self._steps) / (10 + self._steps))
            with torch.no_grad():
                for mean, value in zip(parts.average.parameters(), parts.network.parameters(), strict=True):
                    mean.lerp_(value, 1 - decay)
        else:
            self._skipped += 1
            _log.warning("training step left out: loss or gradient not finite", step=self._steps)
        self._steps += 1

    def forget(self, key: str) -> None:
        """Removes the example with that key from the replay memory. See :meth:`learner.ports.Trainer.forget`."""
        self._memory.forget([key])
        self._index_before = self._memory.index()  # its file goes with the next ``tidy``: done again, this needs none

    def save(self) -> bytes:
        """The whole state as one file; loads without pickle."""
        return dump_state(self._capture())

    def tidy(self) -> None:
        """See :meth:`learner.ports.Trainer.tidy`."""
        self._memory.collect_garbage(keep=[self._index_before])

    def restore(self, state: bytes) -> None:
        """Goes back to a state that ``save`` gave.

        Raises:
            StoreError: if it cannot be read.
            ConfigurationError: if it is the state of a model with more labels; one with fewer gains what it lacks.
        """
        loaded = grown(load_state(state), self._label_count)
        if loaded.settings != self._settings.digest():
            _log.warning("training settings changed since the checkpoint; learning goes on with the new ones")
        self._apply(loaded)

    def _capture(self) -> TrainerState:
        parts = self._parts
        return TrainerState(
            label_count=self._label_count,
            plan=parts.plan if parts else None,
            steps=self._steps,
            skipped=self._skipped,
            rng=cast("dict[str, object]", copy.deepcopy(self._rng.bit_generator.state)),
            replay=self._memory.index(),
            settings=self._settings.digest(),
            weights=copy_weights(parts.network) if parts else {},
            average=copy_weights(parts.average) if parts else {},
            optimizer=copy.deepcopy(parts.optimizer.state_dict()) if parts else {},
        )

    def _apply(self, state: TrainerState) -> None:
        if state.plan != self.plan:
            self._cache = CaseCache(self._settings.cache_bytes)
        parts = self._build(state.plan) if state.plan else None
        if parts:
            try:
                parts.network.load_state_dict(state.weights)
                parts.average.load_state_dict(state.average)
                parts.optimizer.load_state_dict(state.optimizer)
            except (RuntimeError, ValueError, KeyError) as error:
                raise StoreError(f"the checkpoint's weights do not fit its plan: {error}") from error
        self._memory.restore_index(state.replay)
        self._rng.bit_generator.state = state.rng
        self._label_count = state.label_count
        self._parts, self._steps, self._skipped = parts, state.steps, state.skipped


def _unknown(cases: list[PreparedCase], label_count: int) -> Tensor | None:
    """Classes that nobody looked for in each case, bool ``(N, C)``; None where there are none."""
    if not any(case.unknown_labels for case in cases):
        return None
    unknown = torch.zeros(len(cases), label_count + 1, dtype=torch.bool)
    for item, case in enumerate(cases):
        unknown[item, list(case.unknown_labels)] = True
    return unknown


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Linear warm-up, then a slow fall to a floor: a stream has no end to anneal to."""
    rise = min(1.0, (step + 1) / max(1, settings.warm_up_steps))
    fall = max(settings.learning_rate_floor, 1 / math.sqrt(1 + step / max(1, settings.decay_steps)))
    return settings.learning_rate * rise * fall
