"""A trainer's state for a task that gained labels, or for one more task: old weights stay.

The output of a new label begins as the background's with a twentieth of its probability, and with fresh random weights added:
outputs that are alike give the layers below no reason to tell them apart, and the label is learned far later. A small prior is
how Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, begin rare classes.

A new task gets a head of its own, fresh; the trunk is what the other tasks made of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from learner.errors import ConfigurationError
from learner.model.network import build_network
from learner.model.plan import Plan
from learner.model.state import TrainerState

_SHARE = 0.05
_OUTPUTS = 0
"""Axis of a convolution's weight."""


def grown(state: TrainerState, labels: Mapping[str, int]) -> TrainerState:
    """The state with outputs for so many labels; the same two give the same weights.

    Args:
        state: of a model with as many labels or fewer in each of the tasks. A task without a name, of a checkpoint of format
            1, takes that of the only one of ``labels``.
        labels: number of labels of tasks; one that the state does not know is noted.

    Raises:
        ConfigurationError: if a task has more labels in the model than that.
    """
    if "" in state.labels and len(labels) == 1:
        state = _named(state, next(iter(labels)))
    for task_id, count in labels.items():
        known = state.labels.get(task_id, count)
        if known > count:
            raise ConfigurationError(
                f"the checkpoint is of a model with {known} labels, the task has {count}: "
                "give the task its labels back, or give the changed task a new name"
            )
    plans = {task_id: replace(plan, label_count=labels.get(task_id, plan.label_count)) for task_id, plan in state.plans.items()}
    state = replace(state, labels={**state.labels, **labels})
    if plans == state.plans:
        return state
    return replace(
        state,
        plans=plans,
        weights=_weights(state.weights, plans),
        average=_weights(state.average, plans),
        moments=_moments(state, plans),
    )


def with_task(state: TrainerState, task_id: str, plan: Plan, seed: int) -> TrainerState:
    """The state with one more task.

    Args:
        state: that knows no plan of the task yet.
        task_id: the task.
        plan: its plan; shares the trunk of those that are there.
        seed: of the trunk's weights if this is the first task.
    """
    plans = {**state.plans, task_id: plan}
    fresh = build_network(plans.values(), seed).state_dict()
    return replace(
        state,
        labels={**state.labels, task_id: plan.label_count},
        plans=plans,
        weights=_completed(fresh, state.weights),
        average=_completed(fresh, state.average),
    )


def _completed(fresh: Mapping[str, Tensor], old: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: old[name] if name in old else value.clone() for name, value in fresh.items()}


def _named(state: TrainerState, task_id: str) -> TrainerState:
    return replace(
        state,
        labels={name or task_id: count for name, count in state.labels.items()},
        plans={name or task_id: plan for name, plan in state.plans.items()},
    )


def _weights(weights: dict[str, Tensor], plans: Mapping[str, Plan]) -> dict[str, Tensor]:
    result = {}
    for name, fresh in build_network(plans.values(), seed=0).state_dict().items():
        old = weights[name]
        result[name] = _longer(old, fresh.shape, output=1.0)
        if old.shape[_OUTPUTS] != fresh.shape[_OUTPUTS]:
            first, gained = old.shape[_OUTPUTS], fresh.shape[_OUTPUTS] - old.shape[_OUTPUTS]
            is_bias = old.ndim == 1
            result[name][first:] += math.log(_SHARE) if is_bias else fresh[first:].to(old.device)
            result[name][0] += math.log1p(-gained * _SHARE) if is_bias else 0.0
    return result


def _moments(state: TrainerState, plans: Mapping[str, Plan]) -> dict[str, dict[str, Tensor]]:
    """New weights begin without moments: those of others would hold them back."""
    shapes = {name: value.shape for name, value in build_network(plans.values(), seed=0).named_parameters()}
    return {
        name: {kind: value if kind == "step" else _longer(value, shapes[name], output=0.0) for kind, value in moments.items()}
        for name, moments in state.moments.items()
    }


def _longer(old: Tensor, shape: torch.Size, *, output: float) -> Tensor:
    """A tensor with room for new labels: new outputs behind the old ones.

    Args:
        old: a weight, or one of its moments.
        shape: wanted; longer than the old one along its outputs at most.
        output: factor on the background's values, for new outputs.
    """
    if old.shape == shape:
        return old.clone()
    background = old.narrow(_OUTPUTS, 0, 1) * output
    new = background.repeat_interleave(shape[_OUTPUTS] - old.shape[_OUTPUTS], dim=_OUTPUTS)
    return torch.cat([old, new], dim=_OUTPUTS)
