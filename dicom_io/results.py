"""Who a result is and what its segments mean: what the writers need besides the voxels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dicom_io.codes import Code
from dicom_io.identifiers import is_valid_uid

MANUFACTURER = "PACS Apprentice"
"""Manufacturer, model and algorithm name of everything written; own results are recognised by it, among others."""


@dataclass(frozen=True, slots=True)
class ResultIdentity:
    """Identity and provenance of one result object.

    Attributes:
        series_instance_uid: the new series.
        sop_instance_uid: the new instance.
        series_number: 1 or more.
        series_description: what readers see; cut to 64 characters.
        task_id: the task.
        round_number: the round that it answers; 0 before anything is drawn.
        algorithm_version: name of the checkpoint, or ``propagation``.
        created: date and time that the object bears; a fixed one gives the same bytes again.

    Raises:
        ValueError: if a UID is malformed or a number out of range.
    """

    series_instance_uid: str
    sop_instance_uid: str
    series_number: int
    series_description: str
    task_id: str
    round_number: int
    algorithm_version: str
    created: datetime

    def __post_init__(self) -> None:
        for uid in (self.series_instance_uid, self.sop_instance_uid):
            if not is_valid_uid(uid):
                raise ValueError(f"{uid!r} is no UID")
        if self.series_number < 1 or self.round_number < 0:
            raise ValueError("series numbers begin at 1, rounds at 0")


@dataclass(frozen=True, slots=True)
class SegmentDescription:
    """What one segment means.

    Attributes:
        number: Segment Number (0062,0004), 1..n without gaps over the segments of an object.
        name: Segment Label (0062,0005).
        category: segmented property category (PS3.16 CID 7150).
        type: segmented property type.
        colour: recommended display colour as sRGB, 0-255.
    """

    number: int
    name: str
    category: Code
    type: Code
    colour: tuple[int, int, int]
