"""Objects that break the display rules of viewers, one for each rule at least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from typing import Any

import highdicom as hd
import numpy as np
from dicom_phantoms import CREATED, SEGMENTS, blobs, identity, make_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000Lossless, RLELossless

from dicom_io.datasets import lenient
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr
from dicom_io.results import LabelMeasurement, SuggestedSlice
from dicom_io.source_headers import source_headers
from dicom_io.volume import AcquiredSlice, ImageSeries
from dicom_io.write_captures import write_captures
from dicom_io.write_key_objects import write_key_objects
from dicom_io.write_map import write_residual_map
from dicom_io.write_report import ReportContent, write_report
from dicom_io.write_rtstruct import write_contours
from dicom_io.write_seg import write_prediction, write_residual_fractional

SHAPE = (5, 16, 24)
SOURCE = read_series(make_series(SHAPE))
LABELS = blobs(SHAPE)
RESIDUAL = np.linspace(0, 1, LABELS.size, dtype=np.float32).reshape(SHAPE)
SUGGESTIONS = [SuggestedSlice(2, 0.9, "far from drawn slices"), SuggestedSlice(1, 0.4, "disagreement")]


@cache
def multi_frame() -> ImageSeries:
    """The same images as frames of one."""
    slices = tuple(replace(one, sop_instance_uid="1.2.77", frame_number=n) for n, one in enumerate(SOURCE.slices, start=1))
    return replace(SOURCE, slices=slices)


def uneven() -> ImageSeries:
    """The same images, of which the third was not acquired."""
    slices: tuple[AcquiredSlice, ...] = tuple(one for one in SOURCE.slices if one.plane != 2)
    return replace(SOURCE, slices=slices)


def _labelmap(syntax: str = "1.2.840.10008.1.2.1", size: int = 16) -> bytes:
    """A label map, or one slice of it, as highdicom writes it: with an item 0 for the background."""
    with lenient():
        described = [
            hd.seg.SegmentDescription(
                number,
                f"s{number}",
                hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure"),
                hd.sr.CodedConcept("10200004", "SCT", "Liver"),
                "MANUAL",
            )
            for number in (1, 2)
        ]
        source = SOURCE if size == 16 else read_series(make_series((2, size, size)))
        labels = blobs(source.volume.geometry.shape) if size == 16 else np.ones((2, size, size), np.uint8)
        dataset = hd.seg.Segmentation(
            source_images=source_headers(source),
            pixel_array=labels,
            segmentation_type="LABELMAP",
            segment_descriptions=described,
            series_instance_uid="1.2.3.9",
            series_number=9,
            sop_instance_uid="1.2.3.9.1",
            instance_number=1,
            manufacturer="other",
            manufacturer_model_name="other",
            software_versions="1",
            device_serial_number="1",
            transfer_syntax_uid=syntax,
        )
        buffer = BytesIO()
        dataset.save_as(buffer)
    return buffer.getvalue()


OBJECTS: dict[str, Callable[[], bytes]] = {
    "seg": lambda: write_prediction(SOURCE, LABELS, SEGMENTS, identity()),
    "fractional": lambda: write_residual_fractional(SOURCE, RESIDUAL, identity()),
    "labelmap": _labelmap,
    "labelmap-rle": lambda: _labelmap(RLELossless),
    "labelmap-jpeg2000": lambda: _labelmap(JPEG2000Lossless, 64),
    "map": lambda: write_residual_map(SOURCE, RESIDUAL, identity()),
    "sr": lambda: write_contour_sr(SOURCE, {1: LABELS == 1}, SEGMENTS, "R^A", "drawn", created=CREATED),
    "report": lambda: write_report(
        SOURCE,
        ReportContent(SUGGESTIONS, [LabelMeasurement(SEGMENTS[0], 1.5)], RESIDUAL, LABELS, identity("prediction")),
        identity(),
    ),
    "keys": lambda: write_key_objects(SOURCE, SUGGESTIONS, identity()),
    "structures": lambda: write_contours(SOURCE, LABELS, SEGMENTS[:2], identity()),
    "capture": lambda: write_captures(SOURCE, SUGGESTIONS, LABELS, RESIDUAL, SEGMENTS, identity())[0][1],
    "image": lambda: make_series(SHAPE)[0],
}


@cache
def made(name: str) -> bytes:
    return OBJECTS[name]()


def _shared(dataset: Dataset) -> Dataset:
    return dataset.SharedFunctionalGroupsSequence[0]


def frames_of(dataset: Dataset) -> Any:
    return dataset.PerFrameFunctionalGroupsSequence


def _group(dataset: Dataset) -> Dataset:
    """The first measurement group of a report."""
    measurements = next(c for c in dataset.ContentSequence if c.ConceptNameCodeSequence[0].CodeValue == "126010")
    return measurements.ContentSequence[0]


def _item(dataset: Dataset, kind: str) -> Dataset:
    return next(item for item in _group(dataset).ContentSequence if item.ValueType == kind)


def _drop_item(dataset: Dataset, kind: str) -> None:
    group = _group(dataset)
    group.ContentSequence = Sequence([item for item in group.ContentSequence if item.ValueType != kind])


def _drop_regions(dataset: Dataset) -> None:
    _drop_item(dataset, "SCOORD")


def _repeat_region(dataset: Dataset) -> None:
    _group(dataset).ContentSequence.append(_item(dataset, "SCOORD"))


def _turn(dataset: Dataset, to: list[float]) -> None:
    _shared(dataset).PlaneOrientationSequence[0].ImageOrientationPatient = to


def without_sources(dataset: Dataset) -> None:
    for group in frames_of(dataset):
        del group.DerivationImageSequence


def _without_places(dataset: Dataset) -> None:
    for group in frames_of(dataset):
        del group.DerivationImageSequence, group.PlanePositionSequence


def _listed_backwards(dataset: Dataset) -> None:
    """Frames by position only, and the images of the whole object in the other order."""
    without_sources(dataset)
    dataset.SourceImageSequence = Sequence()
    for one in reversed(SOURCE.slices):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.840.10008.5.1.4.1.1.4", one.sop_instance_uid
        dataset.SourceImageSequence.append(item)


def name_one_image(dataset: Dataset) -> None:
    for group in frames_of(dataset):
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.77"


def _move(dataset: Dataset) -> None:
    frames_of(dataset)[0].PlanePositionSequence[0].ImagePositionPatient[2] += 1.0


def _renumber(dataset: Dataset) -> None:
    frames_of(dataset)[0].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 9


def _multiply(dataset: Dataset, keyword: str, times: int) -> None:
    setattr(dataset, keyword, Sequence(list(getattr(dataset, keyword)) * times))


def _double(dataset: Dataset) -> None:
    dataset.DoubleFloatPixelData = np.zeros(LABELS.size).tobytes()
    del dataset.FloatPixelData


def _whole_numbers(dataset: Dataset) -> None:
    dataset.PixelData, dataset.BitsAllocated = np.zeros(LABELS.size, np.uint16).tobytes(), 16
    dataset["PixelData"].VR = "OW"
    del dataset.FloatPixelData


def _in_patient(dataset: Dataset) -> None:
    region = _item(dataset, "SCOORD")
    region.ValueType, region.ReferencedFrameOfReferenceUID = "SCOORD3D", "1.2.3.4"


def _run_length(dataset: Dataset) -> None:
    """Only says so: no kept encoder writes single bits run-length encoded."""
    dataset.file_meta.TransferSyntaxUID = RLELossless
    dataset.PixelData = encapsulate([bytes(64)])


def _umlaut(dataset: Dataset) -> None:
    del dataset.SpecificCharacterSet
    dataset.add_new("SeriesDescription", "LO", b"M\xfcller")


def _contour(dataset: Dataset) -> Dataset:
    return dataset.ROIContourSequence[0].ContourSequence[0]


def _elsewhere(dataset: Dataset) -> None:
    dataset.ReferencedFrameOfReferenceSequence[0].FrameOfReferenceUID = "1.2.9"
    for structure in dataset.StructureSetROISequence:
        structure.ReferencedFrameOfReferenceUID = "1.2.9"


def _colourless(dataset: Dataset) -> None:
    for structure in dataset.ROIContourSequence:
        del structure.ROIDisplayColor


def _select_others(dataset: Dataset) -> None:
    for item in dataset.ContentSequence:
        if item.ValueType == "IMAGE":
            item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.9"


def _select_nothing(dataset: Dataset) -> None:
    dataset.ContentSequence = Sequence([item for item in dataset.ContentSequence if item.ValueType != "IMAGE"])


def _nothing(_: Dataset) -> None:
    """The object breaks the rule as it is."""


@dataclass(frozen=True)
class Broken:
    """A rule, and an object that breaks it."""

    rule: str
    file: str
    spoil: Callable[[Dataset], Any] = _nothing
    source: Callable[[], ImageSeries | None] = lambda: SOURCE
    siblings: int = 1


BROKEN = [
    Broken("unchecked-kind", "image"),
    Broken("valid-uid", "seg", lambda d: setattr(d, "SOPInstanceUID", "1.02.3")),
    Broken("same-study", "seg", lambda d: setattr(d, "StudyInstanceUID", "1.2.9")),
    Broken("same-patient", "keys", lambda d: setattr(d, "PatientID", "P2")),
    Broken("own-series", "map", lambda d: setattr(d, "SeriesInstanceUID", SOURCE.volume.series.series_instance_uid)),
    Broken("character-set", "seg", _umlaut),
    Broken("referenced-series", "seg", lambda d: delattr(d, "ReferencedSeriesSequence")),
    Broken("referenced-series", "map", lambda d: setattr(d.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.9")),
    Broken("frame-count", "seg", lambda d: frames_of(d).pop()),
    Broken("frame-count", "map", lambda d: setattr(d, "NumberOfFrames", 0)),
    Broken("pixel-data", "seg", lambda d: setattr(d, "PixelData", d.PixelData[:20])),
    Broken("pixel-data", "map", lambda d: delattr(d, "FloatPixelData")),
    Broken("plane-orientation", "seg", lambda d: delattr(_shared(d), "PlaneOrientationSequence")),
    Broken("plane-orientation", "seg", lambda d: delattr(d, "SharedFunctionalGroupsSequence")),
    Broken("plane-position", "seg", _without_places),
    Broken("pixel-measures", "seg", lambda d: setattr(_shared(d), "PixelMeasuresSequence", Sequence([Dataset()]))),
    Broken("same-grid", "seg", lambda d: setattr(d, "Rows", 8)),
    Broken("same-plane", "seg", lambda d: _turn(d, [0, 1, 0, 0, 0, 1])),
    Broken("same-orientation", "seg", lambda d: _turn(d, [0, 1, 0, 1, 0, 0])),
    Broken("frame-of-reference", "seg", lambda d: setattr(d, "FrameOfReferenceUID", "1.2.9")),
    Broken("frame-source", "seg", _without_places),
    Broken("frame-source", "seg", _without_places, lambda: None),
    Broken("frame-source", "seg", source=uneven),
    Broken("frame-position", "seg", _move),
    Broken("frame-by-index", "map", _listed_backwards),
    Broken("frame-number", "seg", name_one_image, multi_frame),
    Broken("multi-frame-source", "seg", source=multi_frame),
    Broken("segmentation-type", "seg", lambda d: setattr(d, "SegmentationType", "SOFT")),
    Broken("fractional", "fractional"),
    Broken("labelmap", "labelmap"),
    Broken("not-binary", "labelmap"),
    Broken("labelmap-background", "labelmap"),
    Broken("compressed", "labelmap-jpeg2000", source=lambda: None),
    Broken("compressed-bits", "seg", _run_length),
    Broken("compressed-labels", "labelmap-rle"),
    Broken("segment-numbers", "seg", lambda d: d.SegmentSequence.pop(1)),
    Broken("segment-undefined", "seg", _renumber),
    Broken("segment-undefined", "seg", lambda d: delattr(frames_of(d)[0], "SegmentIdentificationSequence")),
    Broken("segment-algorithm", "seg", lambda d: delattr(d.SegmentSequence[0], "SegmentAlgorithmType")),
    Broken("segment-label", "seg", lambda d: delattr(d.SegmentSequence[0], "SegmentLabel")),
    Broken("segment-colour", "seg", lambda d: delattr(d.SegmentSequence[0], "RecommendedDisplayCIELabValue")),
    Broken("hidden-word", "seg", lambda d: setattr(d.SegmentSequence[0], "SegmentLabel", "Table-Top")),
    Broken("hidden-word", "seg", lambda d: setattr(d, "SeriesDescription", "COUCH")),
    Broken("columns", "seg", lambda d: setattr(d, "Columns", 23)),
    Broken("many-frames", "seg", lambda d: _multiply(d, "PerFrameFunctionalGroupsSequence", 100)),
    Broken("many-segments", "seg", lambda d: _multiply(d, "SegmentSequence", 100)),
    Broken("last-instance", "seg", siblings=2),
    Broken("map-type", "map", _whole_numbers),
    Broken("map-double", "map", _double),
    Broken("map-order", "map", lambda d: _multiply(d, "PerFrameFunctionalGroupsSequence", 2)),
    Broken("map-complete", "map", lambda d: frames_of(d).pop()),
    Broken("map-orientation", "map", lambda d: _turn(d, [-1, 0, 0, 0, 1, 0])),
    Broken("report-template", "sr", lambda d: setattr(d.ConceptNameCodeSequence[0], "CodeValue", "18748-4")),
    Broken("report-class", "sr", lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.35")),
    Broken("report-class-slicer", "sr", lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.34")),
    Broken("report-class-stone", "sr", lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.34")),
    Broken("report-shapes", "sr", lambda d: setattr(_item(d, "SCOORD"), "GraphicType", "CIRCLE")),
    Broken("report-library", "sr", lambda d: setattr(d, "ContentSequence", d.ContentSequence[-1:])),
    Broken("report-groups", "sr", lambda d: setattr(d.ContentSequence[-1], "ContentSequence", Sequence())),
    Broken("report-numbers", "sr", _drop_regions),
    Broken("region-tracking", "sr", lambda d: _drop_item(d, "UIDREF")),
    Broken("region-alone", "sr", _repeat_region),
    Broken("region-image", "sr", lambda d: delattr(_item(d, "SCOORD"), "ContentSequence")),
    Broken("region-source", "sr", source=multi_frame),
    Broken(
        "region-frame",
        "sr",
        lambda d: setattr(_item(d, "SCOORD").ContentSequence[0].ReferencedSOPSequence[0], "ReferencedSOPInstanceUID", "1.2.77"),
        multi_frame,
    ),
    Broken("region-coordinates", "sr", _in_patient),
    Broken("key-objects", "keys"),
    Broken("key-references", "keys", _select_nothing),
    Broken("key-evidence", "keys", lambda d: delattr(d, "CurrentRequestedProcedureEvidenceSequence")),
    Broken("key-source", "keys", _select_others),
    Broken("structures-series", "structures", lambda d: delattr(d, "ReferencedFrameOfReferenceSequence")),
    Broken("structures-frame-of-reference", "structures", _elsewhere),
    Broken("structures-contours", "structures", lambda d: delattr(d, "ROIContourSequence")),
    Broken("structures-undefined", "structures", lambda d: d.StructureSetROISequence.pop()),
    Broken("structures-type", "structures", lambda d: setattr(_contour(d), "ContourGeometricType", "OPEN_NONPLANAR")),
    Broken("structures-data", "structures", lambda d: setattr(_contour(d), "NumberOfContourPoints", 2)),
    Broken("structures-empty", "structures", lambda d: d.ROIContourSequence.pop()),
    Broken("structures-name", "structures", lambda d: setattr(d.StructureSetROISequence[0], "ROIName", "")),
    Broken("structures-colour", "structures", _colourless),
    Broken("capture-pixels", "capture", lambda d: delattr(d, "PixelData")),
]
