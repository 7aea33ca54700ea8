"""Small image series as DICOM Part 10 files, for tests that move objects and do not look into them."""

from __future__ import annotations

import io

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid


def make_slices(
    count: int = 3, *, series_uid: str | None = None, study_uid: str | None = None, size: int = 16, first: int = 1
) -> list[bytes]:
    """An axial MR series of ``count`` slices, 2 mm apart, as files; ``first`` is the number of the first one."""
    series = str(series_uid or generate_uid())
    study = str(study_uid or generate_uid())
    return [_file(_slice(series, study, number, size)) for number in range(first, first + count)]


def uids(file: bytes) -> tuple[str, str]:
    """SOP Instance UID and Series Instance UID of a file of ``make_slices``."""

    dataset = dcmread(io.BytesIO(file), stop_before_pixels=True)
    return str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID)


def _slice(series: str, study: str, number: int, size: int) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    uid = f"{series[:54]}.{number}"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientID, dataset.PatientName = f"P{study[-8:]}", "Test^Only"
    dataset.PatientBirthDate = dataset.PatientSex = dataset.AccessionNumber = dataset.StudyID = ""
    dataset.StudyDate, dataset.StudyTime, dataset.ReferringPhysicianName = "20260101", "120000", ""
    dataset.Modality, dataset.SeriesDescription, dataset.StudyDescription = "MR", "t2 axial", "prostate"
    dataset.BodyPartExamined, dataset.ProtocolName, dataset.SeriesNumber = "PROSTATE", "t2_tse", 1
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, 2 * number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.FrameOfReferenceUID = [1, 1], 2, f"{study[:60]}.1"
    dataset.Rows = dataset.Columns = size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelData = np.random.default_rng(number).integers(0, 4096, (size, size), np.uint16).tobytes()
    return dataset


def _file(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
