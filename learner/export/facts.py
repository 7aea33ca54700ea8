"""What is said of an exported network: where it comes from, what it was taught with, how good it was found. No identity."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from learner.domain.case import Round
from learner.domain.checkpoint import Checkpoint
from learner.domain.task import Task
from learner.model.plan import Plan
from learner.storage.store import LocalStore
from learner.version import __version__

NORMALISATION = (
    "on the working grid: clipped to percentiles 0.5 and 99.5 of the volume, then mean 0 and deviation 1; where a fifth or "
    "more "
    "of the voxels hold exactly the least value (masked air), the statistics leave these out"
)
_SITE_LETTERS = 8


@dataclass(frozen=True, slots=True)
class DataFacts:
    """What a network was taught with, up to a version.

    Attributes:
        cases: image series on which somebody drew.
        held_cases: of these, how many are held back from training to judge versions by.
        annotations: annotation objects in effect.
        drawn_slices: slices drawn, counted once a case.
        readers: how many people drew.
        sites: cases by keyed name of the site; the key of the names stays in the node.
        first: month of the first annotation, such as ``2026-04``; empty without any.
        last: month of the last one.
    """

    cases: int
    held_cases: int
    annotations: int
    drawn_slices: int
    readers: int
    sites: Mapping[str, int]
    first: str
    last: str


@dataclass(frozen=True, slots=True)
class Measured:
    """How good the network was found, on this node's own readers.

    Attributes:
        estimated_dice: per label, mean over the latest round of each case of what the node expected of its answers; None where
            nothing was measured.
        curve: for each annotation, oldest first, the Dice per label of the network that served on what was drawn then, before
            it learned from it.
    """

    estimated_dice: tuple[float | None, ...]
    curve: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, eq=False)
class ModelFacts:
    """All that is said of one version of a network, for one task.

    Attributes:
        task: the task.
        checkpoint: the version.
        plan: network and grid.
        orientation: where the (column, row, slice) axes of the images point, as nibabel's axis codes.
        orientation_source: how that is known, one clause.
        data: what it was taught with.
        measured: how good it was found.
        origin: the bundle that it began from; empty where it began from nothing.
        software: versions of what made it.
        exported_at: date, ISO 8601.
    """

    task: Task
    checkpoint: Checkpoint
    plan: Plan
    orientation: str
    orientation_source: str
    data: DataFacts
    measured: Measured
    origin: Mapping[str, object]
    software: Mapping[str, str]
    exported_at: str

    @property
    def labels(self) -> list[dict[str, Any]]:
        """The labels as plain data, background left out."""
        return [
            {
                "number": label.number,
                "name": label.name,
                "category": asdict(label.category),
                "type": asdict(label.type),
                "colour": list(label.colour),
            }
            for label in self.task.labels
        ]

    @property
    def channels(self) -> list[str]:
        """Names of the network's outputs: background, then the labels."""
        return ["background", *(label.name for label in self.task.labels)]

    @property
    def essentials(self) -> dict[str, Any]:
        """What a program needs to use the network, as plain data."""
        return {
            "task": self.task.task_id,
            "title": self.task.title,
            "modalities": list(self.task.match.modalities),
            "labels": self.labels,
            "version": self.checkpoint.name,
            "checkpoint_sha256": self.checkpoint.sha256,
            "orientation": self.orientation,
            "normalisation": NORMALISATION,
            "plan": asdict(self.plan),
            "software": dict(self.software),
        }


def gather(store: LocalStore, task: Task, checkpoint: Checkpoint, plan: Plan, orientation: tuple[str, str]) -> ModelFacts:
    """All that the store knows of a version.

    Args:
        store: of the node.
        task: the task that it is exported for.
        checkpoint: the version.
        plan: its plan for the task.
        orientation: axis codes, and how they are known.
    """
    rounds = rounds_in_effect(store, task, checkpoint.round_id)
    first = store.checkpoints.versions(task.model_id)[-1]
    origin = first.facts.get("origin")
    return ModelFacts(
        task=task,
        checkpoint=checkpoint,
        plan=plan,
        orientation=orientation[0],
        orientation_source=orientation[1],
        data=_data(store, task, rounds),
        measured=_measured(rounds, len(task.labels)),
        origin=origin if isinstance(origin, dict) else {},
        software=software(),
        exported_at=datetime.now(UTC).date().isoformat(),
    )


def rounds_in_effect(store: LocalStore, task: Task, last_round: int | None = None) -> list[Round]:
    """Answered annotations of a task that were not withdrawn, oldest first, up to a round if one is given."""
    found = []
    for one in store.records.in_effect():
        within = last_round is None or one.round_id <= last_round
        if one.case_id is not None and within and store.records.find_case(one.case_id).task_id == task.task_id:
            found.append(one)
    return found


def _data(store: LocalStore, task: Task, rounds: list[Round]) -> DataFacts:
    cases = {one.case_id for one in rounds}
    lessons = [one for one in store.lessons.of_model(task.model_id) if one.case_id in cases and one.task_id == task.task_id]
    drawn = {(one.case_id, index) for one in rounds for index in _list(one.facts.get("drawn_slices"))}
    months = sorted(datetime.fromtimestamp(one.received_at, UTC).strftime("%Y-%m") for one in rounds)
    sites = Counter((one.site or "not known")[:_SITE_LETTERS].strip() for one in lessons)
    return DataFacts(
        cases=len(cases),
        held_cases=sum(one.held for one in lessons),
        annotations=len(rounds),
        drawn_slices=len(drawn),
        readers=len({one.reader for one in rounds if one.reader}),
        sites=dict(sites),
        first=months[0] if months else "",
        last=months[-1] if months else "",
    )


def _measured(rounds: list[Round], label_count: int) -> Measured:
    latest = {one.case_id: _list(one.facts.get("estimated_dice")) for one in rounds}
    curve = [tuple(found) for one in rounds if (found := _list(one.facts.get("foresight")))]
    estimated = []
    for label in range(label_count):
        known = [values[label] for values in latest.values() if label < len(values) and values[label] is not None]
        estimated.append(sum(known) / len(known) if known else None)
    return Measured(tuple(estimated), tuple(curve))


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def software() -> dict[str, str]:
    """Versions of what makes and runs networks."""
    found = {"pacs-apprentice": __version__, "python": platform.python_version()}
    for name in ("torch", "monai", "numpy"):
        try:
            found[name] = version(name).partition("+")[0]
        except PackageNotFoundError:
            found[name] = ""
    return found
