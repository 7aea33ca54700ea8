"""Guidance as a Key Object Selection: the slices to draw next, with score and reason in its text."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd

from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.result_dataset import concept, short
from dicom_io.results import ResultIdentity, SuggestedSlice
from dicom_io.volume import ImageSeries
from dicom_io.write_document import KEY_OBJECTS_CLASS, device_observer, evidence_of, image_item, places_of, write_document

_OF_INTEREST = Code("113000", "DCM", "Of Interest")
_DESCRIPTION = Code("113012", "DCM", "Key Object Description")


def write_key_objects(source: ImageSeries, suggestions: Sequence[SuggestedSlice], identity: ResultIdentity) -> bytes:
    """The slices to draw next as a Key Object Selection (PS3.3 section A.35.4, PS3.16 TID 2010).

    Args:
        source: the image series.
        suggestions: best first.
        identity: UIDs, texts and date of the result.

    Returns:
        A DICOM Part 10 file that references the slices in the order given; its description has a line for each, and one with
        its link where it has one.

    Raises:
        ValueError: there is no suggestion, or one is no acquired slice.
    """
    if not suggestions:
        raise ValueError("a key object selection needs at least one slice")
    places = places_of(source, (one.plane for one in suggestions))
    lines = [f"{identity.task_id}, round {identity.round_number}: draw these slices next (research use)."]
    for rank, (place, one) in enumerate(zip(places, suggestions, strict=True), start=1):
        lines.append(f"{rank}. slice {place + 1} of {len(source.slices)}: score {one.score:.3f}, {short(one.reason, 200)}")
        if one.link:
            lines.append(f"   {one.link}")
    with lenient():
        root = hd.sr.ContainerContentItem(name=concept(_OF_INTEREST), template_id="2010")
        images = [image_item(source, place) for place in places]
        described = hd.sr.TextContentItem(concept(_DESCRIPTION), "\r\n".join(lines), relationship_type="CONTAINS")
        root.ContentSequence = hd.sr.ContentSequence([*device_observer(), described, *images])
        return write_document(source.headers[0], identity, KEY_OBJECTS_CLASS, root, evidence_of(source, places))
