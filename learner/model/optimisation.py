"""The weights in training on their device: loss, gradient, optimizer and average, and what to do when memory runs out there."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import structlog
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from learner.errors import StoreError
from learner.model.augment import augment
from learner.model.batches import Batch
from learner.model.losses import open_up, segmentation_loss, soft_cross_entropy, temporal_blend
from learner.model.network import CPU, build_network, choose_device, precision_context
from learner.model.plan import Plan
from learner.model.settings import TrainingSettings
from learner.model.state import Moments

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class _Views:
    """Parts of a batch, each ``(N, channels, [d,] h, w)`` or ``(N, [d,] h, w)``."""

    source: Tensor
    target: Tensor
    recalled: Tensor | None
    weight: Tensor
    confidence: Tensor


class Optimisation:
    """One network with its average and its optimizer.

    Args:
        plans: of the tasks, in their order.
        settings: of training.
        seed: of fresh weights.
    """

    def __init__(self, plans: Mapping[str, Plan], settings: TrainingSettings, seed: int) -> None:
        self._plans = dict(plans)
        self._numbers = {task_id: number for number, task_id in enumerate(plans)}
        self._settings = settings
        self._device = choose_device(settings.device)
        self._most_items: int | None = None
        self.network = build_network(plans.values(), seed).train().to(self._device)
        self.average = copy.deepcopy(self.network).eval().requires_grad_(requires_grad=False)
        self._earlier = self.average
        self._optimizer = self._make_optimizer()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._device

    def _make_optimizer(self) -> torch.optim.AdamW:
        settings = self._settings
        return torch.optim.AdamW(
            self.network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )

    def begin_job(self) -> None:
        """Takes the averaged weights as those of the *earlier* model, whose predictions targets are blended with."""
        self._earlier = copy.deepcopy(self.average)

    def moments(self) -> Moments:
        """A copy of what the optimizer remembers of each weight."""
        state = self._optimizer.state
        return {
            name: {kind: value.detach().clone() for kind, value in state[parameter].items()}
            for name, parameter in self.network.named_parameters()
            if parameter in state
        }

    def load(self, weights: Mapping[str, Tensor], average: Mapping[str, Tensor], moments: Moments) -> None:
        """Takes over weights and moments, from whatever device.

        Raises:
            StoreError: if they do not fit the plans.
        """
        try:
            self.network.load_state_dict(weights)
            self.average.load_state_dict(average)
            self._load_moments(moments)
        except (RuntimeError, ValueError, KeyError) as error:
            raise StoreError(f"the checkpoint's weights do not fit its plan: {error}") from error

    def _load_moments(self, moments: Moments) -> None:
        self._optimizer = self._make_optimizer()
        parameters = dict(self.network.named_parameters())
        for name, kinds in moments.items():
            parameter = parameters[name]
            if kinds["exp_avg"].shape != parameter.shape:
                raise ValueError(f"moments of {name} have another shape")
            self._optimizer.state[parameter] = {kind: value.to(parameter.device, copy=True) for kind, value in kinds.items()}

    def step(self, batch: Batch, steps: int, rng: np.random.Generator) -> tuple[list[float], bool]:
        """One training step.

        Where the device's memory does not suffice, half of the batch is tried, and then all of it on the CPU, where training
        stays; both are logged.

        Args:
            batch: what to learn.
            steps: training steps made before.
            rng: source of all randomness.

        Returns:
            The cross-entropy of each item that was used; and whether loss and gradient were finite, so that the weights moved.

        Raises:
            torch.OutOfMemoryError: if the CPU's memory does not suffice.
        """
        while True:
            random_state = rng.bit_generator.state
            try:
                loss, each = self._gradient(batch, steps, rng)
                return each.tolist(), self._update(loss, steps)
            except torch.OutOfMemoryError:
                if self._device == CPU:
                    raise
                self._give_way(len(batch.items))
                rng.bit_generator.state = random_state

    def _give_way(self, items: int) -> None:
        """Half the batch; if it was halved before, the CPU."""
        self._optimizer.zero_grad(set_to_none=True)
        if self._most_items is None and items > 1:
            self._most_items = items // 2
            _log.warning("out of memory: training goes on with half the batch", device=str(self._device), items=items // 2)
        else:
            _log.warning("out of memory: training goes on on the CPU", device=str(self._device))
            moments = self.moments()
            self._device, self._most_items = CPU, None
            for module in (self.network, self.average, self._earlier):
                module.to(CPU)
            self._load_moments(moments)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _gradient(self, batch: Batch, steps: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The gradient of a batch in the weights; returns loss and cross-entropy of each item."""
        settings, plan, number = self._settings, self._plans[batch.task_id], self._numbers[batch.task_id]
        items = torch.from_numpy(batch.items[: self._most_items])
        unknown = None if batch.unknown is None else batch.unknown[: self._most_items].to(self._device)
        parts = self._views(augment(self._placed(items), plan, settings, rng), plan)
        share = settings.temporal_smoothing * min(1.0, steps / max(1, settings.temporal_ramp_steps))
        target = parts.target
        if share > 0 and (rows := self._to_blend(batch)):
            foreseen = self._foreseen(parts.source[rows], number)
            foreseen = foreseen if unknown is None else open_up(foreseen, unknown[rows])
            target[rows] = temporal_blend(target[rows], foreseen, parts.confidence[rows], share)
        self._optimizer.zero_grad(set_to_none=True)
        with precision_context(settings.precision, self._device):
            logits = self.network(parts.source, number)
        loss, each = segmentation_loss(logits, target, parts.weight, settings.dice_weight, unknown)
        if parts.recalled is not None:
            kept = parts.recalled.sum(dim=1)
            recalled = parts.recalled if unknown is None else open_up(parts.recalled, unknown)
            loss = loss + settings.logit_replay * soft_cross_entropy(logits.float(), recalled, kept, unknown)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's own annotation is incomplete
        return loss.detach(), each

    def _to_blend(self, batch: Batch) -> list[int]:
        """Items whose target is not known all over; replayed ones among them only if they are to be refreshed."""
        sources = batch.sources[: self._most_items]
        unsure = [bool((item[-1] < 1).any()) for item in batch.items[: self._most_items]]
        return [row for row, source in enumerate(sources) if unsure[row] and (self._settings.refresh or source is None)]

    def _placed(self, items: Tensor) -> Tensor:
        """A copy of the batch on the device, which may be changed."""
        if self._device.type != "cuda":
            return items.to(self._device, copy=True)
        return items.pin_memory().to(self._device, non_blocking=True)

    def _views(self, items: Tensor, plan: Plan) -> _Views:
        items = items[:, :, 0] if plan.dimensions == 2 else items
        inputs, classes = plan.image_channels, plan.label_count + 1
        recalled = items[:, inputs + classes : -2] if self._settings.logit_replay > 0 else None
        target = items[:, inputs : inputs + classes]
        return _Views(items[:, :inputs], target, recalled, items[:, -2], items[:, -1])

    def _foreseen(self, image: Tensor, task: int) -> Tensor:
        """What the earlier model makes of the image alone."""
        with torch.no_grad(), precision_context(self._settings.precision, self._device):
            return torch.softmax(self._earlier(image, task).float(), dim=1)

    def _update(self, loss: Tensor, steps: int) -> bool:
        """Moves the weights and their average, unless loss or gradient is not finite; returns whether they were."""
        for group in self._optimizer.param_groups:
            group["lr"] = learning_rate(self._settings, steps)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self._settings.gradient_norm)
        finite = bool(torch.isfinite(loss) & torch.isfinite(norm))
        if finite:
            self._optimizer.step()
            decay = min(self._settings.ema_decay, (1 + steps) / (10 + steps))
            average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            average(list(self.average.parameters()), list(self.network.parameters()), None)
        else:
            _log.warning("training step left out: loss or gradient not finite", step=steps)
        return finite


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """Linear warm-up, then a slow fall to a floor: a stream has no end to anneal to."""
    rise = min(1.0, (step + 1) / max(1, settings.warm_up_steps))
    fall = max(settings.learning_rate_floor, 1 / math.sqrt(1 + step / max(1, settings.decay_steps)))
    return settings.learning_rate * rise * fall
