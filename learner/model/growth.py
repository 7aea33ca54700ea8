"""A trainer's state for a task that gained labels: old weights stay, new ones begin where they hardly change an answer.

The output of a new label begins as the background's with a twentieth of its probability, and with fresh random weights added:
outputs that are alike give the layers below no reason to tell them apart, and the label is learned far later. A small prior is
how Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, begin rare classes. The channel that shows the network the
proxy of a new label begins with weights of 0.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from learner.errors import ConfigurationError
from learner.model.network import build_network
from learner.model.plan import Plan
from learner.model.state import TrainerState

_SHARE = 0.05
_OUTPUTS, _INPUTS = 0, 1
"""Axes of a convolution's weight."""


def grown(state: TrainerState, label_count: int) -> TrainerState:
    """The state with outputs and condition channels for ``label_count`` labels; the same two give the same weights.

    Args:
        state: of a model with as many labels or fewer.
        label_count: labels of the task.

    Raises:
        ConfigurationError: if the model has more labels than that.
    """
    if state.label_count > label_count:
        raise ConfigurationError(
            f"the checkpoint is of a model with {state.label_count} labels, the task has {label_count}: "
            "give the task its labels back, or give the changed task a new name"
        )
    if state.label_count == label_count:
        return state
    if state.plan is None:
        return replace(state, label_count=label_count)
    plan = replace(state.plan, label_count=label_count)
    return replace(
        state,
        label_count=label_count,
        plan=plan,
        weights=_weights(state.weights, plan),
        average=_weights(state.average, plan),
        optimizer=_optimizer(state.optimizer, plan),
    )


def _weights(weights: dict[str, Tensor], plan: Plan) -> dict[str, Tensor]:
    result = {}
    for name, fresh in build_network(plan, seed=0).state_dict().items():
        old = weights[name]
        result[name] = _longer(old, fresh.shape, output=1.0)
        if old.shape[_OUTPUTS] != fresh.shape[_OUTPUTS]:
            first, gained = old.shape[_OUTPUTS], fresh.shape[_OUTPUTS] - old.shape[_OUTPUTS]
            is_bias = old.ndim == 1
            result[name][first:] += math.log(_SHARE) if is_bias else fresh[first:]
            result[name][0] += math.log1p(-gained * _SHARE) if is_bias else 0.0
    return result


def _optimizer(optimizer: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """New weights begin without moments: those of others would hold them back."""
    shapes = [value.shape for value in build_network(plan, seed=0).parameters()]
    state = {
        index: {name: value if name == "step" else _longer(value, shapes[index], output=0.0) for name, value in moments.items()}
        for index, moments in optimizer["state"].items()
    }
    return {**optimizer, "state": state}


def _longer(old: Tensor, shape: torch.Size, *, output: float) -> Tensor:
    """A tensor with room for new labels: new outputs behind the old ones, new condition channels before the confidence.

    Args:
        old: a weight, or one of its moments.
        shape: wanted; longer than the old one along one axis at most.
        output: factor on the background's values, for new outputs; new condition channels are 0.
    """
    if old.shape == shape:
        return old.clone()
    axis = _OUTPUTS if old.shape[_OUTPUTS] != shape[_OUTPUTS] else _INPUTS
    gained, at = shape[axis] - old.shape[axis], old.shape[axis] - axis
    background = old.narrow(axis, 0, 1) * (output if axis == _OUTPUTS else 0.0)
    new = background.repeat_interleave(gained, dim=axis)
    return torch.cat([old.narrow(axis, 0, at), new, old.narrow(axis, at, old.shape[axis] - at)], dim=axis)
