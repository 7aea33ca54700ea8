"""Regions of TID 1500 reports in images, in frames and in space, and what viewers say of them."""

from __future__ import annotations

import numpy as np
import pytest
from annotation_phantoms import REGION, coded_item, content, image, item, region, region_3d, report, tracking
from dicom_phantoms import edited, make_series
from enhanced_phantoms import make_enhanced
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_io.acquired_grid import AcquiredGrid
from dicom_io.codes import Code
from dicom_io.errors import EmptyAnnotation, GeometryMismatch, SourceMissing, UnsupportedObject
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries

SHAPE = (6, 20, 24)
FINDING, SITE = ("121071", "DCM", "Finding"), ("363698007", "SCT", "Finding Site")
SQUARE = np.array([[4, 6], [10, 6], [10, 12], [4, 12], [4, 6]])  # (column, row) of corners, the first repeated
VOXELS = (slice(6, 12), slice(4, 10))


def oblique() -> ImageSeries:
    return read_series(make_series(SHAPE, angles=(0.2, 0.1, -0.4)))


SOURCE = oblique()
UIDS = SOURCE.volume.series.sop_instance_uids


def in_space(source: ImageSeries, index: int) -> np.ndarray:
    """The square on an acquired slice, in LPS mm; pixel centres lie half a pixel behind corners."""
    origin, row, column = AcquiredGrid(source).slice_plane(index)
    centred = SQUARE - 0.5
    return origin + centred[:, :1] * column + centred[:, 1:] * row


def squares(*indices: int, count: int = SHAPE[0]) -> np.ndarray:
    expected = np.zeros((count, *SHAPE[1:]), bool)
    for index in indices:
        expected[index][VOXELS] = True
    return expected


def test_frame_numbers_tell_the_slices_of_a_multi_frame_image_apart() -> None:
    source = read_series(make_enhanced(SHAPE, order=(3, 1, 5, 0, 4, 2)))
    on = [source.slices[index] for index in (1, 4)]
    file = report([region("POLYLINE", SQUARE, one.sop_instance_uid, one.frame_number) for one in on])
    assert set(inspect(file).referenced_frames) == {(one.sop_instance_uid, one.frame_number) for one in on}
    (segment,) = read_annotation(file, source).segments
    assert np.array_equal(segment.mask_DHW, squares(1, 4))
    assert segment.planes == {(0, 1), (0, 4)}
    with pytest.raises(SourceMissing):
        read_annotation(report([region("POLYLINE", SQUARE, on[0].sop_instance_uid)]), source)


def test_one_contour_may_name_several_frames() -> None:
    source = read_series(make_enhanced(SHAPE))
    drawn = region("POLYGON", SQUARE, source.slices[0].sop_instance_uid)
    drawn.ContentSequence[0].ReferencedSOPSequence[0].ReferencedFrameNumber = [2, 3]
    assert np.array_equal(read_annotation(report([drawn]), source).segments[0].mask_DHW, squares(1, 2))


@pytest.mark.parametrize("kind", ["POLYGON", "POLYLINE"])
def test_contours_in_space_are_filled_on_their_slice(kind: str) -> None:
    for source in (SOURCE, read_series(make_series(SHAPE, shear=(0.0, 1.2, 0.0)))):
        (segment,) = read_annotation(report([region_3d(kind, in_space(source, 3))]), source).segments
        assert np.array_equal(source.onto_slices(segment.mask_DHW), squares(3))
        assert segment.planes == {(0, source.slices[3].plane)}


@pytest.mark.parametrize("axis", [1, 2])
def test_contours_in_space_are_filled_across_the_slices(axis: int) -> None:
    corners = np.array([[0.5, 3.5], [0.5, 11.5], [4.5, 11.5], [4.5, 3.5], [0.5, 3.5]])
    points = SOURCE.volume.geometry.to_patient(np.insert(corners, axis, 7.2, axis=1))
    (segment,) = read_annotation(report([region_3d("POLYGON", points)]), SOURCE).segments
    expected = np.zeros(SHAPE, bool)
    np.moveaxis(expected, axis, 0)[7, 1:5, 4:12] = True
    assert np.array_equal(segment.mask_DHW, expected)
    assert segment.planes == {(axis, 7)}


