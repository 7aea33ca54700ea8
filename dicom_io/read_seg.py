"""DICOM SEG onto the grid of its source image: any writer, any frame order, frames only where something is drawn.

Frames find their slice by the SOP Instance UID that they name, else by position in the same frame of reference, never by
their index. What lies on another grid of the same frame of reference is resampled.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_io.annotation import AnnotationHeader, BoolArray, Drawing, DrawnSegment
from dicom_io.annotation_header import LABELMAP_CLASS, SEGMENTATION_CLASS, header_of
from dicom_io.datasets import coded, integer, items, lenient, parse, text
from dicom_io.errors import EmptyAnnotation, GeometryMismatch, InvalidObject, SourceMissing, UnsupportedObject
from dicom_io.resample import resampled
from dicom_io.seg_frames import Frames, frames_of
from dicom_io.volume import ImageSeries

PLACE_TOLERANCE = 0.25
"""How far a frame may lie from its slice, as a share of the slice distance (and of the pixel spacing in the plane)."""
DIRECTION_TOLERANCE = 1e-3
"""Greatest difference of direction cosines, and relative one of pixel spacings, between a frame and its slice."""


def read_seg(file: bytes, source: ImageSeries) -> Drawing:
    """What is drawn in a SEG (PS3.3 section A.51), on the grid of ``source``.

    Args:
        file: a Segmentation or Label Map Segmentation object, as a DICOM Part 10 file.
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
    dataset = parse(file)
    with lenient():
        header = header_of(dataset)
        name = f"instance {header.sop_instance_uid}"
        if header.sop_class_uid not in (SEGMENTATION_CLASS, LABELMAP_CLASS):
            raise UnsupportedObject(name, "it is no segmentation", "Send a DICOM SEG.")
        described = _segments(dataset, name)
        frames = frames_of(dataset, name)
        remarks = _remarks(dataset)
    drawn = _drawn_frames(frames)
    if not drawn.any():
        raise EmptyAnnotation(name, "no frame of it has foreground", "Draw on at least one slice and save again.")
    masks, more = _masks(name, header, frames, drawn, source, [segment.number for segment in described])
    segments = tuple(_with_mask(segment, masks, source.volume.geometry.shape) for segment in described)
    return Drawing(header, segments, (*remarks, *more))


def _segments(dataset: Dataset, name: str) -> list[DrawnSegment]:
    """The segments that the object defines, with empty masks."""
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
    return [found[number] for number in sorted(found)]


def _with_mask(segment: DrawnSegment, masks: dict[int, BoolArray], shape: tuple[int, int, int]) -> DrawnSegment:
    mask_DHW = masks.get(segment.number)
    if mask_DHW is None:
        mask_DHW = np.broadcast_to(np.zeros((), bool), shape)  # an empty mask takes no memory
    return DrawnSegment(
        segment.number,
        segment.label,
        segment.category,
        segment.type,
        mask_DHW,
        segment.algorithm_type,
        segment.algorithm_name,
        segment.tracking_identifier,
    )


def _remarks(dataset: Dataset) -> tuple[str, ...]:
    if text(dataset, "SegmentationType").upper() == "FRACTIONAL":
        return ("The segmentation is FRACTIONAL; values of at least half the maximum count as foreground.",)
    return ()


def _drawn_frames(frames: Frames) -> BoolArray:
    """Which frames have foreground, ``(frame,)``."""
    return np.asarray(frames.pixels_NHW.reshape(len(frames.pixels_NHW), -1).any(axis=1))


def _masks(
    name: str,
    header: AnnotationHeader,
    frames: Frames,
    drawn: BoolArray,
    source: ImageSeries,
    numbers: list[int],
) -> tuple[dict[int, BoolArray], tuple[str, ...]]:
    """Masks ``(slice, row, column)`` by segment number, of segments with foreground."""
    indices = np.flatnonzero(drawn)
    slices = _matching_slices(frames, source, _same_space(header, source))
    if (slices[indices] >= 0).all():
        return _stacked_masks(name, frames, indices, slices, source.volume.geometry.shape, numbers), ()
    _refuse_other_space(name, header, frames, indices, source)
    masks: dict[int, BoolArray] = {}
    for number, pixels_NHW, members in _by_segment(name, frames, indices, numbers):
        masks[number] = resampled(pixels_NHW, frames, members, source.volume.geometry)
    if not any(mask_DHW.any() for mask_DHW in masks.values()):
        raise GeometryMismatch(name, "nothing of it lies within the image", "Send it with the image series it was drawn on.")
    return masks, ("The segmentation lies on another grid than its image; it was resampled to the nearest voxel.",)


