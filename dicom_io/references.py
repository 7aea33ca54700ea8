"""Images and frames that an annotation object names, wherever in the object they stand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_io.datasets import UNREADABLE, items, text
from dicom_io.functional_groups import Macro

ImageReferences = tuple[tuple[str, int], ...]
"""SOP Instance UID and frame number from 1 of images; 0 where no frame is named."""


@dataclass(frozen=True)
class References:
    """What an annotation object names, without repetition, in its order.

    Attributes:
        series: Series Instance UIDs.
        instances: SOP Instance UIDs.
        frames: SOP Instance UID and frame number of frames of multi-frame images.
    """

    series: tuple[str, ...]
    instances: tuple[str, ...]
    frames: tuple[tuple[str, int], ...]


def references_of(dataset: Dataset) -> References:
    """What a SEG, SR or RTSTRUCT names.

    Instances come from the sequences that list them by series; where those are missing, from frames (SEG), content items (SR)
    or contours (RTSTRUCT).
    """
    series: dict[str, None] = {}
    named: dict[tuple[str, int], None] = {}
    for item in _series_items(dataset, text(dataset, "StudyInstanceUID")):
        if uid := text(item, "SeriesInstanceUID"):
            series[uid] = None
        for keyword in ("ReferencedInstanceSequence", "ReferencedSOPSequence", "ContourImageSequence"):
            named.update(dict.fromkeys(image_references(items(item, keyword))))
    listed = {uid: None for uid, _ in named}
    inner = dict.fromkeys(_inner_references(dataset, contours=not named))
    instances = listed or {uid: None for uid, _ in inner}
    frames = {(uid, frame): None for uid, frame in (*named, *inner) if frame}
    return References(tuple(series), tuple(instances), tuple(frames))


def image_references(references: Iterable[Dataset]) -> ImageReferences:
    """The images that items with the Image SOP Instance Reference macro name (PS3.3 table 10-3)."""
    found: dict[tuple[str, int], None] = {}
    for item in references:
        if uid := text(item, "ReferencedSOPInstanceUID"):
            for frame in _frame_numbers(item) or (0,):
                found[uid, frame] = None
    return tuple(found)


def _frame_numbers(item: Dataset) -> tuple[int, ...]:
    try:
        value = item.get("ReferencedFrameNumber")
        numbers = () if value is None else (value,) if isinstance(value, int | str) else tuple(value)
        return tuple(int(number) for number in numbers)
    except UNREADABLE:
        return ()


def source_images() -> Macro[ImageReferences]:
    """Reads which images a frame was derived from (PS3.3 section C.7.6.16.2.6)."""
    return Macro("DerivationImageSequence", _source_images)


def _source_images(group: Dataset) -> ImageReferences:
    derivations = items(group, "DerivationImageSequence")
    return image_references(image for one in derivations for image in items(one, "SourceImageSequence"))


def content_items(dataset: Dataset) -> Iterator[Dataset]:
    """All content items of an SR, parents before children."""
    pending = list(reversed(items(dataset, "ContentSequence")))
    while pending:
        item = pending.pop()
        yield item
        pending.extend(reversed(items(item, "ContentSequence")))


def _series_items(dataset: Dataset, own_study: str) -> Iterator[Dataset]:
    """Items that name a series: of the Common Instance Reference module, of an SR's evidence, of a structure set."""
    yield from items(dataset, "ReferencedSeriesSequence")
    studies = (
        *items(dataset, "CurrentRequestedProcedureEvidenceSequence"),
        *items(dataset, "PertinentOtherEvidenceSequence"),
        *items(dataset, "StudiesContainingOtherReferencedInstancesSequence"),
    )
    for study in sorted(studies, key=lambda item: text(item, "StudyInstanceUID") != own_study):
        yield from items(study, "ReferencedSeriesSequence")
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items(frame, "RTReferencedStudySequence"):
            yield from items(study, "RTReferencedSeriesSequence")


def _inner_references(dataset: Dataset, *, contours: bool) -> Iterator[tuple[str, int]]:
    """Images that single frames, content items and (where asked for: they are many) contours name."""
    source = source_images()
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in items(dataset, keyword):
            yield from source.of(group) or ()
    for item in content_items(dataset):
        if text(item, "ValueType") == "IMAGE":
            yield from image_references(items(item, "ReferencedSOPSequence"))
    for roi in items(dataset, "ROIContourSequence") if contours else ():
        for contour in items(roi, "ContourSequence"):
            yield from image_references(items(contour, "ContourImageSequence"))
