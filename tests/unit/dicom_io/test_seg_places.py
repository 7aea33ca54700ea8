"""SEG frames find their acquired slice: by image and frame, else by position; other grids are resampled."""

from __future__ import annotations

import numpy as np
import pytest
from annotation_phantoms import Frame, frames_on_slices, seg
from dicom_phantoms import make_series
from enhanced_phantoms import make_enhanced
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_io.annotation import Drawing
from dicom_io.errors import GeometryMismatch, InvalidObject, SourceMissing
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries

SHAPE = (6, 20, 24)


def uneven(dataset: Dataset, index: int) -> None:
    dataset.ImagePositionPatient[2] = 30.0 + [0.0, 3.0, 6.0, 9.0, 15.0, 18.0][index]  # the fifth slice is missing


SOURCES = {
    "regular": lambda: read_series(make_series(SHAPE, angles=(0.2, 0.1, -0.4))),
    "tilted gantry": lambda: read_series(make_series(SHAPE, shear=(0.0, 1.2, 0.0))),
    "missing slice": lambda: read_series(make_series(SHAPE, edit=uneven)),
    "multi-frame": lambda: read_series(make_enhanced(SHAPE, angles=(0.2, 0.1, -0.4), order=(3, 1, 5, 0, 4, 2))),
    "concatenation": lambda: read_series(make_enhanced(SHAPE, instances=2)),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> ImageSeries:
    return SOURCES[request.param]()


def drawn_on(source: ImageSeries) -> dict[int, np.ndarray]:
    """Two overlapping segments on some of the acquired slices."""
    random = np.random.default_rng(4)
    masks = {number: random.random((len(source.slices), *source.acquired_size)) < 0.4 for number in (1, 2)}
    masks[1][[0, 3]] = False
    masks[2][2] = False
    return masks


def assert_drawn(drawing: Drawing, source: ImageSeries, masks: dict[int, np.ndarray]) -> None:
    for segment in drawing.segments:
        assert segment.planes is None
        assert np.array_equal(segment.mask_DHW, source.onto_volume(masks[segment.number]))
        assert np.array_equal(source.onto_slices(segment.mask_DHW), masks[segment.number])
    assert drawing.remarks == ()
    assert not drawing.resampled


@pytest.mark.parametrize("by", ["reference", "position", "both"])
def test_frames_in_any_order_come_onto_their_slice(source: ImageSeries, by: str) -> None:
    masks = drawn_on(source)
    frames = frames_on_slices(source, masks, references=by != "position", places=by != "reference")
    shuffled = [frames[index] for index in np.random.default_rng(5).permutation(len(frames))]
    assert_drawn(read_annotation(seg(shuffled), source), source, masks)


def test_a_cropped_grid_is_exact(source: ImageSeries) -> None:
    masks = {number: np.zeros_like(mask) for number, mask in drawn_on(source).items()}
    for number, mask in drawn_on(source).items():
        masks[number][:, 4:15, 7:19] = mask[:, 4:15, 7:19]
    frames = frames_on_slices(source, masks, references=False)
    _, height, width = source.volume.geometry.spacing_DHW
    for frame in frames:
        along, down = np.array(frame.orientation[:3]), np.array(frame.orientation[3:])
        frame.pixels_HW = frame.pixels_HW[4:15, 7:19]
        frame.position = np.array(frame.position) + down * height * 4 + along * width * 7
    assert_drawn(read_annotation(seg(frames), source), source, masks)


def test_a_larger_grid_loses_what_lies_outside_and_says_so() -> None:
    source = SOURCES["regular"]()
    frames = frames_on_slices(source, {1: np.ones(SHAPE, bool)}, references=False)
    for frame in frames:
        frame.position = np.array(frame.position) - np.array(frame.orientation[3:]) * 2 * 0.8
    drawing = read_annotation(seg(frames, numbers=(1,)), source)
    assert drawing.segments[0].mask_DHW[:, :18].all()
    assert not drawing.segments[0].mask_DHW[:, 18:].any()
    assert drawing.remarks == (f"Left out: {6 * 2 * 24} pixel(s) outside of the image.",)


def test_frame_numbers_tell_the_slices_of_a_multi_frame_image_apart() -> None:
    source = SOURCES["multi-frame"]()
    masks = drawn_on(source)
    file = seg(frames_on_slices(source, masks, places=False))
    assert set(inspect(file).referenced_frames) == {(one.sop_instance_uid, one.frame_number) for one in source.slices}
    without = [Frame(f.pixels_HW, f.segment, images=[(uid, 0) for uid, _ in f.images]) for f in frames_on_slices(source, masks)]
    with pytest.raises(GeometryMismatch, match="do not say where they lie"):
        read_annotation(seg(without), source)


def test_images_of_another_echo_are_matched_by_position() -> None:
    first, second = (read_series(make_series(SHAPE, name=name)) for name in ("echo 1", "echo 2"))
    masks = drawn_on(first)
    assert_drawn(read_annotation(seg(frames_on_slices(first, masks)), second), second, masks)
    with pytest.raises(GeometryMismatch, match=r"frame of reference is 1\.2\.9"):
        read_annotation(seg(frames_on_slices(first, masks), frame_of_reference="1.2.9"), second)
    bare = read_series(make_series(SHAPE, name="echo 2", frame_of_reference=""))
    with pytest.raises(SourceMissing, match="not of series"):
        read_annotation(seg(frames_on_slices(first, masks)), bare)


def test_a_frame_that_names_images_of_both_echoes_lies_on_the_one_that_is_there() -> None:
    source = SOURCES["regular"]()
    masks = drawn_on(source)
    frames = frames_on_slices(source, masks, places=False)
    for frame in frames:
        frame.images = [("1.2.3.99", 0), *frame.images]
    assert_drawn(read_annotation(seg(frames), source), source, masks)


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("axis", [1, 2])
def test_frames_across_the_slices(axis: int, shared: bool) -> None:
    """A coronal (axis 1) or sagittal (axis 2) SEG of single planes on an axial series."""
    source = read_series(make_series((8, 20, 24), (2.0, 0.8, 0.6), origin=(0, 0, 0)))
    across = np.random.default_rng(6).random((8, 24 if axis == 1 else 20)) < 0.5
    orientation = [1, 0, 0, 0, 0, 1] if axis == 1 else [0, 1, 0, 0, 0, 1]
    position = [0, 9 * 0.8, 0] if axis == 1 else [9 * 0.6, 0, 0]
    frame = Frame(across, 1, position, orientation, (2.0, 0.6 if axis == 1 else 0.8))

    def edit(dataset: Dataset) -> None:
        group = dataset.PerFrameFunctionalGroupsSequence[0]
        group.PixelMeasuresSequence[0].SliceThickness = 0.6
        if shared:
            moved = dataset.SharedFunctionalGroupsSequence[0]
            for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence"):
                setattr(moved, keyword, group[keyword].value)
                del group[keyword]

    drawing = read_annotation(seg([frame], numbers=(1,), edit=edit), source)
    expected = np.zeros((8, 20, 24), bool)
    np.moveaxis(expected, axis, 0)[9] = across
    assert np.array_equal(drawing.segments[0].mask_DHW, expected)
    assert drawing.resampled
    assert drawing.remarks == ("The segmentation lies on another grid than its image; it was resampled to the nearest voxel.",)


def test_single_drawn_frames_far_apart_do_not_smear() -> None:
    """Two drawn frames 12 mm apart on a grid twice as fine: their distance is not the thickness."""
    source = read_series(make_series((8, 20, 24), (2.0, 0.8, 0.6), origin=(0, 0, 0)))
    frames = [Frame(np.ones((40, 48), bool), 1, [0, 0, z], [1, 0, 0, 0, 1, 0], (0.4, 0.3)) for z in (2.0, 14.0)]

    def thin(dataset: Dataset) -> None:
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.PixelMeasuresSequence[0].SliceThickness = 2.0

    mask_DHW = read_annotation(seg(frames, numbers=(1,), edit=thin), source).segments[0].mask_DHW
    assert np.flatnonzero(mask_DHW.any(axis=(1, 2))).tolist() == [1, 7]


def test_a_turned_grid_without_pixel_spacing_is_refused() -> None:
    source = SOURCES["regular"]()
    frame = Frame(np.ones((5, 5), bool), 1, [0, 0, 30], [0, 1, 0, 0, 0, 1])
    with pytest.raises(GeometryMismatch, match="do not say where they lie"):
        read_annotation(seg([frame]), source)


def test_what_lies_beside_the_image_is_refused() -> None:
    source = SOURCES["regular"]()
    frames = frames_on_slices(source, drawn_on(source), references=False)
    for frame in frames:
        frame.position = np.array(frame.position) + 5000.0
    with pytest.raises(GeometryMismatch, match="nothing of it lies within"):
        read_annotation(seg(frames), source)


@pytest.mark.parametrize("value", [[1e300, 0, 0], [1e9, -1e9, 1e9]])
def test_impossible_positions_count_as_none(value: list[float]) -> None:
    source = SOURCES["regular"]()
    masks = drawn_on(source)
    frames = frames_on_slices(source, masks)
    for frame in frames:
        frame.position = value
    assert_drawn(read_annotation(seg(frames), source), source, masks)


def test_more_groups_than_frames_are_a_contradiction() -> None:
    source = SOURCES["regular"]()

    def longer(dataset: Dataset) -> None:
        groups = dataset.PerFrameFunctionalGroupsSequence
        dataset.PerFrameFunctionalGroupsSequence = Sequence([*groups, groups[0]])

    with pytest.raises(InvalidObject, match="describes"):
        read_annotation(seg(frames_on_slices(source, drawn_on(source)), edit=longer), source)
