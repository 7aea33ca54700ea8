"""Guidance and measurements as a report of TID 1500: which slices to draw next and why, and how large each structure is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import highdicom as hd
import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from dicom_io.annotation import BoolArray, LabelArray
from dicom_io.codes import Code
from dicom_io.contours import outlines
from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.result_dataset import ARTIFICIAL_INTELLIGENCE, concept, short
from dicom_io.results import MANUFACTURER, LabelMeasurement, ResultIdentity, SuggestedSlice
from dicom_io.volume import ImageSeries
from dicom_io.write_document import device_observer, evidence_of, measurement_report, places_of, source_image, write_document
from dicom_io.write_seg import BAND_EDGES, SEGMENTATION_CLASS

FloatArray = npt.NDArray[np.float32]
ReportClass = Literal["comprehensive", "comprehensive-3d"]

REPORT_CLASSES: dict[ReportClass, str] = {
    "comprehensive": "1.2.840.10008.5.1.4.1.1.88.33",
    "comprehensive-3d": "1.2.840.10008.5.1.4.1.1.88.34",
}
SUGGESTED_SLICE = Code("suggested-slice", "99PACSAPP", "Slice to draw next")
"""Finding of a suggestion; no structure, so that a viewer that saves the report again does not draw one."""
_VOLUME = Code("118565006", "SCT", "Volume")
_VOLUME_BEFORE = Code("volume-before", "99PACSAPP", "Volume in the round before")
_ESTIMATED_DICE = Code("estimated-dice", "99PACSAPP", "Estimated Dice coefficient")
_WORTH = Code("worth", "99PACSAPP", "Expected worth of drawing")
_COMMENT = Code("121106", "DCM", "Comment")
_MILLILITRE = Code("mL", "UCUM", "milliliter")
_NO_UNITS = Code("1", "UCUM", "no units")
_DIGITS = 4


@dataclass(frozen=True, eq=False)
class ReportContent:
    """What a report says.

    Attributes:
        suggestions: slices to draw next, best first.
        measurements: of the segments of the prediction.
        residual_DHW: float32 in [0, 1], ``(slice, row, column)`` on the source's volume: where to look on a suggested slice.
        labels_DHW: uint8, the segments on the source's volume.
        prediction: the SEG that holds them.
    """

    suggestions: Sequence[SuggestedSlice]
    measurements: Sequence[LabelMeasurement]
    residual_DHW: FloatArray
    labels_DHW: LabelArray
    prediction: ResultIdentity


def write_report(
    source: ImageSeries, content: ReportContent, identity: ResultIdentity, report_class: ReportClass = "comprehensive"
) -> bytes:
    """A report of TID 1500 (PS3.16).

    Each suggested slice is a planar group (TID 1410) with one closed POLYLINE on that slice: the outline of the largest region
    of disagreement, or of the whole slice where there is none. Each segment with a voxel is a volumetric group (TID 1411) with
    the outline of its largest cross-section, because OHIF shows nothing of a report with a group that has no region; its volume
    names the SEG that it was measured in (TID 1419).

    Args:
        source: the image series.
        content: what it says.
        identity: UIDs, texts and date of the result.
        report_class: Comprehensive SR (which Stone shows) or Comprehensive 3D SR.

    Raises:
        ValueError: a suggestion is no acquired slice, or the residual does not fill the volume.
    """
    places = places_of(source, (one.plane for one in content.suggestions))
    residual_SHW = source.onto_slices(content.residual_DHW)
    with lenient():
        largest = _largest_sections(source, content)
        labels = [
            _label_group(source, one, _cross_section(source, place, mask_HW), content.prediction, identity)
            for one, place, mask_HW in largest
        ]
        slices = [
            _slice_group(one, rank, _region(source, place, residual_SHW[place]), identity)
            for rank, (place, one) in enumerate(zip(places, content.suggestions, strict=True), start=1)
        ]
        shown = sorted({*places, *(place for _, place, _ in largest)}) or [len(source.slices) // 2]
        observer = hd.sr.ObservationContext(observer_device_context=device_observer())
        root = measurement_report(source, shown, observer, [*slices, *labels])
        evidence = [*evidence_of(source, shown), _segmentation(content.prediction)]
        return write_document(source.headers[0], identity, REPORT_CLASSES[report_class], root, evidence)


def _label_group(
    source: ImageSeries,
    measured: LabelMeasurement,
    region: hd.sr.ImageRegion,
    prediction: ResultIdentity,
    identity: ResultIdentity,
) -> hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations:
    """Volume and expected quality of one segment."""
    segment, series_uid = measured.segment, source.volume.series.series_instance_uid
    values = [
        (_VOLUME, measured.volume_ml, _MILLILITRE),
        (_VOLUME_BEFORE, measured.volume_before_ml, _MILLILITRE),
        (_ESTIMATED_DICE, measured.estimated_dice, _NO_UNITS),
    ]
    return hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=segment.tracking_uid(series_uid, identity.task_id), identifier=short(f"{identity.task_id} {segment.name}")
        ),
        referenced_regions=[region],
        finding_category=concept(segment.category),
        finding_type=concept(segment.type),
        algorithm_id=_algorithm(identity),
        measurements=[_measurement(name, value, unit, prediction) for name, value, unit in values if value is not None],
    )


def _largest_sections(source: ImageSeries, content: ReportContent) -> list[tuple[LabelMeasurement, int, BoolArray]]:
    """Each segment that has a voxel, the acquired slice on which it is largest, and its mask ``(row, column)`` there."""
    labels_SHW, found = source.onto_slices(content.labels_DHW), []
    for measured in content.measurements:
        mask_SHW = labels_SHW == measured.segment.number
        place = int(np.argmax(np.count_nonzero(mask_SHW, axis=(1, 2))))
        if mask_SHW[place].any():
            found.append((measured, place, mask_SHW[place]))
    return found


def _cross_section(source: ImageSeries, place: int, mask_HW: BoolArray) -> hd.sr.ImageRegion:
    """The outline of a structure on a slice, of its largest part where there are several."""
    return _polyline(max((polygon + 0.5 for polygon in outlines(mask_HW)), key=_enclosed), source, place)


def _slice_group(
    suggestion: SuggestedSlice, rank: int, region: hd.sr.ImageRegion, identity: ResultIdentity
) -> hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations:
    """Where on which slice to look, what drawing it is worth, and why."""
    group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=derived_uid("suggestion", identity.sop_instance_uid, str(rank)), identifier=f"suggested slice {rank}"
        ),
        referenced_region=region,
        finding_type=concept(SUGGESTED_SLICE),
        algorithm_id=_algorithm(identity),
        measurements=[_measurement(_WORTH, suggestion.score, _NO_UNITS)],
    )
    reason = short(suggestion.reason, 200) or "no reason given"
    group[0].ContentSequence.append(hd.sr.TextContentItem(concept(_COMMENT), reason, relationship_type="CONTAINS"))
    return group


def _region(source: ImageSeries, place: int, residual_HW: FloatArray) -> hd.sr.ImageRegion:
    """The largest region of disagreement on a slice, else the slice's edge; (0, 0) is the corner of the first pixel."""
    rows, columns = source.acquired_size
    found = [polygon + 0.5 for polygon in outlines(residual_HW >= BAND_EDGES[0])]
    points = max(found, key=_enclosed, default=np.array([[0, 0], [columns, 0], [columns, rows], [0, rows], [0, 0]]))
    return _polyline(points, source, place)


