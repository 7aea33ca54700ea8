"""Synthetic Enhanced (multi-frame) image series as DICOM files (PS3.3 sections A.36.2, A.38.1 and C.7.6.16).

``make_enhanced()`` is to multi-frame what ``dicom_phantoms.make_series()`` is to single-frame images: same geometry, same
default voxels, so that both read back to the same volume. Frames can be in any order, hold several volumes (``variants``), and
be spread over several instances of one concatenation (``instances``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from dicom_phantoms import file_of, rotation
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.identifiers import derived_uid

ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
LEGACY_CONVERTED_CT = "1.2.840.10008.5.1.4.1.1.2.2"
ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4.1"
LEGACY_CONVERTED_MR = "1.2.840.10008.5.1.4.1.1.4.4"
LEGACY_CONVERTED_PET = "1.2.840.10008.5.1.4.1.1.128.1"
ENHANCED_PET = "1.2.840.10008.5.1.4.1.1.130"
MODALITIES = {
    ENHANCED_CT: "CT",
    LEGACY_CONVERTED_CT: "CT",
    ENHANCED_MR: "MR",
    LEGACY_CONVERTED_MR: "MR",
    LEGACY_CONVERTED_PET: "PT",
    ENHANCED_PET: "PT",
}
FRAME_TYPES = {"CT": "CTImageFrameTypeSequence", "MR": "MRImageFrameTypeSequence", "PT": "PETFrameTypeSequence"}
_MACROS = {
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "DiffusionDirectionality": "MRDiffusionSequence",
    "InversionTimes": "MRModifierSequence",
    "FlipAngle": "MRTimingAndRelatedParametersSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "FrameAcquisitionDateTime": "FrameContentSequence",
    "StackID": "FrameContentSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
}
"""In which functional group the attributes that tell volumes apart stand; FrameType goes to that of the modality."""


def group(**values: object) -> Items:
    """A functional group: a sequence with one item of these attributes."""
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return Items([item])


def make_enhanced(
    shape: tuple[int, int, int] = (5, 20, 24),
    spacing: tuple[float, float, float] = (3.0, 0.8, 0.6),
    angles: Sequence[float] = (0.0, 0.0, 0.0),
    origin: Sequence[float] = (-10.0, 5.0, 30.0),
    *,
    sop_class: str = ENHANCED_MR,
    name: str = "enhanced",
    frame_of_reference: str = "1.2.3.4",
    voxels_DHW: npt.NDArray[np.uint16] | None = None,
    order: Sequence[int] | None = None,
    variants: Sequence[Mapping[str, object]] = ({},),
    instances: int = 1,
    rescale: tuple[float, float] | None = None,
    per_frame_geometry: bool = False,
    syntax: str = ExplicitVRLittleEndian,
    edit_frame: Callable[[Dataset, int], None] | None = None,
    edit: Callable[[Dataset, int], None] | None = None,
) -> list[bytes]:
    """Files of one multi-frame series; a list of one file unless ``instances`` says otherwise.

    Args:
        shape: slices, rows, columns.
        spacing: slice distance, row and column spacing in mm.
        angles: rotation as in ``dicom_phantoms.rotation``.
        origin: Image Position (Patient) of slice 0; slices ascend along the normal.
        sop_class: one of the classes in ``MODALITIES``.
        name: SOP Instance UIDs are ``derived_uid(name, "0")`` and so on, the Series Instance UID is ``derived_uid(name)``.
        frame_of_reference: its UID; left out where empty.
        voxels_DHW: stored values of ``len(variants) * shape[0]`` frames before ordering, variant after variant; counted up by
            default.
        order: which of those frames stands first, second, ... in the file; ascending by default.
        variants: attributes of each of several volumes at the same positions, such as ``{"EffectiveEchoTime": 30.0}``.
        instances: over how many instances of one concatenation the frames are spread, as evenly as it goes.
        rescale: slope and intercept of the Pixel Value Transformation; none where left out.
        per_frame_geometry: Pixel Measures and Plane Orientation stand in each frame instead of the shared groups.
        syntax: an uncompressed transfer syntax with explicit VR, little endian.
        edit_frame: changes the per-frame item of a frame (number from 0 over the whole series, in the order of the file).
        edit: changes the dataset of an instance before it is encoded.
    """
    turn = rotation(angles)
    row, column = turn[:, 0], turn[:, 1]
    step = np.cross(row, column) * spacing[0]
    count = shape[0] * len(variants)
    if voxels_DHW is None:
        voxels_DHW = np.arange(count * shape[1] * shape[2], dtype=np.uint16).reshape(count, *shape[1:])
    planes = {
        "PixelMeasuresSequence": group(PixelSpacing=[spacing[1], spacing[2]], SliceThickness=spacing[0]),
        "PlaneOrientationSequence": group(ImageOrientationPatient=[float(f"{v:.10g}") for v in (*row, *column)]),
    }
    if rescale:
        planes["PixelValueTransformationSequence"] = group(
            RescaleSlope=rescale[0], RescaleIntercept=rescale[1], RescaleType="HU" if MODALITIES[sop_class] == "CT" else "US"
        )
    frames = [int(frame) for frame in (order if order is not None else range(count))]
    per_frame = []
    for number, frame in enumerate(frames):
        variant, index = divmod(frame, shape[0])
        position = [float(f"{v:.10g}") for v in np.asarray(origin) + index * step]
        item = _frame(number, variant, index, position, variants[variant], MODALITIES[sop_class])
        if per_frame_geometry:
            for keyword, value in planes.items():
                setattr(item, keyword, value)
        if edit_frame:
            edit_frame(item, number)
        per_frame.append(item)
    files = []
    for part, numbers in enumerate(np.array_split(np.arange(len(frames)), instances)):
        dataset = _instance(name, part, sop_class, frame_of_reference, shape)
        _add_dimensions(dataset, derived_uid(name, "dimensions"), variants[0])
        dataset.NumberOfFrames = len(numbers)
        shared = Dataset()
        if not per_frame_geometry:
            for keyword, value in planes.items():
                setattr(shared, keyword, value)
        dataset.SharedFunctionalGroupsSequence = Items([shared])
        dataset.PerFrameFunctionalGroupsSequence = Items([per_frame[number] for number in numbers])
        dataset.PixelData = b"".join(voxels_DHW[frames[number]].astype("<u2").tobytes() for number in numbers)
        if instances > 1:
            dataset.ConcatenationUID, dataset.InConcatenationNumber = derived_uid(name, "concatenation"), part + 1
            dataset.InConcatenationTotalNumber = instances
            dataset.ConcatenationFrameOffsetNumber = int(numbers[0])
            dataset.SOPInstanceUIDOfConcatenationSource = derived_uid(name, "whole")
        if edit:
            edit(dataset, part)
        files.append(file_of(dataset, syntax))
    return files


def _frame(
    number: int, variant: int, index: int, position: list[float], attributes: Mapping[str, object], modality: str
) -> Dataset:
    """One item of the Per-frame Functional Groups Sequence."""
    item = Dataset()
    item.FrameContentSequence = group(
        FrameAcquisitionNumber=1,
        StackID="1",
        InStackPositionNumber=index + 1,
        DimensionIndexValues=[1, index + 1, *([variant + 1] if attributes else [])],
    )
    item.PlanePositionSequence = group(ImagePositionPatient=position)
    setattr(item, FRAME_TYPES[modality], group(FrameType=["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]))
    for keyword, value in attributes.items():
        macro = FRAME_TYPES[modality] if keyword == "FrameType" else _MACROS[keyword]
        if macro not in item:
            setattr(item, macro, group())
        setattr(getattr(item, macro)[0], keyword, value)
    return item


def _instance(name: str, part: int, sop_class: str, frame_of_reference: str, shape: tuple[int, int, int]) -> Dataset:
    """Patient, study, series and image attributes of one instance."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, derived_uid(name, str(part))
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = derived_uid("study"), derived_uid(name)
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^Jane", "P1", "19700101", "F"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20250102", "101112", "1", "A1"
    dataset.ReferringPhysicianName, dataset.Manufacturer, dataset.Modality = "", "Phantom", MODALITIES[sop_class]
    dataset.ManufacturerModelName, dataset.DeviceSerialNumber, dataset.SoftwareVersions = "Phantom", "1", "1"
    dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = "phantom", 1, part + 1
    dataset.ContentDate, dataset.ContentTime, dataset.AcquisitionDateTime = "20250102", "101112", "20250102101112"
    if frame_of_reference:
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame_of_reference, ""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    dataset.PixelPresentation, dataset.VolumetricProperties = "MONOCHROME", "VOLUME"
    dataset.VolumeBasedCalculationTechnique, dataset.PresentationLUTShape = "NONE", "IDENTITY"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = shape[1], shape[2], 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.BurnedInAnnotation, dataset.LossyImageCompression = "NO", "00"
    return dataset


def _add_dimensions(dataset: Dataset, uid: str, variant: Mapping[str, object]) -> None:
    """Multi-frame Dimension Module: stack, position in it, and the first attribute that tells the volumes apart."""
    dimensions = [("FrameContentSequence", "StackID"), ("FrameContentSequence", "InStackPositionNumber")]
    for keyword in list(variant)[:1]:
        macro = FRAME_TYPES[dataset.Modality] if keyword == "FrameType" else _MACROS[keyword]
        dimensions.append((macro, keyword))
    dataset.DimensionOrganizationSequence = group(DimensionOrganizationUID=uid)
    dataset.DimensionIndexSequence = Items(
        group(DimensionOrganizationUID=uid, DimensionIndexPointer=Tag(pointer), FunctionalGroupPointer=Tag(macro))[0]
        for macro, pointer in dimensions
    )
