"""Closed planar contours of an RT Structure Set (PS3.3 section C.8.8.6) onto the grid of their source image."""

from __future__ import annotations

from collections import Counter

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.annotation import AnnotationHeader, BoolArray, Drawing, DrawnSegment
from dicom_io.annotation_header import header_of
from dicom_io.contours import FloatArray, filled
from dicom_io.datasets import coded, first_item, integer, items, lenient, parse, text
from dicom_io.errors import EmptyAnnotation, GeometryMismatch, SourceMissing, UnsupportedObject
from dicom_io.geometry import Geometry
from dicom_io.volume import ImageSeries

PLANE_TOLERANCE = 0.25
"""How far the points of a contour may lie from a slice, as a share of the slice distance."""
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")


def read_rtstruct(file: bytes, source: ImageSeries) -> Drawing:
    """What is drawn in a structure set, on the grid of ``source``.

    Contours of one structure on one slice are combined by exclusive or, so that an inner contour is a hole (the convention of
    planning systems; contours that only touch or repeat nothing are not affected).

    Args:
        file: an RT Structure Set as a DICOM Part 10 file.
        source: the image series that it was drawn on; its slices have to be parallel to the contours.

    Raises:
        InvalidObject, UnsupportedObject: it cannot be read.
        EmptyAnnotation: it holds no closed contour that encloses the centre of a pixel.
        SourceMissing: it names images that are not of ``source``, which has no frame of reference.
        GeometryMismatch: it lies in another frame of reference, or on no slice of ``source``.
    """
    dataset = parse(file)
    with lenient():
        header = header_of(dataset)
        name = f"instance {header.sop_instance_uid}"
        if header.modality != "RTSTRUCT":
            raise UnsupportedObject(name, "it is no structure set", "Send an RTSTRUCT.")
        _refuse_other_space(name, header, source)
        left_out: Counter[str] = Counter()
        segments = _segments(dataset, source.volume.geometry, left_out)
    if not any(segment.mask_DHW.any() for segment in segments):
        if left_out["contour(s) that lie on no slice"]:
            raise GeometryMismatch(name, "its contours lie on no slice of the image", "Send the series it was drawn on.")
        raise EmptyAnnotation(name, "it holds no closed contour around the centre of a pixel", "Draw a closed contour.")
    return Drawing(header, segments, tuple(f"Left out: {count} {kind}." for kind, count in sorted(left_out.items())))


def _refuse_other_space(name: str, header: AnnotationHeader, source: ImageSeries) -> None:
    geometry, series = source.volume.geometry, source.volume.series
    if geometry.frame_of_reference_is_derived:
        if not set(header.referenced_sop_instance_uids) & set(series.sop_instance_uids):
            problem = f"it names no image of series {series.series_instance_uid}, which has no frame of reference"
            raise SourceMissing(name, problem, "Send the series that it was drawn on.")
        return
    theirs = header.frame_of_reference_uid
    if theirs and theirs != geometry.frame_of_reference_uid:
        problem = f"its frame of reference is {theirs}, the image's is {geometry.frame_of_reference_uid}"
        raise GeometryMismatch(name, problem, "Send the series that it was drawn on.")


def _segments(dataset: Dataset, geometry: Geometry, left_out: Counter[str]) -> tuple[DrawnSegment, ...]:
    """One segment for each structure that the set defines, in its order."""
    contours = {integer(item, "ReferencedROINumber"): item for item in items(dataset, "ROIContourSequence")}
    observed = {integer(item, "ReferencedROINumber"): item for item in items(dataset, "RTROIObservationsSequence")}
    segments = []
    for number, roi in enumerate(items(dataset, "StructureSetROISequence"), start=1):
        roi_number = integer(roi, "ROINumber")
        observation = observed.get(roi_number, Dataset())
        identified = first_item(observation, "RTROIIdentificationCodeSequence")
        mask_DHW = _mask(contours.get(roi_number, Dataset()), geometry, left_out)
        segments.append(
            DrawnSegment(
                number=number,
                label=text(roi, "ROIName") or text(observation, "ROIObservationLabel"),
                category=coded(identified, "SegmentedPropertyCategoryCodeSequence"),
                type=coded(observation, "RTROIIdentificationCodeSequence"),
                mask_DHW=mask_DHW,
                algorithm_type=text(roi, "ROIGenerationAlgorithm").upper(),
            )
        )
    return tuple(segments)


def _mask(roi: Dataset, geometry: Geometry, left_out: Counter[str]) -> BoolArray:
    """The structure's voxels ``(slice, row, column)``."""
    mask_DHW = np.zeros(geometry.shape, bool)
    for contour in items(roi, "ContourSequence"):
        kind = text(contour, "ContourGeometricType").upper()
        points = _points(contour)
        if kind not in _CLOSED or points is None:
            left_out[f"open or pointlike contour(s) ({kind or 'unnamed'})"] += 1
            continue
        indices = geometry.to_index(points)
        place = float(indices[:, 0].mean())
        index = round(place)
        if not 0 <= index < geometry.shape[0] or np.abs(indices[:, 0] - index).max() > PLANE_TOLERANCE:
            left_out["contour(s) that lie on no slice"] += 1
            continue
        mask_DHW[index] ^= filled(indices[:, [2, 1]], geometry.shape[1:])
    return mask_DHW


def _points(contour: Dataset) -> FloatArray | None:
    """LPS positions ``(point, 3)`` in mm, or None where there are fewer than three."""
    value = contour.get("ContourData")
    if value is None or isinstance(value, str | float):
        return None
    points = np.asarray(value, dtype=np.float64)
    if points.size < 9 or points.size % 3 or not np.isfinite(points).all():
        return None
    return points.reshape(-1, 3)
