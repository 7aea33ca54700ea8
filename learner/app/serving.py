"""The network that serves each task: loaded once, replaced when a newer version stands in the store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from learner.domain.task import Task
from learner.errors import CorruptFile
from learner.ports import Network, Store

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServingNetwork:
    """A network and the name of its version."""

    network: Network
    checkpoint: str


class ServingNetworks:
    """Networks by task; safe to use from several threads.

    Args:
        store: where versions are.
        load: makes a network of a version's state and the number of labels of the task.
    """

    def __init__(self, store: Store, load: Callable[[bytes, int], Network]) -> None:
        self._store = store
        self._load = load
        self._loaded: dict[str, ServingNetwork] = {}
        self._lock = threading.Lock()

    def for_task(self, task: Task) -> ServingNetwork | None:
        """The newest version of a task that can be read, or None before the first."""
        with self._lock:
            for checkpoint in self._store.checkpoints.history(task.task_id):
                loaded = self._loaded.get(task.task_id)
                if loaded is not None and loaded.checkpoint == checkpoint.name:
                    return loaded
                try:
                    network = self._load(self._store.checkpoints.read(checkpoint), len(task.labels))
                except CorruptFile as error:
                    _log.error("checkpoint unusable", checkpoint=checkpoint.name, error=str(error))
                    continue
                self._loaded[task.task_id] = ServingNetwork(network, checkpoint.name)
                return self._loaded[task.task_id]
            return None
