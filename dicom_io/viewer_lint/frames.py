"""Rules for objects that lay frames over images: Segmentations and Parametric Maps."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dicom_io.datasets import first_item, integer, items, numbers, text
from dicom_io.viewer_lint.model import FloatArray, Kind, Rule, Severity, Slices, Subject, Viewer

_KINDS = (Kind.SEG, Kind.MAP)
_ORIENTATION_TOLERANCE = 1e-3
"""Greatest difference of direction cosines that Cornerstone3D takes for the same orientation (``tolerance``)."""
_SLICE_MM = 0.01
"""Farther from the slice that it names than this, and a frame lies beside it."""


def _referenced_series(subject: Subject) -> Iterator[str]:
    series = [text(item, "SeriesInstanceUID") for item in items(subject.dataset, "ReferencedSeriesSequence")]
    if not series or not series[0]:
        yield "It has no Referenced Series Sequence."
    elif subject.source and series[0] != subject.source.volume.series.series_instance_uid:
        yield "The first item of Referenced Series Sequence is not its source."


def _frame_count(subject: Subject) -> Iterator[str]:
    count, described = integer(subject.dataset, "NumberOfFrames"), len(subject.groups)
    if count < 1:
        yield "It has no frame."
    elif count != described:
        yield f"It announces {count} frames and describes {described}."


def _pixels(subject: Subject) -> Iterator[str]:
    sizes = {"PixelData": integer(subject.dataset, "BitsAllocated", 1), "FloatPixelData": 32, "DoubleFloatPixelData": 64}
    present = [keyword for keyword in sizes if keyword in subject.dataset]
    if not present:
        yield "It holds no pixels."
        return
    if subject.is_compressed:
        return
    rows, columns = subject.size
    wanted = integer(subject.dataset, "NumberOfFrames") * rows * columns * sizes[present[0]]
    held = 8 * len(subject.pixels(present[0]))
    if held < wanted:
        yield f"It holds {held // 8} bytes of pixels, and its frames take {-(-wanted // 8)}."


def _orientation(subject: Subject) -> Iterator[str]:
    if not subject.shared:
        yield "It has no Shared Functional Groups Sequence."
    elif subject.orientation is None:
        yield "It states no Image Orientation (Patient)."


def _position(subject: Subject) -> Iterator[str]:
    if lost := sum(frame.position is None for frame in subject.frames):
        yield f"{lost} frame(s) state no Image Position (Patient)."


def _measures(subject: Subject) -> Iterator[str]:
    groups = [first_item(group, "PixelMeasuresSequence") for group in (subject.shared, *subject.groups[:1])]
    if all(numbers(group, "PixelSpacing", 2) is None for group in groups):
        yield "It states no Pixel Spacing."


def _same_grid(subject: Subject) -> Iterator[str]:
    if subject.source and subject.size != tuple(subject.source.acquired_size):
        rows, columns = subject.source.acquired_size
        yield f"It has {subject.size[0]} x {subject.size[1]} pixels, its source {rows} x {columns}."


def _same_plane(subject: Subject) -> Iterator[str]:
    if subject.source is None or subject.orientation is None:
        return
    own, theirs = subject.orientation, Slices(subject.source).orientation
    if not any(_equal(own, turned) for turned in _orientations_of_plane(theirs)):
        yield "Its frames lie in another plane than the slices of its source."


def turned_in_plane(subject: Subject) -> Iterator[str]:
    """Whether frames lie in the plane of their source's slices, with other directions of rows and columns."""
    if subject.source is None or subject.orientation is None:
        return
    own, theirs = subject.orientation, Slices(subject.source).orientation
    if not _equal(own, theirs) and any(_equal(own, turned) for turned in _orientations_of_plane(theirs)):
        yield "Its frames are flipped or turned against the slices of its source."


def _equal(one: FloatArray, other: FloatArray) -> bool:
    return bool(np.abs(one - other).max() <= _ORIENTATION_TOLERANCE)


