"""Which cases make a batch: the new one and replayed ones, all of one task, balanced over the tasks of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from learner.errors import StoreError
from learner.memory.replay import ReplayEntry, ReplayMemory
from learner.model.plan import Plan
from learner.model.prepared import CaseCache, PreparedCase, prepare_case
from learner.model.sampling import Sampler
from learner.model.settings import TrainingSettings


@dataclass(frozen=True, eq=False)
class Batch:
    """The items of one training step.

    Attributes:
        task_id: their task.
        items: float32 ``(N, K, d, h, w)``, see :class:`~learner.model.sampling.Sampler`.
        unknown: bool ``(N, L + 1)``, classes that nobody looked for in each case; None where there are none.
        sources: the entry that each item was replayed from, None for the new case.
    """

    task_id: str
    items: npt.NDArray[np.float32]
    unknown: torch.Tensor | None
    sources: tuple[ReplayEntry | None, ...]


class Batches:
    """Makes batches of the new case and of the replay memory.

    A batch is of one task, because patches of different tasks differ in size. Of all items, a share of ``replay_share`` is
    replayed, the same number of each of the n tasks. So a batch is of another task than the new case's with probability
    ``replay_share * (n - 1) / n``.

    Args:
        memory: the replay memory.
        settings: of training.
    """

    def __init__(self, memory: ReplayMemory, settings: TrainingSettings) -> None:
        self._memory = memory
        self._settings = settings
        self._cache = CaseCache(settings.cache_bytes)
        self.plans: Mapping[str, Plan] = {}

    def plan(self, plans: Mapping[str, Plan]) -> None:
        """Takes the plans of the tasks as they are now."""
        if plans != self.plans:
            self._cache = CaseCache(self._settings.cache_bytes)
        self.plans = dict(plans)

    def prepared(self, entry: ReplayEntry) -> PreparedCase | None:
        """The case of an entry, always as it reads from disk, so that a restart changes nothing; None if it is lost."""
        case = self._cache.get(entry.file)
        if case is None:
            stored = self._memory.load(entry)
            if stored is None:
                return None
            case = prepare_case(stored, self.plans[entry.group].label_count)
            self._cache.put(entry.file, case)
        return case

    def tidy(self) -> None:
        """Lets go of cases that are remembered no more."""
        self._cache.keep({entry.file for entry in self._memory.entries})

    def draw(self, new: ReplayEntry | None, rng: np.random.Generator) -> Batch | None:
        """A batch; None if there is no new case and nothing to replay.

        Args:
            new: the new case, or None to replay only.
            rng: source of all randomness.

        Raises:
            StoreError: if the new case cannot be read back.
        """
        choice = self._choose_task(new, rng)
        if choice is None:
            return None
        task_id, share = choice
        wishes = int((rng.random(self.plans[task_id].batch) < share).sum())
        drawn = self._memory.draw(wishes, rng, exclude=new.key if new else "", task=task_id)
        items: list[tuple[PreparedCase, ReplayEntry | None]]
        items = [(case, entry) for entry in drawn if (case := self.prepared(entry)) is not None]
        if new is not None and (task_id == new.group or not items):
            task_id, own = new.group, self.prepared(new)
            if own is None:
                raise StoreError("an example could not be read back from the replay memory that was just written")
            items += [(own, None)] * (self.plans[task_id].batch - len(items))
        return self._batch(task_id, items, rng) if items else None

    def _batch(self, task_id: str, chosen: list[tuple[PreparedCase, ReplayEntry | None]], rng: np.random.Generator) -> Batch:
        sampler = Sampler(self.plans[task_id], self._settings)
        items = np.stack([sampler.item(case, rng) for case, _ in chosen])
        unknown = _unknown([case for case, _ in chosen], self.plans[task_id].label_count)
        return Batch(task_id, items, unknown, tuple(entry for _, entry in chosen))

    def _choose_task(self, new: ReplayEntry | None, rng: np.random.Generator) -> tuple[str, float] | None:
        """The task of a batch, and the share of its items that are replayed."""
        tasks = [task_id for task_id in self._memory.tasks() if task_id in self.plans]
        if new is None:
            return (tasks[int(rng.integers(len(tasks)))], 1.0) if tasks else None
        others = [task_id for task_id in tasks if task_id != new.group]
        elsewhere = self._settings.replay_share * len(others) / (len(others) + 1)
        if others and rng.random() < elsewhere:
            return others[int(rng.integers(len(others)))], 1.0
        return new.group, (self._settings.replay_share - elsewhere) / (1 - elsewhere)


def _unknown(cases: list[PreparedCase], label_count: int) -> torch.Tensor | None:
    if not any(case.unknown_labels for case in cases):
        return None
    unknown = torch.zeros(len(cases), label_count + 1, dtype=torch.bool)
    for item, case in enumerate(cases):
        unknown[item, list(case.unknown_labels)] = True
    return unknown
