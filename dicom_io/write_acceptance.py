"""What a reader accepted of a prediction, as a SEG of its own: the prediction on those slices, and a mark on each of them.

The labels keep their Segment Algorithm Type: nobody drew them. The mark is the reader's own: a segment, MANUAL, with one
pixel in the corner of each accepted slice, which viewers hardly show. Rule 3 of ``docs/annotation-contract.md`` reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import highdicom as hd
import numpy as np

from dicom_io.annotation import BoolArray, LabelArray
from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.result_dataset import concept, short
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.volume import ImageSeries
from dicom_io.write_seg import SegmentationContent, colour_of, content_of_masks, machine_segment, write_segmentation

_QUALITY = Code("363787002", "SCT", "Observable entity")
_ACCEPTED = Code("accepted", "99PACSAPP", "Slices accepted by a reader")
_COLOUR = (120, 220, 140)


def write_acceptance(
    source: ImageSeries,
    labels_DHW: LabelArray,
    accepted: Collection[int],
    segments: Sequence[SegmentDescription],
    identity: ResultIdentity,
    reader: str,
    mark: str,
    *,
    with_drawing: bool,
) -> bytes:
    """What a reader accepted, as SEG BINARY (PS3.3 section A.51).

    Args:
        source: the image series.
        labels_DHW: uint8 ``(slice, row, column)`` on the source's volume, the prediction that was shown.
        accepted: planes of acquired slices that the reader accepts as they are, empty ones included.
        segments: meaning of the labels 1..n.
        identity: UIDs, texts and date of the object.
        reader: Content Creator's Name; empty where nobody is signed in.
        mark: Segment Label of the mark, a word of the annotation contract.
        with_drawing: whether a reader's drawing took part in the prediction.

    Returns:
        A DICOM Part 10 file; the mark is its last segment.

    Raises:
        ValueError: nothing is accepted, a plane was not acquired, or the labels do not fill the volume.
    """
    if not accepted or any(source.slice_at(plane) is None for plane in accepted):
        raise ValueError("accepted are one or more planes of acquired slices")
    on_slices = source.onto_slices(labels_DHW)
    chosen = np.array([one.plane in accepted for one in source.slices])
    masks: dict[int, BoolArray] = {s.number: (on_slices == s.number) & chosen[:, None, None] for s in segments}
    number = len(segments) + 1
    masks[number] = np.zeros(on_slices.shape, bool)
    masks[number][chosen, 0, 0] = True
    kind = "SEMIAUTOMATIC" if with_drawing else "AUTOMATIC"
    described = [machine_segment(source, segment, identity, kind) for segment in segments]
    frames, mask_of = content_of_masks(masks)
    content = SegmentationContent(
        frames, mask_of, [*described, _mark(number, mark)], overlap=True, content_label="ACCEPTED", creator=reader
    )
    return write_segmentation(source, content, identity)


def _mark(number: int, name: str) -> hd.seg.SegmentDescription:
    with lenient():
        return hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=short(name),
            segmented_property_category=concept(_QUALITY),
            segmented_property_type=concept(_ACCEPTED),
            algorithm_type="MANUAL",
            display_color=colour_of(_COLOUR),
        )
