"""Which task a series belongs to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dicom_io.pacs.port import SeriesStatus
from learner.domain.task import Task


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
