"""A modality: turns an imagined scan into an MR or CT series and sends it with C-STORE.

Everything in the headers but the geometry is fictitious, and the patient's name begins with ``Demo``. The objects are valid MR
and CT images (PS3.3 sections A.4 and A.3); identifiers follow from the scan's name and the run: sent twice, it is one series.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from dicom_io.geometry import Geometry
from dicom_io.identifiers import derived_uid
from dicom_io.pacs.dimse import send
from learner.demo.variations import Scan

_STORED_MIN, _STORED_MAX = -32768, 32767
_IMPLEMENTATION_UID = UID(derived_uid("pacs-apprentice", "demo", "implementation"))


@dataclass(frozen=True, slots=True)
class Order:
    """What the series is said to be.

    Attributes:
        number: of the case in the demo, from 1; makes the patient.
        node: name of the run; part of every UID.
        description: Series Description, which tasks match on.
        modality: ``MR`` or ``CT``.
        study_description: Study Description.
        body_part: Body Part Examined.
        date: Study Date as ``YYYYMMDD``.
    """

    number: int
    node: str
    description: str = "T1 axial demo"
    modality: str = "MR"
    study_description: str = "Demonstration, no patient"
    body_part: str = "HEAD"
    date: str = "20260101"


def image_series(scan: Scan, order: Order) -> list[bytes]:
    """The series of ``scan`` as DICOM Part 10 files, in the order of its slices.

    Args:
        scan: voxels and geometry; MR takes values from 0 on, CT takes Hounsfield units.
        order: what to write in the headers.

    Raises:
        ValueError: if the modality is neither MR nor CT, the values do not fit 16 bits, or the grid is sheared.
    """
    if order.modality not in ("MR", "CT"):
        raise ValueError(f"modality {order.modality} is neither MR nor CT")
    if scan.voxels_DHW.min() < _STORED_MIN or scan.voxels_DHW.max() > _STORED_MAX:
        raise ValueError(f"voxels of {scan.name} do not fit into 16 bits")
    shared = _shared(scan, order)
    return [_file(_slice(shared, scan, order, index)) for index in range(scan.geometry.shape[0])]


def send_series(files: list[bytes], address: tuple[str, int], called_aet: str, progress: Callable[[int], None]) -> None:
    """Sends files in one association, as a scanner does.

    Args:
        files: DICOM Part 10 files.
        address: host and port of the archive's DICOM interface.
        called_aet: its application entity title.
        progress: called with the number of files sent so far.

    Raises:
        PacsUnavailable, PacsRefused: see :func:`dicom_io.pacs.dimse.send`.
    """
    send(files, address, called_aet=called_aet, calling_aet="DEMOSCANNER", progress=progress)


def directions(geometry: Geometry) -> npt.NDArray[np.float64]:
    """Unit vectors in LPS, rows of a 3x3 array: row direction (along columns), column direction (along rows), slice direction.

    Raises:
        ValueError: if they are not perpendicular to each other and right-handed, as an image series needs.
    """
    axes = geometry.affine[:3, :3] / np.linalg.norm(geometry.affine[:3, :3], axis=0)
    row, column, normal = axes[:, 2], axes[:, 1], axes[:, 0]
    if not np.allclose(np.cross(row, column), normal, atol=1e-3):
        raise ValueError("the grid is sheared or left-handed; turn its slice axis round, or resample it")
    return np.stack([row, column, normal])


def _shared(scan: Scan, order: Order) -> Dataset:
    """What all slices have in common."""
    dataset = Dataset()
    case = (order.node, scan.name, str(order.number))
    dataset.SOPClassUID = MRImageStorage if order.modality == "MR" else CTImageStorage
    dataset.StudyInstanceUID = derived_uid("demo", *case, "study")
    dataset.SeriesInstanceUID = derived_uid("demo", *case, "series")
    dataset.FrameOfReferenceUID = derived_uid("demo", *case, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.PatientName = f"Demo^Case {order.number}"
    dataset.PatientID = f"DEMO-{order.number:04d}"
    dataset.PatientBirthDate, dataset.PatientSex = "", "O"
    dataset.PatientComments = f"Fictitious. {scan.subject}; {scan.remark}"[:10240]
    dataset.PatientIdentityRemoved, dataset.DeidentificationMethod = "YES", "Published atlas image, no patient"
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = dataset.AcquisitionDate = order.date
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = dataset.AcquisitionTime = f"08{order.number % 60:02d}00"
    dataset.AccessionNumber, dataset.ReferringPhysicianName, dataset.StudyID = "", "", f"DEMO{order.number}"
    dataset.StudyDescription, dataset.SeriesDescription = order.study_description, order.description
    dataset.ProtocolName, dataset.BodyPartExamined, dataset.PatientPosition = order.description, order.body_part, "HFS"
    dataset.Modality, dataset.SeriesNumber, dataset.AcquisitionNumber = order.modality, 1, 1
    dataset.Manufacturer, dataset.ManufacturerModelName = "PACS Apprentice", "Demo modality"
    dataset.SoftwareVersions, dataset.DeviceSerialNumber = "1", "0"
    _technique(dataset, order.modality)
    _grid(dataset, scan, order.modality)
    return dataset


def _technique(dataset: Dataset, modality: str) -> None:
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL" if modality == "CT" else "OTHER"]
    dataset.DerivationDescription = "Resampled from a published atlas image"
    if modality == "CT":
        dataset.KVP = None
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "HU"
        return
    dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SP", ""
    dataset.MRAcquisitionType, dataset.EchoTrainLength = "3D", 1
    dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle = "18", "10", "30"


def _grid(dataset: Dataset, scan: Scan, modality: str) -> None:
    geometry, axes = scan.geometry, directions(scan.geometry)
    spacing = geometry.spacing_DHW
    dataset.ImageOrientationPatient = [_decimal(v) for v in axes[:2].ravel()]
    dataset.PixelSpacing = [_decimal(spacing[1]), _decimal(spacing[2])]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = _decimal(spacing[0])
    if modality == "CT":
        del dataset.SpacingBetweenSlices
    dataset.Rows, dataset.Columns = geometry.shape[1:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 1
    low, high = (float(v) for v in np.percentile(scan.voxels_DHW, (1.0, 99.5)))
    dataset.WindowCenter, dataset.WindowWidth = _decimal((low + high) / 2.0), _decimal(max(high - low, 1.0))


def _slice(shared: Dataset, scan: Scan, order: Order, index: int) -> Dataset:
    dataset = Dataset()
    dataset.update(shared)
    dataset.SOPInstanceUID = derived_uid("demo", order.node, scan.name, str(order.number), "image", str(index))
    dataset.InstanceNumber = index + 1
    position = scan.geometry.to_patient([index, 0, 0])
    dataset.ImagePositionPatient = [_decimal(v) for v in position]
    dataset.SliceLocation = _decimal(float(directions(scan.geometry)[2] @ position))
    dataset.PixelData = np.ascontiguousarray(scan.voxels_DHW[index], dtype="<i2").tobytes()
    return dataset


def _file(dataset: Dataset) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    meta.TransferSyntaxUID, meta.ImplementationClassUID = ExplicitVRLittleEndian, _IMPLEMENTATION_UID
    dataset.file_meta = meta
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 section 6.2)."""
    rounded = float(f"{value:.7f}") + 0.0
    return f"{rounded:.10g}"
