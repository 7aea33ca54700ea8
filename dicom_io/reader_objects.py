"""Annotation objects as readers' software writes them: for the simulated reader of the demo, and for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import highdicom as hd
import numpy as np

from dicom_io.annotation import BoolArray
from dicom_io.contours import FloatArray, outlines
from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.result_dataset import concept, short
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.volume import ImageSeries
from dicom_io.write_document import evidence_of, measurement_report, source_image, write_document
from dicom_io.write_report import REPORT_CLASSES
from dicom_io.write_seg import SegmentationContent, colour_of, content_of_masks, write_segmentation

SOFTWARE = "Simulated Reader"
"""Manufacturer of the objects; no name of ours, because own results are told from annotations by it."""


def write_drawing_seg(
    source: ImageSeries,
    masks: Mapping[int, BoolArray],
    segments: Sequence[SegmentDescription],
    reader: str,
    series_description: str,
    *,
    created: datetime | None = None,
    series_number: int = 900,
) -> bytes:
    """What a reader drew, as SEG BINARY of type MANUAL with frames only where something is drawn.

    Args:
        source: the image series.
        masks: segment number to bool ``(slice, row, column)`` on the source's volume; segments may overlap. Nothing is written
            of slices without foreground.
        segments: all that the object defines, numbered 1..n.
        reader: Content Creator's Name.
        series_description: what a worklist shows.
        created: date and time of the object; now where left out.
        series_number: Series Number.

    Returns:
        A DICOM Part 10 file; its UIDs follow from content, reader and date.

    Raises:
        ValueError: nothing is drawn, or a mask does not fill the volume.
    """
    on_slices = _drawn(source, masks)
    described = [
        hd.seg.SegmentDescription(
            segment_number=segment.number,
            segment_label=short(segment.name),
            segmented_property_category=concept(segment.category),
            segmented_property_type=concept(segment.type),
            algorithm_type="MANUAL",
            display_color=colour_of(segment.colour),
        )
        for segment in segments
    ]
    identity = _identity(source, masks, "SEG", reader, series_description, created, series_number)
    frames, mask_of = content_of_masks(on_slices)
    content = SegmentationContent(
        frames, mask_of, described, overlap=True, content_label="DRAWING", manufacturer=SOFTWARE, creator=reader
    )
    return write_segmentation(source, content, identity)


def write_contour_sr(
    source: ImageSeries,
    masks: Mapping[int, BoolArray],
    segments: Sequence[SegmentDescription],
    reader: str,
    series_description: str,
    *,
    created: datetime | None = None,
    series_number: int = 901,
) -> bytes:
    """What a reader drew, as an SR of TID 1500 with one planar region (TID 1410, closed SCOORD POLYLINE) for each outline.

    Arguments, result and errors are those of :func:`write_drawing_seg`. Outlines run half-way between pixel centres, so
    that the pixel-centre rule gives the mask back; holes are kept (see :func:`dicom_io.contours.outlines`).
    """
    on_slices = _drawn(source, masks)
    identity = _identity(source, masks, "SR", reader, series_description, created, series_number)
    regions = [
        (segment, frame.place, polygon + 0.5)
        for segment in segments
        if segment.number in on_slices
        for frame in content_of_masks({segment.number: on_slices[segment.number]})[0]
        for polygon in outlines(on_slices[segment.number][frame.place])
    ]
    with lenient():
        groups = [
            _planar_group(source, segment, place, points, number, identity)
            for number, (segment, place, points) in enumerate(regions)
        ]
        observer = hd.sr.ObservationContext(
            observer_person_context=hd.sr.ObserverContext(
                observer_type=hd.sr.CodedConcept("121006", "DCM", "Person"),
                observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(name=reader),
            )
        )
        drawn = sorted({place for _, place, _ in regions})
        root = measurement_report(source, drawn, observer, groups)
        evidence = evidence_of(source, drawn)
        return write_document(source.headers[0], identity, REPORT_CLASSES["comprehensive"], root, evidence, SOFTWARE)


def _planar_group(
    source: ImageSeries, segment: SegmentDescription, place: int, points: FloatArray, number: int, identity: ResultIdentity
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """One measurement group: a closed polygon on one slice."""
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=derived_uid("region", identity.sop_instance_uid, str(number)), identifier=short(segment.name)
        ),
        referenced_region=hd.sr.ImageRegion(
            graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
            graphic_data=points,
            source_image=source_image(source, place),
        ),
        finding_category=concept(segment.category),
        finding_type=concept(segment.type),
    )


def _drawn(source: ImageSeries, masks: Mapping[int, BoolArray]) -> dict[int, BoolArray]:
    """The masks on the acquired slices, ``(acquired slice, row, column)``."""
    on_slices = {number: source.onto_slices(mask_DHW) for number, mask_DHW in masks.items()}
    if not any(mask_SHW.any() for mask_SHW in on_slices.values()):
        raise ValueError("nothing is drawn")
    return on_slices


def _identity(
    source: ImageSeries,
    masks: Mapping[int, BoolArray],
    kind: str,
    reader: str,
    series_description: str,
    created: datetime | None,
    series_number: int,
) -> ResultIdentity:
    """UIDs that follow from what is drawn, by whom, on what and when."""
    moment = created or datetime.now(UTC)
    digest = hashlib.sha256()
    for segment_number in sorted(masks):
        digest.update(segment_number.to_bytes(4, "little"))
        digest.update(np.packbits(masks[segment_number]).tobytes())
    parts = (source.volume.series.series_instance_uid, kind, reader, series_description, moment.isoformat(), digest.hexdigest())
    return ResultIdentity(
        series_instance_uid=derived_uid("reader-series", *parts),
        sop_instance_uid=derived_uid("reader-instance", *parts),
        series_number=series_number,
        series_description=series_description,
        task_id="drawing",
        round_number=0,
        algorithm_version=SOFTWARE,
        created=moment,
    )
