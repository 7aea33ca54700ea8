"""Predictions and residuals as DICOM SEG BINARY, on the grid of their source, so that every viewer shows them.

Written strictly: Explicit VR Little Endian, segments 1..n, references to the source slices, codes, colours, the algorithm
and its version. The same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import highdicom as hd
import numpy as np
import numpy.typing as npt
from highdicom.sr.coding import CodedConcept

from dicom_io.annotation import LabelArray
from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.results import MANUFACTURER, ResultIdentity, SegmentDescription
from dicom_io.source_headers import encoded, identity_arguments, short, source_headers
from dicom_io.volume import ImageSeries

FloatArray = npt.NDArray[np.float32]

_ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
_QUANTITY = Code("246205007", "SCT", "Quantity")
_DISAGREEMENT = Code("residual-band", "99PACSAPP", "Band of disagreement")
_BAND_COLOURS = ((255, 237, 160), (254, 178, 76), (240, 59, 32), (128, 0, 38), (73, 0, 106))


@dataclass(frozen=True, eq=False)
class SegmentationContent:
    """What distinguishes one kind of SEG from another.

    Attributes:
        pixels: labels ``(slice, row, column)`` or one plane for each segment ``(slice, row, column, segment)``, uint8.
        segments: highdicom's descriptions, 1..n.
        content_label: Content Label (0070,0080), a valid CS.
        manufacturer: Manufacturer (0008,0070) and model name.
        creator: Content Creator's Name (0070,0084), or an empty string.
    """

    pixels: npt.NDArray[np.uint8]
    segments: Sequence[Any]
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
        labels_DHW: uint8 ``(slice, row, column)`` on the source's grid; 0 background, else the number of a segment.
        segments: meaning of the labels 1..n; one without a voxel is described all the same.
        identity: UIDs, texts and date of the result.
        with_drawing: whether a reader's drawing took part (Segment Algorithm Type SEMIAUTOMATIC, else AUTOMATIC).

    Returns:
        A DICOM Part 10 file.

    Raises:
        ValueError: the labels do not fill the grid, exceed the segments, or segments are not numbered 1..n.
    """
    _check(source, labels_DHW.shape, segments)
    if int(labels_DHW.max(initial=0)) > len(segments):
        raise ValueError(f"label {int(labels_DHW.max())} has no description")
    kind = "SEMIAUTOMATIC" if with_drawing else "AUTOMATIC"
    described = [_description(source, segment, identity, kind) for segment in segments]
    content = SegmentationContent(np.asarray(labels_DHW, dtype=np.uint8), described, "PREDICTION")
    return write_segmentation(source, content, identity)


def write_residual_bands(
    source: ImageSeries,
    residual_DHW: FloatArray,
    identity: ResultIdentity,
    edges: Sequence[float] = (0.25, 0.5, 0.75),
) -> bytes:
    """A residual as graded bands, SEG BINARY: a heat-map in every viewer that shows segmentations.

    Args:
        source: the image series.
        residual_DHW: float32 in [0, 1], ``(slice, row, column)`` on the source's grid.
        identity: UIDs, texts and date of the result.
        edges: lower edges of the bands, ascending, in (0, 1); a voxel belongs to the highest band whose edge it reaches.

    Raises:
        ValueError: the residual does not fill the grid, or edges are not ascending in (0, 1).
    """
    if not edges or list(edges) != sorted(set(edges)) or edges[0] <= 0 or edges[-1] >= 1 or len(edges) > len(_BAND_COLOURS):
        raise ValueError(f"edges {tuple(edges)} are not one to {len(_BAND_COLOURS)} ascending numbers between 0 and 1")
    bands = [
        SegmentDescription(
            number=number,
            name=f"disagreement {low:.0%} to {high:.0%}",
            category=_QUANTITY,
            type=_DISAGREEMENT,
            colour=_BAND_COLOURS[number - 1],
        )
        for number, (low, high) in enumerate(zip(edges, (*edges[1:], 1.0), strict=True), start=1)
    ]
    _check(source, residual_DHW.shape, bands)
    labels_DHW = np.digitize(residual_DHW, np.asarray(edges, dtype=np.float32)).astype(np.uint8)
    described = [_description(source, band, identity, "AUTOMATIC") for band in bands]
    return write_segmentation(source, SegmentationContent(labels_DHW, described, "RESIDUAL"), identity)


