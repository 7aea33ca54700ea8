"""Guidance as a Key Object Selection: the slices to draw next, with score and reason in its text."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd

from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.results import MANUFACTURER, ResultIdentity
from dicom_io.source_headers import encoded, identity_arguments, short, source_headers
from dicom_io.volume import ImageSeries
from dicom_io.write_seg import concept

_OF_INTEREST = Code("113000", "DCM", "Of Interest")


def write_guidance(source: ImageSeries, suggestions: Sequence[tuple[int, float, str]], identity: ResultIdentity) -> bytes:
    """The slices to draw next as a Key Object Selection (PS3.3 section A.35.4, PS3.16 TID 2010).

    Args:
        source: the image series.
        suggestions: (slice index, score, reason), best first.
        identity: UIDs, texts and date of the result.

    Returns:
        A DICOM Part 10 file that references the slices in the order given; its description has one line for each.

    Raises:
        ValueError: there is no suggestion, or an index is outside of the series.
    """
    if not suggestions:
        raise ValueError("a key object selection needs at least one slice")
    if not all(0 <= index < len(source.headers) for index, _, _ in suggestions):
        raise ValueError("a suggested slice lies outside of the series")
    lines = [f"{identity.task_id}, round {identity.round_number}: draw these slices next (research use)."]
    for rank, (index, score, reason) in enumerate(suggestions, start=1):
        lines.append(f"{rank}. slice {index + 1} of {len(source.headers)}: score {score:.3f}, {short(reason, 200)}")
    with lenient():
        chosen = source_headers(source, [index for index, _, _ in suggestions])
        device = hd.sr.ObserverContext(
            observer_type=hd.sr.CodedConcept("121007", "DCM", "Device"),
            observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
                uid=derived_uid("device", MANUFACTURER), name=MANUFACTURER
            ),
        )
        content = hd.ko.KeyObjectSelection(
            document_title=concept(_OF_INTEREST),
            referenced_objects=chosen,
            observer_device_context=device,
            description="\r\n".join(lines),
        )
        dataset = hd.ko.KeyObjectSelectionDocument(
            evidence=chosen,
            content=content,
            manufacturer=MANUFACTURER,
            manufacturer_model_name=MANUFACTURER,
            **identity_arguments(identity),
        )
    return encoded(dataset, identity.created)
