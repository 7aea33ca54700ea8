"""Rules that a result must keep so that viewers show it, and show it in the right place.

The standard allows much that viewers do not draw, or draw upside down without a word. Each rule here was measured in a
viewer. Every object passes before it is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.annotation_header import SEGMENTATION_CLASS
from dicom_io.datasets import first_item, integer, items, lenient, numbers, parse, text
from dicom_io.identifiers import is_valid_uid
from dicom_io.volume import ImageSeries

PARAMETRIC_MAP_CLASS = "1.2.840.10008.5.1.4.1.1.30"
HIDDEN_WORDS = ("couch", "tabletop", "patient support")
"""Words in a segment's texts at which Weasis hides it."""
MAX_FRAMES = 400
"""More frames than this, and Weasis disables the segmentation until it is asked for."""
_DIRECTION_TOLERANCE = 1e-4
_POSITION_TOLERANCE_MM = 0.01


class Severity(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """Some viewer shows nothing, or shows it in the wrong place: do not send."""
    WARNING = "warning"
    """Some viewer shows it less well."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that an object breaks.

    Attributes:
        rule: short name of the rule.
        severity: whether the object may be sent.
        what: what is wrong with it, one sentence.
        remedy: what to change, one sentence.
    """

    rule: str
    severity: Severity
    what: str
    remedy: str


@dataclass(frozen=True, eq=False)
class _Subject:
    """What rules look at."""

    dataset: Dataset
    source: ImageSeries | None
    frames: tuple[Dataset, ...]
    shared: Dataset


def lint(file: bytes, source: ImageSeries | None) -> tuple[Finding, ...]:
    """What viewers would trip over in a result.

    Args:
        file: a Segmentation, a Parametric Map or a document (Key Object Selection, SR), as a DICOM Part 10 file.
        source: the image series that it belongs to; without it, rules that compare with the source are left out.

    Returns:
        Findings, errors first; none where all is well.

    Raises:
        InvalidObject: the bytes are no DICOM object, or are cut off.
    """
    dataset = parse(file)
    with lenient():
        subject = _Subject(
            dataset,
            source,
            tuple(items(dataset, "PerFrameFunctionalGroupsSequence")),
            first_item(dataset, "SharedFunctionalGroupsSequence"),
        )
        rules: list[_Rule] = [_identifiers, _transfer_syntax, _same_study]
        class_uid = text(dataset, "SOPClassUID")
        if class_uid == SEGMENTATION_CLASS:
            rules += [_references, _binary, _segments, _hidden_words, _frame_number, _columns, _grid, _measures, _places]
        elif class_uid == PARAMETRIC_MAP_CLASS:
            rules += [_references, _float_map, _grid, _measures, _places, _map_order]
        elif not class_uid.startswith("1.2.840.10008.5.1.4.1.1.88."):
            rules += [_kind]
        findings = [finding for rule in rules for finding in rule(subject)]
    return tuple(sorted(findings, key=lambda finding: finding.severity is not Severity.ERROR))


_Rule = Callable[[_Subject], Iterator[Finding]]


def _error(rule: str, what: str, remedy: str) -> Finding:
    return Finding(rule, Severity.ERROR, what, remedy)


def _warning(rule: str, what: str, remedy: str) -> Finding:
    return Finding(rule, Severity.WARNING, what, remedy)


def _functional_group(subject: _Subject, group: Dataset, keyword: str) -> Dataset:
    """What one frame, or else the shared group, says under ``keyword``."""
    return first_item(group, keyword) or first_item(subject.shared, keyword)


def _kind(subject: _Subject) -> Iterator[Finding]:
    uid = text(subject.dataset, "SOPClassUID")
    yield _error("kind", f"Class {uid} is none that results have.", "Write SEG, Parametric Map, KO or SR.")


def _identifiers(subject: _Subject) -> Iterator[Finding]:
    for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
        uid = text(subject.dataset, keyword)
        if not is_valid_uid(uid):
            yield _error("valid-uid", f"{keyword} {uid!r} is no UID.", "Derive it with dicom_io.identifiers.")
    if integer(subject.dataset, "InstanceNumber", 1) != 1:
        yield _error("one-instance", "It is not instance 1.", "One instance a series: viewers show the last one only.")
    source = subject.source
    if source and text(subject.dataset, "SeriesInstanceUID") == source.volume.series.series_instance_uid:
        yield _error("own-series", "It is in the series of its source.", "Give it a series of its own.")


def _transfer_syntax(subject: _Subject) -> Iterator[Finding]:
    syntax = subject.dataset.file_meta.TransferSyntaxUID
    if syntax != ExplicitVRLittleEndian:
        yield _error("transfer-syntax", f"It is encoded as {syntax.name}.", "Write Explicit VR Little Endian.")


def _same_study(subject: _Subject) -> Iterator[Finding]:
    if subject.source is None:
        return
    if text(subject.dataset, "StudyInstanceUID") != subject.source.volume.series.study_instance_uid:
        yield _error("same-study", "It is in another study than its source.", "Copy the Study Instance UID.")
    if text(subject.dataset, "PatientID") != text(subject.source.headers[0], "PatientID"):
        yield _error("same-patient", "Its Patient ID is not that of its source.", "Copy the Patient ID as it is.")


def _references(subject: _Subject) -> Iterator[Finding]:
    series = items(subject.dataset, "ReferencedSeriesSequence")
    remedy = "Write Referenced Series Sequence with the source's instances."
    if not series:
        yield _error("referenced-series", "It has no Referenced Series Sequence; OHIF shows nothing.", remedy)
    elif subject.source:
        uids = [text(item, "SeriesInstanceUID") for item in series]
        if subject.source.volume.series.series_instance_uid not in uids:
            yield _error("referenced-series", "Referenced Series Sequence does not name the source.", remedy)


def _binary(subject: _Subject) -> Iterator[Finding]:
    kind = text(subject.dataset, "SegmentationType")
    if kind != "BINARY":
        yield _error("segmentation-type", f"Type {kind} is not shown by all viewers.", "Write BINARY.")


def _segments(subject: _Subject) -> Iterator[Finding]:
    segments = items(subject.dataset, "SegmentSequence")
    found = [integer(item, "SegmentNumber") for item in segments]
    if not found or found != list(range(1, len(found) + 1)):
        yield _error("segment-numbers", f"Segments are numbered {found}.", "Number them 1..n in order, without gaps.")
    for item in segments:
        if not text(item, "SegmentLabel"):
            yield _error("segment-label", "A segment has no label.", "Give every segment a label.")
        if numbers(item, "RecommendedDisplayCIELabValue", 3) is None:
            yield _warning("segment-colour", "A segment has no colour.", "Write Recommended Display CIELab Value.")
    groups = [_functional_group(subject, g, "SegmentIdentificationSequence") for g in subject.frames]
    used = {integer(group, "ReferencedSegmentNumber") for group in groups}
    if undefined := used - set(found):
        yield _error("segment-numbers", f"Frames belong to undefined segments {sorted(undefined)}.", "Define them.")


def _hidden_words(subject: _Subject) -> Iterator[Finding]:
    for item in items(subject.dataset, "SegmentSequence"):
        texts = [text(item, keyword) for keyword in ("SegmentLabel", "SegmentDescription")]
        texts += [
            text(first_item(item, f"SegmentedProperty{part}CodeSequence"), "CodeMeaning") for part in ("Category", "Type")
        ]
        for word in HIDDEN_WORDS:
            if any(word in value.lower() for value in texts):
                yield _warning("hidden-word", f"Weasis hides segments that say {word!r}.", "Choose another name.")


def _frame_number(subject: _Subject) -> Iterator[Finding]:
    count = integer(subject.dataset, "NumberOfFrames")
    if count != len(subject.frames) or count < 1:
        yield _error("frame-count", f"It announces {count} frames, describes {len(subject.frames)}.", "Write it again.")
    if count > MAX_FRAMES:
        yield _warning("many-frames", f"Older Weasis disables segmentations over {MAX_FRAMES} frames.", "Nothing to do.")


def _columns(subject: _Subject) -> Iterator[Finding]:
    columns = integer(subject.dataset, "Columns")
    if columns % 8:
        yield _warning("columns", f"Weasis before 4.7 smears {columns} columns (no multiple of 8).", "Update Weasis.")


def _grid(subject: _Subject) -> Iterator[Finding]:
    orientation = numbers(first_item(subject.shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    if orientation is None:
        remedy = "Write Plane Orientation Sequence once, in the shared group."
        yield _error("shared-orientation", "The shared group has no orientation.", remedy)
    if subject.source is None:
        return
    geometry = subject.source.volume.geometry
    size = integer(subject.dataset, "Rows"), integer(subject.dataset, "Columns")
    if size != geometry.shape[1:]:
        yield _error("same-grid", f"It has {size} pixels, its source {geometry.shape[1:]}.", "Write the source's grid.")
    _, height, width = geometry.spacing_DHW
    source = np.concatenate([geometry.affine[:3, 2] / width, geometry.affine[:3, 1] / height])
    if orientation is not None and np.abs(orientation - source).max() > _DIRECTION_TOLERANCE:
        yield _error("same-grid", "Its orientation is not that of its source.", "Copy Image Orientation (Patient).")
    if text(subject.dataset, "FrameOfReferenceUID") != geometry.frame_of_reference_uid:
        yield _error("frame-of-reference", "Its frame of reference is not that of its source.", "Copy the UID.")


def _measures(subject: _Subject) -> Iterator[Finding]:
    spacing = numbers(first_item(subject.shared, "PixelMeasuresSequence"), "PixelSpacing", 2)
    if spacing is None:
        remedy = "Write Pixel Measures Sequence in the shared group."
        yield _error("pixel-measures", "It has no pixel spacing; several toolkits refuse it.", remedy)


def _places(subject: _Subject) -> Iterator[Finding]:
    if subject.source is None:
        return
    slices = _slices_by_reference(subject)
    if (lost := sum(index < 0 for index in slices)) > 0:
        remedy = "Write the source image of each frame in Derivation Image Sequence."
        yield _error("frame-source", f"{lost} frame(s) name no slice of the source.", remedy)
    positions = [numbers(h, "ImagePositionPatient", 3) for h in subject.source.headers]
    for group, index in zip(subject.frames, slices, strict=True):
        own = numbers(_functional_group(subject, group, "PlanePositionSequence"), "ImagePositionPatient", 3)
        theirs = positions[index] if index >= 0 else None
        if own is None or (theirs is not None and np.abs(own - theirs).max() > _POSITION_TOLERANCE_MM):
            yield _error("frame-position", "A frame lies beside the slice that it names.", "Copy Image Position (Patient).")
            return


def _slices_by_reference(subject: _Subject) -> list[int]:
    """The source slice that each frame names; -1 where it names none."""
    assert subject.source is not None
    by_uid = {uid: index for index, uid in enumerate(subject.source.volume.series.sop_instance_uids)}
    derivations = [_functional_group(subject, g, "DerivationImageSequence") for g in subject.frames]
    images = [first_item(derivation, "SourceImageSequence") for derivation in derivations]
    return [by_uid.get(text(image, "ReferencedSOPInstanceUID"), -1) for image in images]


def _float_map(subject: _Subject) -> Iterator[Finding]:
    if "FloatPixelData" not in subject.dataset:
        yield _error("map-type", "OHIF does not show maps of whole numbers.", "Write Float Pixel Data.")


def _map_order(subject: _Subject) -> Iterator[Finding]:
    """OHIF draws maps in frame order and ignores positions."""
    orientation = numbers(first_item(subject.shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
    groups = [_functional_group(subject, g, "PlanePositionSequence") for g in subject.frames]
    found = [numbers(group, "ImagePositionPatient", 3) for group in groups]
    positions = [position for position in found if position is not None]
    if orientation is not None and len(positions) == len(found) > 0:
        along = np.stack(positions) @ np.cross(orientation[:3], orientation[3:])
        if (np.diff(along) <= 0).any():
            remedy = "Order frames ascending along cross(row, column)."
            yield _error("map-order", "Frames do not ascend; OHIF draws it upside down.", remedy)
    if subject.source and len(found) != subject.source.volume.geometry.shape[0]:
        yield _error("map-complete", "Not every slice has a frame; OHIF draws it shifted.", "Write a frame for every slice.")
