"""Closed planar contours of an RT Structure Set (PS3.3 section C.8.8.6) onto the grid of their source image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from dicom_io.acquired_grid import AcquiredGrid
from dicom_io.annotation import AnnotationHeader, Drawing, DrawnSegment
from dicom_io.datasets import UNREADABLE, coded, first_item, integer, items, text
from dicom_io.errors import EmptyAnnotation, GeometryMismatch, SourceMissing
from dicom_io.limits import MAX_CONTOUR_POINTS, MAX_MASK_VOXELS, refuse_excess
from dicom_io.planar_contours import PlacedContour, mask_of, placed
from dicom_io.volume import ImageSeries

FloatArray = npt.NDArray[np.float64]

_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OBLIQUE = "contour(s) that lie on no slice, or oblique to the image"
_ELSEWHERE = "structure(s) in another frame of reference"
_SEND = "Send the series that it was drawn on."


def read_rtstruct(dataset: Dataset, header: AnnotationHeader, source: ImageSeries) -> Drawing:
    """What is drawn in a structure set, on the grid of ``source``.

    Contours of one structure in one plane are combined by exclusive or, so that an inner contour is a hole (the convention of
    planning systems; contours that only touch are not affected, and one that is repeated counts once). Contours may lie on
    acquired slices or across them, in planes of the volume.

    Args:
        dataset: a parsed RT Structure Set.
        header: its header.
        source: the image series that it was drawn on.

    Raises:
        UnsupportedObject: it holds more points or structures than are read.
        EmptyAnnotation: it holds no closed contour that encloses the centre of a pixel.
        SourceMissing: it names images that are not of ``source``, which has no frame of reference.
        GeometryMismatch: it lies in another frame of reference, or on no plane of ``source``.
    """
    name = f"instance {header.sop_instance_uid}"
    _refuse_other_images(name, header, source)
    left_out: Counter[str] = Counter()
    segments = _segments(dataset, name, header.frame_of_reference_uid, source, left_out)
    if not any(segment.mask_DHW.any() for segment in segments):
        _refuse_empty(name, header, source, left_out)
    return Drawing(header, segments, tuple(f"Left out: {count} {kind}." for kind, count in sorted(left_out.items())))


def _refuse_other_images(name: str, header: AnnotationHeader, source: ImageSeries) -> None:
    if not source.volume.geometry.frame_of_reference_is_derived:
        return
    series = source.volume.series
    if not set(header.referenced_sop_instance_uids) & set(series.sop_instance_uids):
        problem = f"it names no image of series {series.series_instance_uid}, which has no frame of reference"
        raise SourceMissing(name, problem, _SEND)


def _refuse_empty(name: str, header: AnnotationHeader, source: ImageSeries, left_out: Counter[str]) -> None:
    """Says why a structure set shows nothing on ``source``."""
    if left_out[_ELSEWHERE]:
        ours = source.volume.geometry.frame_of_reference_uid
        problem = f"its frame of reference is {header.frame_of_reference_uid or 'none'}, the image's is {ours}"
        raise GeometryMismatch(name, problem, _SEND)
    if left_out[_OBLIQUE]:
        raise GeometryMismatch(name, "its contours lie on no slice and in no other plane of the image", _SEND)
    raise EmptyAnnotation(name, "it holds no closed contour around the centre of a pixel", "Draw a closed contour.")


def _segments(
    dataset: Dataset, name: str, frame_of_reference: str, source: ImageSeries, left_out: Counter[str]
) -> tuple[DrawnSegment, ...]:
    """One segment for each structure that the set defines, in its order."""
    contours = {integer(item, "ReferencedROINumber"): item for item in items(dataset, "ROIContourSequence")}
    observed = {integer(item, "ReferencedROINumber"): item for item in items(dataset, "RTROIObservationsSequence")}
    geometry, grid = source.volume.geometry, AcquiredGrid(source)
    points, drawn = _PointCount(name), 0
    nothing = np.broadcast_to(np.zeros((), bool), geometry.shape)  # an empty mask takes no memory
    segments = []
    for number, roi in enumerate(items(dataset, "StructureSetROISequence"), start=1):
        roi_number = integer(roi, "ROINumber")
        observation = observed.get(roi_number, Dataset())
        identified = first_item(observation, "RTROIIdentificationCodeSequence")
        theirs = text(roi, "ReferencedFrameOfReferenceUID") or frame_of_reference
        found: list[PlacedContour] = []
        if theirs and not geometry.frame_of_reference_is_derived and theirs != geometry.frame_of_reference_uid:
            left_out[_ELSEWHERE] += 1
        else:
            found = list(_contours(contours.get(roi_number, Dataset()), points, source, grid, left_out))
        drawn += bool(found)
        refuse_excess(name, "voxels of masks", drawn * int(np.prod(geometry.shape)), MAX_MASK_VOXELS)
        mask_DHW, planes = mask_of(found, source, exclusive=True) if found else (nothing, frozenset[tuple[int, int]]())
        segments.append(
            DrawnSegment(
                number=number,
                label=text(roi, "ROIName") or text(observation, "ROIObservationLabel"),
                category=coded(identified, "SegmentedPropertyCategoryCodeSequence"),
                type=coded(observation, "RTROIIdentificationCodeSequence"),
                mask_DHW=mask_DHW,
                algorithm_type=text(roi, "ROIGenerationAlgorithm").upper(),
                planes=planes,
            )
        )
    return tuple(segments)


class _PointCount:
    """Refuses a set with more points than are read, before they are converted."""

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 0

    def add(self, points: int) -> None:
        self._count += points
        refuse_excess(self._name, "contour points", self._count, MAX_CONTOUR_POINTS)


def _contours(
    roi: Dataset, count: _PointCount, source: ImageSeries, grid: AcquiredGrid, left_out: Counter[str]
) -> Iterator[PlacedContour]:
    """The closed contours of a structure, each in its plane."""
    seen: set[bytes] = set()
    for contour in items(roi, "ContourSequence"):
        kind = text(contour, "ContourGeometricType").upper()
        points = _points(contour, count) if kind in _CLOSED else None
        if points is None:
            left_out[f"open or pointlike contour(s) ({kind or 'unnamed'})"] += 1
            continue
        if points.tobytes() in seen:
            left_out["repeated contour(s)"] += 1
            continue
        seen.add(points.tobytes())
        found = placed(points, source, grid)
        if found is None:
            left_out[_OBLIQUE] += 1
        else:
            yield found


def _points(contour: Dataset, count: _PointCount) -> FloatArray | None:
    """LPS positions ``(point, 3)`` in mm, or None where they are not at least three points.

    Decimal strings are read here, not by pydicom, which makes an object of each and takes twenty times as long.
    """
    element = contour.get_item("ContourData", keep_deferred=True) if "ContourData" in contour else None
    value = element.value if isinstance(element, RawDataElement) else None
    try:
        parts = value.strip(b"\0 ").split(b"\\") if isinstance(value, bytes) else list(contour.get("ContourData") or ())
        count.add(len(parts) // 3)
        numbers = np.array(parts).astype(np.float64)
    except UNREADABLE:
        return None
    if numbers.ndim != 1 or numbers.size < 9 or numbers.size % 3 or not (np.abs(numbers) < 1e6).all():
        return None
    return numbers.reshape(-1, 3)
