"""The trainer's state as one file: tensors by torch.save and everything else as JSON, so that loading needs no pickle."""

from __future__ import annotations

import io
import json
import pickle
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learner.errors import StoreError
from learner.memory.replay import Index
from learner.model.format_1 import from_format_1
from learner.model.plan import Plan

_FORMAT = 2

Moments = dict[str, dict[str, Tensor]]
"""What the optimizer remembers of each weight, by the weight's name."""


@dataclass(frozen=True, eq=False)
class TrainerState:
    """All that decides what the next step does.

    Attributes:
        labels: number of labels of each task that is known.
        plans: of the tasks that something was learned of, in the order in which they came.
        steps: training steps so far.
        skipped: of these, how many were left out because their loss or gradient was not finite.
        rng: state of the numpy generator.
        replay: index of the replay memory.
        settings: digest of the settings in force.
        weights: of the network being trained.
        average: the averaged weights that serve.
        moments: state of the optimizer.
    """

    labels: dict[str, int]
    plans: dict[str, Plan]
    steps: int
    skipped: int
    rng: dict[str, Any]
    replay: Index
    settings: str
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: Moments


def dump_state(state: TrainerState) -> bytes:
    """The state as bytes."""
    header = {
        "format": _FORMAT,
        "labels": state.labels,
        "plans": [[task_id, plan.to_json()] for task_id, plan in state.plans.items()],
        "steps": state.steps,
        "skipped": state.skipped,
        "rng": state.rng,
        "replay": state.replay,
        "settings": state.settings,
        "torch": str(torch.__version__),
    }
    buffer = io.BytesIO()
    content = {
        "header": json.dumps(header, sort_keys=True),
        "weights": _on_cpu(state.weights),
        "average": _on_cpu(state.average),
        "moments": {sys.intern(name): _on_cpu(moments) for name, moments in state.moments.items()},
    }
    torch.save(content, buffer)
    return buffer.getvalue()


def load_state(content: bytes) -> TrainerState:
    """The state that ``dump_state`` wrote, of this version or the one before; nothing in it can run code.

    A state of format 1 knows one task; where its replay index does not name it, its name is empty.

    Raises:
        StoreError: if it is not such a state.
    """
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        header = json.loads(loaded["header"])
        if header["format"] == 1:
            header, loaded = from_format_1(header, loaded)
        elif header["format"] != _FORMAT:
            raise StoreError(f"the checkpoint has format {header['format']}, this version reads up to {_FORMAT}")
        return TrainerState(
            labels={str(task_id): int(count) for task_id, count in header["labels"].items()},
            plans={str(task_id): Plan.from_json(plan) for task_id, plan in header["plans"]},
            steps=int(header["steps"]),
            skipped=int(header["skipped"]),
            rng=header["rng"],
            replay=header["replay"],
            settings=str(header["settings"]),
            weights=loaded["weights"],
            average=loaded["average"],
            moments=loaded["moments"],
        )
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, AttributeError, pickle.UnpicklingError) as error:
        raise StoreError(f"the checkpoint cannot be read: {error}") from error


def _on_cpu(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors where every device can load them; names interned, so that the same state gives the same bytes."""
    return {sys.intern(name): value.cpu() for name, value in tensors.items()}
