"""Who a result is and what its segments mean: what the writers need besides the voxels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dicom_io.codes import Code
from dicom_io.identifiers import derived_uid, is_valid_uid

MANUFACTURER = "PACS Apprentice"
"""Manufacturer, model and algorithm name of everything written; own results are recognised by it, among others."""
MACHINE_MADE = frozenset({"AUTOMATIC", "SEMIAUTOMATIC"})
"""Segment Algorithm Types (0062,0008) of what a computer took part in."""


@dataclass(frozen=True, slots=True)
class ResultIdentity:
    """Identity and provenance of one result object.

    Attributes:
        series_instance_uid: the new series.
        sop_instance_uid: the new instance.
        series_number: Series Number (0020,0011), 1 to 2^31 - 1.
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
        if not 1 <= self.series_number < 2**31 or self.round_number < 0:
            raise ValueError("series numbers lie between 1 and 2^31 - 1 (PS3.5 section 6.2, VR IS), rounds begin at 0")


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

    def tracking_uid(self, series_instance_uid: str, task_id: str) -> str:
        """Tracking UID (0062,0021) of the structure in an image series: the same in every round of a case."""
        return derived_uid("tracking", series_instance_uid, task_id, self.type.value, self.name)


@dataclass(frozen=True, slots=True)
class SuggestedSlice:
    """A slice to draw next.

    Attributes:
        plane: index along the volume's slice axis; the plane of an acquired slice.
        score: expected worth in [0, 1].
        reason: one short clause for the reader.
        link: address at which a viewer opens it; empty for none.
    """

    plane: int
    score: float
    reason: str
    link: str = ""


@dataclass(frozen=True, slots=True)
class LabelMeasurement:
    """What a report says of one segment of the prediction.

    Attributes:
        segment: what it is.
        volume_ml: its volume in millilitres.
        volume_before_ml: its volume in the round before, or None.
        estimated_dice: the Dice that it may be expected to have, or None where too little is drawn to say.
    """

    segment: SegmentDescription
    volume_ml: float
    volume_before_ml: float | None = None
    estimated_dice: float | None = None
