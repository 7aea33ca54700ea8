"""Rules for Structured Reports, above all measurement reports (PS3.16 TID 1500) with regions (TID 1410 and 1411)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pydicom.dataset import Dataset

from dicom_io.datasets import coded, first_item, integer, items, text
from dicom_io.viewer_lint.model import Kind, Rule, Severity, Slices, Subject, Viewer

_SR = (Kind.SR,)
_ROOT = "1.2.840.10008.5.1.4.1.1.88."
_OHIF_CLASSES = tuple(_ROOT + end for end in ("11", "22", "33", "34"))
_SLICER_CLASSES = tuple(_ROOT + end for end in ("22", "33"))
_STONE_CLASSES = (_ROOT + "33",)
_STONE_SHAPES = ("POINT", "POLYLINE")
_MEASUREMENT_REPORT = "126000"
_IMAGE_LIBRARY = "111028"
_IMAGING_MEASUREMENTS = "126010"
_MEASUREMENT_GROUP = "125007"
_TRACKING_UID = "112040"
_REGIONS = ("SCOORD", "SCOORD3D")
_MAX_DEPTH = 16


def _concept(item: Dataset) -> str:
    found = coded(item, "ConceptNameCodeSequence")
    return found.value if found else ""


def _is_report(subject: Subject) -> bool:
    return _concept(subject.dataset) == _MEASUREMENT_REPORT


def _groups(subject: Subject) -> Sequence[Sequence[Dataset]]:
    """The content of each measurement group; none where it is another kind of report."""
    if not _is_report(subject):
        return ()
    parts = [item for item in items(subject.dataset, "ContentSequence") if _concept(item) == _IMAGING_MEASUREMENTS]
    groups = [group for part in parts for group in items(part, "ContentSequence")]
    return [items(group, "ContentSequence") for group in groups if _concept(group) == _MEASUREMENT_GROUP]


def _items_below(content: Sequence[Dataset], depth: int = 0) -> Iterator[Dataset]:
    """All content items at and below those given."""
    for item in content:
        yield item
        if depth < _MAX_DEPTH:
            yield from _items_below(items(item, "ContentSequence"), depth + 1)


def _regions(subject: Subject) -> list[Dataset]:
    content = _items_below(items(subject.dataset, "ContentSequence"))
    return [item for item in content if text(item, "ValueType") in _REGIONS] if _is_report(subject) else []


def _image(region: Dataset) -> tuple[str, int]:
    """Referenced SOP Instance UID and frame number of the image of a region; empty and 0 for none."""
    for child in items(region, "ContentSequence"):
        reference = first_item(child, "ReferencedSOPSequence")
        if uid := text(reference, "ReferencedSOPInstanceUID"):
            return uid, integer(reference, "ReferencedFrameNumber")
    return "", 0


def _flat(subject: Subject) -> list[Dataset]:
    return [region for region in _regions(subject) if text(region, "ValueType") == "SCOORD"]


def _tracking(group: Sequence[Dataset]) -> str:
    return next((text(item, "UID") for item in group if _concept(item) == _TRACKING_UID), "")


def _template(subject: Subject) -> Iterator[str]:
    if not _is_report(subject):
        yield "It is no Imaging Measurement Report (TID 1500)."


def _ohif_class(subject: Subject) -> Iterator[str]:
    if text(subject.dataset, "SOPClassUID") not in _OHIF_CLASSES:
        yield "Its class is neither Basic Text, Enhanced, Comprehensive nor Comprehensive 3D SR."


def _slicer_class(subject: Subject) -> Iterator[str]:
    if _is_report(subject) and text(subject.dataset, "SOPClassUID") not in _SLICER_CLASSES:
        yield "It is a measurement report of another class than Enhanced and Comprehensive SR."


def _stone_class(subject: Subject) -> Iterator[str]:
    if _regions(subject) and text(subject.dataset, "SOPClassUID") not in _STONE_CLASSES:
        yield "It has regions and is no Comprehensive SR."


def _stone_shapes(subject: Subject) -> Iterator[str]:
    others = sorted({text(region, "GraphicType") for region in _flat(subject)} - set(_STONE_SHAPES))
    if others:
        yield f"It has regions of type {others[0] or 'unknown'}."


def _image_library(subject: Subject) -> Iterator[str]:
    libraries = [item for item in items(subject.dataset, "ContentSequence") if _concept(item) == _IMAGE_LIBRARY]
    if _is_report(subject) and not any(items(item, "ContentSequence") for item in libraries):
        yield "It has no Image Library, or an empty one."


def _measurements(subject: Subject) -> Iterator[str]:
    if _is_report(subject) and not _groups(subject):
        yield "It holds no measurement group."


def _numbers(subject: Subject) -> Iterator[str]:
    lacking = 0
    for group in _groups(subject):
        inferred = [below for item in group if text(item, "ValueType") == "NUM" for below in items(item, "ContentSequence")]
        lacking += not {text(item, "ValueType") for item in (*group, *inferred)} & set(_REGIONS)
    if lacking:
        yield f"{lacking} measurement group(s) have no region."


def _tracking_uid(subject: Subject) -> Iterator[str]:
    if lacking := sum(not _tracking(group) for group in _groups(subject)):
        yield f"{lacking} measurement group(s) have no Tracking Unique Identifier."


def _region_alone(subject: Subject) -> Iterator[str]:
    counts: dict[str, int] = {}
    for group in _groups(subject):
        regions = sum(text(item, "ValueType") in _REGIONS for item in group)
        counts[_tracking(group)] = counts.get(_tracking(group), 0) + regions
    hidden = sum(count - 1 for uid, count in counts.items() if uid and count > 1)
    if hidden:
        yield f"{hidden} region(s) share the tracking identifier of another one."


def _region_image(subject: Subject) -> Iterator[str]:
    if lacking := sum(not _image(region)[0] for region in _flat(subject)):
        yield f"{lacking} region(s) do not say on which image they lie."


def _region_source(subject: Subject) -> Iterator[str]:
    if subject.source is None:
        return
    uids = Slices(subject.source).uids
    named = [uid for uid, _ in map(_image, _flat(subject)) if uid]
    if named and not set(named) & uids:
        yield "None of its regions lies on an image of its source."


def _region_frame(subject: Subject) -> Iterator[str]:
    if subject.source is None or not Slices(subject.source).is_multi_frame:
        return
    uids = Slices(subject.source).uids
    lacking = sum(uid in uids and not number for uid, number in map(_image, _flat(subject)))
    if lacking:
        yield f"{lacking} region(s) name a multi-frame image without saying which frame of it."


def _patient_coordinates(subject: Subject) -> Iterator[str]:
    count = sum(text(region, "ValueType") == "SCOORD3D" for region in _regions(subject))
    if count:
        yield f"{count} region(s) are in patient coordinates (SCOORD3D)."


RULES = (
    Rule(
        "report-template",
        Severity.WARNING,
        _SR,
        (Viewer.OHIF, Viewer.SLICER, Viewer.STONE),
        "OHIF shows it as text since 3.12, and nothing of it before; 3D Slicer and Stone look for measurements only.",
        "Open it in a viewer that shows reports as text, such as Weasis.",
        _template,
    ),
    Rule(
        "report-class",
        Severity.WARNING,
        _SR,
        (Viewer.OHIF,),
        "OHIF has no handler for other classes (its cornerstone-dicom-sr).",
        "Write Comprehensive SR.",
        _ohif_class,
    ),
    Rule(
        "report-class-slicer",
        Severity.WARNING,
        _SR,
        (Viewer.SLICER,),
        "QuantitativeReporting takes Enhanced and Comprehensive SR only (its DICOMTID1500Plugin).",
        "Write Comprehensive SR.",
        _slicer_class,
    ),
    Rule(
        "report-class-stone",
        Severity.WARNING,
        _SR,
        (Viewer.STONE,),
        "Stone shows regions of Comprehensive SR only, since 3.0 (its release notes).",
        "Write Comprehensive SR.",
        _stone_class,
    ),
    Rule(
        "report-shapes",
        Severity.WARNING,
        _SR,
        (Viewer.STONE,),
        "Stone draws points and polylines only, since 3.0 (its release notes).",
        "Write a closed POLYLINE.",
        _stone_shapes,
    ),
    Rule(
        "report-library",
        Severity.WARNING,
        _SR,
        (Viewer.OHIF,),
        "OHIF before 3.12 stops at a report without it (its _getReferencedImagesList).",
        "Write an Image Library with a group of the images.",
        _image_library,
    ),
    Rule(
        "report-groups",
        Severity.WARNING,
        _SR,
        (Viewer.OHIF, Viewer.SLICER, Viewer.STONE),
        "There is nothing to show.",
        "Write Imaging Measurements with a Measurement Group.",
        _measurements,
    ),
    Rule(
        "report-numbers",
        Severity.ERROR,
        _SR,
        (Viewer.OHIF,),
        "OHIF (3.12.10 too) stops at them and shows a black viewport (its _checkIfCanAddMeasurementsToDisplaySet).",
        "Write a region in the group, or the numbers in a report of their own.",
        _numbers,
    ),
    Rule(
        "region-tracking",
        Severity.ERROR,
        _SR,
        (Viewer.OHIF,),
        "OHIF stops there and shows nothing of the report (its _getMergedContentSequencesByTrackingUniqueIdentifiers).",
        "Write a Tracking Unique Identifier in each group.",
        _tracking_uid,
    ),
    Rule(
        "region-alone",
        Severity.ERROR,
        _SR,
        (Viewer.OHIF,),
        "OHIF merges groups of one Tracking Unique Identifier and shows the first region only (its cornerstone-dicom-sr).",
        "Write one group and one Tracking Unique Identifier for each region; say by the finding what belongs together.",
        _region_alone,
    ),
    Rule(
        "region-image",
        Severity.ERROR,
        _SR,
        (Viewer.OHIF, Viewer.STONE),
        "A region in pixels lies nowhere without its image: OHIF stops there (its cornerstone-dicom-sr).",
        "Write the source image below each SCOORD.",
        _region_image,
    ),
    Rule(
        "region-source",
        Severity.ERROR,
        _SR,
        (Viewer.OHIF, Viewer.STONE),
        "Nothing is drawn on the images that it is meant for.",
        "Name the images by the SOP Instance UIDs that they have in the archive.",
        _region_source,
    ),
    Rule(
        "region-frame",
        Severity.ERROR,
        _SR,
        (Viewer.OHIF,),
        "OHIF takes the first frame where none is named (its cornerstone-dicom-sr).",
        "Write Referenced Frame Number beside the source image.",
        _region_frame,
    ),
    Rule(
        "region-coordinates",
        Severity.WARNING,
        _SR,
        (Viewer.OHIF, Viewer.STONE),
        "OHIF looks for the slice by the third coordinate alone, to 5 mm: right for axial images only; Stone shows none (its"
        " release notes).",
        "Write SCOORD with the source image.",
        _patient_coordinates,
    ),
)