def write_segmentation(
    source: ImageSeries, content: SegmentationContent, identity: ResultIdentity, slices: Sequence[int] | None = None
) -> bytes:
    """Any SEG BINARY on the source's grid.

    Args:
        source: the image series.
        content: pixels and their meaning.
        identity: UIDs, texts and date.
        slices: the source slices that the pixels belong to; all where left out.

    Returns:
        A DICOM Part 10 file with a frame for each slice and segment that has foreground; where nothing has any, one empty
        frame for each segment on the middle slice, because a SEG without frames is not valid.
    """
    chosen = list(range(len(source.headers)) if slices is None else slices)
    pixels, empty = content.pixels, not content.pixels.any()
    if empty:
        middle = len(chosen) // 2
        chosen, pixels = [chosen[middle]], pixels[middle : middle + 1]
    with lenient():
        dataset = hd.seg.Segmentation(
            source_images=source_headers(source, chosen),
            pixel_array=pixels,
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=list(content.segments),
            manufacturer=short(content.manufacturer),
            manufacturer_model_name=short(content.manufacturer),
            device_serial_number="1",
            content_label=content.content_label,
            content_description=short(f"{identity.task_id}, round {identity.round_number}; research use"),
            content_creator_name=content.creator or None,
            omit_empty_frames=not empty,
            **identity_arguments(identity),
        )
        fix_dimension_uid(dataset, identity)
    return encoded(dataset, identity.created)


def fix_dimension_uid(dataset: Any, identity: ResultIdentity) -> None:
    """Gives the dimension organization a UID that follows from the instance; highdicom draws a random one."""
    uid = derived_uid("dimension-organization", identity.sop_instance_uid)
    for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
        item.DimensionOrganizationUID = uid


def concept(code: Code) -> CodedConcept:
    """A code as highdicom has it."""
    return CodedConcept(code.value, code.scheme, short(code.meaning) or code.value)


def colour_of(rgb: tuple[int, int, int]) -> Any:
    """A colour from sRGB to CIELab (PS3.3 section C.10.7.1.1)."""
    return hd.color.CIELabColor.from_rgb(*rgb)


def _check(source: ImageSeries, shape: tuple[int, ...], segments: Sequence[SegmentDescription]) -> None:
    if shape != source.volume.geometry.shape:
        raise ValueError(f"voxels {shape} do not fill the source's grid {source.volume.geometry.shape}")
    if not segments or [segment.number for segment in segments] != list(range(1, len(segments) + 1)):
        raise ValueError("segments are not numbered 1..n without gaps")


def _description(source: ImageSeries, segment: SegmentDescription, identity: ResultIdentity, kind: str) -> Any:
    """One item of Segment Sequence, made by the algorithm; its tracking UID is the same in every round."""
    series_uid = source.volume.series.series_instance_uid
    tracked = derived_uid("tracking", series_uid, identity.task_id, segment.type.value, segment.name)
    return hd.seg.SegmentDescription(
        segment_number=segment.number,
        segment_label=short(segment.name) or f"segment {segment.number}",
        segmented_property_category=concept(segment.category),
        segmented_property_type=concept(segment.type),
        algorithm_type=kind,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name=MANUFACTURER,
            family=concept(_ARTIFICIAL_INTELLIGENCE),
            version=short(identity.algorithm_version) or "unknown",
        ),
        tracking_uid=tracked,
        tracking_id=short(f"{identity.task_id} {segment.name}"),
        display_color=colour_of(segment.colour),
    )
