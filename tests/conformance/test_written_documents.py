from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from dicom_phantoms import SEGMENTS, identity
from pydicom import dcmread
from pydicom.dataset import Dataset
from result_phantoms import OBJECTS, SOURCES, SUGGESTIONS, labels_of, residual_of
from scipy import ndimage

from dicom_io.contours import filled
from dicom_io.errors import InvalidObject
from dicom_io.volume import ImageSeries
from dicom_io.write_captures import write_captures
from dicom_io.write_refusal import write_refusal

ONE_OF_EACH = ["axial", "tilted", "missing-slice", "multi-frame", "two-instances"]


def below(item: Dataset) -> Iterator[Dataset]:
    """All content items below one."""
    for child in item.get("ContentSequence", ()):
        yield child
        yield from below(child)


def named(item: Dataset) -> str:
    return str(item.ConceptNameCodeSequence[0].CodeValue) if "ConceptNameCodeSequence" in item else ""


def measured(group: Dataset) -> dict[str, tuple[float, str]]:
    return {
        named(child): (
            float(child.MeasuredValueSequence[0].NumericValue),
            str(child.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue),
        )
        for child in group.ContentSequence
        if child.ValueType == "NUM"
    }


def groups_of(dataset: Dataset) -> list[Dataset]:
    """The measurement groups of a report (DCM 125007)."""
    return [item for item in below(dataset) if named(item) == "125007"]


def finding(group: Dataset) -> str:
    """Code of what a measurement group is about."""
    return next(str(i.ConceptCodeSequence[0].CodeValue) for i in group.ContentSequence if named(i) == "121071")


def image_named(item: Dataset) -> tuple[str, int]:
    reference = item.ReferencedSOPSequence[0]
    return str(reference.ReferencedSOPInstanceUID), int(reference.get("ReferencedFrameNumber", 0))


def acquired(series: ImageSeries) -> list[tuple[str, int]]:
    """What names the suggested slices."""
    slices = [series.slice_at(one.plane) for one in SUGGESTIONS]
    return [(one.sop_instance_uid, one.frame_number) for one in slices if one is not None]


@pytest.mark.parametrize("source", ONE_OF_EACH)
def test_key_objects_name_the_slices_in_order_with_score_and_reason(source: str) -> None:
    series = SOURCES[source]()
    dataset = dcmread(BytesIO(OBJECTS["key-objects"](series)))
    assert [image_named(item) for item in dataset.ContentSequence if item.ValueType == "IMAGE"] == acquired(series)
    told = "".join(item.TextValue for item in dataset.ContentSequence if item.ValueType == "TEXT")
    place = [one.plane for one in series.slices].index(3)
    assert f"1. slice {place + 1} of {len(series.slices)}: score 0.900, far from drawn slices" in told


@pytest.mark.parametrize("source", ONE_OF_EACH)
def test_a_report_points_at_a_region_of_each_suggested_slice(source: str) -> None:
    series = SOURCES[source]()
    groups = [g for g in groups_of(dcmread(BytesIO(OBJECTS["report"](series)))) if finding(g) == "suggested-slice"]
    regions = [next(item for item in below(group) if item.ValueType == "SCOORD") for group in groups]
    assert [image_named(region.ContentSequence[0]) for region in regions] == acquired(series)
    assert [measured(group)["worth"] for group in groups] == [(0.9, "1"), (0.2, "1")]
    reasons = [item.TextValue for group in groups for item in group.ContentSequence if named(item) == "121106"]
    assert reasons == ["far from drawn slices", "Überlappung   residual"]
    for region, suggestion in zip(regions, SUGGESTIONS, strict=True):
        assert region.GraphicType == "POLYLINE"
        points = np.asarray(region.GraphicData, float).reshape(-1, 2)
        assert np.array_equal(points[0], points[-1])
        place = [one.plane for one in series.slices].index(suggestion.plane)
        disagrees_HW = series.onto_slices(residual_of(series))[place] >= 0.25
        expected_HW = disagrees_HW if disagrees_HW.any() else np.ones(series.acquired_size, bool)
        assert np.array_equal(filled(points - 0.5, series.acquired_size), expected_HW)


def test_a_report_gives_the_volume_of_each_segment_before_and_after() -> None:
    series = SOURCES["oblique"]()
    groups = [g for g in groups_of(dcmread(BytesIO(OBJECTS["report"](series)))) if finding(g) != "suggested-slice"]
    assert [measured(group) for group in groups] == [
        {"118565006": (1.5, "mL")},
        {"118565006": (2.5, "mL"), "volume-before": (2.25, "mL"), "estimated-dice": (0.875, "1")},
    ]
    numbers = [item for group in groups for item in group.ContentSequence if item.ValueType == "NUM"]
    measured_in = {item.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in numbers}
    assert measured_in == {identity("prediction").sop_instance_uid}
    assert [finding(group) for group in groups] == [SEGMENTS[0].type.value, SEGMENTS[1].type.value]
    tracked = [i.UID for group in groups for i in group.ContentSequence if named(i) == "112040"]
    written = dcmread(BytesIO(OBJECTS["prediction"](series))).SegmentSequence
    assert tracked == [item.TrackingUID for item in written[:2]]


def test_each_segment_of_a_report_is_outlined_where_it_is_largest() -> None:
    """OHIF shows nothing of a report with a group that has no region."""
    series = SOURCES["tilted"]()
    labels_SHW = series.onto_slices(labels_of(series))
    groups = [g for g in groups_of(dcmread(BytesIO(OBJECTS["report"](series)))) if finding(g) != "suggested-slice"]
    for number, group in enumerate(groups, start=1):
        region = next(item for item in below(group) if item.ValueType == "SCOORD")
        mask_SHW = labels_SHW == number
        largest = int(np.argmax(mask_SHW.sum(axis=(1, 2))))
        one = series.slices[largest]
        assert image_named(region.ContentSequence[0]) == (one.sop_instance_uid, one.frame_number)
        points = np.asarray(region.GraphicData, float).reshape(-1, 2)
        inside_HW = filled(points - 0.5, series.acquired_size)
        assert inside_HW.any()
        assert not (inside_HW & ~ndimage.binary_fill_holes(mask_SHW[largest])).any()


