"""Rules for objects of every kind."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from dicom_io.datasets import UNREADABLE, text
from dicom_io.identifiers import is_valid_uid
from dicom_io.viewer_lint.model import Kind, Rule, Severity, Subject, Viewer

_EVERY_KIND = tuple(Kind)
_EVERY_VIEWER = tuple(Viewer)
_TEXT_VRS = ("LO", "SH", "PN", "LT", "ST", "UT", "UC")


def _unchecked(_: Subject) -> Iterator[str]:
    yield "It is neither a result nor an annotation; only general rules were looked at."


def _uids(subject: Subject) -> Iterator[str]:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        if not is_valid_uid(text(subject.dataset, keyword)):
            yield f"{keyword} is no UID."


def _same_study(subject: Subject) -> Iterator[str]:
    source = subject.source
    if source and text(subject.dataset, "StudyInstanceUID") != source.volume.series.study_instance_uid:
        yield "It is in another study than its source."


def _same_patient(subject: Subject) -> Iterator[str]:
    source = subject.source
    if source and text(subject.dataset, "PatientID") != text(source.headers[0], "PatientID"):
        yield "Its Patient ID is not that of its source."


def _own_series(subject: Subject) -> Iterator[str]:
    source = subject.source
    if source and text(subject.dataset, "SeriesInstanceUID") == source.volume.series.series_instance_uid:
        yield "It is in the series of its source."


def _character_set(subject: Subject) -> Iterator[str]:
    if not text(subject.dataset, "SpecificCharacterSet") and _has_other_letters(subject.dataset):
        yield "It has letters beyond ASCII and no Specific Character Set."


def _has_other_letters(dataset: Dataset) -> bool:
    """Whether a text at the top of the object has letters beyond ASCII."""
    keywords = [keyword for keyword in dataset.dir() if keyword]
    for keyword in keywords:
        try:
            element = dataset[keyword]
        except UNREADABLE:
            continue
        if element.VR in _TEXT_VRS and not text(dataset, keyword).isascii():
            return True
    return False


RULES = (
    Rule(
        "unchecked-kind",
        Severity.WARNING,
        (Kind.OTHER,),
        _EVERY_VIEWER,
        "There are rules for Segmentations, Parametric Maps, Structured Reports, Key Object Selections, RT Structure Sets "
        "and Secondary Captures.",
        "Name the result or the annotation, and its images by --source.",
        _unchecked,
    ),
    Rule(
        "valid-uid",
        Severity.WARNING,
        _EVERY_KIND,
        _EVERY_VIEWER,
        "Archives may refuse it or file it under another identifier, so that references to it lead nowhere (PS3.5 section "
        "9.1).",
        "Write UIDs of numbers and dots, no component with a leading zero, 64 characters at most.",
        _uids,
    ),
    Rule(
        "same-study",
        Severity.ERROR,
        _EVERY_KIND,
        _EVERY_VIEWER,
        "Viewers open a study; what lies in another one is not offered with the images.",
        "Copy the Study Instance UID of the images.",
        _same_study,
    ),
    Rule(
        "same-patient",
        Severity.ERROR,
        _EVERY_KIND,
        (Viewer.WEASIS,),
        "Weasis groups by patient, and archives such as Orthanc do: the object is filed under another one than its images.",
        "Copy the Patient ID of the images as it is, right or wrong.",
        _same_patient,
    ),
    Rule(
        "own-series",
        Severity.ERROR,
        tuple(kind for kind in Kind if kind is not Kind.OTHER),
        _EVERY_VIEWER,
        "A series holds one kind of object: viewers take it for another image, or the images for no volume.",
        "Give it a Series Instance UID of its own.",
        _own_series,
    ),
    Rule(
        "character-set",
        Severity.WARNING,
        _EVERY_KIND,
        _EVERY_VIEWER,
        "Without it texts are ASCII (PS3.5 section 6.1.2.1); each viewer guesses other letters its own way.",
        "Write Specific Character Set, ISO_IR 192 for Unicode.",
        _character_set,
    ),
)
