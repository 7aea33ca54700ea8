"""The trainer's state as one file: tensors by torch.save and everything else as JSON, so that loading needs no pickle."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from learner.errors import StoreError
from learner.model.plan import Plan

_FORMAT = 1


@dataclass(frozen=True, eq=False)
class TrainerState:
    """All that decides what the next step does.

    Attributes:
        label_count: labels L.
        plan: of the network, or None before the first example.
        steps: training steps so far.
        skipped: of these, how many were left out because their loss or gradient was not finite.
        rng: state of the numpy generator.
        replay: index of the replay memory.
        settings: digest of the settings in force.
        weights: of the network being trained.
        average: the averaged weights that serve.
        optimizer: state of the optimizer.
    """

    label_count: int
    plan: Plan | None
    steps: int
    skipped: int
    rng: dict[str, Any]
    replay: list[dict[str, str | int | float]]
    settings: str
    weights: dict[str, Tensor]
    average: dict[str, Tensor]
    optimizer: dict[str, Any]


def dump_state(state: TrainerState) -> bytes:
    """The state as bytes."""
    header = {
        "format": _FORMAT,
        "label_count": state.label_count,
        "plan": state.plan.to_json() if state.plan else None,
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
        "weights": state.weights,
        "average": state.average,
        "optimizer": state.optimizer,
    }
    torch.save(content, buffer)
    return buffer.getvalue()


def load_state(content: bytes) -> TrainerState:
    """The state that ``dump_state`` wrote; nothing in it can run code.

    Raises:
        StoreError: if it is not such a state.
    """
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        header = json.loads(loaded["header"])
        if header["format"] != _FORMAT:
            raise StoreError(f"the checkpoint has format {header['format']}, this version reads {_FORMAT}")
        return TrainerState(
            label_count=int(header["label_count"]),
            plan=Plan.from_json(header["plan"]) if header["plan"] else None,
            steps=int(header["steps"]),
            skipped=int(header["skipped"]),
            rng=header["rng"],
            replay=header["replay"],
            settings=str(header["settings"]),
            weights=loaded["weights"],
            average=loaded["average"],
            optimizer=loaded["optimizer"],
        )
    except (RuntimeError, ValueError, KeyError, TypeError, EOFError, pickle.UnpicklingError) as error:
        raise StoreError(f"the checkpoint cannot be read: {error}") from error
