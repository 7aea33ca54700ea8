"""Rules for Segmentations: BINARY, FRACTIONAL and LABELMAP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import RLELossless

from dicom_io.datasets import integer, items, numbers, text
from dicom_io.viewer_lint.model import Kind, Rule, Severity, Subject, Viewer

HIDDEN_WORDS = ("table removal", "table segmentation", "tabletop", "couch", "patient support", "bed removal")
"""Words at which Weasis hides a segmentation."""
MAX_FRAMES = 400
"""More frames than this, and Weasis 4.6 leaves the segmentation out."""
MAX_SEGMENTS = 255
"""More segments than this do not fit into the bytes in which OHIF keeps them."""
_SEG = (Kind.SEG,)


def _type(subject: Subject) -> str:
    return text(subject.dataset, "SegmentationType").upper()


def _segments(subject: Subject) -> Sequence[Dataset]:
    return items(subject.dataset, "SegmentSequence")


def _segmentation_type(subject: Subject) -> Iterator[str]:
    if _type(subject) not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
        yield "Its Segmentation Type is none of BINARY, FRACTIONAL and LABELMAP."


def _fractional(subject: Subject) -> Iterator[str]:
    if _type(subject) == "FRACTIONAL" and not _is_binary_valued(subject):
        yield "It is FRACTIONAL, with values between nothing and all."


def _is_binary_valued(subject: Subject) -> bool:
    """Whether a fractional segmentation holds zero and its maximum only; compressed pixels are not looked at."""
    if subject.is_compressed:
        return False
    pixels = np.frombuffer(subject.pixels("PixelData"), np.uint8)
    return bool(np.isin(pixels, (0, integer(subject.dataset, "MaximumFractionalValue"))).all())


def _labelmap(subject: Subject) -> Iterator[str]:
    if _type(subject) == "LABELMAP":
        yield "It is a LABELMAP."


def _not_binary(subject: Subject) -> Iterator[str]:
    if _type(subject) in {"FRACTIONAL", "LABELMAP"}:
        yield f"It is {_type(subject)}."


def _background(subject: Subject) -> Iterator[str]:
    if _type(subject) == "LABELMAP" and any(integer(item, "SegmentNumber", -1) == 0 for item in _segments(subject)):
        yield "Its Segment Sequence has an item 0 for the background."


def _compressed(subject: Subject) -> Iterator[str]:
    if subject.is_compressed and subject.transfer_syntax != RLELossless:
        yield f"Its pixels are compressed by {subject.transfer_syntax.name}."


def _compressed_bits(subject: Subject) -> Iterator[str]:
    if subject.transfer_syntax == RLELossless and integer(subject.dataset, "BitsAllocated") == 1:
        yield "Its single bits are run-length encoded."


def _compressed_labels(subject: Subject) -> Iterator[str]:
    if subject.transfer_syntax == RLELossless and integer(subject.dataset, "BitsAllocated") != 1:
        yield "Its pixels are run-length encoded."


def _numbers(subject: Subject) -> Iterator[str]:
    found = [integer(item, "SegmentNumber") for item in _segments(subject)]
    if _type(subject) == "LABELMAP" and found[:1] == [0]:
        found = found[1:]
    if not found:
        yield "It defines no segment."
    elif found != list(range(1, len(found) + 1)):
        shown = ", ".join(map(str, found[:10])) + (" ..." if len(found) > 10 else "")
        yield f"Its segments are numbered {shown}."


def _undefined(subject: Subject) -> Iterator[str]:
    if _type(subject) == "LABELMAP":
        return
    defined = {integer(item, "SegmentNumber") for item in _segments(subject)}
    used = {frame.segment for frame in subject.frames}
    if 0 in used - defined:
        yield "Frames belong to no segment."
    if undefined := sorted(used - defined - {0}):
        yield f"Frames belong to segments that it does not define, such as {undefined[0]}."


def _algorithm(subject: Subject) -> Iterator[str]:
    kinds = {"MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"}
    for item in _segments(subject):
        if text(item, "SegmentAlgorithmType") not in kinds and integer(item, "SegmentNumber") != 0:
            yield f"Segment {integer(item, 'SegmentNumber')} does not say how it was made."


def _labels(subject: Subject) -> Iterator[str]:
    for item in _segments(subject):
        if not text(item, "SegmentLabel"):
            yield f"Segment {integer(item, 'SegmentNumber')} has no label."


def _colours(subject: Subject) -> Iterator[str]:
    lacking = [
        integer(item, "SegmentNumber")
        for item in _segments(subject)
        if numbers(item, "RecommendedDisplayCIELabValue", 3) is None and integer(item, "SegmentNumber") != 0
    ]
    if lacking:
        yield f"{len(lacking)} segment(s) have no colour."


def _hidden_word(subject: Subject) -> Iterator[str]:
    own = [text(subject.dataset, keyword) for keyword in ("SeriesDescription", "ContentDescription", "ContentLabel")]
    for word in HIDDEN_WORDS:
        if any(_says(value, word) for value in own):
            yield f"Its description says {word!r}."
            return
    for item in _segments(subject):
        texts = [text(item, keyword) for keyword in ("SegmentLabel", "SegmentDescription", "SegmentAlgorithmName")]
        for word in HIDDEN_WORDS:
            if any(_says(value, word) for value in texts):
                yield f"Segment {integer(item, 'SegmentNumber')} says {word!r}."
                break


def _says(value: str, word: str) -> bool:
    """Whether a text holds the word; case, spaces and signs play no part."""
    return _letters(word) in _letters(value)


def _letters(value: str) -> str:
    return "".join(character for character in value.lower() if character.isalnum())


def _columns(subject: Subject) -> Iterator[str]:
    columns = subject.size[1]
    if columns % 8 and integer(subject.dataset, "BitsAllocated") == 1:
        yield f"It has {columns} columns of single bits, no multiple of 8."


def _many_frames(subject: Subject) -> Iterator[str]:
    if len(subject.groups) > MAX_FRAMES:
        yield f"It has {len(subject.groups)} frames."


def _many_segments(subject: Subject) -> Iterator[str]:
    if len(_segments(subject)) > MAX_SEGMENTS:
        yield f"It defines {len(_segments(subject))} segments."


def _siblings(subject: Subject) -> Iterator[str]:
    if subject.siblings > 1:
        yield f"Its series holds {subject.siblings} objects."


RULES = (
    Rule(
        "segmentation-type",
        Severity.ERROR,
        _SEG,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS),
        "There are no others (PS3.3 section C.8.20.2); nothing tells what the pixels mean.",
        "Write BINARY.",
        _segmentation_type,
    ),
    Rule(
        "fractional",
        Severity.ERROR,
        _SEG,
        (Viewer.OHIF,),
        'OHIF refuses it: "Fractional segmentations are not yet supported" (measured, 3.12.10). Values that are all zero or '
        "the maximum are shown.",
        "Write BINARY, graded values as bands or as a Parametric Map.",
        _fractional,
    ),
    Rule(
        "labelmap",
        Severity.WARNING,
        _SEG,
        (Viewer.OHIF,),
        "OHIF has shown label maps since its pull request 5158 (June 2025); earlier releases do not know the class. Orthanc "
        "1.10 takes it by C-STORE only with UnknownSopClassAccepted (measured).",
        "Write BINARY for sites with older software.",
        _labelmap,
    ),
    Rule(
        "not-binary",
        Severity.WARNING,
        _SEG,
        (Viewer.WEASIS,),
        "Weasis shows nothing of it before 4.7.0 (Weasis issue 815).",
        "Update Weasis, or write BINARY.",
        _not_binary,
    ),
    Rule(
        "labelmap-background",
        Severity.WARNING,
        _SEG,
        (Viewer.OHIF,),
        "OHIF counts it as the first segment: each segment has the colour of the one before (measured, 3.12.10).",
        "Leave out that item; the object stays valid.",
        _background,
    ),
    Rule(
        "compressed",
        Severity.ERROR,
        _SEG,
        (Viewer.SLICER, Viewer.OHIF),
        "dcmqi refuses JPEG-LS and JPEG 2000 segmentations, lossless ones too (measured, 1.5.7); OHIF reads the compressed "
        "bytes as pixels (Cornerstone3D, unpackPixelData).",
        "Write Explicit VR Little Endian, or Deflated Explicit VR Little Endian where size matters.",
        _compressed,
    ),
    Rule(
        "compressed-bits",
        Severity.ERROR,
        _SEG,
        (Viewer.OHIF,),
        'OHIF shows nothing: "No implementation for rle + bit packing" (Cornerstone3D, generateToolState).',
        "Write Explicit VR Little Endian.",
        _compressed_bits,
    ),
    Rule(
        "compressed-labels",
        Severity.WARNING,
        _SEG,
        (Viewer.OHIF,),
        "Newer builds of OHIF save and read this; its way of reading it was untested before (a note in Cornerstone3D says so).",
        "Write Explicit VR Little Endian for sites with older software.",
        _compressed_labels,
    ),
    Rule(
        "segment-numbers",
        Severity.ERROR,
        _SEG,
        (Viewer.OHIF, Viewer.SLICER),
        "OHIF takes the number for the place (measured, 3.12.10); dcmqi refuses gaps and crashes on repeated numbers "
        "(measured, 1.5.7).",
        "Number segments from 1 without gaps, in order.",
        _numbers,
    ),
    Rule(
        "segment-undefined",
        Severity.ERROR,
        _SEG,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS),
        "Such frames have neither name nor colour: dcmqi refuses the object (measured, 1.5.7), Weasis leaves the frames out.",
        "Define every segment that frames belong to, and write Segment Identification Sequence for each frame.",
        _undefined,
    ),
    Rule(
        "segment-algorithm",
        Severity.ERROR,
        _SEG,
        (Viewer.SLICER,),
        "dcmqi refuses a segment without Segment Algorithm Type (measured, 1.5.7).",
        "Write MANUAL, SEMIAUTOMATIC or AUTOMATIC.",
        _algorithm,
    ),
    Rule(
        "segment-label",
        Severity.WARNING,
        _SEG,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS),
        "Viewers list it under its number, or without a name.",
        "Give every segment a label.",
        _labels,
    ),
    Rule(
        "segment-colour",
        Severity.WARNING,
        _SEG,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS),
        "Each viewer chooses its own; dcmqi gives all such segments the same (measured, 1.5.7).",
        "Write Recommended Display CIELab Value.",
        _colours,
    ),
    Rule(
        "hidden-word",
        Severity.WARNING,
        _SEG,
        (Viewer.WEASIS,),
        "Weasis starts with it hidden, because it looks like the table of the scanner (its SegVisibilityPolicy).",
        "Choose another name.",
        _hidden_word,
    ),
    Rule(
        "columns",
        Severity.WARNING,
        _SEG,
        (Viewer.WEASIS,),
        "Weasis before 4.7 smears rows whose width is no multiple of 8, because of its decoder (its SegBinaryMaskWorkaround).",
        "Update Weasis.",
        _columns,
    ),
    Rule(
        "many-frames",
        Severity.WARNING,
        _SEG,
        (Viewer.WEASIS,),
        f"Weasis 4.6 leaves segmentations of more than {MAX_FRAMES} frames out (Weasis issue 680).",
        "Update Weasis, or write fewer slices or segments an object.",
        _many_frames,
    ),
    Rule(
        "many-segments",
        Severity.WARNING,
        _SEG,
        (Viewer.OHIF,),
        "OHIF keeps segment numbers in bytes unless told otherwise (Cornerstone3D, TypedArrayConstructor).",
        "Write several objects.",
        _many_segments,
    ),
    Rule(
        "last-instance",
        Severity.ERROR,
        (Kind.SEG, Kind.SR),
        (Viewer.OHIF,),
        "OHIF shows the last instance of such a series only (measured, 3.12.10).",
        "Give each object a series of its own.",
        _siblings,
    ),
)
