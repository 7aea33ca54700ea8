"""A MONAI bundle as the start of a task: its weights become the first version of the task's model.

Nothing of the bundle is run: its metadata is read as JSON and its weights as tensors (``weights_only``, no pickle); the frozen
TorchScript module and the configuration's expressions are left alone.

Only bundles that this software exported can be a start. The network of another bundle expects other grids, intensities and
neighbouring slices, and weights that meet other data than they were made for are no start at all.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import structlog
import torch
from torch import Tensor

from learner.domain.audit import Event
from learner.domain.task import Task
from learner.errors import ConfigurationError, StoreError
from learner.export.bundle import METADATA, OWN_KEY, WEIGHTS
from learner.export.errors import BundleRefused
from learner.model.growth import grown
from learner.model.network import weights_of_plain
from learner.model.plan import Plan
from learner.model.settings import TrainingSettings, training_settings
from learner.model.state import TrainerState, dump_state
from learner.settings import LearningSettings
from learner.storage.store import LocalStore

_log = structlog.get_logger(__name__)

_REMEDY = "Name a bundle that `apprentice export` wrote for the same labels, or leave `warm_start` out to begin from nothing"


@dataclass(frozen=True, eq=False)
class WarmStart:
    """What a task begins from.

    Attributes:
        plan: network and grid.
        weights: of the task's network, as a checkpoint has them.
        origin: for provenance: name and version of the bundle, hash of its weights, the version that it was exported from.
    """

    plan: Plan
    weights: Mapping[str, Tensor]
    origin: Mapping[str, object]


def read_bundle(folder: Path, task: Task) -> WarmStart:
    """The start that a bundle gives a task.

    Args:
        folder: root of the bundle.
        task: has the bundle's labels, and perhaps more behind them.

    Raises:
        BundleRefused: it cannot be the start; says what differs.
    """
    metadata = _json(folder / METADATA, folder)
    own = metadata.get(OWN_KEY)
    if not isinstance(own, dict):
        raise BundleRefused(str(folder), _foreign(folder), _REMEDY)
    try:
        plan = Plan.from_json(json.dumps(own["plan"]))
        labels, version = own["labels"], str(own["version"])
        _check_labels(folder, labels, task)
        weights = weights_of_plain(plan, _tensors(folder, str(own["weights_sha256"])))
    except (KeyError, TypeError, StoreError) as error:
        raise BundleRefused(str(folder), f"{METADATA} lacks or garbles what a start needs ({error})", _REMEDY) from None
    except (RuntimeError, ValueError) as error:
        first = str(error).splitlines()[-1].strip()
        raise BundleRefused(str(folder), f"the weights do not fit the network of {METADATA} ({first})", _REMEDY) from None
    origin = {
        "bundle": str(metadata.get("name", folder.name)),
        "version": str(metadata.get("version", "")),
        "weights_sha256": str(own["weights_sha256"]),
        "exported_from": version,
        "checkpoint_sha256": str(own.get("checkpoint_sha256", "")),
        "task": task.task_id,
    }
    return WarmStart(plan, weights, origin)


def install(store: LocalStore, tasks: Sequence[Task], settings: LearningSettings) -> None:
    """Makes the bundle that a task names the first version of its model, where that has none.

    It answers nobody until the gate has judged it by the first drawing, or a person lets it serve.

    Args:
        store: of the node.
        tasks: all tasks.
        settings: how the node learns.

    Raises:
        BundleRefused: a bundle cannot be the start of its task.
        ConfigurationError: two tasks of one model name a bundle.
    """
    starting = [task for task in tasks if task.warm_start]
    for task in starting:
        others = [other.task_id for other in starting if other.model_id == task.model_id and other is not task]
        if others:
            raise ConfigurationError(
                f"tasks {task.task_id} and {others[0]} share a model: only one of them may have `warm_start`"
            )
        if store.checkpoints.versions(task.model_id):
            _log.info("bundle left aside: the model has versions already", task=task.task_id, model=task.model_id)
            continue
        start = read_bundle(Path(task.warm_start), task)
        state = starting_state(start, task, training_settings(settings), settings.seed)
        with store.transaction():
            origin = dict(start.origin)
            begun = store.checkpoints.add(task.model_id, state, round_id=0, steps=0, facts={"origin": origin})
            store.audit.record(Event.BEGUN, version=begun.name, model=begun.model_id, sha256=begun.sha256, origin=origin)
        _log.info("model begins from a bundle", model=task.model_id, **start.origin)


def starting_state(start: WarmStart, task: Task, settings: TrainingSettings, seed: int) -> bytes:
    """The state of a trainer that has these weights, has made no step and remembers nothing.

    Args:
        start: of the task.
        task: may have more labels than the start.
        settings: of training.
        seed: of all sampling.
    """
    state = TrainerState(
        labels={task.task_id: start.plan.label_count},
        plans={task.task_id: start.plan},
        steps=0,
        skipped=0,
        rng=dict(np.random.default_rng(seed).bit_generator.state),
        replay=[],
        settings=settings.digest(),
        weights=dict(start.weights),
        average=dict(start.weights),
        moments={},
    )
    return dump_state(grown(state, {task.task_id: len(task.labels)}))


def _json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleRefused(
            str(folder),
            f"{path.relative_to(folder)} cannot be read ({error.strerror})",
            "`warm_start` names a bundle's root folder",
        ) from None
    except ValueError as error:
        raise BundleRefused(str(folder), f"{path.relative_to(folder)} is no JSON ({error})", _REMEDY) from None
    return content if isinstance(content, dict) else {}


def _tensors(folder: Path, sha256: str) -> dict[str, Tensor]:
    try:
        content = (folder / WEIGHTS).read_bytes()
    except OSError as error:
        raise BundleRefused(str(folder), f"{WEIGHTS} cannot be read ({error.strerror})", "Copy the whole bundle") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise BundleRefused(str(folder), f"{WEIGHTS} does not have the hash that {METADATA} names", "Copy the bundle again")
    try:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise BundleRefused(str(folder), f"{WEIGHTS} holds more than tensors, or is damaged ({error})", _REMEDY) from None
    return {str(name): value for name, value in loaded.items()}


def _check_labels(folder: Path, labels: list[dict[str, Any]], task: Task) -> None:
    """The bundle's labels are the first ones of the task, by their codes."""
    theirs = [(one["type"]["value"], one["type"]["scheme"], one["name"]) for one in labels]
    ours = [(label.type.value, label.type.scheme, label.name) for label in task.labels]
    if [one[:2] for one in theirs] != [one[:2] for one in ours[: len(theirs)]]:
        raise BundleRefused(
            str(folder),
            f"it has the labels {_named(theirs)}, task {task.task_id} has {_named(ours)}",
            "Give the task the bundle's labels in the same order, its own behind them, or leave `warm_start` out",
        )


def _named(labels: list[tuple[str, str, str]]) -> str:
    return ", ".join(f"{name} ({value} {scheme})" for value, scheme, name in labels)


def _foreign(folder: Path) -> str:
    """What the network of a bundle of other makers is."""
    for name in ("inference.json", "train.json"):
        path = folder / "configs" / name
        network = _json(path, folder).get("network_def") if path.is_file() else None
        if isinstance(network, dict):
            kind = str(network.get("_target_", network.get("name", "a network"))).rpartition(".")[2]
            facts = ", ".join(
                f"{key} {network[key]}" for key in ("spatial_dims", "in_channels", "out_channels") if key in network
            )
            told = f" ({facts})" if facts else ""
            return (
                f"its network is {kind}{told} of another maker; what a task begins from is this software's DynUNet, with "
                f"its grid, "
                f"intensities and labels under {OWN_KEY!r} in {METADATA}"
            )
    return f"{METADATA} says nothing under {OWN_KEY!r}, so that grid, intensities and labels of its network are not known"
