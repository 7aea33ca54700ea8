"""Rules for RT Structure Sets."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from dicom_io.datasets import UNREADABLE, integer, items, numbers, text
from dicom_io.viewer_lint.model import Kind, Rule, Severity, Subject, Viewer

_RTSTRUCT = (Kind.RTSTRUCT,)
_SHOWN_TYPES = ("CLOSED_PLANAR", "OPEN_PLANAR", "POINT")


def _series(dataset: Dataset) -> list[Dataset]:
    """Items that name image series."""
    frames = items(dataset, "ReferencedFrameOfReferenceSequence")
    studies = [study for frame in frames for study in items(frame, "RTReferencedStudySequence")]
    return [series for study in studies for series in items(study, "RTReferencedSeriesSequence")]


def _contours(dataset: Dataset) -> Iterator[Dataset]:
    for structure in items(dataset, "ROIContourSequence"):
        yield from items(structure, "ContourSequence")


def _number(item: Dataset, keyword: str) -> int:
    return integer(item, keyword, -1)


def _referenced_series(subject: Subject) -> Iterator[str]:
    series = _series(subject.dataset)
    if not any(items(one, "ContourImageSequence") for one in series):
        yield "It does not say which images it was drawn on."
    elif subject.source:
        source = subject.source.volume.series.series_instance_uid
        if text(series[0], "SeriesInstanceUID") != source:
            yield "The first series that it names is not its source."


def _frame_of_reference(subject: Subject) -> Iterator[str]:
    if subject.source is None or subject.source.volume.geometry.frame_of_reference_is_derived:
        return
    stated = {text(item, "FrameOfReferenceUID") for item in items(subject.dataset, "ReferencedFrameOfReferenceSequence")}
    stated |= {text(item, "ReferencedFrameOfReferenceUID") for item in items(subject.dataset, "StructureSetROISequence")}
    if subject.source.volume.geometry.frame_of_reference_uid not in stated:
        yield "It is drawn in another frame of reference than its source's."


def _structures(subject: Subject) -> Iterator[str]:
    if not any(_contours(subject.dataset)):
        yield "It holds no contour."


def _undefined(subject: Subject) -> Iterator[str]:
    defined = {_number(item, "ROINumber") for item in items(subject.dataset, "StructureSetROISequence")}
    used = {_number(item, "ReferencedROINumber") for item in items(subject.dataset, "ROIContourSequence")}
    if lacking := sorted(used - defined):
        yield f"Contours belong to structures that it does not define, such as {lacking[0]}."


def _types(subject: Subject) -> Iterator[str]:
    found = {text(contour, "ContourGeometricType") for contour in _contours(subject.dataset)}
    if others := sorted(found - set(_SHOWN_TYPES)):
        yield f"It has contours of type {others[0] or 'unknown'}."


def _data(subject: Subject) -> Iterator[str]:
    broken = sum(not _is_whole(contour) for contour in _contours(subject.dataset))
    if broken:
        yield f"{broken} contour(s) have not as many coordinates as they announce."


def _is_whole(contour: Dataset) -> bool:
    try:
        value = contour.get("ContourData")
    except UNREADABLE:
        return False
    held = len(value) if isinstance(value, MultiValue | list) else 0
    return held == 3 * integer(contour, "NumberOfContourPoints") > 0


def _empty(subject: Subject) -> Iterator[str]:
    drawn = {
        _number(item, "ReferencedROINumber")
        for item in items(subject.dataset, "ROIContourSequence")
        if items(item, "ContourSequence")
    }
    empty = [item for item in items(subject.dataset, "StructureSetROISequence") if _number(item, "ROINumber") not in drawn]
    if empty:
        yield f"{len(empty)} structure(s) have no contour."


def _names(subject: Subject) -> Iterator[str]:
    nameless = sum(not text(item, "ROIName") for item in items(subject.dataset, "StructureSetROISequence"))
    if nameless:
        yield f"{nameless} structure(s) have no name."


def _colours(subject: Subject) -> Iterator[str]:
    structures = items(subject.dataset, "ROIContourSequence")
    lacking = sum(
        numbers(item, "ROIDisplayColor", 3) is None and numbers(item, "RecommendedDisplayCIELabValue", 3) is None
        for item in structures
    )
    if lacking:
        yield f"{lacking} structure(s) have no colour."


RULES = (
    Rule(
        "structures-series",
        Severity.ERROR,
        _RTSTRUCT,
        (Viewer.OHIF,),
        "OHIF finds the images by Referenced Frame of Reference Sequence, down to Contour Image Sequence, and lays it over "
        "the first series there (its cornerstone-dicom-rt).",
        "Write RT Referenced Study, RT Referenced Series and Contour Image Sequence, the source first.",
        _referenced_series,
    ),
    Rule(
        "structures-frame-of-reference",
        Severity.ERROR,
        _RTSTRUCT,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS, Viewer.STONE),
        "Contours are points in a frame of reference and mean nothing in another one; some viewers draw them all the same "
        "(OHIF issue 3537).",
        "Copy Frame of Reference UID of the images.",
        _frame_of_reference,
    ),
    Rule(
        "structures-contours",
        Severity.ERROR,
        _RTSTRUCT,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS, Viewer.STONE),
        "There is nothing to show.",
        "Write ROI Contour Sequence with Contour Sequence.",
        _structures,
    ),
    Rule(
        "structures-undefined",
        Severity.ERROR,
        _RTSTRUCT,
        (Viewer.OHIF,),
        "OHIF stops at contours whose structure it does not find and shows none (its loadRTStruct).",
        "Define every ROI Number in Structure Set ROI Sequence.",
        _undefined,
    ),
    Rule(
        "structures-type",
        Severity.WARNING,
        _RTSTRUCT,
        (Viewer.OHIF,),
        "OHIF before 3.12 leaves out all but CLOSED_PLANAR, OPEN_PLANAR and POINT (its loadRTStruct).",
        "Write CLOSED_PLANAR.",
        _types,
    ),
    Rule(
        "structures-data",
        Severity.ERROR,
        _RTSTRUCT,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS, Viewer.STONE),
        "Viewers read three coordinates for each announced point, or nothing.",
        "Write three numbers for each of Number of Contour Points.",
        _data,
    ),
    Rule(
        "structures-empty",
        Severity.WARNING,
        _RTSTRUCT,
        (Viewer.OHIF,),
        "OHIF lists them with nothing to go to (OHIF issue 1897).",
        "Leave structures without contours out.",
        _empty,
    ),
    Rule(
        "structures-name",
        Severity.WARNING,
        _RTSTRUCT,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS, Viewer.STONE),
        "Viewers list it without a name.",
        "Write ROI Name.",
        _names,
    ),
    Rule(
        "structures-colour",
        Severity.WARNING,
        _RTSTRUCT,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS, Viewer.STONE),
        "Each viewer chooses its own.",
        "Write ROI Display Color.",
        _colours,
    ),
)
