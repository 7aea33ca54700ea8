"""What is segmented: which series, which coded labels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dicom_io.codes import Code
from dicom_io.pacs.port import SeriesStatus

NAME = r"[a-z0-9][a-z0-9_-]{0,39}"
"""What names of tasks and models look like; they become names of folders."""


@dataclass(frozen=True, slots=True)
class Label:
    """One structure of a task.

    Attributes:
        number: 1..L without gaps; also the Segment Number of predictions.
        name: what readers see, and the last resort of matching (case-insensitive).
        category: segmented property category (PS3.16 CID 7150).
        type: segmented property type; matched first.
        colour: recommended display colour as sRGB, 0-255.
        codes: other types by which the site's tools mean this label; matched second.
        names: other names for it; matched like ``name``.
    """

    number: int
    name: str
    category: Code
    type: Code
    colour: tuple[int, int, int]
    codes: tuple[Code, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MatchingRule:
    """Which image series belong to a task; every part that is given has to hold.

    Attributes:
        modalities: Modality values, any of them.
        series_description: regular expression searched in Series Description, case-insensitive; empty for any.
        body_part: regular expression searched in Body Part Examined; empty for any.
        protocol_name: regular expression searched in Protocol Name; empty for any.
        study_description: regular expression searched in Study Description; empty for any.
        min_slices: least number of instances.
    """

    modalities: tuple[str, ...]
    series_description: str = ""
    body_part: str = ""
    protocol_name: str = ""
    study_description: str = ""
    min_slices: int = 2

    def matches(self, series: SeriesStatus) -> bool:
        """Whether ``series`` belongs to the task."""
        if series.modality not in self.modalities or len(series.instance_ids) < self.min_slices:
            return False
        parts = (
            (self.series_description, series.series_description),
            (self.body_part, series.body_part),
            (self.protocol_name, series.protocol_name),
            (self.study_description, series.study_description),
        )
        return all(re.search(pattern, text, re.IGNORECASE) for pattern, text in parts if pattern)


@dataclass(frozen=True, slots=True)
class Task:
    """What is segmented.

    Attributes:
        task_id: short name of letters, digits, ``-`` and ``_``; part of file names and series descriptions.
        title: one line for people.
        labels: labels 1..L in order.
        match: which series belong to it.
        answer_undrawn: whether a new series gets a prediction and guidance before anything is drawn (round 0).
        propagator: name of the propagation method; empty for the node's.
        model: name of the model that serves it, which it may share with other tasks; empty for one of its own.
        warm_start: folder of a MONAI bundle from whose weights the model begins; empty to begin from nothing.

    Raises:
        ValueError: if a name is malformed, there is no label, or label numbers are not 1..L.
    """

    task_id: str
    title: str
    labels: tuple[Label, ...]
    match: MatchingRule
    answer_undrawn: bool = True
    propagator: str = ""
    model: str = ""
    warm_start: str = ""

    def __post_init__(self) -> None:
        for kind, name in (("task", self.task_id), ("model", self.model_id)):
            if not re.fullmatch(NAME, name):
                raise ValueError(f"{kind} name {name!r} is not made of lower-case letters, digits, '-' and '_' (40 at most)")
        if [label.number for label in self.labels] != list(range(1, len(self.labels) + 1)):
            raise ValueError(f"labels of task {self.task_id} are not numbered 1..n without gaps")
        if not self.labels:
            raise ValueError(f"task {self.task_id} has no label")

    @property
    def model_id(self) -> str:
        """Name of the model that serves it: its own name unless it shares one."""
        return self.model or self.task_id
