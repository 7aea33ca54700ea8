"""Which task a series belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import structlog

from dicom_io.pacs.port import SeriesStatus
from learner.domain.contract import LabelChange, label_change
from learner.domain.task import Label, Task
from learner.errors import ConfigurationError
from learner.ports import Records

_log = structlog.get_logger(__name__)


def remember_labels(tasks: Iterable[Task], records: Records) -> None:
    """Compares the labels of each task with those that its cases were stored with, and remembers the new ones.

    A task may gain labels at the end; its earlier cases are unknown for them.

    Raises:
        ConfigurationError: labels were removed, exchanged or put into another order; stored ones would mean other structures.
    """
    for task in tasks:
        before = records.labels_of(task.task_id)
        change = label_change(before, task.labels) if before else LabelChange.SAME
        if change is LabelChange.INCOMPATIBLE:
            raise ConfigurationError(
                f"task {task.task_id} had the labels {_names(before)} and now has {_names(task.labels)}: what was learned "
                "would mean other structures. Put the labels back, new ones at the end; or give the task another name"
            )
        if change is LabelChange.GROWN:
            _log.info("task gained labels", task=task.task_id, labels=_names(task.labels[len(before) :]))
        if before != task.labels:
            records.set_labels(task)


def _names(labels: Sequence[Label]) -> str:
    return ", ".join(label.name for label in labels)


class TaskBook:
    """The node's tasks, by name, in the order in which they were configured.

    Raises:
        ValueError: if two tasks share a name.
    """

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = {task.task_id: task for task in tasks}
        if len(self._tasks) != len(tasks):
            raise ValueError("two tasks share a name; give each of them one of its own")

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks.values())

    def __len__(self) -> int:
        return len(self._tasks)

    def get(self, task_id: str) -> Task | None:
        """The task of that name, or None."""
        return self._tasks.get(task_id)

    def add(self, task: Task) -> None:
        """Adds a task, or replaces the one of that name."""
        self._tasks[task.task_id] = task

    def matching(self, series: SeriesStatus) -> list[Task]:
        """Tasks that a series belongs to."""
        return [task for task in self if task.match.matches(series)]
