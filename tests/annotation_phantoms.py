"""Annotation objects as other people's software writes them, built item by item: SEG, SR and RTSTRUCT."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from dicom_phantoms import file_of
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.annotation_header import LABELMAP_CLASS, RTSTRUCT_CLASS, SEGMENTATION_CLASS
from dicom_io.datasets import lenient
from dicom_io.identifiers import derived_uid
from dicom_io.volume import ImageSeries


def item(**values: object) -> Dataset:
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def group(**values: object) -> Items:
    """A sequence of one item."""
    return Items([item(**values)])


def code(value: str, scheme: str, meaning: str) -> Items:
    with lenient():  # viewers write values longer than the standard allows
        return group(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def decimals(values: npt.ArrayLike) -> list[float]:
    return [float(f"{v:.10g}") for v in np.asarray(values, float).ravel()]


@dataclass
class Frame:
    """One frame of a SEG: pixels, segment, and whatever of its place is to be written."""

    pixels_HW: npt.NDArray[np.generic]
    segment: int = 1
    position: npt.ArrayLike | None = None
    orientation: npt.ArrayLike | None = None
    spacing: npt.ArrayLike | None = None
    images: Sequence[tuple[str, int]] = field(default=())


def frames_on_slices(
    source: ImageSeries, masks: dict[int, npt.NDArray[np.bool_]], *, references: bool = True, places: bool = True
) -> list[Frame]:
    """Frames of masks on the acquired slices ``(slice, row, column)``, where something is drawn."""
    frames = []
    affine = source.volume.geometry.affine
    _, height, width = source.volume.geometry.spacing_DHW
    orientation = [*affine[:3, 2] / width, *affine[:3, 1] / height]
    for number, mask in masks.items():
        for index, one in enumerate(source.slices):
            if mask[index].any():
                images = [(one.sop_instance_uid, one.frame_number)] if references else []
                place = (one.position, orientation, (height, width)) if places else (None, None, None)
                frames.append(Frame(mask[index], number, *place, images))
    return frames


def seg(
    frames: Sequence[Frame],
    kind: str = "BINARY",
    *,
    numbers: Sequence[int] = (1, 2),
    frame_of_reference: str = "1.2.3.4",
    bits: int | None = None,
    syntax: str = ExplicitVRLittleEndian,
    encode: Callable[[npt.NDArray[np.generic]], bytes] | None = None,
    edit: Callable[[Dataset], None] | None = None,
) -> bytes:
    """A SEG of these frames as Part 10 file; ``encode`` compresses one frame."""
    dataset = item(
        SOPClassUID=LABELMAP_CLASS if kind == "LABELMAP" else SEGMENTATION_CLASS,
        SOPInstanceUID=derived_uid("seg"),
        StudyInstanceUID=derived_uid("study"),
        SeriesInstanceUID=derived_uid("seg series"),
        Modality="SEG",
        SegmentationType=kind,
        PhotometricInterpretation="MONOCHROME2",
        SamplesPerPixel=1,
        PixelRepresentation=0,
        NumberOfFrames=len(frames),
        SegmentSequence=Items(item(SegmentNumber=n, SegmentLabel=f"segment {n}") for n in numbers),
        SharedFunctionalGroupsSequence=group(PixelMeasuresSequence=Items([Dataset()])),  # empty, as OHIF writes it
    )
    if frame_of_reference:
        dataset.FrameOfReferenceUID = frame_of_reference
    if kind == "FRACTIONAL":
        dataset.SegmentationFractionalType, dataset.MaximumFractionalValue = "PROBABILITY", 200
    dataset.PerFrameFunctionalGroupsSequence = Items(_group(frame, labels=kind == "LABELMAP") for frame in frames)
    pixels = np.stack([frame.pixels_HW for frame in frames])
    dataset.Rows, dataset.Columns = pixels.shape[1:]
    bits = bits or {"BINARY": 1, "FRACTIONAL": 8, "LABELMAP": 8}[kind]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    stored = pixels.astype(np.uint16 if bits == 16 else np.uint8)
    if encode:
        dataset.PixelData = encapsulate([encode(frame) for frame in stored])
    elif bits == 1:
        packed = np.packbits(stored.ravel(), bitorder="little").tobytes()
        dataset.PixelData = packed + b"\0" * (len(packed) % 2)
    else:
        dataset.PixelData = stored.tobytes() + b"\0" * (stored.nbytes % 2)
    if edit:
        edit(dataset)
    return file_of(dataset, syntax)


def _group(frame: Frame, *, labels: bool) -> Dataset:
    out = Dataset()
    if not labels:
        out.SegmentIdentificationSequence = group(ReferencedSegmentNumber=frame.segment)
    if frame.position is not None:
        out.PlanePositionSequence = group(ImagePositionPatient=decimals(frame.position))
    if frame.orientation is not None:
        out.PlaneOrientationSequence = group(ImageOrientationPatient=decimals(frame.orientation))
    if frame.spacing is not None:
        out.PixelMeasuresSequence = group(PixelSpacing=decimals(frame.spacing))
    if frame.images:
        out.DerivationImageSequence = group(SourceImageSequence=Items(image(*one) for one in frame.images))
    return out


def image(uid: str, frame: int = 0) -> Dataset:
    """One item that refers to an image, or to a frame of it."""
    reference = item(ReferencedSOPClassUID="1.2.840.10008.5.1.4.1.1.4", ReferencedSOPInstanceUID=uid)
    if frame:
        reference.ReferencedFrameNumber = frame
    return reference


def content(
    relationship: str, kind: str, name: tuple[str, str, str], children: Sequence[Dataset] = (), **values: object
) -> Dataset:
    """One content item of an SR."""
    out = item(RelationshipType=relationship, ValueType=kind, ConceptNameCodeSequence=code(*name), **values)
    if children:
        out.ContentSequence = Items(children)
    return out


REGION = ("111030", "DCM", "Image Region")


def region(kind: str, points: npt.ArrayLike, uid: str, frame: int = 0, name: tuple[str, str, str] = REGION) -> Dataset:
    """SCOORD on an image."""
    selected = content(
        "SELECTED FROM", "IMAGE", ("121324", "DCM", "Source Image"), ReferencedSOPSequence=Items([image(uid, frame)])
    )
    data = [float(v) for v in np.asarray(points, float).ravel()]
    return content("CONTAINS", "SCOORD", name, [selected], GraphicType=kind, GraphicData=data)


def region_3d(kind: str, points: npt.ArrayLike, frame_of_reference: str = "1.2.3.4") -> Dataset:
    """SCOORD3D."""
    data = [float(v) for v in np.asarray(points, float).ravel()]
    values = {"GraphicType": kind, "GraphicData": data, "ReferencedFrameOfReferenceUID": frame_of_reference}
    return content("CONTAINS", "SCOORD3D", REGION, **values)


def report(*groups: Sequence[Dataset], observer: str = "", evidence: Sequence[Dataset] = ()) -> bytes:
    """A TID 1500 report of these measurement groups as Part 10 file."""
    measured = [content("CONTAINS", "CONTAINER", ("125007", "DCM", "Measurement Group"), members) for members in groups]
    children = [content("CONTAINS", "CONTAINER", ("126010", "DCM", "Imaging Measurements"), measured)]
    if observer:
        children.insert(0, content("HAS OBS CONTEXT", "PNAME", ("121008", "DCM", "Person Observer Name"), PersonName=observer))
    dataset = item(
        SOPClassUID="1.2.840.10008.5.1.4.1.1.88.34",
        SOPInstanceUID=derived_uid("report"),
        StudyInstanceUID=derived_uid("study"),
        SeriesInstanceUID=derived_uid("report series"),
        Modality="SR",
        ValueType="CONTAINER",
        ConceptNameCodeSequence=code("126000", "DCM", "Imaging Measurement Report"),
        ContentSequence=Items(children),
    )
    if evidence:
        dataset.CurrentRequestedProcedureEvidenceSequence = Items(evidence)
    return file_of(dataset)


def tracking(identifier: str) -> Dataset:
    return content("HAS OBS CONTEXT", "TEXT", ("112039", "DCM", "Tracking Identifier"), TextValue=identifier)


def coded_item(name: tuple[str, str, str], value: tuple[str, str, str]) -> Dataset:
    return content("CONTAINS", "CODE", name, ConceptCodeSequence=code(*value))


def structure_set(
    structures: dict[str, Sequence[tuple[str, npt.ArrayLike]]],
    *,
    frame_of_reference: str = "1.2.3.4",
    images: Sequence[str] = (),
    edit: Callable[[Dataset], None] | None = None,
) -> bytes:
    """An RTSTRUCT: for each structure its contours, type and points in LPS mm; as Part 10 file."""
    referenced = item(FrameOfReferenceUID=frame_of_reference)
    if images:
        series = item(SeriesInstanceUID=derived_uid("image"), ContourImageSequence=Items(image(uid) for uid in images))
        study = item(ReferencedSOPInstanceUID=derived_uid("study"), RTReferencedSeriesSequence=Items([series]))
        referenced.RTReferencedStudySequence = Items([study])
    dataset = item(
        SOPClassUID=RTSTRUCT_CLASS,
        SOPInstanceUID=derived_uid("structures"),
        StudyInstanceUID=derived_uid("study"),
        SeriesInstanceUID=derived_uid("structures series"),
        Modality="RTSTRUCT",
        StructureSetLabel="contours",
        StructureSetDate="20260102",
        StructureSetTime="030405",
        ReferencedFrameOfReferenceSequence=Items([referenced]),
        StructureSetROISequence=Items(
            item(ROINumber=n, ROIName=name, ReferencedFrameOfReferenceUID=frame_of_reference, ROIGenerationAlgorithm="MANUAL")
            for n, name in enumerate(structures, start=1)
        ),
        ROIContourSequence=Items(
            item(
                ReferencedROINumber=n,
                ContourSequence=Items(
                    item(ContourGeometricType=kind, NumberOfContourPoints=np.size(points) // 3, ContourData=decimals(points))
                    for kind, points in contours
                ),
            )
            for n, contours in enumerate(structures.values(), start=1)
        ),
    )
    if edit:
        edit(dataset)
    return file_of(dataset)