def _orientations_of_plane(orientation: FloatArray) -> Iterator[FloatArray]:
    """The eight orientations of the same plane."""
    row, column = orientation[:3], orientation[3:]
    for first, second in ((row, column), (column, row)):
        for sign in (1, -1):
            for other in (1, -1):
                yield np.concatenate([sign * first, other * second])


def _frame_of_reference(subject: Subject) -> Iterator[str]:
    if subject.source is None or subject.source.volume.geometry.frame_of_reference_is_derived:
        return
    if text(subject.dataset, "FrameOfReferenceUID") != subject.source.volume.geometry.frame_of_reference_uid:
        yield "Its frame of reference is not that of its source."


def _frame_source(subject: Subject) -> Iterator[str]:
    if subject.source is None:
        lost = sum(frame.image is None and not frame.has_own_position for frame in subject.frames)
        if lost:
            yield f"{lost} frame(s) name no source image and state no position of their own."
        return
    slices = Slices(subject.source)
    lost = sum(slices.named_by(frame) < 0 and slices.at(frame) < 0 for frame in subject.frames)
    if lost:
        yield f"{lost} frame(s) neither name a slice of the source nor lie on one."


def _frame_position(subject: Subject) -> Iterator[str]:
    if subject.source is None:
        return
    slices = Slices(subject.source)
    beside = 0
    for frame in subject.frames:
        index = slices.named_by(frame)
        if index >= 0 and frame.position is not None:
            beside += bool(np.abs(frame.position - slices.positions[index]).max() > _SLICE_MM)
    if beside:
        yield f"{beside} frame(s) lie beside the slice that they name."


def _frame_by_index(subject: Subject) -> Iterator[str]:
    listed = items(subject.dataset, "SourceImageSequence")
    if subject.source is None or not listed:
        return
    slices = Slices(subject.source)
    wrong = 0
    for frame, item in zip(subject.frames, listed, strict=False):
        if frame.image is None:
            index = slices.of(text(item, "ReferencedSOPInstanceUID"), integer(item, "ReferencedFrameNumber"))
            wrong += index != slices.at(frame)
    if wrong:
        yield f"{wrong} frame(s) name no source image, and Source Image Sequence has another slice at their place in the list."


def _frame_number(subject: Subject) -> Iterator[str]:
    if subject.source is None or not Slices(subject.source).is_multi_frame:
        return
    uids = Slices(subject.source).uids
    lost = sum(frame.image is not None and frame.image[0] in uids and not frame.image[1] for frame in subject.frames)
    if lost:
        yield f"{lost} frame(s) name a multi-frame image without saying which frame of it."


def _multi_frame_source(subject: Subject) -> Iterator[str]:
    if subject.source and Slices(subject.source).is_multi_frame:
        yield "Its source is a multi-frame image."


