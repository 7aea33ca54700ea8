from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from annotation_phantoms import decimals, structure_set
from dicom_phantoms import make_series
from enhanced_phantoms import make_enhanced
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.acquired_grid import AcquiredGrid
from dicom_io.errors import EmptyAnnotation, GeometryMismatch, SourceMissing
from dicom_io.planar_contours import placed
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries

SHAPE = (6, 20, 24)
SQUARE = np.array([[3.5, 4.5], [14.5, 4.5], [14.5, 12.5], [3.5, 12.5]])  # (column, row), between pixel centres
INNER = np.array([[6.5, 6.5], [9.5, 6.5], [9.5, 9.5], [6.5, 9.5]])


def oblique() -> ImageSeries:
    return read_series(make_series(SHAPE, angles=(0.2, 0.1, -0.4)))


def uneven(dataset: Dataset, index: int) -> None:
    dataset.ImagePositionPatient[2] = 30.0 + [0.0, 3.0, 6.0, 9.0, 15.0, 18.0][index]


def on_slice(source: ImageSeries, index: int, points: np.ndarray = SQUARE, height: float = 0.0) -> np.ndarray:
    """LPS points of (column, row) on an acquired slice, ``height`` mm above it."""
    origin, row, column = AcquiredGrid(source).slice_plane(index)
    normal = np.cross(column, row)
    return origin + points[:, :1] * column + points[:, 1:] * row + height * normal / np.linalg.norm(normal)


def filled_square() -> np.ndarray:
    mask_HW = np.zeros(SHAPE[1:], bool)
    mask_HW[5:13, 4:15] = True
    return mask_HW


@pytest.mark.parametrize(
    "source",
    [
        oblique(),
        read_series(make_series(SHAPE, shear=(0.0, 1.2, 0.0))),
        read_series(make_series(SHAPE, edit=uneven)),
        read_series(make_enhanced(SHAPE, angles=(0.2, 0.1, -0.4), order=(3, 1, 5, 0, 4, 2))),
    ],
    ids=["oblique", "tilted gantry", "missing slice", "multi-frame"],
)
def test_contours_are_filled_on_the_slice_as_it_was_acquired(source: ImageSeries) -> None:
    file = structure_set({"liver": [("CLOSED_PLANAR", on_slice(source, index)) for index in (1, 4)]})
    (segment,) = read_annotation(file, source).segments
    expected = np.zeros((len(source.slices), *source.acquired_size), bool)
    expected[[1, 4]] = filled_square()
    assert np.array_equal(source.onto_slices(segment.mask_DHW), expected)
    assert np.array_equal(segment.mask_DHW, source.onto_volume(expected))
    assert segment.planes == {(0, source.slices[index].plane) for index in (1, 4)}
    assert (segment.label, segment.algorithm_type) == ("liver", "MANUAL")


def test_inner_contours_are_holes_and_so_are_keyholes() -> None:
    source = oblique()
    keyhole = np.concatenate([SQUARE, SQUARE[:1], INNER, INNER[:1], SQUARE[:1]])
    expected = filled_square()
    expected[7:10, 7:10] = False
    for contours in (
        [("CLOSED_PLANAR", on_slice(source, 2)), ("CLOSED_PLANAR", on_slice(source, 2, INNER))],
        [("CLOSEDPLANAR_XOR", on_slice(source, 2)), ("CLOSEDPLANAR_XOR", on_slice(source, 2, INNER))],
        [("CLOSED_PLANAR", on_slice(source, 2, keyhole))],
    ):
        mask_DHW = read_annotation(structure_set({"liver": contours}), source).segments[0].mask_DHW
        assert np.array_equal(mask_DHW[2], expected)


def test_a_repeated_contour_is_no_hole() -> None:
    source = oblique()
    drawing = read_annotation(structure_set({"liver": [("CLOSED_PLANAR", on_slice(source, 2))] * 2}), source)
    assert np.array_equal(drawing.segments[0].mask_DHW[2], filled_square())
    assert drawing.remarks == ("Left out: 1 repeated contour(s).",)


@pytest.mark.parametrize("axis", [1, 2])
def test_contours_across_the_slices_are_filled_in_their_plane(axis: int) -> None:
    source = oblique()
    corners = np.array([[0.5, 3.5], [0.5, 11.5], [4.5, 11.5], [4.5, 3.5]])  # (slice, other)
    voxels = np.insert(corners, axis, 7.3, axis=1)  # viewers place such planes freely
    file = structure_set({"liver": [("CLOSED_PLANAR", source.volume.geometry.to_patient(voxels))]})
    (segment,) = read_annotation(file, source).segments
    expected = np.zeros(SHAPE, bool)
    np.moveaxis(expected, axis, 0)[7, 1:5, 4:12] = True
    assert np.array_equal(segment.mask_DHW, expected)
    assert segment.planes == {(axis, 7)}


def test_contours_between_slices_and_oblique_ones_are_left_out_and_said() -> None:
    source = read_series(make_series(SHAPE, edit=uneven))
    slanted = on_slice(source, 2) + np.array([[0, 0, 0], [0, 0, 6], [0, 0, 6], [0, 0, 0]])
    near, between = on_slice(source, 1, height=0.6), on_slice(source, 3, height=3.0)
    file = structure_set({"liver": [("CLOSED_PLANAR", points) for points in (near, between, slanted)]})
    drawing = read_annotation(file, source)
    assert drawing.segments[0].planes == {(0, source.slices[1].plane)}
    assert drawing.remarks == ("Left out: 2 contour(s) that lie on no slice, or oblique to the image.",)
    with pytest.raises(GeometryMismatch, match="no slice"):
        read_annotation(structure_set({"liver": [("CLOSED_PLANAR", between)]}), source)


