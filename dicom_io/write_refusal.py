"""Why an annotation was not understood, as a short text in its own study: a reader does not look at a server's log."""

from __future__ import annotations

from io import BytesIO

import highdicom as hd
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from dicom_io.codes import Code
from dicom_io.datasets import UNREADABLE, lenient, text
from dicom_io.errors import InvalidObject
from dicom_io.result_dataset import concept, short
from dicom_io.results import ResultIdentity
from dicom_io.write_document import device_observer, write_document

BASIC_TEXT_SR_CLASS = "1.2.840.10008.5.1.4.1.1.88.11"
_TITLE = Code("not-understood", "99PACSAPP", "Annotation not understood (research use)")
_FINDING = Code("121071", "DCM", "Finding")
_RECOMMENDATION = Code("121075", "DCM", "Recommendation")
_SOURCE = Code("260753009", "SCT", "Source")
_IMAGE_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentations are images with pixels, so that content items of value type IMAGE name them."""
_LAST_OF_STUDY = 0x00200010
_LONGEST = 1000


def write_refusal(annotation: bytes | Dataset, reason: str, remedy: str, identity: ResultIdentity) -> bytes:
    """A Basic Text SR (PS3.3 section A.35.1) that says why an annotation was not understood, and what helps.

    Basic Text, because most archives and viewers show it (OHIF among them).

    Args:
        annotation: the object that was not understood, whole or damaged; patient and study are taken over from it.
        reason: what is wrong with it, one sentence without any patient attribute.
        remedy: what its reader can do, one sentence.
        identity: UIDs, texts and date of the result.

    Returns:
        A DICOM Part 10 file that names the annotation as its evidence.

    Raises:
        InvalidObject: the object is so badly damaged that not even its study can be read.
    """
    header = _beginning(annotation) if isinstance(annotation, bytes) else annotation
    with lenient():
        evidence, empty = Dataset(), []
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID"):
            setattr(evidence, keyword, text(header, keyword))
            empty += [keyword] if not text(header, keyword) else []
        if empty:
            raise InvalidObject("object", f"it has no {', '.join(empty)}", "Send the object again.")
        root = hd.sr.ContainerContentItem(name=concept(_TITLE))
        texts = [
            hd.sr.TextContentItem(concept(name), short(said, _LONGEST) or "unknown", relationship_type="CONTAINS")
            for name, said in ((_FINDING, reason), (_RECOMMENDATION, remedy))
        ]
        language = hd.sr.LanguageOfContentItemAndDescendants(hd.sr.CodedConcept("en", "RFC5646", "English"))
        root.ContentSequence = hd.sr.ContentSequence([*language, *device_observer(), *texts, _named(evidence)])
        return write_document(header, identity, BASIC_TEXT_SR_CLASS, root, [evidence])


def _beginning(file: bytes) -> Dataset:
    """Everything up to the study's attributes, which even a truncated file has."""
    with lenient():
        try:
            return read_partial(BytesIO(file), stop_when=lambda tag, _vr, _length: tag > _LAST_OF_STUDY)
        except UNREADABLE as error:
            raise InvalidObject("file", "not even its study can be read", "Send DICOM Part 10 files.") from error


def _named(evidence: Dataset) -> hd.sr.ImageContentItem | hd.sr.CompositeContentItem:
    kind = hd.sr.ImageContentItem if evidence.SOPClassUID in _IMAGE_CLASSES else hd.sr.CompositeContentItem
    return kind(concept(_SOURCE), evidence.SOPClassUID, evidence.SOPInstanceUID, relationship_type="CONTAINS")