@pytest.mark.parametrize(("kind", "sop_class"), [("report", "88.33"), ("report-3d", "88.34"), ("refusal", "88.11")])
def test_documents_have_the_class_that_is_asked_for_and_a_device_as_observer(kind: str, sop_class: str) -> None:
    dataset = dcmread(BytesIO(OBJECTS[kind](SOURCES["axial"]())))
    assert dataset.SOPClassUID.endswith(sop_class)
    observed = {named(item): item for item in below(dataset)}
    assert observed["121005"].ConceptCodeSequence[0].CodeValue == "121007"
    assert observed["121013"].TextValue == "PACS Apprentice"
    assert (dataset.CompletionFlag, dataset.VerificationFlag) == ("COMPLETE", "UNVERIFIED")


@pytest.mark.parametrize("kind", ["key-objects", "report", "report-3d", "refusal"])
def test_no_document_tells_who_the_patient_is_in_its_text(kind: str) -> None:
    dataset = dcmread(BytesIO(OBJECTS[kind](SOURCES["axial"]())))
    told = " ".join(str(item) for item in below(dataset))
    assert "Doe" not in told
    assert "19700101" not in told


@pytest.mark.parametrize("annotation", ["prediction", "reader-sr", "contours"])
@pytest.mark.parametrize("form", ["file", "dataset", "beginning"])
def test_a_refusal_stands_in_the_study_of_the_annotation_and_names_it(annotation: str, form: str) -> None:
    file = OBJECTS[annotation](SOURCES["malformed"]())
    refused = dcmread(BytesIO(file))
    given = {"file": file, "dataset": refused, "beginning": file[:2000]}[form]
    dataset = dcmread(
        BytesIO(write_refusal(given, "its grid is another", "Send the series it was drawn on.", identity("refused")))
    )
    assert (dataset.StudyInstanceUID, dataset.PatientID, str(dataset.PatientName)) == (
        refused.StudyInstanceUID,
        "P1",
        "Doe^Jane",
    )
    evidence = dataset.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    assert evidence.SeriesInstanceUID == refused.SeriesInstanceUID
    assert evidence.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == refused.SOPInstanceUID
    texts = {named(item): item.TextValue for item in dataset.ContentSequence if item.ValueType == "TEXT"}
    assert (texts["121071"], texts["121075"]) == ("its grid is another", "Send the series it was drawn on.")
    (reference,) = (item for item in dataset.ContentSequence if item.ValueType in {"IMAGE", "COMPOSITE"})
    assert reference.ValueType == ("IMAGE" if annotation == "prediction" else "COMPOSITE")


@pytest.mark.parametrize("broken", [b"", b"no DICOM at all" * 20, OBJECTS["prediction"](SOURCES["axial"]())[:300]])
def test_what_does_not_even_name_its_study_cannot_be_answered(broken: bytes) -> None:
    with pytest.raises(InvalidObject):
        write_refusal(broken, "x", "y", identity())


@pytest.mark.parametrize("source", ONE_OF_EACH)
def test_captures_show_the_suggested_slices_and_say_that_they_are_for_research(source: str) -> None:
    series = SOURCES[source]()
    labels_DHW, residual_DHW = labels_of(series), residual_of(series) * 0
    files = write_captures(series, SUGGESTIONS, labels_DHW, residual_DHW, SEGMENTS, identity())
    datasets = [dcmread(BytesIO(file)) for _, file in files]
    assert [d.SOPInstanceUID for d in datasets] == [uid for uid, _ in files]
    assert [d.InstanceNumber for d in datasets] == [1, 2]
    assert len({d.SOPInstanceUID for d in datasets} | {identity().sop_instance_uid}) == 3
    for dataset, named_ in zip(datasets, acquired(series), strict=True):
        assert (dataset.Modality, dataset.BurnedInAnnotation, dataset.ImageComments) == ("OT", "YES", "Research use only")
        image = dataset.SourceImageSequence[0]
        assert (image.ReferencedSOPInstanceUID, image.get("ReferencedFrameNumber", 0)) == named_
        pixels_HW3 = dataset.pixel_array
        assert (pixels_HW3[:18] > 200).any(), "text above"
        assert (pixels_HW3[-18:] > 200).any(), "text below"
        colours = {tuple(int(v) for v in colour) for colour in pixels_HW3[18:-18].reshape(-1, 3)}
        assert SEGMENTS[0].colour in colours
        assert SEGMENTS[2].colour not in colours


def test_a_capture_has_square_pixels_and_turns_red_where_the_ends_disagree() -> None:
    series = SOURCES["axial"]()  # pixels of 0.8 x 0.6 mm
    labels_DHW = labels_of(series) * 0
    calm, heated = (
        dcmread(BytesIO(write_captures(series, SUGGESTIONS, labels_DHW, residual_DHW, SEGMENTS, identity())[0][1])).pixel_array
        for residual_DHW in (residual_of(series) * 0, residual_of(series) * 0 + 1)
    )
    rows, columns = calm.shape[0] - 36, calm.shape[1]
    assert abs(rows / columns - (21 * 0.8) / (27 * 0.6)) < 0.01
    assert (heated[18:-18, :, 0].astype(int) - heated[18:-18, :, 2] > 50).all()
    assert (calm[18:-18, :, 0] == calm[18:-18, :, 2]).all()
