"""Rules for Parametric Maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dicom_io.viewer_lint.frames import turned_in_plane
from dicom_io.viewer_lint.model import Kind, Rule, Severity, Subject, Viewer

_MAP = (Kind.MAP,)


def _type(subject: Subject) -> Iterator[str]:
    if "PixelData" in subject.dataset:
        yield "Its pixels are whole numbers."


def _double(subject: Subject) -> Iterator[str]:
    if "DoubleFloatPixelData" in subject.dataset:
        yield "Its pixels are numbers of 64 bits."


def _order(subject: Subject) -> Iterator[str]:
    positions = [frame.position for frame in subject.frames if frame.position is not None]
    if subject.orientation is None or not 0 < len(positions) == len(subject.frames):
        return
    along = np.stack(positions) @ np.cross(subject.orientation[:3], subject.orientation[3:])
    if (np.diff(along) <= 0).any():
        yield "Its frames do not ascend along cross(row, column)."


def _complete(subject: Subject) -> Iterator[str]:
    if subject.source and len(subject.frames) != len(subject.source.slices):
        yield f"It has {len(subject.frames)} frames, its source {len(subject.source.slices)} slices."


RULES = (
    Rule(
        "map-type",
        Severity.ERROR,
        _MAP,
        (Viewer.OHIF,),
        "OHIF shows maps of float32; one of uint16 fails (measured, 3.12.10).",
        "Write Float Pixel Data.",
        _type,
    ),
    Rule(
        "map-double",
        Severity.WARNING,
        _MAP,
        (Viewer.OHIF,),
        "Only maps of float32 were seen to be shown (measured, 3.12.10).",
        "Write Float Pixel Data.",
        _double,
    ),
    Rule(
        "map-order",
        Severity.ERROR,
        _MAP,
        (Viewer.OHIF,),
        "OHIF draws frames in their order, whatever they say of their place: descending ones appear upside down along the "
        "slice axis (measured, 3.12.10). highdicom writes them so.",
        "Order frames ascending along cross(row, column).",
        _order,
    ),
    Rule(
        "map-complete",
        Severity.ERROR,
        _MAP,
        (Viewer.OHIF,),
        "OHIF fills the volume of its source from the first slice on (measured, 3.12.10): with a frame missing, the rest is "
        "shifted.",
        "Write a frame for every slice.",
        _complete,
    ),
    Rule(
        "map-orientation",
        Severity.ERROR,
        _MAP,
        (Viewer.OHIF,),
        "OHIF does not turn maps back: it takes the orientation of the images or stops (Cornerstone3D, ParametricMap).",
        "Copy Image Orientation (Patient) of the images.",
        turned_in_plane,
    ),
)
