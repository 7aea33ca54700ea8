"""The network that serves each task: loaded once, replaced when another version serves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from learner.domain.checkpoint import Checkpoint, CheckpointState
from learner.domain.task import Task
from learner.errors import CorruptFile, StoreUnavailable
from learner.ports import Checkpoints, Network, Store

_log = structlog.get_logger(__name__)
LoadNetwork = Callable[[bytes, str, int], Network]
"""Makes a network of a version's state, the name of a task, and the number of the task's labels."""


def serving_version(checkpoints: Checkpoints, task: Task) -> Checkpoint | None:
    """The version that answers a task: the one that serves its model, if that passed the gate for this very task."""
    serving = checkpoints.serving(task.model_id)
    return serving if serving is not None and task.task_id in serving.tasks else None


@dataclass(frozen=True, slots=True)
class ServingNetwork:
    """A network and the name of its version."""

    network: Network
    checkpoint: str


class ServingNetworks:
    """Networks by task; safe to use from several threads.

    Args:
        store: where versions are.
        load: makes a network of a version's state, for a task and its number of labels.
    """

    def __init__(self, store: Store, load: LoadNetwork) -> None:
        self._store = store
        self._load = load
        self._loaded: dict[str, ServingNetwork] = {}
        self._made_ready: dict[str, str] = {}
        self._lock = threading.Lock()

    def for_task(self, task: Task) -> ServingNetwork | None:
        """The version that serves a task, or None while none does.

        If its file cannot be read, the latest that can be read of those that served before it.
        """
        checkpoints = self._store.checkpoints
        with self._lock:
            serving = serving_version(checkpoints, task)
            if serving is None:
                return None
            served = [one for one in checkpoints.history(task.model_id) if one.state is CheckpointState.RETIRED]
            for checkpoint in (serving, *(one for one in served if task.task_id in one.tasks)):
                loaded = self._loaded.get(task.task_id)
                if loaded is not None and loaded.checkpoint == checkpoint.name:
                    return loaded
                try:
                    network = self._load(checkpoints.read(checkpoint), task.task_id, len(task.labels))
                except CorruptFile as error:
                    _log.error("checkpoint unusable", checkpoint=checkpoint.name, error=str(error))
                    continue
                self._loaded[task.task_id] = ServingNetwork(network, checkpoint.name)
                return self._loaded[task.task_id]
            return None

    def make_ready(self, tasks: Iterable[Task]) -> None:
        """Loads the network of one task whose version began to serve, so that no reader waits for it.

        To be called again and again while there is nothing to answer. What cannot be loaded is left for the answer that needs
        it, which tries again.

        Raises:
            StoreUnavailable: the store cannot be used just now.
        """
        for task in tasks:
            serving = serving_version(self._store.checkpoints, task)
            if serving is None or self._made_ready.get(task.task_id) == serving.name:
                continue
            try:
                self.for_task(task)
            except StoreUnavailable:
                raise
            except Exception:  # noqa: BLE001 - an answer will meet it again, and tell
                _log.exception("network not loaded", task=task.task_id, checkpoint=serving.name)
            self._made_ready[task.task_id] = serving.name
            return
