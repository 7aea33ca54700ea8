"""Versions of models in a store, for tests that do not train."""

from __future__ import annotations

from learner.domain.checkpoint import Checkpoint
from learner.domain.gate import Verdict
from learner.storage.store import LocalStore


def verdict(*tasks: str, serve: bool = True) -> Verdict:
    """The gate's word on a version that nobody judged."""
    return Verdict(serve, "as the test wants it", tasks, 0, 0, ())


def add_version(store: LocalStore, model: str, *, serve: bool = True, steps: int = 20, **facts: object) -> Checkpoint:
    """A new version of a model, which serves the task of the same name or stays in shadow."""
    number = len(store.checkpoints.versions(model)) + 1
    added = store.checkpoints.add(model, f"state {number}".encode(), round_id=number, steps=steps, facts=facts)
    return store.checkpoints.judge(added, verdict(model, serve=serve))
