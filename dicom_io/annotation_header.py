"""What an annotation object says of itself, read before its images are at hand."""

from __future__ import annotations

from pydicom.dataset import Dataset

from dicom_io.annotation import AnnotationHeader
from dicom_io.datasets import coded, items, text
from dicom_io.errors import InvalidObject, UnsupportedObject
from dicom_io.references import references_of

SEGMENTATION_CLASS = "1.2.840.10008.5.1.4.1.1.66.4"
LABELMAP_CLASS = "1.2.840.10008.5.1.4.1.1.66.7"
RTSTRUCT_CLASS = "1.2.840.10008.5.1.4.1.1.481.3"
SR_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.88.22",  # Enhanced SR
    "1.2.840.10008.5.1.4.1.1.88.33",  # Comprehensive SR
    "1.2.840.10008.5.1.4.1.1.88.34",  # Comprehensive 3D SR
    "1.2.840.10008.5.1.4.1.1.88.35",  # Extensible SR
)
MODALITIES = {
    SEGMENTATION_CLASS: "SEG",
    LABELMAP_CLASS: "SEG",
    RTSTRUCT_CLASS: "RTSTRUCT",
    **dict.fromkeys(SR_CLASSES, "SR"),
}
_PERSON_OBSERVER = ("121008", "DCM")


def header_of(dataset: Dataset) -> AnnotationHeader:
    """The header of a parsed annotation object; errors as in :func:`dicom_io.read_annotation.inspect`."""
    class_uid, instance_uid = text(dataset, "SOPClassUID"), text(dataset, "SOPInstanceUID")
    if class_uid not in MODALITIES:
        raise UnsupportedObject(
            f"instance {instance_uid}",
            f"class {class_uid or 'unknown'} is no annotation",
            "Annotations are SEG, SR (TID 1500) or RTSTRUCT objects.",
        )
    series_uid, study_uid = text(dataset, "SeriesInstanceUID"), text(dataset, "StudyInstanceUID")
    if not series_uid or not study_uid:
        raise InvalidObject(f"instance {instance_uid}", "it names no series or no study", "Save the annotation again.")
    named = references_of(dataset)
    return AnnotationHeader(
        sop_instance_uid=instance_uid,
        sop_class_uid=class_uid,
        series_instance_uid=series_uid,
        study_instance_uid=study_uid,
        modality=MODALITIES[class_uid],
        referenced_series_uids=named.series,
        referenced_sop_instance_uids=named.instances,
        referenced_frames=named.frames,
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID") or _structure_frame(dataset),
        reader=_reader(dataset),
        description=text(dataset, "SeriesDescription") or text(dataset, "ContentLabel"),
        manufacturer=text(dataset, "Manufacturer"),
        created=_created(dataset),
        content_label=_content_label(dataset),
        content_description=text(dataset, "ContentDescription") or text(dataset, "StructureSetDescription"),
        station=text(dataset, "StationName"),
        model=text(dataset, "ManufacturerModelName"),
        application_entity=_sender(dataset),
    )


def _sender(dataset: Dataset) -> str:
    """Who sent the object, where its file says so (PS3.10 section 7.1)."""
    meta = getattr(dataset, "file_meta", None)
    return text(meta, "SourceApplicationEntityTitle") if meta is not None else ""


def _created(dataset: Dataset) -> str:
    for kind in ("Content", "StructureSet", "InstanceCreation", "Series"):
        day = text(dataset, f"{kind}Date").replace(".", "")
        if len(day) == 8 and day.isdigit():
            moment = text(dataset, f"{kind}Time").replace(":", "")[:6]
            return day + (moment.ljust(6, "0") if moment.isdigit() else "000000")
    return ""


def _content_label(dataset: Dataset) -> str:
    """Content Label, Structure Set Label, or what kind of document an SR says it is."""
    title = coded(dataset, "ConceptNameCodeSequence")
    label = text(dataset, "ContentLabel") or text(dataset, "StructureSetLabel")
    return label or (title.meaning if title else "")


def _reader(dataset: Dataset) -> str:
    """Content Creator, Operators or the person observer of an SR, whichever is given first.

    Names such as ``unknown^unknown``, which viewers fill in, are none.
    """
    names = [text(dataset, "ContentCreatorName"), text(dataset, "OperatorsName")]
    for item in items(dataset, "ContentSequence"):
        concept = coded(item, "ConceptNameCodeSequence")
        if concept and (concept.value, concept.scheme) == _PERSON_OBSERVER:
            names.append(text(item, "PersonName") or text(item, "TextValue"))
    return next((name for name in names if set(name.casefold().split("^")) - {"", "unknown", "anonymous"}), "")


def _structure_frame(dataset: Dataset) -> str:
    """The frame of reference that a structure set names."""
    for item in items(dataset, "ReferencedFrameOfReferenceSequence"):
        if uid := text(item, "FrameOfReferenceUID"):
            return uid
    return ""