def test_an_ellipse_and_an_ellipsoid_in_space() -> None:
    geometry = SOURCE.volume.geometry
    voxels = np.moveaxis(np.indices(SHAPE), 0, -1).astype(float)
    middle = np.array([2.4, 9.3, 12.1])
    radii = np.array([[2.2, 0, 0], [0, 6, 0], [0, 0, 8.0]])
    ends = np.array([middle + sign * axis for axis in radii for sign in (-1, 1)])
    solid = read_annotation(report([region_3d("ELLIPSOID", geometry.to_patient(ends))]), SOURCE).segments[0]
    depth = (((voxels - middle) / np.diag(radii)) ** 2).sum(axis=-1)
    clear = np.abs(depth - 1) > 0.01  # a polygon of 128 corners stands for the ellipse
    assert np.array_equal(solid.mask_DHW[clear], (depth < 1)[clear])
    assert solid.planes == {(0, index) for index in range(1, 5)}
    flat = np.array([[3.0, 9, 4], [3, 9, 20], [3, 5, 12], [3, 13, 12]])
    (drawn,) = read_annotation(report([region_3d("ELLIPSE", geometry.to_patient(flat))]), SOURCE).segments
    inside = ((voxels[3, ..., 2] - 12) / 8) ** 2 + ((voxels[3, ..., 1] - 9) / 4) ** 2
    assert np.array_equal(drawn.mask_DHW[3][np.abs(inside - 1) > 0.01], (inside < 1)[np.abs(inside - 1) > 0.01])
    assert drawn.planes == {(0, 3)}


def test_what_is_left_out_is_said() -> None:
    slanted = in_space(SOURCE, 2) + np.linspace(0, 9, 5)[:, None]
    segment = content("CONTAINS", "IMAGE", ("121191", "DCM", "Referenced Segment"))
    segment.ReferencedSOPSequence = Sequence([image("1.2.3")])
    segment.ReferencedSOPSequence[0].ReferencedSegmentNumber = 1
    shapes = [
        region("POLYLINE", SQUARE, UIDS[2]),
        region("POLYLINE", SQUARE[:4], UIDS[2]),
        region("MULTIPOINT", SQUARE, UIDS[2]),
        region("POLYLINE", SQUARE, UIDS[2], name=("ControlPoints", "99CS3D", "ControlPoints")),
        region("POLYLINE", SQUARE, "1.2.3.4"),
        region_3d("POLYGON", slanted),
        region_3d("POLYGON", in_space(SOURCE, 2), "1.2.99"),
        region_3d("POINT", [1, 2, 3]),
        segment,
    ]
    drawing = read_annotation(report(shapes), SOURCE)
    assert np.array_equal(drawing.segments[0].mask_DHW, squares(2))
    assert sorted(remark.removeprefix("Left out: 1 ") for remark in drawing.remarks) == [
        "contour(s) in another frame of reference.",
        "contour(s) on images of other series.",
        "contour(s) that lie on no slice, or oblique to the image.",
        "open or pointlike shape(s) (MULTIPOINT).",
        "open or pointlike shape(s) (POINT).",
        "open or pointlike shape(s) (POLYLINE).",
        "reference(s) to segments of another object.",
        "set(s) of spline control points.",
    ]
    for left_out, error, reason in (
        (shapes[4], SourceMissing, "not of series"),
        (shapes[5], GeometryMismatch, "no other plane"),
        (shapes[6], GeometryMismatch, r"the image's is 1\.2\.3\.4"),
        (shapes[8], EmptyAnnotation, "segments of another object"),
    ):
        with pytest.raises(error, match=reason):
            read_annotation(report([left_out]), SOURCE)


