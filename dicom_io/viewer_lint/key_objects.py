"""Rules for Key Object Selections (PS3.16 TID 2010)."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from dicom_io.datasets import first_item, items, text
from dicom_io.viewer_lint.model import Kind, Rule, Severity, Slices, Subject, Viewer

_KEY_OBJECTS = (Kind.KEY_OBJECTS,)


def _selected(dataset: Dataset) -> set[str]:
    """SOP Instance UIDs of the objects that are selected."""
    content = items(dataset, "ContentSequence")
    return {uid for item in content if (uid := text(first_item(item, "ReferencedSOPSequence"), "ReferencedSOPInstanceUID"))}


def _evidence(dataset: Dataset) -> set[str]:
    studies = items(dataset, "CurrentRequestedProcedureEvidenceSequence")
    series = [one for study in studies for one in items(study, "ReferencedSeriesSequence")]
    return {text(one, "ReferencedSOPInstanceUID") for part in series for one in items(part, "ReferencedSOPSequence")}


def _display(_: Subject) -> Iterator[str]:
    yield "It is a Key Object Selection."


def _references(subject: Subject) -> Iterator[str]:
    if not _selected(subject.dataset):
        yield "It selects nothing."


def _in_evidence(subject: Subject) -> Iterator[str]:
    if lacking := _selected(subject.dataset) - _evidence(subject.dataset):
        yield f"{len(lacking)} selected object(s) are not in its evidence."


def _source(subject: Subject) -> Iterator[str]:
    selected = _selected(subject.dataset)
    if subject.source and selected and not selected & Slices(subject.source).uids:
        yield "None of the selected objects is a slice of its source."


RULES = (
    Rule(
        "key-objects",
        Severity.WARNING,
        _KEY_OBJECTS,
        (Viewer.OHIF,),
        "OHIF shows no key objects (OHIF issue 3644 is open).",
        "Give the same slices by link, or in an SR.",
        _display,
    ),
    Rule(
        "key-references",
        Severity.ERROR,
        _KEY_OBJECTS,
        (Viewer.WEASIS, Viewer.STONE),
        "There is nothing to mark.",
        "Write an IMAGE content item for each slice.",
        _references,
    ),
    Rule(
        "key-evidence",
        Severity.ERROR,
        _KEY_OBJECTS,
        (Viewer.WEASIS,),
        "Weasis takes the selection from the evidence, not from the content (its KOSpecialElement); PS3.3 section C.17.6.2 "
        "has them agree.",
        "List every selected object in Current Requested Procedure Evidence Sequence.",
        _in_evidence,
    ),
    Rule(
        "key-source",
        Severity.ERROR,
        _KEY_OBJECTS,
        (Viewer.WEASIS, Viewer.STONE),
        "Nothing is marked in the images that it is meant for.",
        "Name the slices by the SOP Instance UIDs that they have in the archive.",
        _source,
    ),
)