def _same_space(header: AnnotationHeader, source: ImageSeries) -> bool:
    geometry = source.volume.geometry
    return not geometry.frame_of_reference_is_derived and header.frame_of_reference_uid == geometry.frame_of_reference_uid


def _matching_slices(frames: Frames, source: ImageSeries, same_space: bool) -> npt.NDArray[np.int64]:
    """The source slice on which each frame lies pixel upon pixel, ``(frame,)``; -1 where there is none."""
    geometry = source.volume.geometry
    found = np.full(len(frames.segments), -1, np.int64)
    if frames.pixels_NHW.shape[1:] != geometry.shape[1:]:
        return found
    by_uid = {uid: index for index, uid in enumerate(source.volume.series.sop_instance_uids)}
    for index, uids in enumerate(frames.sources):
        if len(uids) == 1:
            found[index] = by_uid.get(uids[0], -1)
    if geometry.frame_of_reference_is_derived:
        return found
    origins = geometry.to_patient(np.pad(np.arange(geometry.shape[0])[:, None], ((0, 0), (0, 2))))
    located = np.isfinite(frames.positions).all(axis=1)
    if same_space:
        nearest = np.argmin(np.linalg.norm(frames.positions[:, None] - origins[None], axis=2), axis=1)
        found = np.where((found < 0) & located, nearest, found)
    off = geometry.to_index(frames.positions) - geometry.to_index(origins[np.maximum(found, 0)])
    astray = located & (np.abs(off) > PLACE_TOLERANCE).any(axis=1) & same_space
    found[astray | _turned(frames, source)] = -1
    return found


def _turned(frames: Frames, source: ImageSeries) -> BoolArray:
    """Frames whose directions or pixel spacings are stated and are not those of the source, ``(frame,)``."""
    affine, (_, height, width) = source.volume.geometry.affine, source.volume.geometry.spacing_DHW
    directions = np.concatenate([affine[:3, 2] / width, affine[:3, 1] / height])
    other = np.abs(frames.orientations - directions).max(axis=1) > DIRECTION_TOLERANCE  # NaN compares as False
    stretched = np.abs(frames.spacings / np.array([height, width]) - 1).max(axis=1) > DIRECTION_TOLERANCE
    return np.asarray(other | stretched)


def _stacked_masks(
    name: str,
    frames: Frames,
    indices: npt.NDArray[np.int64],
    slices: npt.NDArray[np.int64],
    shape: tuple[int, int, int],
    numbers: list[int],
) -> dict[int, BoolArray]:
    masks: dict[int, BoolArray] = {}
    for number, pixels_NHW, members in _by_segment(name, frames, indices, numbers):
        mask_DHW = np.zeros(shape, bool)
        for pixels_HW, index in zip(pixels_NHW, slices[members], strict=True):
            mask_DHW[index] |= pixels_HW
        masks[number] = mask_DHW
    return masks


def _by_segment(
    name: str, frames: Frames, indices: npt.NDArray[np.int64], numbers: list[int]
) -> list[tuple[int, BoolArray, npt.NDArray[np.int64]]]:
    """Segment number, bool frames ``(frame, row, column)`` and frame indices, for segments with foreground."""
    if frames.pixels_NHW.dtype != bool:
        pixels_NHW = frames.pixels_NHW[indices]
        present = [int(value) for value in np.unique(pixels_NHW) if value in numbers]
        return [(number, np.asarray(pixels_NHW == number), indices) for number in present]
    used = sorted({int(number) for number in frames.segments[indices]})
    if unknown := [number for number in used if number not in numbers]:
        raise InvalidObject(name, f"frames belong to segment {unknown[0]}, which it does not define", "Save it again.")
    groups = []
    for number in used:
        members = indices[frames.segments[indices] == number]
        groups.append((number, np.asarray(frames.pixels_NHW[members], dtype=bool), members))
    return groups


def _refuse_other_space(
    name: str, header: AnnotationHeader, frames: Frames, indices: npt.NDArray[np.int64], source: ImageSeries
) -> None:
    """Refuses what cannot be resampled, saying what differs."""
    geometry, series = source.volume.geometry, source.volume.series
    own = set(series.sop_instance_uids)
    named = {uid for index in indices for uid in frames.sources[index]}
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
    if not (np.isfinite(frames.positions[indices]).all() and np.isfinite(frames.orientations[indices]).all()):
        raise GeometryMismatch(name, "its frames do not say where they lie", "Save it with plane positions and orientation.")
