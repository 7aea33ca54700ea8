from __future__ import annotations

from collections.abc import Sequence as Items

import numpy as np
import pytest
from dicom_phantoms import CREATED, SEGMENTS, blobs, edited, file_of, make_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_io.errors import EmptyAnnotation, InvalidObject, SourceMissing
from dicom_io.identifiers import derived_uid
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr

SHAPE = (5, 20, 24)
SOURCE = read_series(make_series(SHAPE, angles=(0.2, 0.1, -0.4)))
LABELS = blobs(SHAPE)


def concept(value: str, scheme: str, meaning: str) -> Sequence:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return Sequence([item])


def scoord(
    kind: str, points: Items[float], slice_index: int = 2, name: tuple[str, str, str] = ("111030", "DCM", "Image Region")
) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = SOURCE.volume.series.sop_class_uid
    reference.ReferencedSOPInstanceUID = SOURCE.volume.series.sop_instance_uids[slice_index]
    image = Dataset()
    image.RelationshipType, image.ValueType, image.ReferencedSOPSequence = "SELECTED FROM", "IMAGE", Sequence([reference])
    item = Dataset()
    item.RelationshipType, item.ValueType, item.GraphicType, item.GraphicData = "CONTAINS", "SCOORD", kind, list(points)
    item.ConceptNameCodeSequence, item.ContentSequence = concept(*name), Sequence([image])
    return item


def report(*groups: Items[Dataset]) -> bytes:
    """An SR by the roughest of writers: groups straight under the root, tracked as ``lesion 1``, ``lesion 2``..."""
    root = Dataset()
    root.SOPClassUID, root.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.88.33", "1.2.3.4"
    root.StudyInstanceUID, root.SeriesInstanceUID, root.Modality = derived_uid("study"), "1.2.3.5", "SR"
    containers = []
    for number, shapes in enumerate(groups, start=1):
        tracking = Dataset()
        tracking.RelationshipType, tracking.ValueType, tracking.TextValue = "HAS OBS CONTEXT", "TEXT", f"lesion {number}"
        tracking.ConceptNameCodeSequence = concept("112039", "DCM", "Tracking Identifier")
        group = Dataset()
        group.RelationshipType, group.ValueType = "CONTAINS", "CONTAINER"
        group.ConceptNameCodeSequence = concept("125007", "DCM", "Measurement Group")
        group.ContentSequence = Sequence([tracking, *shapes])
        containers.append(group)
    root.ContentSequence = Sequence(containers)
    return file_of(root)


SQUARE = (4.0, 6.0, 10.0, 6.0, 10.0, 12.0, 4.0, 12.0, 4.0, 6.0)


def test_the_first_pixel_begins_at_zero() -> None:
    drawing = read_annotation(report([scoord("POLYLINE", SQUARE)], [scoord("POLYGON", SQUARE[:8], 1)]), SOURCE)
    expected = np.zeros(SHAPE, bool)
    expected[2, 6:12, 4:10] = True
    assert [segment.label for segment in drawing.segments] == ["lesion 1", "lesion 2"]
    assert np.array_equal(drawing.segments[0].mask_DHW, expected)
    assert np.array_equal(drawing.segments[1].mask_DHW[1], expected[2])


def test_circles_and_ellipses_are_closed() -> None:
    circle, ellipse = scoord("CIRCLE", (10, 10, 15, 10)), scoord("ELLIPSE", (4, 10, 16, 10, 10, 7, 10, 13), 3)
    drawing = read_annotation(report([circle], [ellipse]), SOURCE)
    y, x = np.mgrid[:20, :24] + 0.5
    assert np.array_equal(drawing.segments[0].mask_DHW[2], np.hypot(x - 10, y - 10) < 5)
    assert np.array_equal(drawing.segments[1].mask_DHW[3], ((x - 10) / 6) ** 2 + ((y - 10) / 3) ** 2 < 1)


def test_open_shapes_and_control_points_are_left_out_with_a_remark() -> None:
    handles = scoord("POLYLINE", SQUARE, name=("ControlPoints", "99CS3D", "ControlPoints"))
    shapes = [scoord("POLYLINE", SQUARE), handles, scoord("POLYLINE", SQUARE[:8]), scoord("POINT", (3, 3))]
    drawing = read_annotation(report(shapes), SOURCE)
    assert len(drawing.segments) == 1
    assert int(drawing.segments[0].mask_DHW.sum()) == 36
    assert " ".join(drawing.remarks).count("Left out: 1") == 3


@pytest.mark.parametrize("shapes", [[], [scoord("POINT", (3, 3))], [scoord("POLYLINE", SQUARE[:8])]])
def test_a_report_without_a_closed_contour_is_empty(shapes: list[Dataset]) -> None:
    with pytest.raises(EmptyAnnotation, match="no closed contour"):
        read_annotation(report(shapes), SOURCE)


def test_a_contour_between_pixel_centres_is_empty() -> None:
    with pytest.raises(EmptyAnnotation, match="centre of a pixel"):
        read_annotation(report([scoord("POLYLINE", (3.6, 3.6, 4.4, 3.6, 4.4, 4.4, 3.6, 3.6))]), SOURCE)


def test_contours_on_other_images_need_their_source() -> None:
    other = read_series(make_series(SHAPE, name="other"))
    with pytest.raises(SourceMissing, match="not of series"):
        read_annotation(report([scoord("POLYLINE", SQUARE)]), other)


def test_what_a_reader_draws_comes_back_voxel_for_voxel() -> None:
    ring = LABELS == 1
    ring[2, 9:11, 5:7] = False
    masks = {1: ring, 2: LABELS == 2}
    file = write_contour_sr(SOURCE, masks, SEGMENTS, "Reader^One", "contours", created=CREATED)
    drawing = read_annotation(file, SOURCE)
    assert drawing.header.reader == "Reader^One"
    assert drawing.header.referenced_series_uids == (SOURCE.volume.series.series_instance_uid,)
    assert [segment.label for segment in drawing.segments] == ["Liver", "Spleen"]
    for number, segment in enumerate(drawing.segments, start=1):
        assert segment.type == SEGMENTS[number - 1].type
        assert segment.category == SEGMENTS[number - 1].category
        assert np.array_equal(segment.mask_DHW, masks[number])


def test_a_damaged_report_is_invalid_or_lacks_contours_but_never_crashes() -> None:
    file = report([scoord("POLYLINE", SQUARE)])
    for length in range(0, len(file) - 1, 31):
        with pytest.raises((InvalidObject, EmptyAnnotation)):
            read_annotation(file[:length], SOURCE)


def test_an_edited_report_keeps_its_contours_when_codes_are_missing() -> None:
    file = write_contour_sr(SOURCE, {1: LABELS == 1}, SEGMENTS, "R", "d", created=CREATED)
    with edited(file) as (dataset, encode):
        for item in dataset.ContentSequence:
            if item.ValueType == "CONTAINER" and "ContentSequence" in item:
                for group in item.ContentSequence:
                    group.ContentSequence = Sequence([c for c in group.ContentSequence if c.ValueType == "SCOORD"])
        drawing = read_annotation(encode(), SOURCE)
    assert np.array_equal(drawing.segments[0].mask_DHW, LABELS == 1)
    assert drawing.segments[0].type is None
