"""A version of a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

LEARNED_CASES = "learned_cases"
"""Fact of a version that was trained anew: the cases that it was trained from."""


class CheckpointState(StrEnum):
    """Where a version stands; of each model one serves at most."""

    SHADOW = "shadow"
    """It has not passed the gate: it answers nobody. Training may go on from it."""
    SERVING = "serving"
    """It answers."""
    RETIRED = "retired"
    """It served until a later version passed the gate."""
    ROLLED_BACK = "rolled-back"
    """A person took it back; it never serves again by itself."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One version of a model: a file of weights, optimizer, random state and replay index, and where it comes from.

    Attributes:
        name: ``<model>-<number>``, the AlgorithmVersion of what it predicts.
        model_id: its model: the name of a task, or one that several tasks share.
        number: 1, 2, ... per model.
        parent: name of the checkpoint that it was trained from; empty for the first.
        path: file, relative to the data folder.
        sha256: hash of the file, verified before it is loaded.
        round_id: the round whose learning produced it.
        steps: training steps since the beginning of the model.
        created_at: POSIX time.
        facts: losses and measurements of its training.
        state: where it stands.
        tasks: the tasks of the model that it may answer; none before it passed the gate for them.
        gate: the gate's verdict, :meth:`learner.domain.gate.Verdict.facts`; empty before it was judged.
        pinned: whether a person chose that it serves.
        kept: whether its file is there.
        from_forgotten: whether it, or a version that it was trained from, learned from a study that was forgotten since.
    """

    name: str
    model_id: str
    number: int
    parent: str
    path: str
    sha256: str
    round_id: int
    steps: int
    created_at: float
    facts: dict[str, object]
    state: CheckpointState = CheckpointState.SHADOW
    tasks: tuple[str, ...] = ()
    gate: dict[str, object] = field(default_factory=dict)
    pinned: bool = False
    kept: bool = True
    from_forgotten: bool = False