def test_positions_mean_nothing_without_a_frame_of_reference() -> None:
    bare = read_series(make_series(SHAPE, frame_of_reference=""))
    with pytest.raises(GeometryMismatch, match="the image has none"):
        read_annotation(report([region_3d("POLYGON", in_space(bare, 2), bare.volume.geometry.frame_of_reference_uid)]), bare)


def test_free_hand_regions_of_ohif_are_told_apart_by_what_the_reader_typed() -> None:
    tool = tracking("Cornerstone3DTools@^0.1.0:PlanarFreehandROI")

    def drawn(index: int) -> Dataset:
        return content("CONTAINS", "NUM", ("42798000", "SCT", "Area"), [region("POLYLINE", SQUARE, UIDS[index])])

    free_text = [coded_item(FINDING, ("CORNERSTONEFREETEXT", "CORNERSTONEJS", name)) for name in ("Lesion", "Cyst")]
    comment = content("CONTAINS", "TEXT", ("121106", "DCM", "Comment"), TextValue="Vessel")
    site = coded_item(SITE, ("10200004", "SCT", "Liver"))
    file = report(
        [tool, free_text[0], drawn(1)],
        [tool, free_text[1], drawn(2)],
        [tool, free_text[0], drawn(3), drawn(3)],
        [tool, comment, drawn(4)],
        [tool, site, drawn(0)],
        observer="unknown^unknown",
    )
    assert inspect(file).reader == ""
    drawing = read_annotation(file, SOURCE)
    found = {segment.label: segment for segment in drawing.segments}
    assert set(found) == {"Lesion", "Cyst", "Vessel", "Liver"}
    assert np.array_equal(found["Lesion"].mask_DHW, squares(1, 3))
    assert np.array_equal(found["Vessel"].mask_DHW, squares(4))
    assert found["Liver"].type == Code("10200004", "SCT", "Liver")


def test_a_comment_on_the_whole_report_is_no_label() -> None:
    comment = content("CONTAINS", "TEXT", ("121106", "DCM", "Comment"), TextValue="poor quality")
    inner = content(
        "CONTAINS", "CONTAINER", ("125007", "DCM", "Measurement Group"), [tracking("a"), region("POLYGON", SQUARE, UIDS[1])]
    )
    outer = content("CONTAINS", "CONTAINER", ("121070", "DCM", "Findings"), [comment, inner])
    with edited(report()) as (dataset, encode):
        dataset.ContentSequence = Sequence([outer])
        file = encode()
    assert [segment.label for segment in read_annotation(file, SOURCE).segments] == ["a"]


def test_the_observer_is_the_reader_and_images_are_found_without_evidence() -> None:
    header = inspect(report([region("POLYGON", SQUARE, UIDS[1])], observer="Doe^John"))
    assert (header.reader, header.content_label) == ("Doe^John", "Imaging Measurement Report")
    assert header.referenced_sop_instance_uids == (UIDS[1],)
    listed = item(StudyInstanceUID="1.2", ReferencedSeriesSequence=Sequence([item(SeriesInstanceUID="1.2.5")]))
    assert inspect(report([], evidence=[listed])).referenced_series_uids == ("1.2.5",)


def test_many_groups_are_told_apart_by_finding_alone() -> None:
    groups = [
        [tracking(f"region {n}"), coded_item(FINDING, ("1", "99T", "Node")), region("POLYGON", SQUARE, UIDS[n % 6])]
        for n in range(80)
    ]
    (segment,) = read_annotation(report(*groups), SOURCE).segments
    assert (segment.label, segment.tracking_identifier) == ("Node", "")
    assert np.array_equal(segment.mask_DHW, squares(*range(6)))


def test_a_bottomless_tree_is_refused() -> None:
    inner = region("POLYGON", SQUARE, UIDS[1])
    for _ in range(100):
        inner = content("CONTAINS", "CONTAINER", REGION, [inner])
    with pytest.raises(UnsupportedObject, match="nests deeper"):
        read_annotation(report([inner]), SOURCE)
