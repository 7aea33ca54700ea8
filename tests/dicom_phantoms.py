"""Synthetic image series as DICOM files, and the small things that tests of codecs share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.identifiers import derived_uid
from dicom_io.results import ResultIdentity, SegmentDescription

MR = "1.2.840.10008.5.1.4.1.1.4"
CREATED = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - DICOM dates carry no zone
SEGMENTS = tuple(
    SegmentDescription(number, name, ANATOMICAL_STRUCTURE, Code(code, "SCT", name), colour)
    for number, name, code, colour in (
        (1, "Liver", "10200004", (220, 60, 40)),
        (2, "Spleen", "78961009", (60, 180, 75)),
        (3, "Kidney", "64033007", (70, 100, 220)),
    )
)


def identity(name: str = "result") -> ResultIdentity:
    return ResultIdentity(
        derived_uid("series", name),
        derived_uid("instance", name),
        500,
        f"Apprentice {name}, research use",
        "liver",
        1,
        "v7",
        CREATED,
    )


def rotation(angles: Sequence[float] = (0.0, 0.0, 0.0)) -> npt.NDArray[np.float64]:
    """Rotation about x, then y, then z, radians."""
    out = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        i, j = [(1, 2), (0, 2), (0, 1)][axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        out = turn @ out
    return out


def make_series(
    shape: tuple[int, int, int] = (5, 20, 24),
    spacing: tuple[float, float, float] = (3.0, 0.8, 0.6),
    angles: Sequence[float] = (0.0, 0.0, 0.0),
    origin: Sequence[float] = (-10.0, 5.0, 30.0),
    *,
    name: str = "image",
    frame_of_reference: str = "1.2.3.4",
    voxels_DHW: npt.NDArray[np.uint16] | None = None,
    shear: Sequence[float] = (0.0, 0.0, 0.0),
    edit: Callable[[Dataset, int], None] | None = None,
) -> list[bytes]:
    """Files of an MR series, ascending along its normal; ``edit`` changes the dataset of a slice before it is encoded."""
    turn = rotation(angles)
    row, column = turn[:, 0], turn[:, 1]
    step = np.cross(row, column) * spacing[0] + np.asarray(shear)
    if voxels_DHW is None:
        voxels_DHW = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    files = []
    for index in range(shape[0]):
        dataset = Dataset()
        dataset.SOPClassUID, dataset.SOPInstanceUID = MR, derived_uid(name, str(index))
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = derived_uid("study"), derived_uid(name)
        dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Doe^Jane", "P1", "19700101", "F"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.AccessionNumber = "20250102", "101112", "1", "A1"
        dataset.ReferringPhysicianName, dataset.Manufacturer, dataset.Modality = "", "Phantom", "MR"
        dataset.SeriesDescription, dataset.SeriesNumber, dataset.InstanceNumber = "phantom", 1, index + 1
        if frame_of_reference:
            dataset.FrameOfReferenceUID = frame_of_reference
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        dataset.ImagePositionPatient = [float(f"{v:.10g}") for v in np.asarray(origin) + index * step]
        dataset.ImageOrientationPatient = [float(f"{v:.10g}") for v in (*row, *column)]
        dataset.PixelSpacing, dataset.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = shape[1], shape[2], 1
        dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.PixelData = voxels_DHW[index].astype("<u2").tobytes()
        if edit:
            edit(dataset, index)
        files.append(file_of(dataset))
    return files


def file_of(dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """A dataset as Part 10 file."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
    dataset.file_meta = meta
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True, implicit_vr=False, little_endian=True)
    return buffer.getvalue()


@contextmanager
def edited(file: bytes) -> Iterator[tuple[Dataset, Callable[[], bytes]]]:
    """The dataset of a file, to change, and a function that encodes it again."""
    dataset = dcmread(BytesIO(file))

    def encode() -> bytes:
        buffer = BytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    yield dataset, encode


def blobs(shape: tuple[int, int, int], count: int = 2) -> npt.NDArray[np.uint8]:
    """Labels 1..count: balls side by side, the first and last slices left empty."""
    labels_DHW = np.zeros(shape, np.uint8)
    z, y, x = np.mgrid[: shape[0], : shape[1], : shape[2]]
    for number in range(1, count + 1):
        middle = shape[2] * (number - 0.5) / count
        inside = (y - shape[1] / 2) ** 2 / (shape[1] / 3) ** 2 + (x - middle) ** 2 / (shape[2] / 3 / count) ** 2 < 1
        labels_DHW[inside & (z > 0) & (z < shape[0] - 1)] = number
    return labels_DHW
