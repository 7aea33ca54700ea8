"""A version of a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One version of a model: a file of weights, optimizer, random state and replay index, and where it comes from.

    Attributes:
        name: ``<task>-<number>``, the AlgorithmVersion of what it predicts.
        task_id: its task.
        number: 1, 2, ... per task.
        parent: name of the checkpoint that it was trained from; empty for the first.
        path: file, relative to the data folder.
        sha256: hash of the file, verified before it is loaded.
        round_id: the round whose learning produced it.
        steps: training steps since the beginning of the task.
        created_at: POSIX time.
        facts: losses and measurements of its training.
    """

    name: str
    task_id: str
    number: int
    parent: str
    path: str
    sha256: str
    round_id: int
    steps: int
    created_at: float
    facts: dict[str, object]
