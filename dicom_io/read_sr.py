"""Closed contours of an SR (PS3.16 TID 1500 with TID 1410 and 1411) onto the grid of its source image.

The content tree is walked as it comes, because viewers write trees that are not quite the template. SCOORD (0, 0) is the
corner of the first pixel (PS3.3 section C.18.6.1.1), so the centre of that pixel lies at (0.5, 0.5). SCOORD3D is in LPS mm of
the frame of reference that it names (PS3.3 section C.18.9).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.acquired_grid import AcquiredGrid
from dicom_io.annotation import AnnotationHeader, Drawing, DrawnSegment
from dicom_io.datasets import UNREADABLE, coded, items, text
from dicom_io.errors import DicomIoError, EmptyAnnotation, GeometryMismatch, SourceMissing
from dicom_io.limits import MAX_CONTOUR_POINTS, MAX_MASK_VOXELS, refuse_excess
from dicom_io.planar_contours import FloatArray, PlacedContour, ellipse, ellipsoid_sections, mask_of, placed
from dicom_io.references import image_references
from dicom_io.sr_groups import MeasurementGroup, grouped_items
from dicom_io.volume import ImageSeries

_CLOSED = {"SCOORD": ("POLYGON", "POLYLINE", "CIRCLE", "ELLIPSE"), "SCOORD3D": ("POLYGON", "POLYLINE", "ELLIPSE", "ELLIPSOID")}
_WIDTH = {"SCOORD": 2, "SCOORD3D": 3}
_EXACT_POINTS = {"CIRCLE": 2, "ELLIPSE": 4, "ELLIPSOID": 6}
_MAX_GROUPS = 64
"""More groups than this are told apart by finding alone: the tracking identifiers then number the slices."""
_OTHER_IMAGE = "contour(s) on images of other series"
_OTHER_SPACE = "contour(s) in another frame of reference"
_OBLIQUE = "contour(s) that lie on no slice, or oblique to the image"
_SEND = "Send the series that it was drawn on."


@dataclass(frozen=True, eq=False)
class _Region:
    """What one item encloses, in the planes of the source."""

    group: MeasurementGroup
    contours: tuple[PlacedContour, ...]


def read_sr(dataset: Dataset, header: AnnotationHeader, source: ImageSeries) -> Drawing:
    """What is drawn in a structured report, on the grid of ``source``.

    POLYGON, POLYLINE whose last point repeats the first, CIRCLE and ELLIPSE are filled (a voxel belongs to a region when its
    centre lies inside), on slices and, from patient coordinates, in any plane of the volume; an ELLIPSOID on every slice that
    it cuts. Everything open, the control points of splines and references to segments of other objects are left out with a
    remark. Regions of one label (or, without one, one tracking identifier) and one finding make one segment.

    Args:
        dataset: a parsed Enhanced, Comprehensive, Comprehensive 3D or Extensible SR.
        header: its header.
        source: the image series that its regions were drawn on.

    Raises:
        UnsupportedObject: it holds more points or regions than are read.
        EmptyAnnotation: it holds no closed contour, or none that encloses the centre of a pixel.
        SourceMissing: its contours lie on images that are not of ``source``.
        GeometryMismatch: its contours lie in another frame of reference, or oblique to ``source``.
    """
    name = f"instance {header.sop_instance_uid}"
    left_out: Counter[str] = Counter()
    regions = list(_regions(dataset, name, source, left_out))
    if not regions:
        raise _nothing_drawn(name, source, left_out)
    segments = _segments(name, regions, source)
    if not any(segment.mask_DHW.any() for segment in segments):
        raise EmptyAnnotation(name, "no contour encloses the centre of a pixel", "Draw a larger region.")
    return Drawing(header, segments, tuple(f"Left out: {count} {kind}." for kind, count in sorted(left_out.items())))


def _nothing_drawn(name: str, source: ImageSeries, left_out: Counter[str]) -> DicomIoError:
    """Why no region of a report lies on ``source``."""
    if left_out[_OTHER_IMAGE]:
        problem = f"its contours lie on images that are not of series {source.volume.series.series_instance_uid}"
        return SourceMissing(name, problem, _SEND)
    if left_out[_OTHER_SPACE]:
        ours = source.volume.geometry
        own = "the image has none" if ours.frame_of_reference_is_derived else f"the image's is {ours.frame_of_reference_uid}"
        return GeometryMismatch(name, f"its contours lie in another frame of reference ({own})", _SEND)
    if left_out[_OBLIQUE]:
        return GeometryMismatch(name, "its contours lie on no slice and in no other plane of the image", _SEND)
    what = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()) if count)
    problem = "it holds no closed contour" + (f" (but {what})" if what else "")
    return EmptyAnnotation(name, problem, "Draw a closed region, for instance with the free-hand tool.")


def _regions(dataset: Dataset, name: str, source: ImageSeries, left_out: Counter[str]) -> Iterator[_Region]:
    """Closed contours of all content items; what is left out is counted."""
    grid = AcquiredGrid(source)
    count = 0
    for item, group in grouped_items(dataset, name):
        kind = text(item, "ValueType").upper()
        if kind == "IMAGE" and any("ReferencedSegmentNumber" in image for image in items(item, "ReferencedSOPSequence")):
            left_out["reference(s) to segments of another object"] += 1
        points = _closed_shape(item, kind, left_out) if kind in _CLOSED else None
        if points is None:
            continue
        count += len(points)
        refuse_excess(name, "contour points", count, MAX_CONTOUR_POINTS)
        if kind == "SCOORD":
            contours = _on_slices(item, points, grid, left_out)
        else:
            contours = _in_space(item, points, source, grid, left_out)
        if contours:
            yield _Region(group, contours)


def _closed_shape(item: Dataset, value_type: str, left_out: Counter[str]) -> FloatArray | None:
    """Points of a closed shape, ``(point, 2)`` or ``(point, 3)``; None for what is none."""
    kind = text(item, "GraphicType").upper()
    concept = coded(item, "ConceptNameCodeSequence")
    if concept and concept.scheme.startswith("99CS3D") and "control" in (concept.value + concept.meaning).lower():
        left_out["set(s) of spline control points"] += 1
        return None
    points = _graphic_data(item, _WIDTH[value_type])
    if kind not in _CLOSED[value_type] or points is None or not _is_closed(kind, points):
        left_out[f"open or pointlike shape(s) ({kind or 'unnamed'})"] += 1
        return None
    if kind == "CIRCLE":
        radius = np.linalg.norm(points[1] - points[0])
        points = points[0] + radius * np.array([[-1.0, 0], [1, 0], [0, -1], [0, 1]])
    return ellipse(points) if kind in {"CIRCLE", "ELLIPSE"} else points


def _graphic_data(item: Dataset, width: int) -> FloatArray | None:
    """Points ``(point, width)`` of a spatial coordinates item, or None where they are not finite numbers."""
    try:
        points = np.asarray(item.get("GraphicData"), dtype=np.float64)
    except UNREADABLE:
        return None
    if points.size < 2 * width or points.size % width or not (np.abs(points) < 1e6).all():
        return None
    return points.reshape(-1, width)


def _is_closed(kind: str, points: FloatArray) -> bool:
    if kind in _EXACT_POINTS:
        return len(points) == _EXACT_POINTS[kind]
    if kind == "POLYGON":
        return len(points) >= 3
    return len(points) >= 4 and bool(np.abs(points[0] - points[-1]).max() < 1e-3)


def _on_slices(item: Dataset, points: FloatArray, grid: AcquiredGrid, left_out: Counter[str]) -> tuple[PlacedContour, ...]:
    """A contour in pixels of the images, or frames, that it was selected from."""
    images = [child for child in items(item, "ContentSequence") if text(child, "ValueType").upper() == "IMAGE"]
    named = [reference for image in images for reference in image_references(items(image, "ReferencedSOPSequence"))]
    if not named:
        left_out["contour(s) that name no image"] += 1
        return ()
    slices = {grid.named([reference]) for reference in named} - {-1}
    if not slices:
        left_out[_OTHER_IMAGE] += 1
    return tuple(PlacedContour(0, index, points - 0.5) for index in sorted(slices))


def _in_space(
    item: Dataset, points: FloatArray, source: ImageSeries, grid: AcquiredGrid, left_out: Counter[str]
) -> tuple[PlacedContour, ...]:
    """A contour in patient coordinates, in the plane of the volume in which it lies; an ellipsoid, slice by slice."""
    geometry = source.volume.geometry
    same_frame = text(item, "ReferencedFrameOfReferenceUID") == geometry.frame_of_reference_uid
    if geometry.frame_of_reference_is_derived or not same_frame:
        left_out[_OTHER_SPACE] += 1
        return ()
    if text(item, "GraphicType").upper() == "ELLIPSOID":
        found = ellipsoid_sections(points, grid)
    else:
        contour = placed(points, source, grid)
        found = [] if contour is None else [contour]
    if not found:
        left_out[_OBLIQUE] += 1
    return tuple(found)


def _segments(name: str, regions: list[_Region], source: ImageSeries) -> tuple[DrawnSegment, ...]:
    """One segment for each label (or tracking identifier) and finding, in the order of their first region."""
    by_finding = len({_key(region.group, by_finding=False) for region in regions}) > _MAX_GROUPS
    grouped: dict[tuple[str, ...], list[_Region]] = {}
    for region in regions:
        grouped.setdefault(_key(region.group, by_finding=by_finding), []).append(region)
    voxels = len(grouped) * int(np.prod(source.volume.geometry.shape))
    refuse_excess(name, "voxels of masks", voxels, MAX_MASK_VOXELS)
    segments = []
    for number, members in enumerate(grouped.values(), start=1):
        contours = [contour for member in members for contour in member.contours]
        mask_DHW, planes = mask_of(contours, source, exclusive=False)
        group = members[0].group
        same_tracking = len({member.group.tracking for member in members}) == 1
        segments.append(
            DrawnSegment(
                number=number,
                label=group.meaning if by_finding and not group.label else group.name,
                category=group.category,
                type=group.type,
                mask_DHW=mask_DHW,
                algorithm_type="MANUAL",
                tracking_identifier=group.tracking if same_tracking else "",
                planes=planes,
            )
        )
    return tuple(segments)


def _key(group: MeasurementGroup, *, by_finding: bool) -> tuple[str, ...]:
    """What makes two regions one segment; the meaning counts because viewers put free text into it under one code."""
    kind = group.type
    coded_part = (kind.scheme, kind.value, kind.meaning) if kind else ()
    return (group.label if by_finding else group.label or group.tracking, *coded_part)
