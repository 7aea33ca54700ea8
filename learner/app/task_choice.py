"""Which task an annotation is for: a configured one, or one made from the annotation itself where the site allows that."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import structlog

from dicom_io.annotation import Drawing, DrawnSegment
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.errors import UnsupportedObject
from dicom_io.pacs.port import SeriesStatus
from learner.app.tasks import TaskBook
from learner.domain.contract import match_label
from learner.domain.task import Label, MatchingRule, Task
from learner.ports import Store

_PALETTE = ((230, 120, 60), (80, 160, 230), (110, 190, 90), (200, 110, 200), (230, 200, 80), (90, 200, 200))
_log = structlog.get_logger(__name__)


class TaskChoice:
    """Chooses tasks.

    Args:
        tasks: the node's tasks; tasks made from annotations are added to it.
        store: keeps tasks made from annotations.
        from_annotations: whether an annotation that no task matches makes one.
    """

    def __init__(self, tasks: TaskBook, store: Store, *, from_annotations: bool) -> None:
        self._tasks = tasks
        self._store = store
        self._from_annotations = from_annotations

    def by_name(self, task_id: str) -> Task:
        """The task of that name.

        Raises:
            UnsupportedObject: if it is no longer configured.
        """
        task = self._tasks.get(task_id)
        if task is None:
            raise UnsupportedObject(f"task {task_id}", "it is no longer configured", "Put its file back into the tasks folder.")
        return task

    def for_drawing(
        self, series: SeriesStatus, drawing: Drawing, is_ours: Callable[[DrawnSegment], bool] = lambda _segment: False
    ) -> Task:
        """The task with the most labels in the drawing, among those that the series belongs to.

        Args:
            series: the images.
            drawing: the object.
            is_ours: whether a segment shows nothing but an answer of this node: no task is made of that.

        Raises:
            UnsupportedObject: if there is none; says what was missing.
        """
        matching = self._tasks.matching(series)
        counted = [(sum(match_label(s, task) is not None for s in drawing.segments), task) for task in matching]
        found = max(counted, key=lambda pair: pair[0], default=(0, None))
        if found[0] and found[1] is not None:
            return found[1]
        if self._from_annotations:
            return self._made_from(series, drawing, [one for one in drawing.segments if not is_ours(one)])
        subject = f"object {drawing.header.sop_instance_uid}"
        if not matching:
            raise UnsupportedObject(
                subject,
                f"no task matches its image series ({series.modality}, {len(series.instance_ids)} instances)",
                "Add a task whose matching rule holds for this series, or widen the rule of one.",
            )
        wanted = ", ".join(f"{task.task_id}: {', '.join(label.name for label in task.labels)}" for task in matching)
        raise UnsupportedObject(
            subject,
            f"none of its {len(drawing.segments)} segments has the code or the name of a label",
            f"Name or code the segment as one of these labels ({wanted}), or add the label to the task.",
        )

    def _made_from(self, series: SeriesStatus, drawing: Drawing, segments: Sequence[DrawnSegment]) -> Task:
        """A new task with the drawing's segments as labels, for series that look like this one."""
        if not segments:
            raise UnsupportedObject(
                f"object {drawing.header.sop_instance_uid}",
                "its segments repeat an answer of this node under other names",
                "Draw the structure, or name the segments as the labels of the task are.",
            )
        labels = tuple(_label(number, segment) for number, segment in enumerate(segments, start=1))
        name = re.sub(r"[^a-z0-9]+", "-", "-".join(label.name for label in labels).lower()).strip("-")[:40].strip("-")
        task_id = name or f"task-{len(self._tasks) + 1}"
        if self._tasks.get(task_id) is not None:
            task_id = f"{task_id[:36]}-{len(self._tasks) + 1}"
        rule = MatchingRule(
            modalities=(series.modality,),
            series_description=f"^{re.escape(series.series_description)}$" if series.series_description else "",
            body_part=f"^{re.escape(series.body_part)}$" if series.body_part else "",
        )
        task = Task(task_id, f"Made from the first drawing of {labels[0].name}", labels, rule)
        self._store.records.keep_task(task)
        self._tasks.add(task)
        _log.info("task made from an annotation", task=task_id, labels=len(labels))
        return task


def _label(number: int, segment: DrawnSegment) -> Label:
    kind = segment.type or Code(f"L{number}", "99APPRENTICE", segment.label or f"Label {number}")
    category = segment.category or ANATOMICAL_STRUCTURE
    return Label(number, segment.label or kind.meaning, category, kind, _PALETTE[(number - 1) % len(_PALETTE)])
