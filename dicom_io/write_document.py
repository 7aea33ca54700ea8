"""What structured documents share: their modules, evidence, and who observed (PS3.3 sections C.17.2 and C.17.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import highdicom as hd
from pydicom.dataset import Dataset

from dicom_io.codes import Code
from dicom_io.identifiers import derived_uid
from dicom_io.result_dataset import concept, encoded, result_dataset
from dicom_io.results import MANUFACTURER, ResultIdentity
from dicom_io.volume import ImageSeries

_DEVICE = Code("121007", "DCM", "Device")
_SOURCE = Code("260753009", "SCT", "Source")
_PROCEDURE = Code("363679005", "SCT", "Imaging procedure")
_LIBRARY = Code("111028", "DCM", "Image Library")
_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
_ROOT = ("ValueType", "ConceptNameCodeSequence", "ContinuityOfContent", "ContentTemplateSequence", "ContentSequence")
Group = hd.sr.PlanarROIMeasurementsAndQualitativeEvaluations | hd.sr.VolumetricROIMeasurementsAndQualitativeEvaluations
KEY_OBJECTS_CLASS = "1.2.840.10008.5.1.4.1.1.88.59"


def write_document(
    header: Dataset,
    identity: ResultIdentity,
    sop_class_uid: str,
    content: Dataset,
    evidence: Iterable[Dataset],
    manufacturer: str = MANUFACTURER,
) -> bytes:
    """A document as a DICOM Part 10 file.

    Args:
        header: any object of the study.
        identity: UIDs, texts and date of the result.
        sop_class_uid: Key Object Selection, or one of the SR classes.
        content: the root content item.
        evidence: the instances that the content refers to, all of this study: datasets with the UIDs of series, class and
            instance. One that comes twice is named once.
        manufacturer: Manufacturer (0008,0070) and model name.
    """
    is_key_objects = sop_class_uid == KEY_OBJECTS_CLASS
    dataset = result_dataset(header, identity, sop_class_uid, "KO" if is_key_objects else "SR", manufacturer)
    dataset.ReferencedPerformedProcedureStepSequence = []
    if not is_key_objects:
        dataset.CompletionFlag, dataset.VerificationFlag = "COMPLETE", "UNVERIFIED"
        dataset.PerformedProcedureCodeSequence = []
    for keyword in _ROOT:
        if keyword in content:
            setattr(dataset, keyword, content[keyword].value)
    dataset.CurrentRequestedProcedureEvidenceSequence = [_of_study(dataset.StudyInstanceUID, evidence)]
    return encoded(dataset)


def _of_study(study_instance_uid: str, evidence: Iterable[Dataset]) -> Dataset:
    """One item of the Hierarchical SOP Instance Reference macro (PS3.3 section C.17.2.1)."""
    by_series: dict[str, dict[str, str]] = {}
    for one in evidence:
        by_series.setdefault(one.SeriesInstanceUID, {})[one.SOPInstanceUID] = one.SOPClassUID
    study = Dataset()
    study.StudyInstanceUID, study.ReferencedSeriesSequence = study_instance_uid, []
    for series_uid, instances in by_series.items():
        series = Dataset()
        series.SeriesInstanceUID, series.ReferencedSOPSequence = series_uid, []
        for sop_uid, class_uid in instances.items():
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = class_uid, sop_uid
            series.ReferencedSOPSequence.append(item)
        study.ReferencedSeriesSequence.append(series)
    return study


def evidence_of(source: ImageSeries, places: Sequence[int]) -> list[Dataset]:
    """Acquired slices as evidence."""
    out = []
    for place in places:
        item = Dataset()
        item.SeriesInstanceUID, item.SOPClassUID = source.volume.series.series_instance_uid, source.volume.series.sop_class_uid
        item.SOPInstanceUID = source.slices[place].sop_instance_uid
        out.append(item)
    return out


def source_image(source: ImageSeries, place: int) -> hd.sr.SourceImageForRegion:
    """An acquired slice as what a region lies on."""
    one = source.slices[place]
    frames = [one.frame_number] if one.frame_number else None
    return hd.sr.SourceImageForRegion(source.volume.series.sop_class_uid, one.sop_instance_uid, frames)


def measurement_report(
    source: ImageSeries, places: Sequence[int], observer: hd.sr.ObservationContext, groups: Sequence[Group]
) -> Dataset:
    """The root of a report of TID 1500, with the slices that it is about in its image library (TID 1600).

    Earlier OHIF 3 stops at a report without a library; highdicom's own wants headers that name a known class of image.
    """
    root = hd.sr.MeasurementReport(observer, concept(_PROCEDURE), imaging_measurements=groups)[0]
    library, group = (
        hd.sr.ContainerContentItem(concept(name), relationship_type="CONTAINS") for name in (_LIBRARY, _LIBRARY_GROUP)
    )
    group.ContentSequence = hd.sr.ContentSequence([image_item(source, place) for place in places])
    library.ContentSequence = hd.sr.ContentSequence([group])
    root.ContentSequence.insert(len(root.ContentSequence) - 1, library)  # the measurements come last
    return root


def image_item(source: ImageSeries, place: int) -> hd.sr.ImageContentItem:
    """An acquired slice as an IMAGE content item."""
    one = source.slices[place]
    return hd.sr.ImageContentItem(
        name=concept(_SOURCE),
        referenced_sop_class_uid=source.volume.series.sop_class_uid,
        referenced_sop_instance_uid=one.sop_instance_uid,
        referenced_frame_numbers=one.frame_number or None,
        relationship_type="CONTAINS",
    )


def places_of(source: ImageSeries, planes: Iterable[int]) -> list[int]:
    """Indices of the acquired slices that fill planes of the volume.

    Raises:
        ValueError: a plane was not acquired.
    """
    by_plane = {one.plane: place for place, one in enumerate(source.slices)}
    try:
        return [by_plane[plane] for plane in planes]
    except KeyError as missing:
        raise ValueError(f"plane {missing} is no acquired slice of the series") from None


def device_observer() -> hd.sr.ObserverContext:
    """This software as the observer (PS3.16 TID 1002)."""
    return hd.sr.ObserverContext(
        observer_type=concept(_DEVICE),
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=derived_uid("device", MANUFACTURER),
            name=MANUFACTURER,
            manufacturer_name=MANUFACTURER,
            model_name=MANUFACTURER,
        ),
    )