def test_open_contours_and_points_are_left_out_and_said() -> None:
    source = oblique()
    points = on_slice(source, 2)
    kinds = ("CLOSED_PLANAR", "OPEN_PLANAR", "OPEN_NONPLANAR", "POINT")
    drawing = read_annotation(structure_set({"liver": [(kind, points) for kind in kinds], "empty": []}), source)
    assert [bool(segment.mask_DHW.any()) for segment in drawing.segments] == [True, False]
    assert drawing.segments[1].planes == frozenset()
    assert len(drawing.remarks) == 3
    with pytest.raises(EmptyAnnotation, match="no closed contour"):
        read_annotation(structure_set({"liver": [("POINT", points[:1])]}), source)


def test_structures_of_another_frame_of_reference_are_left_out() -> None:
    source = oblique()
    points = on_slice(source, 2)

    def elsewhere(dataset: Dataset) -> None:
        dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.99"

    both = {"there": [("CLOSED_PLANAR", points)], "here": [("CLOSED_PLANAR", points)]}
    drawing = read_annotation(structure_set(both, edit=elsewhere), source)
    assert [segment.label for segment in drawing.segments if segment.mask_DHW.any()] == ["here"]
    assert drawing.remarks == ("Left out: 1 structure(s) in another frame of reference.",)
    with pytest.raises(GeometryMismatch, match=r"1\.2\.99"):
        read_annotation(structure_set(both, frame_of_reference="1.2.99"), source)


def test_a_series_without_frame_of_reference_has_to_be_named() -> None:
    source = read_series(make_series(SHAPE, frame_of_reference=""))
    contours = {"liver": [("CLOSED_PLANAR", on_slice(source, 2))]}
    with pytest.raises(SourceMissing, match="names no image"):
        read_annotation(structure_set(contours), source)
    drawing = read_annotation(structure_set(contours, images=[source.slices[2].sop_instance_uid]), source)
    assert np.array_equal(drawing.segments[0].mask_DHW[2], filled_square())


@pytest.mark.parametrize("data", [b"1\\2\\x", b"1\\2", b"nan\\1\\2\\3\\4\\5\\6\\7\\8", b"1e300\\1\\2\\3\\4\\5\\6\\7\\8", b""])
def test_malformed_coordinates_are_left_out(data: bytes) -> None:
    source = oblique()
    good = on_slice(source, 2)
    file = structure_set({"liver": [("CLOSED_PLANAR", good), ("CLOSED_PLANAR", good[:3])]})
    text = "\\".join(f"{v:.10g}" for v in decimals(good[:3])).encode()
    at = file.rindex(text[:20])
    length = int.from_bytes(file[at - 2 : at], "little")
    broken = file[:at] + data.ljust(length) + file[at + length :]
    drawing = read_annotation(broken, source)
    assert np.array_equal(drawing.segments[0].mask_DHW[2], filled_square())
    assert "open or pointlike" in drawing.remarks[0]


def test_the_header_names_label_date_and_images() -> None:
    header = inspect(structure_set({"liver": []}, images=["1.2.3", "1.2.4"]))
    assert (header.content_label, header.created) == ("contours", "20260102030405")
    assert header.referenced_sop_instance_uids == ("1.2.3", "1.2.4")
    assert header.frame_of_reference_uid == "1.2.3.4"


@pytest.mark.data
def test_the_structure_set_of_a_planning_system_agrees_with_its_mask(data_dir: Path) -> None:
    """Its mask was drawn with OpenCV, which adds the pixels under the outline to those within.

    By that rule our contours give the mask voxel for voxel. By our own (the centre of the voxel decides) the volume is that of
    the polygons; the rules differ by half a pixel all around, which a structure of 14 pixels across shows in its Dice.
    """
    nibabel = pytest.importorskip("nibabel")
    folder = data_dir / "dicom" / "rtstruct_aria"
    source = read_series(path.read_bytes() for path in folder.glob("CT_*.dcm"))
    file = (folder / "RS_Body_SpinalCord.dcm").read_bytes()
    truth_DHW = np.asarray(nibabel.load(folder / "Mask.nii.gz").dataobj).T
    masks = {segment.label: segment.mask_DHW for segment in read_annotation(file, source).segments}
    assert _dice(masks["BODY"] | masks["SpinalCord"], truth_DHW > 0) > 0.99
    dataset = dcmread(folder / "RS_Body_SpinalCord.dcm")
    names = {roi.ROINumber: roi.ROIName for roi in dataset.StructureSetROISequence}
    for roi in dataset.ROIContourSequence:
        with_outline, area = np.zeros(truth_DHW.shape, np.uint8), 0.0
        for contour in roi.ContourSequence:
            found = placed(np.array(contour.ContourData, float).reshape(-1, 3), source, AcquiredGrid(source))
            assert found is not None
            cv2.fillPoly(with_outline[found.index], [np.rint(found.points * 16).astype(np.int32)], 1, shift=4)
            area += cv2.contourArea(found.points.astype(np.float32))
        name = names[roi.ReferencedROINumber]
        truth = truth_DHW == 1 if name == "SpinalCord" else truth_DHW > 0
        assert np.array_equal(with_outline > 0, truth)
        assert masks[name].sum() == pytest.approx(area, rel=0.01)
        assert (masks[name] & ~truth).sum() < 0.002 * masks[name].sum(), "centres on the very outline"


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())