def _polyline(points: npt.NDArray[np.float64], source: ImageSeries, place: int) -> hd.sr.ImageRegion:
    line = np.asarray(points, dtype=np.float64)
    return hd.sr.ImageRegion(hd.sr.GraphicTypeValues.POLYLINE, line, source_image(source, place))


def _enclosed(points: npt.NDArray[np.float64]) -> float:
    """Area of a closed polygon."""
    x, y = points[:, 0], points[:, 1]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2)


def _measurement(name: Code, value: float, unit: Code, measured_in: ResultIdentity | None = None) -> hd.sr.Measurement:
    """A number; ``measured_in`` is the segmentation that it was taken from."""
    images = None
    if measured_in is not None:
        images = [hd.sr.SourceImageForMeasurement(SEGMENTATION_CLASS, measured_in.sop_instance_uid)]
    return hd.sr.Measurement(concept(name), round(float(value), _DIGITS), concept(unit), referenced_images=images)


def _algorithm(identity: ResultIdentity) -> hd.sr.AlgorithmIdentification:
    return hd.sr.AlgorithmIdentification(
        name=MANUFACTURER, version=short(identity.algorithm_version) or "unknown", family=concept(ARTIFICIAL_INTELLIGENCE)
    )


def _segmentation(prediction: ResultIdentity) -> Dataset:
    item = Dataset()
    item.SeriesInstanceUID, item.SOPInstanceUID = prediction.series_instance_uid, prediction.sop_instance_uid
    item.SOPClassUID = SEGMENTATION_CLASS
    return item
