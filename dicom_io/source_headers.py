"""Headers of a source series made fit to write results from.

A result inherits the patient and the study of its source. What is malformed there would stop a strict writer or make the result
invalid, so only values that keep the standard's form are taken over; identifiers are kept as they are, right or wrong, because
an archive files by them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from io import BytesIO
from typing import Any

from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DA, TM, DSfloat, PersonName, format_number_as_ds, validate_value

from dicom_io.datasets import UNREADABLE, items, lenient, number, numbers, text
from dicom_io.results import ResultIdentity
from dicom_io.volume import ImageSeries

_KEPT_AS_THEY_ARE = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID", "PatientID")
_KEPT_IF_VALID = (
    "AccessionNumber",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "IssuerOfPatientID",
    "Manufacturer",
    "PositionReferenceIndicator",
)
_SEXES = ("M", "F", "O")


def source_headers(source: ImageSeries, slices: Iterable[int] | None = None) -> list[Dataset]:
    """Small, valid datasets that stand for source slices.

    Args:
        source: the image series.
        slices: indices along the slice axis, in the wanted order; all slices where left out.

    Returns:
        For each slice identifiers, patient, study and image plane. A frame of reference is always there: the source's or the
        derived one. Texts are Unicode.
    """
    with lenient():
        return [_cleaned(source, index) for index in (range(len(source.headers)) if slices is None else slices)]


def _cleaned(source: ImageSeries, index: int) -> Dataset:
    header, geometry = source.headers[index], source.volume.geometry
    out = Dataset()
    out.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _KEPT_AS_THEY_ARE:
        setattr(out, keyword, text(header, keyword))
    for keyword in _KEPT_IF_VALID:
        setattr(out, keyword, _valid(header, keyword))
    if out.PatientSex not in _SEXES:
        out.PatientSex = ""
    out.Modality = source.volume.series.modality
    out.FrameOfReferenceUID = geometry.frame_of_reference_uid
    _, out.Rows, out.Columns = geometry.shape
    position, orientation, spacing = (
        numbers(header, keyword, count)
        for keyword, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
    )
    assert position is not None and orientation is not None and spacing is not None, "read_series saw to it"  # noqa: PT018 - one fact
    out.ImagePositionPatient = _decimal(position)
    out.ImageOrientationPatient = _decimal(orientation)
    out.PixelSpacing = _decimal(spacing)
    distance = geometry.spacing_DHW[0]
    thickness = number(header, "SliceThickness")
    out.SliceThickness = _decimal([thickness if thickness > 0 else distance])[0]
    out.SpacingBetweenSlices = _decimal([distance])[0]
    return out


def _decimal(values: Iterable[float]) -> list[DSfloat]:
    """Numbers in at most 16 characters (PS3.5 section 6.2, VR DS); what was shorter keeps its digits."""
    return [DSfloat(format_number_as_ds(float(value))) for value in values]


def _valid(header: Dataset, keyword: str) -> str | PersonName | None:
    """The value as text where it keeps the form of its VR, else empty (of type 2, so that this is valid)."""
    value, vr = text(header, keyword), dictionary_VR(keyword)
    try:
        validate_value(vr, value, RAISE)
        if vr == "DA" and value:
            DA(value)
        if vr == "TM" and value:
            TM(value)
        if vr == "DS":
            found = number(header, keyword)  # zero where it is no finite number
            return format_number_as_ds(found) if found > 0 else None
        if vr == "PN":
            return PersonName(value)
    except UNREADABLE:
        return None if vr == "DS" else ""
    return "" if vr != "PN" and "\\" in value else value


def short(value: str, length: int = 64) -> str:
    """Text that fits a VR of one line: no backslash, no control character, at most ``length`` characters."""
    line = "".join(" " if character == "\\" or not character.isprintable() else character for character in value)
    return line.strip()[:length].strip()


def date_and_time(created: datetime) -> tuple[str, str]:
    """Values of VR DA and TM."""
    return created.strftime("%Y%m%d"), created.strftime("%H%M%S.%f")


def identity_arguments(identity: ResultIdentity) -> dict[str, Any]:
    """The keyword arguments that highdicom's constructors share: identifiers, texts, date and encoding of a result."""
    day, moment = date_and_time(identity.created)
    return {
        "series_instance_uid": identity.series_instance_uid,
        "series_number": identity.series_number,
        "series_description": short(identity.series_description),
        "sop_instance_uid": identity.sop_instance_uid,
        "instance_number": 1,
        "software_versions": short(identity.algorithm_version) or "unknown",
        "content_date": day,
        "content_time": moment,
        "transfer_syntax_uid": ExplicitVRLittleEndian,
    }


def encoded(dataset: Dataset, created: datetime) -> bytes:
    """The dataset as a DICOM Part 10 file, with its creation dated ``created``, so that equal input gives equal bytes."""
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = date_and_time(created)
    for item in items(dataset, "ContributingEquipmentSequence"):
        if "ContributionDateTime" in item:
            item.ContributionDateTime = created.strftime("%Y%m%d%H%M%S.%f")
    buffer = BytesIO()
    with lenient():
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
