"""DICOM SEG onto the grid of its source image: any writer, any frame order, frames only where something is drawn.

Frames find their acquired slice by the image (and frame) that they name, else by position in the same frame of reference, never
by their index. What lies on another grid of the same frame of reference is resampled.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_io.acquired_grid import PLACE_TOLERANCE, AcquiredGrid
from dicom_io.annotation import AnnotationHeader, BoolArray, Drawing, DrawnSegment
from dicom_io.datasets import coded, integer, items, text
from dicom_io.errors import EmptyAnnotation, GeometryMismatch, InvalidObject, SourceMissing
from dicom_io.limits import MAX_MASK_VOXELS, refuse_excess
from dicom_io.resample import paste, slab
from dicom_io.seg_frames import Frames, frames_of
from dicom_io.seg_pixels import Patch, SegPixels, seg_pixels
from dicom_io.volume import ImageSeries

DIRECTION_TOLERANCE = 1e-3
"""Greatest difference of direction cosines, and relative one of pixel spacings, between a frame and its slice."""
COARSE = 1.5
"""Voxels of the image that one voxel of another grid may be long, not to be called coarse."""
_DRAW = "Draw on at least one slice and save again."
_RESAMPLED = "The segmentation lies on another grid than its image; it was resampled to the nearest voxel."


def read_seg(dataset: Dataset, header: AnnotationHeader, source: ImageSeries) -> Drawing:
    """What is drawn in a SEG (PS3.3 section A.51), on the grid of ``source``.

    Args:
        dataset: a parsed Segmentation or Label Map Segmentation object.
        header: its header.
        source: the image series that it was drawn on.

    Returns:
        One segment for each item of Segment Sequence, those without foreground included (the "Background" item of label
        maps left out), bool masks ``(slice, row, column)``.

    Raises:
        InvalidObject, UnsupportedObject: it cannot be read.
        EmptyAnnotation: no frame has foreground.
        SourceMissing: it names images that are not of ``source``, and nothing else says where it lies.
        GeometryMismatch: it lies in another frame of reference, or outside of ``source``.
    """
    name = f"instance {header.sop_instance_uid}"
    described = _segments(dataset, name)
    pixels = seg_pixels(dataset, name)
    frames = frames_of(dataset, name, pixels.shape[0])
    found = _Masks(name, source, frozenset(described), text(dataset, "SegmentationType").upper() == "LABELMAP")
    resampled = _fill(found, header, frames, pixels, source)
    if not found.masks:
        raise EmptyAnnotation(name, "no frame of it has foreground", _DRAW)
    if not any(mask_DHW.any() for mask_DHW in found.masks.values()):
        raise GeometryMismatch(name, "nothing of it lies within the image", "Send it with the image series it was drawn on.")
    nothing = np.broadcast_to(np.zeros((), bool), source.volume.geometry.shape)  # an empty mask takes no memory
    segments = tuple(
        replace(segment, mask_DHW=found.masks.get(number, nothing)) for number, segment in sorted(described.items())
    )
    remarks = (*_remarks(dataset), *found.remarks(), *((_RESAMPLED,) if resampled else ()))
    return Drawing(header, segments, remarks, resampled=resampled, coarse=resampled and _is_coarse(frames, source))


def _segments(dataset: Dataset, name: str) -> dict[int, DrawnSegment]:
    """The segments that the object defines by their number, with empty masks."""
    found: dict[int, DrawnSegment] = {}
    nothing = np.zeros((0, 0, 0), bool)
    for item in items(dataset, "SegmentSequence"):
        number = integer(item, "SegmentNumber")
        if number == 0:
            continue
        found[number] = DrawnSegment(
            number=number,
            label=text(item, "SegmentLabel"),
            category=coded(item, "SegmentedPropertyCategoryCodeSequence"),
            type=coded(item, "SegmentedPropertyTypeCodeSequence"),
            mask_DHW=nothing,
            algorithm_type=text(item, "SegmentAlgorithmType"),
            algorithm_name=text(item, "SegmentAlgorithmName"),
            tracking_identifier=text(item, "TrackingID"),
        )
    if not found:
        raise InvalidObject(name, "it defines no segment", "Save the segmentation again.")
    return found


def _remarks(dataset: Dataset) -> tuple[str, ...]:
    if text(dataset, "SegmentationType").upper() == "FRACTIONAL":
        return ("The segmentation is FRACTIONAL; values of at least half the maximum count as foreground.",)
    return ()


class _Masks:
    """Masks by segment number, taken only where something is drawn; on the volume, or on the acquired slices at first."""

    def __init__(self, name: str, source: ImageSeries, defined: frozenset[int], is_label_map: bool) -> None:
        self.masks: dict[int, BoolArray] = {}
        self._name = name
        self._voxels = int(np.prod(source.volume.geometry.shape))
        self._defined = defined
        self._is_label_map = is_label_map
        self._undefined: set[int] = set()
        self._touched: set[tuple[int, int]] = set()
        self._cut_off = 0

    def of(self, number: int, shape: tuple[int, int, int]) -> BoolArray | None:
        """The mask of a segment; None for pixels of a label map that no segment describes.

        Raises:
            InvalidObject: a frame belongs to a segment that is not defined.
            UnsupportedObject: the masks of all segments would exceed what is read.
        """
        if number not in self._defined:
            if not self._is_label_map:
                problem = f"frames belong to segment {number}, which it does not define"
                raise InvalidObject(self._name, problem, "Save it again.")
            self._undefined.add(number)
            return None
        if number not in self.masks:
            refuse_excess(self._name, "voxels of masks", (len(self.masks) + 1) * self._voxels, MAX_MASK_VOXELS)
            self.masks[number] = _zeros_on_demand(shape)
        return self.masks[number]

    def put(self, number: int, index: int, patch: Patch, place: tuple[int, int], shape: tuple[int, int, int]) -> None:
        """Adds a patch, its first pixel at ``place``, to slice ``index`` of a mask; what lies outside is cut off."""
        mask_DHW = self.of(number, shape)
        if mask_DHW is None:
            return
        (height, width), (row, column) = patch.mask_HW.shape, place
        top, left = min(max(0, -row), height), min(max(0, -column), width)
        bottom, right = max(top, min(height, shape[1] - row)), max(left, min(width, shape[2] - column))
        inside_HW = patch.mask_HW[top:bottom, left:right]
        box = index, slice(row + top, row + bottom), slice(column + left, column + right)
        if inside_HW.size and (number, index) in self._touched:
            mask_DHW[box] |= inside_HW
        elif inside_HW.size:  # to read fresh memory before it is written takes six times as long
            mask_DHW[box] = inside_HW
            self._touched.add((number, index))
        if inside_HW.shape != patch.mask_HW.shape:
            self._cut_off += int(patch.mask_HW.sum()) - int(inside_HW.sum())

    def remarks(self) -> tuple[str, ...]:
        said = []
        if self._undefined:
            numbers = ", ".join(str(number) for number in sorted(self._undefined)[:10])
            said.append(f"Left out: pixels with segment numbers that it does not define ({numbers}).")
        if self._cut_off:
            said.append(f"Left out: {self._cut_off} pixel(s) outside of the image.")
        return tuple(said)


def _zeros_on_demand(shape: tuple[int, int, int]) -> BoolArray:
    """Nothing but False, in memory of which only what is written to, page by page, is ever taken.

    ``numpy.zeros`` asks for huge pages, each of which holds several slices: ten masks of a large series took six times as long.
    """
    size = int(np.prod(shape, dtype=object))
    return np.frombuffer(mmap.mmap(-1, size), np.bool_).reshape(shape)


@dataclass(frozen=True, eq=False)
class _Placement:
    """Acquired slice on which each frame lies, ``(frame,)``, -1 where there is none, and where its first pixel is on it."""

    slices: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]


def _fill(found: _Masks, header: AnnotationHeader, frames: Frames, pixels: SegPixels, source: ImageSeries) -> bool:
    """Fills the masks; says whether they had to be resampled.

    It is resampled as a whole as soon as one drawn frame lies on no slice: frames that happen to lie on one would otherwise
    count for less than their neighbours.
    """
    grid = AcquiredGrid(source)
    same_space = _same_space(header, source)
    turned = _turned(frames, grid)
    placement = _placement(frames, pixels.shape[1:], source, grid, turned, same_space=same_space)
    astray = np.flatnonzero(placement.slices < 0)
    if len(astray):
        drawn = pixels.drawn()
        astray = astray[drawn[astray]]
    if len(astray):
        _refuse_other_space(header, frames, astray, source)
        _refuse_unplaced(header, frames, np.flatnonzero(drawn), turned)
        _resample(found, frames, pixels, source)
        return True
    shape = (len(source.slices), *source.acquired_size)
    for index, patch in pixels.patches():
        place = int(placement.rows[index]) + patch.row, int(placement.columns[index]) + patch.column
        found.put(patch.segment or int(frames.segments[index]), int(placement.slices[index]), patch, place, shape)
    for number, on_slices in found.masks.items():
        found.masks[number] = source.onto_volume(on_slices)
    return False


def _same_space(header: AnnotationHeader, source: ImageSeries) -> bool:
    geometry = source.volume.geometry
    return not geometry.frame_of_reference_is_derived and header.frame_of_reference_uid == geometry.frame_of_reference_uid


def _turned(frames: Frames, grid: AcquiredGrid) -> BoolArray:
    """Frames whose directions or pixel spacings are stated and are not those of the slices, ``(frame,)``."""
    other = np.abs(frames.orientations - grid.orientation).max(axis=1) > DIRECTION_TOLERANCE  # NaN compares as False
    stretched = np.abs(frames.spacings / grid.pixel_spacing - 1).max(axis=1) > DIRECTION_TOLERANCE
    return np.asarray(other | stretched)


def _placement(
    frames: Frames, size: tuple[int, ...], source: ImageSeries, grid: AcquiredGrid, turned: BoolArray, *, same_space: bool
) -> _Placement:
    """Matches frames to slices pixel upon pixel; frames of a cropped grid lie some whole pixels further in."""
    slices = np.array([grid.named(images) for images in frames.sources], np.int64)
    located = np.asarray(np.isfinite(frames.positions).all(axis=1) & same_space)
    positions = np.where(located[:, None], frames.positions, 0.0)
    slices = np.where((slices < 0) & located, grid.nearest(positions), slices)
    offsets = np.where(located[:, None], grid.offsets(positions, np.maximum(slices, 0)), 0.0)
    shifts = np.rint(offsets) * [0, 1, 1]
    astray = (np.abs(offsets - shifts) > PLACE_TOLERANCE).any(axis=1)
    unknown = ~located & (size != source.acquired_size)
    slices[astray | unknown | turned] = -1
    whole = np.clip(shifts, -(2**31), 2**31).astype(np.int64)
    return _Placement(slices, whole[:, 1], whole[:, 2])


def _resample(found: _Masks, frames: Frames, pixels: SegPixels, source: ImageSeries) -> None:
    target = source.volume.geometry
    distance = _distance(frames, source)
    for index, patch in pixels.patches():
        mask_DHW = found.of(patch.segment or int(frames.segments[index]), target.shape)
        if mask_DHW is None:
            continue
        spacing = frames.spacings[index]
        if not np.isfinite(spacing).all():
            spacing = np.array(target.spacing_DHW[1:])
        affine = slab(frames.orientations[index], frames.positions[index], spacing, distance)
        affine[:3, 3] += affine[:3, 1] * patch.row + affine[:3, 2] * patch.column
        paste(mask_DHW, patch.mask_HW, affine, target)


def _distance(frames: Frames, source: ImageSeries) -> float:
    """Between neighbouring frames, in mm; that of the image where the frames do not tell."""
    return frames.slice_distance if np.isfinite(frames.slice_distance) else source.volume.geometry.spacing_DHW[0]


def _is_coarse(frames: Frames, source: ImageSeries) -> bool:
    """Whether a step from voxel to voxel of the frames is longer than ``COARSE`` voxels of the image."""
    target = source.volume.geometry
    spacing = np.where(np.isfinite(frames.spacings[0]), frames.spacings[0], target.spacing_DHW[1:])
    steps = slab(frames.orientations[0], np.zeros(3), spacing, _distance(frames, source))[:3, :3]
    return bool(np.abs(np.linalg.inv(target.affine[:3, :3]) @ steps).max() > COARSE)


def _refuse_other_space(header: AnnotationHeader, frames: Frames, indices: npt.NDArray[np.int64], source: ImageSeries) -> None:
    """Refuses what lies in another space, saying what differs; ``indices`` are the frames that lie on no slice."""
    geometry, series, name = source.volume.geometry, source.volume.series, f"instance {header.sop_instance_uid}"
    own = set(series.sop_instance_uids)
    named = {uid for index in indices for uid, _ in frames.sources[index]}
    foreign = bool(named) and not named & own
    if geometry.frame_of_reference_is_derived:
        if foreign:
            problem = f"it refers to images that are not of series {series.series_instance_uid}, without frame of reference"
            raise SourceMissing(name, problem, "Send the series that it was drawn on.")
        problem = "its frames fit no slice of the image, which has no frame of reference to compare positions in"
        raise GeometryMismatch(name, problem, "Draw on the original slices.")
    if not _same_space(header, source):
        theirs = header.frame_of_reference_uid or "none"
        problem = f"its frame of reference is {theirs}, the image's is {geometry.frame_of_reference_uid}"
        remedy = "Send the series that it was drawn on." if foreign else "Register the series, or draw on this one."
        raise GeometryMismatch(name, problem, remedy)


def _refuse_unplaced(header: AnnotationHeader, frames: Frames, indices: npt.NDArray[np.intp], turned: BoolArray) -> None:
    """Refuses to resample frames, all that are drawn, when one of them does not say where it lies."""
    stated = np.isfinite(frames.positions[indices]).all() and np.isfinite(frames.orientations[indices]).all()
    if not stated or np.isnan(frames.spacings[indices][turned[indices]]).any():
        name, problem = f"instance {header.sop_instance_uid}", "its frames do not say where they lie"
        raise GeometryMismatch(name, problem, "Save it with plane positions, orientation and pixel spacing.")
