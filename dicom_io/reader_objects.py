"""Annotation objects as readers' software writes them: for the simulated reader of the demo, and for tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import highdicom as hd
import numpy as np
from pydicom.dataset import Dataset

from dicom_io.annotation import BoolArray
from dicom_io.contours import FloatArray, outlines
from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.source_headers import encoded, identity_arguments, short, source_headers
from dicom_io.volume import ImageSeries
from dicom_io.write_seg import SegmentationContent, colour_of, concept, write_segmentation

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
        masks: segment number to bool ``(slice, row, column)`` on the source's grid; segments may overlap. Nothing is written
            of slices without foreground.
        segments: all that the object defines, numbered 1..n.
        reader: Content Creator's Name.
        series_description: what a worklist shows.
        created: date and time of the object; now where left out.
        series_number: Series Number.

    Returns:
        A DICOM Part 10 file; its UIDs follow from content, reader and date.

    Raises:
        ValueError: nothing is drawn, or a mask does not fill the grid.
    """
    drawn = _drawn_slices(source, masks)
    pixels_DHWS = np.zeros((len(drawn), *source.volume.geometry.shape[1:], len(segments)), np.uint8)
    for place, segment in enumerate(segments):
        if segment.number in masks:
            pixels_DHWS[..., place] = masks[segment.number][drawn]
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
    content = SegmentationContent(pixels_DHWS, described, "DRAWING", SOFTWARE, reader)
    return write_segmentation(source, content, identity, drawn)


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
    drawn = _drawn_slices(source, masks)
    identity = _identity(source, masks, "SR", reader, series_description, created, series_number)
    with lenient():
        evidence = source_headers(source, drawn)
        groups: list[hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations] = []
        for segment in segments:
            for index, header in zip(drawn, evidence, strict=True):
                mask_DHW = masks.get(segment.number)
                for polygon in [] if mask_DHW is None else outlines(mask_DHW[index]):
                    groups.append(_planar_group(segment, header, polygon + 0.5, len(groups), identity))
        report = hd.sr.MeasurementReport(
            observation_context=hd.sr.ObservationContext(
                observer_person_context=hd.sr.ObserverContext(
                    observer_type=hd.sr.CodedConcept("121006", "DCM", "Person"),
                    observer_identifying_attributes=hd.sr.PersonObserverIdentifyingAttributes(name=reader),
                )
            ),
            procedure_reported=hd.sr.CodedConcept("363679005", "SCT", "Imaging procedure"),
            imaging_measurements=groups,
        )
        dataset = hd.sr.ComprehensiveSR(
            evidence=evidence,
            content=report,
            manufacturer=SOFTWARE,
            **identity_arguments(identity),
        )
    return encoded(dataset, identity.created)


def _planar_group(
    segment: SegmentDescription, header: Dataset, points: FloatArray, place: int, identity: ResultIdentity
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """One measurement group: a closed polygon on one slice."""
    return hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=derived_uid("region", identity.sop_instance_uid, str(place)), identifier=short(segment.name)
        ),
        referenced_region=hd.sr.ImageRegion(
            graphic_type=hd.sr.GraphicTypeValues.POLYLINE,
            graphic_data=points,
            source_image=hd.sr.SourceImageForRegion.from_source_image(header),
        ),
        finding_category=concept(segment.category),
        finding_type=concept(segment.type),
    )


def _drawn_slices(source: ImageSeries, masks: Mapping[int, BoolArray]) -> list[int]:
    drawn = np.zeros(source.volume.geometry.shape[0], bool)
    for mask_DHW in masks.values():
        if mask_DHW.shape != source.volume.geometry.shape:
            raise ValueError(f"mask {mask_DHW.shape} does not fill the source's grid {source.volume.geometry.shape}")
        drawn |= mask_DHW.any(axis=(1, 2))
    if not drawn.any():
        raise ValueError("nothing is drawn")
    return [int(index) for index in np.flatnonzero(drawn)]


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
