"""What an annotation object says of itself, read before its images are at hand."""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset

from dicom_io.annotation import AnnotationHeader
from dicom_io.datasets import coded, items, text
from dicom_io.errors import InvalidObject, UnsupportedObject

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
    series, instances = _references(dataset, own_study=study_uid)
    return AnnotationHeader(
        sop_instance_uid=instance_uid,
        sop_class_uid=class_uid,
        series_instance_uid=series_uid,
        study_instance_uid=study_uid,
        modality=MODALITIES[class_uid],
        referenced_series_uids=series,
        referenced_sop_instance_uids=instances,
        frame_of_reference_uid=text(dataset, "FrameOfReferenceUID") or _structure_frame(dataset),
        reader=_reader(dataset),
        description=text(dataset, "SeriesDescription") or text(dataset, "ContentLabel"),
        manufacturer=text(dataset, "Manufacturer"),
        created=_created(dataset),
    )


def _created(dataset: Dataset) -> str:
    for kind in ("Content", "StructureSet", "InstanceCreation", "Series"):
        day = text(dataset, f"{kind}Date").replace(".", "")
        if len(day) == 8 and day.isdigit():
            moment = text(dataset, f"{kind}Time").replace(":", "")[:6]
            return day + (moment.ljust(6, "0") if moment.isdigit() else "000000")
    return ""


def _reader(dataset: Dataset) -> str:
    """Content Creator, Operators or the person observer of an SR, whichever is given first."""
    for keyword in ("ContentCreatorName", "OperatorsName"):
        if name := text(dataset, keyword):
            return name
    for item in items(dataset, "ContentSequence"):
        concept = coded(item, "ConceptNameCodeSequence")
        if concept and (concept.value, concept.scheme) == _PERSON_OBSERVER and (name := text(item, "PersonName")):
            return name
    return ""


def _structure_frame(dataset: Dataset) -> str:
    """The frame of reference that a structure set names."""
    for item in items(dataset, "ReferencedFrameOfReferenceSequence"):
        if uid := text(item, "FrameOfReferenceUID"):
            return uid
    return ""


def _series_items(dataset: Dataset, own_study: str) -> Iterator[Dataset]:
    """Items that name a series: of the Common Instance Reference module, of an SR's evidence, of a structure set."""
    yield from items(dataset, "ReferencedSeriesSequence")
    studies = (
        *items(dataset, "CurrentRequestedProcedureEvidenceSequence"),
        *items(dataset, "PertinentOtherEvidenceSequence"),
        *items(dataset, "StudiesContainingOtherReferencedInstancesSequence"),
    )
    for study in sorted(studies, key=lambda item: text(item, "StudyInstanceUID") != own_study):
        yield from items(study, "ReferencedSeriesSequence")
    for frame in items(dataset, "ReferencedFrameOfReferenceSequence"):
        for study in items(frame, "RTReferencedStudySequence"):
            yield from items(study, "RTReferencedSeriesSequence")


def _references(dataset: Dataset, own_study: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Series and instances that the object names, without repetition, in its order."""
    series: dict[str, None] = {}
    instances: dict[str, None] = {}
    for item in _series_items(dataset, own_study):
        if uid := text(item, "SeriesInstanceUID"):
            series[uid] = None
        keywords = ("ReferencedInstanceSequence", "ReferencedSOPSequence", "ContourImageSequence")
        for reference in (part for keyword in keywords for part in items(item, keyword)):
            if uid := text(reference, "ReferencedSOPInstanceUID"):
                instances[uid] = None
    if not instances:
        instances = dict.fromkeys(_frame_references(dataset))
    return tuple(series), tuple(instances)


def _frame_references(dataset: Dataset) -> Iterator[str]:
    """Source instances that the frames of a SEG name, for writers that leave Referenced Series Sequence out."""
    groups = (*items(dataset, "SharedFunctionalGroupsSequence"), *items(dataset, "PerFrameFunctionalGroupsSequence"))
    for group in groups:
        for derivation in items(group, "DerivationImageSequence"):
            for image in items(derivation, "SourceImageSequence"):
                if uid := text(image, "ReferencedSOPInstanceUID"):
                    yield uid
