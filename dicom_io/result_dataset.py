"""What all results have in common: identity, patient, study, series, equipment, and their encoding.

Written strictly: Explicit VR Little Endian, Unicode. The same input gives the same bytes.
"""

from __future__ import annotations

from importlib.metadata import version
from io import BytesIO

from highdicom.sr.coding import CodedConcept
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from dicom_io.codes import Code
from dicom_io.datasets import lenient, text
from dicom_io.results import MANUFACTURER, ResultIdentity
from dicom_io.source_headers import patient_and_study, valid

ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
RESEARCH_USE = "Research use only"
_ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")
_PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
_DISTRIBUTION = "pacs-apprentice"


def result_dataset(
    header: Dataset, identity: ResultIdentity, sop_class_uid: str, modality: str, manufacturer: str = MANUFACTURER
) -> Dataset:
    """The modules that every result has: SOP Common, Patient, General Study, General Series, General Equipment.

    Args:
        header: any object of the study; patient and study come from it, and which equipment acquired it.
        identity: UIDs, texts and date of the result.
        sop_class_uid: what the result is.
        modality: Modality (0008,0060).
        manufacturer: Manufacturer (0008,0070) and model name.
    """
    dataset = patient_and_study(header)
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class_uid, identity.sop_instance_uid
    day, moment = identity.created.strftime("%Y%m%d"), identity.created.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = day, moment
    dataset.ContentDate, dataset.ContentTime = day, moment
    dataset.Modality, dataset.SeriesInstanceUID = modality, identity.series_instance_uid
    dataset.SeriesNumber, dataset.InstanceNumber = identity.series_number, 1
    dataset.SeriesDescription = short(identity.series_description)
    dataset.Manufacturer = dataset.ManufacturerModelName = short(manufacturer)
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = short(identity.algorithm_version) or "unknown"
    dataset.ContributingEquipmentSequence = _equipment(header, identity, manufacturer)
    return dataset


def _equipment(header: Dataset, identity: ResultIdentity, manufacturer: str) -> list[Dataset]:
    """What acquired the source, where it is an original image, and this software (PS3.3 section C.12.1, PS3.16 CID 7005)."""
    out = []
    with lenient():
        original = text(header, "ImageType").upper().startswith("ORIGINAL")
        scanner, model = valid(header, "Manufacturer"), valid(header, "ManufacturerModelName")
    if original and scanner:
        acquired = Dataset()
        acquired.Manufacturer = scanner
        if model:
            acquired.ManufacturerModelName = model
        acquired.PurposeOfReferenceCodeSequence = [concept(_ACQUISITION_EQUIPMENT)]
        out.append(acquired)
    processed = Dataset()
    processed.Manufacturer = processed.ManufacturerModelName = short(manufacturer)
    processed.SoftwareVersions = [version(_DISTRIBUTION), short(identity.algorithm_version) or "unknown"]
    processed.ContributionDateTime = identity.created.strftime("%Y%m%d%H%M%S.%f")
    processed.PurposeOfReferenceCodeSequence = [concept(_PROCESSING_EQUIPMENT)]
    out.append(processed)
    return out


def encoded(dataset: Dataset) -> bytes:
    """The dataset as a DICOM Part 10 file."""
    buffer = BytesIO()
    encode_into(buffer, dataset)
    return buffer.getvalue()


def encode_into(buffer: BytesIO, dataset: Dataset) -> None:
    """Writes the dataset as a DICOM Part 10 file (PS3.10 section 7) that may be continued with elements of higher tags."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    with lenient():
        dataset.save_as(buffer, enforce_file_format=True)


def concept(code: Code) -> CodedConcept:
    """A code as highdicom and pydicom have it."""
    return CodedConcept(code.value, code.scheme, short(code.meaning) or code.value)


def content_description(identity: ResultIdentity) -> str:
    """Content Description (0070,0081): task, round and that it is for research."""
    return short(f"{identity.task_id}, round {identity.round_number}; research use")


def short(value: str, length: int = 64) -> str:
    """Text that fits a VR of one line: no backslash, no control character, at most ``length`` characters."""
    line = "".join(" " if character == "\\" or not character.isprintable() else character for character in value)
    return line.strip()[:length].strip()
