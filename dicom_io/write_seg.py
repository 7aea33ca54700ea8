"""Predictions and residuals as DICOM SEG, on the acquired slices of their source, so that every viewer shows them.

Frames are there only for slices where a segment has foreground, by segment and then by ascending slice. The same input gives
the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_io.annotation import BoolArray, LabelArray
from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.result_dataset import ARTIFICIAL_INTELLIGENCE, concept, short
from dicom_io.results import MANUFACTURER, ResultIdentity, SegmentDescription
from dicom_io.volume import ImageSeries
from dicom_io.write_frames import Frame, PixelElement, encode_frames, multi_frame_dataset

FloatArray = npt.NDArray[np.float32]

SEGMENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
BAND_EDGES = (0.25, 0.5, 0.75)
"""Lower edges of the bands of disagreement."""
_PIXEL_DATA = 0x7FE00010
_SEGMENTATION = Code("113076", "DCM", "Segmentation")
_QUANTITY = Code("246205007", "SCT", "Quantity")
_DISAGREEMENT_BAND = Code("residual-band", "99PACSAPP", "Band of disagreement")
_DISAGREEMENT = Code("residual", "99PACSAPP", "Disagreement")
_BAND_COLOURS = ((255, 237, 160), (254, 178, 76), (240, 59, 32), (128, 0, 38), (73, 0, 106))
_MAXIMUM_FRACTION = 255
_FRAMES_AT_ONCE = 8
"""Bits of frames follow each other without a gap (PS3.5 section 8.1.1); those of eight frames always fill whole bytes."""


@dataclass(frozen=True, eq=False)
class SegmentationContent:
    """What distinguishes one kind of SEG from another.

    Attributes:
        frames: which segments have foreground on which acquired slices.
        mask_of: bool ``(row, column)``, the foreground of a frame.
        segments: highdicom's descriptions, 1..n.
        overlap: whether segments may overlap.
        content_label: Content Label (0070,0080), a valid CS.
        manufacturer: Manufacturer (0008,0070) and model name.
        creator: Content Creator's Name (0070,0084), or an empty string.
    """

    frames: Sequence[Frame]
    mask_of: Callable[[Frame], BoolArray]
    segments: Sequence[Any]
    overlap: bool
    content_label: str
    manufacturer: str = MANUFACTURER
    creator: str = ""


def write_prediction(
    source: ImageSeries,
    labels_DHW: LabelArray,
    segments: Sequence[SegmentDescription],
    identity: ResultIdentity,
    *,
    with_drawing: bool = False,
) -> bytes:
    """A prediction as SEG BINARY (PS3.3 section A.51).

    Args:
        source: the image series it was made on.
        labels_DHW: uint8 ``(slice, row, column)`` on the source's volume; 0 background, else the number of a segment. What
            lies on planes that were not acquired is not written.
        segments: meaning of the labels 1..n; one without a voxel is described all the same.
        identity: UIDs, texts and date of the result.
        with_drawing: whether a reader's drawing took part (Segment Algorithm Type SEMIAUTOMATIC, else AUTOMATIC).

    Returns:
        A DICOM Part 10 file.

    Raises:
        ValueError: the labels do not fill the volume, exceed the segments, or segments are not numbered 1..n.
    """
    _check_numbers(segments)
    kind = "SEMIAUTOMATIC" if with_drawing else "AUTOMATIC"
    return _write_labels(source, source.onto_slices(labels_DHW), segments, kind, "PREDICTION", identity)


def write_residual_bands(
    source: ImageSeries, residual_DHW: FloatArray, identity: ResultIdentity, edges: Sequence[float] = BAND_EDGES
) -> bytes:
    """A residual as graded bands, SEG BINARY: a heat-map in every viewer that shows segmentations.

    Args:
        source: the image series.
        residual_DHW: float32 in [0, 1], ``(slice, row, column)`` on the source's volume.
        identity: UIDs, texts and date of the result.
        edges: lower edges of the bands, ascending, in (0, 1); a voxel belongs to the highest band whose edge it reaches.

    Raises:
        ValueError: the residual does not fill the volume, or edges are not ascending in (0, 1).
    """
    if not edges or list(edges) != sorted(set(edges)) or edges[0] <= 0 or edges[-1] >= 1 or len(edges) > len(_BAND_COLOURS):
        raise ValueError(f"edges {tuple(edges)} are not one to {len(_BAND_COLOURS)} ascending numbers between 0 and 1")
    bands = [
        SegmentDescription(number, f"disagreement {low:.0%} to {high:.0%}", _QUANTITY, _DISAGREEMENT_BAND, colour)
        for number, (low, high, colour) in enumerate(
            zip(edges, (*edges[1:], 1.0), _BAND_COLOURS[: len(edges)], strict=True), start=1
        )
    ]
    bands_SHW = np.digitize(source.onto_slices(residual_DHW), np.asarray(edges, dtype=np.float32)).astype(np.uint8)
    return _write_labels(source, bands_SHW, bands, "AUTOMATIC", "RESIDUAL", identity)


def write_residual_fractional(source: ImageSeries, residual_DHW: FloatArray, identity: ResultIdentity) -> bytes:
    """A residual as SEG FRACTIONAL, in steps of 1/255; not every viewer shows it (OHIF refuses it).

    Arguments and errors are those of :func:`write_residual_bands`.
    """
    fractions_SHW = np.rint(source.onto_slices(residual_DHW) * np.float32(_MAXIMUM_FRACTION)).astype(np.uint8)
    segment = SegmentDescription(1, "disagreement", _QUANTITY, _DISAGREEMENT, _BAND_COLOURS[2])
    described = [machine_segment(source, segment, identity, "AUTOMATIC")]
    dataset = _segmentation_dataset(source, described, identity)
    dataset.ContentLabel, dataset.SegmentsOverlap = "RESIDUAL", "NO"
    dataset.SegmentationType, dataset.SegmentationFractionalType = "FRACTIONAL", "PROBABILITY"
    dataset.MaximumFractionalValue = _MAXIMUM_FRACTION
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 8, 8, 7, 0
    frames = [Frame(1, place) for place in range(len(fractions_SHW)) if fractions_SHW[place].any()]
    frames = frames or _empty_frames(source, 1)
    pixels = (fractions_SHW[frame.place].tobytes() for frame in frames)
    element = PixelElement(_PIXEL_DATA, b"OB", len(frames) * fractions_SHW[0].size)
    return encode_frames(dataset, source, frames, pixels, element, _SEGMENTATION)


def write_segmentation(source: ImageSeries, content: SegmentationContent, identity: ResultIdentity) -> bytes:
    """Any SEG BINARY on the acquired slices of a source.

    Returns:
        A DICOM Part 10 file with a frame for each slice and segment that has foreground; where nothing has any, one empty
        frame for each segment on the middle slice, because a SEG without frames is not valid.
    """
    dataset = _segmentation_dataset(source, content.segments, identity, content.manufacturer)
    dataset.ContentLabel, dataset.ContentCreatorName = content.content_label, content.creator
    dataset.SegmentationType, dataset.SegmentsOverlap = "BINARY", "UNDEFINED" if content.overlap else "NO"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 1, 1, 0, 0
    rows, columns = source.acquired_size
    if content.frames:
        frames, mask_of = sorted(content.frames), content.mask_of
    else:
        frames, mask_of = _empty_frames(source, len(content.segments)), lambda _: np.zeros((rows, columns), bool)
    element = PixelElement(_PIXEL_DATA, b"OB", (len(frames) * rows * columns + 7) // 8)
    return encode_frames(dataset, source, frames, _packed(frames, mask_of), element, _SEGMENTATION)


def content_of_masks(masks: Mapping[int, BoolArray]) -> tuple[list[Frame], Callable[[Frame], BoolArray]]:
    """Frames and masks of segments that may overlap, each bool ``(acquired slice, row, column)``."""
    frames = [Frame(number, int(place)) for number in masks for place in np.flatnonzero(masks[number].any(axis=(1, 2)))]
    return frames, lambda frame: masks[frame.segment][frame.place]


def _write_labels(
    source: ImageSeries,
    labels_SHW: LabelArray,
    segments: Sequence[SegmentDescription],
    kind: str,
    content_label: str,
    identity: ResultIdentity,
) -> bytes:
    """Labels on the acquired slices."""
    present = np.array([np.bincount(labels_HW.ravel(), minlength=256) > 0 for labels_HW in labels_SHW])
    highest = int(np.flatnonzero(present.any(axis=0)).max())
    if highest > len(segments):
        raise ValueError(f"label {highest} has no description")
    content = SegmentationContent(
        frames=[Frame(s.number, int(place)) for s in segments for place in np.flatnonzero(present[:, s.number])],
        mask_of=lambda frame: labels_SHW[frame.place] == frame.segment,
        segments=[machine_segment(source, segment, identity, kind) for segment in segments],
        overlap=False,
        content_label=content_label,
    )
    return write_segmentation(source, content, identity)


def _packed(frames: Sequence[Frame], mask_of: Callable[[Frame], BoolArray]) -> Iterator[bytes]:
    """Bits of the frames, first pixel in the lowest bit (PS3.5 section 8.1.1)."""
    for start in range(0, len(frames), _FRAMES_AT_ONCE):
        masks = [mask_of(frame).ravel() for frame in frames[start : start + _FRAMES_AT_ONCE]]
        if masks[0].size % 8 == 0:
            yield from (np.packbits(mask, bitorder="little").tobytes() for mask in masks)
        else:
            yield np.packbits(np.concatenate(masks), bitorder="little").tobytes()


def _empty_frames(source: ImageSeries, segments: int) -> list[Frame]:
    middle = len(source.slices) // 2
    return [Frame(number, middle) for number in range(1, segments + 1)]


def _segmentation_dataset(
    source: ImageSeries, described: Sequence[Any], identity: ResultIdentity, manufacturer: str = MANUFACTURER
) -> Dataset:
    dataset = multi_frame_dataset(source, identity, SEGMENTATION_CLASS, "SEG", manufacturer)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.SegmentSequence = list(described)
    return dataset


def colour_of(rgb: tuple[int, int, int]) -> Any:
    """A colour from sRGB to CIELab (PS3.3 section C.10.7.1.1)."""
    return hd.color.CIELabColor.from_rgb(*rgb)


def _check_numbers(segments: Sequence[SegmentDescription]) -> None:
    if not segments or [segment.number for segment in segments] != list(range(1, len(segments) + 1)):
        raise ValueError("segments are not numbered 1..n without gaps")


def machine_segment(source: ImageSeries, segment: SegmentDescription, identity: ResultIdentity, kind: str) -> Any:
    """One item of Segment Sequence for what the algorithm made; ``kind`` is its Segment Algorithm Type (0062,0008)."""
    with lenient():
        return hd.seg.SegmentDescription(
            segment_number=segment.number,
            segment_label=short(segment.name) or f"segment {segment.number}",
            segmented_property_category=concept(segment.category),
            segmented_property_type=concept(segment.type),
            algorithm_type=kind,
            algorithm_identification=hd.AlgorithmIdentificationSequence(
                name=MANUFACTURER,
                family=concept(ARTIFICIAL_INTELLIGENCE),
                version=short(identity.algorithm_version) or "unknown",
            ),
            tracking_uid=segment.tracking_uid(source.volume.series.series_instance_uid, identity.task_id),
            tracking_id=short(f"{identity.task_id} {segment.name}"),
            display_color=colour_of(segment.colour),
        )
