"""What the functional groups of a SEG say of its frames: segment, source images, place. Nothing is matched to an image yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_io.datasets import first_item, integer, items, number, numbers
from dicom_io.errors import InvalidObject
from dicom_io.functional_groups import Macro
from dicom_io.references import ImageReferences, source_images

FloatArray = npt.NDArray[np.float64]

_LEAST, _FARTHEST = 1e-3, 1e6
"""Bounds in mm of what a scanner can mean by a spacing or a position; anything else counts as not given."""


@dataclass(frozen=True, eq=False)
class Frames:
    """All frames of one SEG object.

    Attributes:
        segments: Referenced Segment Number of each frame; 0 for LABELMAP.
        sources: each frame's source images, as SOP Instance UID and frame number (0 where none is named).
        positions: Image Position (Patient) in LPS mm, ``(frame, 3)``; NaN where not given.
        orientations: Image Orientation (Patient), ``(frame, 6)``; NaN where not given.
        spacings: Pixel Spacing (row, column) in mm, ``(frame, 2)``; NaN where not given.
        slice_distance: mm between neighbouring planes of the grid that the frames lie on; NaN where unknown.
    """

    segments: npt.NDArray[np.int64]
    sources: tuple[ImageReferences, ...]
    positions: FloatArray
    orientations: FloatArray
    spacings: FloatArray
    slice_distance: float


def frames_of(dataset: Dataset, name: str, count: int) -> Frames:
    """The frames of a parsed SEG dataset; each group counts wherever it stands, per frame before shared.

    Args:
        dataset: a Segmentation or Label Map Segmentation object.
        name: the object, for messages.
        count: Number of Frames.

    Raises:
        InvalidObject: it does not describe as many frames as it has.
    """
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    groups: Sequence[Dataset] = items(dataset, "PerFrameFunctionalGroupsSequence")
    if count == 1 and not groups:
        groups = (Dataset(),)
    if len(groups) != count:
        problem = f"it has {count} frames but describes {len(groups)}"
        raise InvalidObject(name, problem, "Save the segmentation again, or report it to the maker of the software.")
    source, segment = source_images(), Macro("SegmentIdentificationSequence", _segment)
    shared_source, shared_segment = source.of(shared) or (), segment.of(shared) or 0
    positions = _stacked(shared, groups, "PlanePositionSequence", "ImagePositionPatient", 3)
    positions[np.abs(positions).max(axis=1) > _FARTHEST] = np.nan
    orientations = _stacked(shared, groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    orientations[~_perpendicular(orientations)] = np.nan
    spacings = _stacked(shared, groups, "PixelMeasuresSequence", "PixelSpacing", 2)
    spacings[(spacings < _LEAST).any(axis=1) | (spacings > _FARTHEST).any(axis=1)] = np.nan
    return Frames(
        segments=np.array([segment.of(group) or shared_segment for group in groups], np.int64),
        sources=tuple(source.of(group) or shared_source for group in groups),
        positions=positions,
        orientations=orientations,
        spacings=spacings,
        slice_distance=_slice_distance(shared, groups[0], positions, orientations),
    )


def _segment(group: Dataset) -> int:
    return integer(first_item(group, "SegmentIdentificationSequence"), "ReferencedSegmentNumber")


def _stacked(shared: Dataset, groups: Sequence[Dataset], sequence: str, keyword: str, width: int) -> FloatArray:
    """Values of all frames, the shared one where a frame has none, NaN where neither has."""
    macro = Macro(sequence, lambda group: numbers(first_item(group, sequence), keyword, width))
    common = macro.of(shared)
    values = np.empty((len(groups), width))
    values[:] = np.nan if common is None else common
    for index, group in enumerate(groups):
        if (own := macro.of(group)) is not None:
            values[index] = own
    return values


def _perpendicular(orientations: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of ``(frame, 6)`` are two perpendicular unit vectors."""
    along, down = orientations[:, :3], orientations[:, 3:]
    products = np.stack([(along * along).sum(axis=1) - 1, (down * down).sum(axis=1) - 1, (along * down).sum(axis=1)])
    return np.asarray((np.abs(products) < 1e-2).all(axis=0))


def _slice_distance(shared: Dataset, first: Dataset, positions: FloatArray, orientations: FloatArray) -> float:
    """Spacing Between Slices, else the least distance of frames, else Slice Thickness.

    Where only drawn frames are stored, even the nearest two may lie far apart; the thickness tells.
    """
    measures = first_item(shared, "PixelMeasuresSequence") or first_item(first, "PixelMeasuresSequence")
    stated, thick = (abs(number(measures, keyword)) for keyword in ("SpacingBetweenSlices", "SliceThickness"))
    if _LEAST < stated < _FARTHEST:
        return stated
    thick = thick if _LEAST < thick < _FARTHEST else float("nan")
    if np.isfinite(positions).all() and np.isfinite(orientations).all():
        normal = np.cross(orientations[0, :3], orientations[0, 3:])
        along = np.unique(np.round(positions @ normal, 3))
        if len(along) > 1:
            least = float(min(b - a for a, b in pairwise(along.tolist())))
            return thick if least > 2 * thick else least
    return thick
