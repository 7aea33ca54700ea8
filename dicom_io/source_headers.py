"""Headers of a source series made fit to write results from.

A result inherits the patient and the study of its source. What is malformed there would stop a strict writer or make the result
invalid, so only values that keep the standard's form are taken over; identifiers are kept as they are, right or wrong, because
an archive files by them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.valuerep import DA, TM, DSfloat, PersonName, format_number_as_ds, validate_value

from dicom_io.datasets import UNREADABLE, first_item, items, lenient, number, numbers, text
from dicom_io.volume import AcquiredSlice, ImageSeries

_IDENTIFIERS = ("StudyInstanceUID", "PatientID")
_ALWAYS_THERE = (
    "AccessionNumber",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "ReferringPhysicianName",
)
"""Type 2 of the Patient and General Study modules: empty where the source has no valid value."""
_WHERE_VALID = ("PatientAge", "PatientSize", "PatientWeight", "StudyDescription", "IssuerOfPatientID")
_SEXES = ("M", "F", "O")


def patient_and_study(header: Dataset) -> Dataset:
    """The Patient, General Study and Patient Study attributes of any object that keep the standard's form, as Unicode."""
    with lenient():
        out = Dataset()
        out.SpecificCharacterSet = "ISO_IR 192"
        for keyword in _IDENTIFIERS:
            setattr(out, keyword, text(header, keyword))
        for keyword in _ALWAYS_THERE:
            setattr(out, keyword, valid(header, keyword))
        for keyword in _WHERE_VALID:
            if value := valid(header, keyword):
                setattr(out, keyword, value)
        if out.PatientSex not in _SEXES:
            out.PatientSex = ""
    return out


def source_headers(source: ImageSeries, slices: Iterable[int] | None = None) -> list[Dataset]:
    """Small, valid datasets that stand for acquired slices.

    Args:
        source: the image series.
        slices: indices of acquired slices, in the wanted order; all where left out.

    Returns:
        For each slice identifiers, patient, study and image plane. A frame of reference is always there: the source's or the
        derived one. Texts are Unicode. Slices of one multi-frame image share its SOP Instance UID.
    """
    series = source.volume.series
    inherited = patient_and_study(source.headers[0])
    inherited.SeriesInstanceUID, inherited.SOPClassUID = series.series_instance_uid, series.sop_class_uid
    inherited.Modality, inherited.FrameOfReferenceUID = series.modality, source.volume.geometry.frame_of_reference_uid
    inherited.Rows, inherited.Columns = source.acquired_size
    inherited.PositionReferenceIndicator = ""
    inherited.update(plane_orientation(source))
    inherited.update(pixel_measures(source))
    out = []
    for one in source.slices if slices is None else [source.slices[index] for index in slices]:
        header = Dataset()
        header.update(inherited)
        header.SOPInstanceUID, header.ImagePositionPatient = one.sop_instance_uid, decimals(one.position)
        out.append(header)
    return out


def plane_orientation(source: ImageSeries) -> Dataset:
    """Image Orientation (Patient) (0020,0037) of the acquired slices, digit by digit the source's."""
    out = Dataset()
    found = _plane_value(source, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
    if found is None:
        _, height, width = source.volume.geometry.spacing_DHW
        affine = source.volume.geometry.affine
        found = np.concatenate([affine[:3, 2] / width, affine[:3, 1] / height])
    out.ImageOrientationPatient = decimals(found)
    return out


def pixel_measures(source: ImageSeries) -> Dataset:
    """Pixel Spacing, Slice Thickness and Spacing Between Slices of the acquired slices, mm."""
    out = Dataset()
    distance, height, width = source.volume.geometry.spacing_DHW
    spacing = _plane_value(source, "PixelMeasuresSequence", "PixelSpacing", 2)
    thickness = _plane_value(source, "PixelMeasuresSequence", "SliceThickness", 1)
    out.PixelSpacing = decimals([height, width] if spacing is None else spacing)
    out.SliceThickness = decimals([distance] if thickness is None or thickness[0] <= 0 else thickness)[0]
    out.SpacingBetweenSlices = decimals([distance])[0]
    return out


def _plane_value(source: ImageSeries, group: str, keyword: str, count: int) -> npt.NDArray[np.float64] | None:
    """What the header of the first acquired slice says: on top, or in the functional groups of a multi-frame image."""
    header, number_ = source.headers[0], source.slices[0].frame_number
    frames = items(header, "PerFrameFunctionalGroupsSequence")
    places = [header, first_item(first_item(header, "SharedFunctionalGroupsSequence"), group)]
    if 0 < number_ <= len(frames):
        places.append(first_item(frames[number_ - 1], group))
    with lenient():
        return next((found for place in places if (found := numbers(place, keyword, count)) is not None), None)


def reference(source: ImageSeries, one: AcquiredSlice) -> Dataset:
    """An item that names an acquired slice: its instance, and its frame where it has several (PS3.3 section 10.3)."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.volume.series.sop_class_uid, one.sop_instance_uid
    if one.frame_number:
        item.ReferencedFrameNumber = one.frame_number
    return item


def instance_references(source: ImageSeries) -> list[Dataset]:
    """One item for each instance of the source (PS3.3 section 10.8)."""
    out = []
    for uid in dict.fromkeys(one.sop_instance_uid for one in source.slices):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = source.volume.series.sop_class_uid, uid
        out.append(item)
    return out


def decimals(values: Iterable[float]) -> list[DSfloat]:
    """Numbers in at most 16 characters (PS3.5 section 6.2, VR DS); what was shorter keeps its digits."""
    return [DSfloat(format_number_as_ds(float(value))) for value in values]


def valid(header: Dataset, keyword: str) -> str | PersonName | None:
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