RULES = (
    Rule(
        "referenced-series",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF,),
        "OHIF leaves an object without it out of the study (measured, 3.12.10; OHIF issue 4030), and lays it over the series"
        " of its first item.",
        "Write Referenced Series Sequence with the source series as its first item.",
        _referenced_series,
    ),
    Rule(
        "frame-count",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS),
        "Viewers walk through the functional groups and take the pixels frame by frame: one too many or too few, and the "
        "rest is lost or belongs to another slice.",
        "Write one functional group for each frame.",
        _frame_count,
    ),
    Rule(
        "pixel-data",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.SLICER, Viewer.WEASIS),
        "dcmqi refuses such an object (measured, 1.5.7), others show part of it.",
        "Write all frames; single bits go on over the ends of rows and frames (PS3.5 section 8.1.1).",
        _pixels,
    ),
    Rule(
        "plane-orientation",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.SLICER),
        "OHIF looks for it in the shared group, then in that of the first frame, and fails without either (Cornerstone3D, "
        "checkOrientation); dcmqi refuses the object (measured, 1.5.7).",
        "Write Plane Orientation Sequence once, in the shared group.",
        _orientation,
    ),
    Rule(
        "plane-position",
        Severity.ERROR,
        _KINDS,
        (Viewer.SLICER,),
        "dcmqi crashes on it (measured, 1.5.7): 3D Slicer loads nothing.",
        "Write Plane Position Sequence for each frame.",
        _position,
    ),
    Rule(
        "pixel-measures",
        Severity.ERROR,
        _KINDS,
        (Viewer.SLICER,),
        "dcmqi refuses the object (measured, 1.5.7), and highdicom does; OHIF itself saves such ones.",
        "Write Pixel Measures Sequence with Pixel Spacing and Slice Thickness in the shared group.",
        _measures,
    ),
    Rule(
        "same-grid",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.WEASIS),
        'OHIF stops with "different geometry dimensions" (Cornerstone3D, insertPixelDataPlanar); Weasis up to 4.6 lays pixel'
        " upon pixel (Weasis issue 693).",
        "Write it on the pixels of its source.",
        _same_grid,
    ),
    Rule(
        "same-plane",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.WEASIS),
        'OHIF stops with "orthogonal" or "oblique to the acquisition plane ... not yet supported" (Cornerstone3D, '
        "generateToolState).",
        "Copy Image Orientation (Patient) of the images, and resample to their slices.",
        _same_plane,
    ),
    Rule(
        "same-orientation",
        Severity.WARNING,
        (Kind.SEG,),
        (Viewer.WEASIS,),
        "OHIF turns the frames back; Weasis up to 4.6 lays their pixels over the image as they are, mirrored or turned (its "
        "SegSpecialElement).",
        "Copy Image Orientation (Patient) of the images.",
        turned_in_plane,
    ),
    Rule(
        "frame-of-reference",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.SLICER),
        "Positions in two frames of reference cannot be compared: 3D Slicer draws it wherever the numbers fall, and OHIF "
        "finds no slice by position.",
        "Copy Frame of Reference UID of the images.",
        _frame_of_reference,
    ),
    Rule(
        "frame-source",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.WEASIS),
        "OHIF finds the slice of a frame by the source image in the frame's own group, else by its position to 0.001 mm, and"
        " drops the frame without a word where neither fits (Cornerstone3D, findReferenceSourceImageId); Weasis does "
        "likewise, to 0.01 mm.",
        "Write Derivation Image Sequence with the source image of each frame, and Image Position (Patient) as the image has "
        "it.",
        _frame_source,
    ),
    Rule(
        "frame-position",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF, Viewer.SLICER),
        "OHIF and Weasis go by the reference, 3D Slicer by the position: one of them shows the frame in the wrong place.",
        "Copy Image Position (Patient) of the image that the frame names.",
        _frame_position,
    ),
    Rule(
        "frame-by-index",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF,),
        "For frames without Derivation Image Sequence OHIF takes the Source Image Sequence of the whole object for a list of"
        " their slices, whatever the frames' positions say (Cornerstone3D, findReferenceSourceImageId).",
        "Write Derivation Image Sequence for each frame, or leave Source Image Sequence out.",
        _frame_by_index,
    ),
    Rule(
        "frame-number",
        Severity.ERROR,
        _KINDS,
        (Viewer.OHIF,),
        "Without it OHIF lays all frames over one frame of the image, because they share one SOP Instance UID "
        "(Cornerstone3D, sopUIDImageIdIndexMap).",
        "Write Referenced Frame Number beside the source image.",
        _frame_number,
    ),
    Rule(
        "multi-frame-source",
        Severity.WARNING,
        (Kind.SEG,),
        (Viewer.WEASIS,),
        "References to frames are not followed by Weasis 4.6 (Weasis issue 666).",
        "Nothing to do; use another viewer, or single-frame images.",
        _multi_frame_source,
    ),
)
