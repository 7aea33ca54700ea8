"""A prediction as contours: an RT Structure Set, for planning systems and viewers that know no SEG."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from dicom_io.annotation import BoolArray, LabelArray
from dicom_io.contours import outlines
from dicom_io.result_dataset import concept, encoded, result_dataset, short
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.source_headers import instance_references, reference
from dicom_io.volume import ImageSeries

RT_STRUCTURE_SET_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
_DETACHED_STUDY_MANAGEMENT = "1.2.840.10008.3.1.2.3.1"
_CONTOUR_DATA = Tag("ContourData")
_LABEL_LENGTH = 16

FloatArray = npt.NDArray[np.float64]


def write_contours(
    source: ImageSeries,
    labels_DHW: LabelArray,
    segments: Sequence[SegmentDescription],
    identity: ResultIdentity,
    *,
    with_drawing: bool = False,
) -> bytes:
    """A prediction as RT Structure Set (PS3.3 section A.19) with closed planar contours on the acquired slices.

    Contours run half-way between the centres of foreground and background pixels, so that the pixel-centre rule gives the mask
    back; holes are joined to the outer line by a bridge of no width.

    Args:
        source: the image series it was made on.
        labels_DHW: uint8 ``(slice, row, column)`` on the source's volume; 0 background, else the number of a segment.
        segments: meaning of the labels 1..n; one without a voxel is left out: no viewer shows it.
        identity: UIDs, texts and date of the result.
        with_drawing: whether a reader's drawing took part (ROI Generation Algorithm SEMIAUTOMATIC, else AUTOMATIC).

    Raises:
        ValueError: the labels do not fill the volume, or there is none on any acquired slice.
    """
    labels_SHW = source.onto_slices(labels_DHW)
    segments = [segment for segment in segments if (labels_SHW == segment.number).any()]
    if not segments:
        raise ValueError("there is nothing to draw a contour around")
    dataset = result_dataset(source.headers[0], identity, RT_STRUCTURE_SET_CLASS, "RTSTRUCT")
    dataset.OperatorsName, dataset.FrameOfReferenceUID = "", source.volume.geometry.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    dataset.StructureSetLabel = short(f"PREDICTION R{identity.round_number}", _LABEL_LENGTH)
    dataset.StructureSetDescription = short(identity.series_description)
    dataset.StructureSetDate, dataset.StructureSetTime = dataset.ContentDate, dataset.ContentTime
    dataset.ApprovalStatus = "UNAPPROVED"
    dataset.ReferencedFrameOfReferenceSequence = [_frame_of_reference(source, dataset.StudyInstanceUID)]
    kind = "SEMIAUTOMATIC" if with_drawing else "AUTOMATIC"
    dataset.StructureSetROISequence = [_structure(source, segment, kind) for segment in segments]
    dataset.ROIContourSequence = [_contours(source, segment, labels_SHW == segment.number) for segment in segments]
    dataset.RTROIObservationsSequence = [_observation(segment) for segment in segments]
    del dataset.ContentDate, dataset.ContentTime  # no attributes of a structure set
    return encoded(dataset)


def _frame_of_reference(source: ImageSeries, study_instance_uid: str) -> Dataset:
    """Which images the contours lie on."""
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = source.volume.series.series_instance_uid
    series.ContourImageSequence = instance_references(source)
    study.ReferencedSOPClassUID, study.ReferencedSOPInstanceUID = _DETACHED_STUDY_MANAGEMENT, study_instance_uid
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = source.volume.geometry.frame_of_reference_uid
    frame.RTReferencedStudySequence = [study]
    return frame


def _structure(source: ImageSeries, segment: SegmentDescription, kind: str) -> Dataset:
    item = Dataset()
    item.ROINumber, item.ROIName = segment.number, short(segment.name)
    item.ReferencedFrameOfReferenceUID = source.volume.geometry.frame_of_reference_uid
    item.ROIGenerationAlgorithm = kind
    return item


def _contours(source: ImageSeries, segment: SegmentDescription, mask_SHW: BoolArray) -> Dataset:
    roi = Dataset()
    roi.ReferencedROINumber, roi.ROIDisplayColor = segment.number, list(segment.colour)
    roi.ContourSequence = [
        _contour(source, int(place), polygon)
        for place in np.flatnonzero(mask_SHW.any(axis=(1, 2)))
        for polygon in outlines(mask_SHW[place])
    ]
    return roi


def _contour(source: ImageSeries, place: int, polygon: FloatArray) -> Dataset:
    """One closed contour; the last vertex repeats the first and is left out."""
    points = _positions(source, place, polygon[:-1])
    contour = Dataset()
    contour.ContourImageSequence = [reference(source, source.slices[place])]
    contour.ContourGeometricType, contour.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
    value = "\\".join(f"{coordinate:.4f}" for coordinate in points.ravel()).encode()
    value += b" " * (len(value) % 2)
    # as bytes: pydicom would make an object of each of what may be millions of numbers
    contour[_CONTOUR_DATA] = RawDataElement(
        _CONTOUR_DATA, "DS", len(value), value, 0, is_implicit_VR=False, is_little_endian=True
    )
    return contour


def _positions(source: ImageSeries, place: int, polygon: FloatArray) -> FloatArray:
    """LPS positions ``(vertex, 3)`` in mm of vertices (column, row) on an acquired slice."""
    affine = source.volume.geometry.affine
    origin = np.asarray(source.slices[place].position)
    return np.asarray(origin + polygon[:, :1] * affine[:3, 2] + polygon[:, 1:] * affine[:3, 1])


def _observation(segment: SegmentDescription) -> Dataset:
    item = Dataset()
    item.ObservationNumber, item.ReferencedROINumber = segment.number, segment.number
    item.ROIObservationLabel = short(segment.name, _LABEL_LENGTH)
    item.RTROIIdentificationCodeSequence = [concept(segment.type)]
    item.RTROIInterpretedType, item.ROIInterpreter = "", ""
    return item
