"""Closed contours of an SR (PS3.16 TID 1500 with TID 1410 and 1411) onto the grid of its source image.

The content tree is walked as it comes, because viewers write trees that are not quite the template. SCOORD (0, 0) is the corner
of the first pixel (PS3.3 section C.18.6.1.1), so the centre of that pixel lies at (0.5, 0.5).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydicom.dataset import Dataset

from dicom_io.annotation import BoolArray, Drawing, DrawnSegment
from dicom_io.annotation_header import header_of
from dicom_io.codes import Code
from dicom_io.contours import FloatArray, filled
from dicom_io.datasets import code_of, coded, first_item, integer, items, lenient, parse, text
from dicom_io.errors import EmptyAnnotation, SourceMissing, UnsupportedObject
from dicom_io.volume import ImageSeries

_TRACKING_IDENTIFIER = "112039"
_FINDINGS = ("121071", "112038")
_FINDING_CATEGORIES = ("276214006", "G-C036")
_CLOSED = ("POLYGON", "POLYLINE", "CIRCLE", "ELLIPSE")
_CURVE_POINTS = 128
"""Vertices that stand for a circle or an ellipse."""
_MAX_GROUPS = 64
"""More groups than this are told apart by finding alone: the tracking identifiers then number the slices."""


@dataclass(frozen=True)
class _Group:
    """What a measurement group says of its regions."""

    tracking: str = ""
    finding: Code | None = None
    category: Code | None = None


@dataclass(frozen=True, eq=False)
class _Region:
    """One closed contour: vertices ``(vertex, 2)`` as (column, row), corner convention, and the instance it lies on."""

    group: _Group
    points: FloatArray
    instance_uid: str


def read_sr(file: bytes, source: ImageSeries) -> Drawing:
    """What is drawn in a structured report, on the grid of ``source``.

    POLYGON and POLYLINE whose last point repeats the first, CIRCLE and ELLIPSE are filled (a pixel belongs to a region when its
    centre lies inside); everything open, and the control points of splines, is left out with a remark. Regions of one tracking
    identifier and finding make one segment.

    Args:
        file: an Enhanced, Comprehensive, Comprehensive 3D or Extensible SR as a DICOM Part 10 file.
        source: the image series that its regions were drawn on.

    Raises:
        InvalidObject, UnsupportedObject: it cannot be read.
        EmptyAnnotation: it holds no closed contour, or none that encloses the centre of a pixel.
        SourceMissing: its contours lie on images that are not of ``source``.
    """
    dataset = parse(file)
    with lenient():
        header = header_of(dataset)
        name = f"instance {header.sop_instance_uid}"
        if header.modality != "SR":
            raise UnsupportedObject(name, "it is no structured report", "Send an SR.")
        left_out: Counter[str] = Counter()
        regions = list(_regions(dataset, _Group(), left_out))
    if not regions:
        what = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        problem = "it holds no closed contour" + (f" (but {what})" if what else "")
        raise EmptyAnnotation(name, problem, "Draw a closed region, for instance with the free-hand tool.")
    slices = {uid: index for index, uid in enumerate(source.volume.series.sop_instance_uids)}
    on_source = [region for region in regions if region.instance_uid in slices]
    if not on_source:
        problem = f"its contours lie on images that are not of series {source.volume.series.series_instance_uid}"
        raise SourceMissing(name, problem, "Send the series that it was drawn on.")
    if len(on_source) < len(regions):
        left_out["contour(s) on images of other series"] += len(regions) - len(on_source)
    segments = _segments(on_source, slices, source.volume.geometry.shape)
    if not any(segment.mask_DHW.any() for segment in segments):
        raise EmptyAnnotation(name, "no contour encloses the centre of a pixel", "Draw a larger region.")
    return Drawing(header, segments, tuple(f"Left out: {count} {kind}." for kind, count in sorted(left_out.items())))


def _regions(item: Dataset, group: _Group, left_out: Counter[str]) -> Iterator[_Region]:
    """Closed contours at and below a content item; what is left out is counted."""
    children = items(item, "ContentSequence")
    if any(text(child, "RelationshipType") in {"HAS OBS CONTEXT", "CONTAINS", "HAS CONCEPT MOD"} for child in children):
        group = _described(children, group)
    for child in children:
        kind = text(child, "ValueType")
        if kind == "SCOORD":
            yield from _region(child, group, left_out)
        elif kind == "SCOORD3D":
            left_out["region(s) in patient coordinates (SCOORD3D)"] += 1
        yield from _regions(child, group, left_out)


def _described(children: Sequence[Dataset], group: _Group) -> _Group:
    """``group`` with what the children of a container add to it."""
    for child in children:
        concept = code_of(first_item(child, "ConceptNameCodeSequence"))
        if concept is None:
            continue
        if concept.value == _TRACKING_IDENTIFIER:
            group = replace(group, tracking=text(child, "TextValue"))
        elif concept.value in _FINDINGS and (finding := coded(child, "ConceptCodeSequence")):
            group = replace(group, finding=finding)
        elif concept.value in _FINDING_CATEGORIES and (category := coded(child, "ConceptCodeSequence")):
            group = replace(group, category=category)
    return group


def _region(item: Dataset, group: _Group, left_out: Counter[str]) -> Iterator[_Region]:
    """The closed contour of one SCOORD item, if it is one."""
    kind = text(item, "GraphicType").upper()
    concept = coded(item, "ConceptNameCodeSequence")
    if concept and concept.scheme.startswith("99CS3D") and "control" in (concept.value + concept.meaning).lower():
        left_out["set(s) of spline control points"] += 1
        return
    points = _graphic_data(item)
    if kind not in _CLOSED or points is None or not _is_closed(kind, points):
        left_out[f"open or pointlike shape(s) ({kind or 'unnamed'})"] += 1
        return
    if kind in {"CIRCLE", "ELLIPSE"}:
        points = _curve(points)
    image = next((child for child in items(item, "ContentSequence") if text(child, "ValueType") == "IMAGE"), Dataset())
    reference = first_item(image, "ReferencedSOPSequence")
    uid = text(reference, "ReferencedSOPInstanceUID")
    if not uid or integer(reference, "ReferencedFrameNumber", 1) != 1:
        left_out["contour(s) that name no single-frame image"] += 1
        return
    yield _Region(group, points, uid)


def _graphic_data(item: Dataset) -> FloatArray | None:
    """Vertices ``(vertex, 2)`` of an SCOORD item, or None where they are not pairs of finite numbers."""
    value = item.get("GraphicData")
    if value is None or isinstance(value, float):
        return None
    points = np.asarray(value, dtype=np.float64)
    if points.size < 4 or points.size % 2 or not np.isfinite(points).all():
        return None
    return points.reshape(-1, 2)


def _is_closed(kind: str, points: FloatArray) -> bool:
    if kind == "CIRCLE":
        return len(points) == 2
    if kind == "ELLIPSE":
        return len(points) == 4
    if kind == "POLYGON":
        return len(points) >= 3
    return len(points) >= 4 and bool(np.abs(points[0] - points[-1]).max() < 1e-3)


def _curve(points: FloatArray) -> FloatArray:
    """A polygon for a circle (centre, rim) or an ellipse (ends of both axes), PS3.3 section C.18.6.1.2."""
    if len(points) == 2:
        centre, radius = points[0], float(np.linalg.norm(points[1] - points[0]))
        axes = np.array([[radius, 0.0], [0.0, radius]])
    else:
        centre = points[:2].mean(axis=0)
        axes = np.stack([(points[1] - points[0]) / 2, (points[3] - points[2]) / 2])
    angles = np.linspace(0.0, 2 * np.pi, _CURVE_POINTS, endpoint=False)
    return np.asarray(centre + np.stack([np.cos(angles), np.sin(angles)], axis=1) @ axes)


def _segments(regions: list[_Region], slices: dict[str, int], shape: tuple[int, int, int]) -> tuple[DrawnSegment, ...]:
    """One segment for each tracking identifier and finding, in the order of their first region."""
    by_finding = len({_key(region.group, by_finding=False) for region in regions}) > _MAX_GROUPS
    grouped: dict[tuple[str, ...], list[_Region]] = {}
    for region in regions:
        grouped.setdefault(_key(region.group, by_finding=by_finding), []).append(region)
    segments = []
    for number, members in enumerate(grouped.values(), start=1):
        mask_DHW: BoolArray = np.zeros(shape, bool)
        for region in members:
            mask_DHW[slices[region.instance_uid]] |= filled(region.points - 0.5, shape[1:])
        group = members[0].group
        meaning = group.finding.meaning if group.finding else ""
        label = meaning if by_finding or not group.tracking else group.tracking
        tracking = "" if by_finding else group.tracking
        segments.append(DrawnSegment(number, label or meaning, group.category, group.finding, mask_DHW, "MANUAL", "", tracking))
    return tuple(segments)


def _key(group: _Group, *, by_finding: bool) -> tuple[str, ...]:
    """What makes two regions one segment; the meaning counts because viewers put free text into it under one code."""
    finding = group.finding
    coded_part = (finding.scheme, finding.value, finding.meaning) if finding else ()
    return coded_part if by_finding else (group.tracking, *coded_part)
