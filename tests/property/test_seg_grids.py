"""A SEG means the same mask however its frames are ordered, cropped, padded, flipped, turned and described."""

from __future__ import annotations

import numpy as np
from annotation_phantoms import Frame, seg
from dicom_phantoms import make_series
from enhanced_phantoms import make_enhanced
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries

COMMON = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def sources(draw: st.DrawFn) -> ImageSeries:
    """Any orientation and spacing, single-frame or multi-frame."""
    shape = (draw(st.integers(2, 6)), draw(st.integers(3, 13)), draw(st.integers(3, 13)))
    spacing = tuple(draw(st.floats(0.3, 6.0)) for _ in range(3))
    angles = tuple(draw(st.floats(-3.1, 3.1)) for _ in range(3))
    origin = tuple(draw(st.floats(-500, 500)) for _ in range(3))
    if draw(st.booleans()):
        return read_series(make_enhanced(shape, spacing, angles, origin, order=draw(st.permutations(range(shape[0])))))
    return read_series(make_series(shape, spacing, angles, origin))


def turned_frames(
    source: ImageSeries, masks: dict[int, np.ndarray], axes: tuple[int, ...], flips: tuple[int, ...]
) -> list[Frame]:
    """Frames of the volume's masks on the grid with its axes permuted and reversed; stacked along ``axes[0]``."""
    affine, shape = source.volume.geometry.affine, np.array(source.volume.geometry.shape)
    steps = [affine[:3, axis] * (-1 if axis in flips else 1) for axis in axes]
    corner = affine[:3, 3] + sum(affine[:3, axis] * (shape[axis] - 1) for axis in flips)
    lengths = [float(np.linalg.norm(step)) for step in steps]
    orientation = [*(steps[2] / lengths[2]), *(steps[1] / lengths[1])]
    frames = []
    for number, mask_DHW in masks.items():
        stack = np.flip(mask_DHW, flips).transpose(axes)
        for index, pixels_HW in enumerate(stack):
            if pixels_HW.any():
                frames.append(Frame(pixels_HW, number, corner + index * steps[0], orientation, (lengths[1], lengths[2])))
    return frames


@COMMON
@given(
    source=sources(),
    seed=st.integers(0, 2**32 - 1),
    axes=st.permutations((0, 1, 2)),
    flips=st.sets(st.integers(0, 2)),
    share=st.sampled_from([0.03, 0.5]),
)
def test_turned_and_flipped_grids_give_the_same_mask(
    source: ImageSeries, seed: int, axes: list[int], flips: set[int], share: float
) -> None:
    random = np.random.default_rng(seed)
    masks = {number: random.random(source.volume.geometry.shape) < share for number in (1, 2)}
    masks[1][0, 0, 0] = True
    frames = turned_frames(source, masks, tuple(axes), tuple(flips))
    distance = source.volume.geometry.spacing_DHW[axes[0]]

    def spaced(dataset):  # noqa: ANN001, ANN202 - a closure for seg()
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.PixelMeasuresSequence[0].SpacingBetweenSlices = float(f"{distance:.10g}")

    drawing = read_annotation(seg([frames[i] for i in random.permutation(len(frames))], edit=spaced), source)
    for segment in drawing.segments:
        assert np.array_equal(segment.mask_DHW, masks[segment.number])
    same_planes = axes[0] == 0 and axes[1] == 1 and not flips & {1, 2}
    assert drawing.resampled is not same_planes


@COMMON
@given(
    source=sources(),
    seed=st.integers(0, 2**32 - 1),
    referenced=st.booleans(),
    margins=st.tuples(*[st.integers(-2, 2)] * 4),
    kind=st.sampled_from(["BINARY", "LABELMAP", "FRACTIONAL"]),
)
def test_cropped_and_padded_grids_give_the_same_mask(
    source: ImageSeries, seed: int, referenced: bool, margins: tuple[int, int, int, int], kind: str
) -> None:
    random = np.random.default_rng(seed)
    depth, height, width = source.volume.geometry.shape
    top, bottom, left, right = margins  # what the frame lacks (> 0) or has more (< 0) than the slice
    if top + bottom >= height or left + right >= width:
        top = bottom = left = right = 0
    rows, columns = slice(max(0, top), height - max(0, bottom)), slice(max(0, left), width - max(0, right))
    mask_DHW = np.zeros((depth, height, width), bool)
    mask_DHW[:, rows, columns] = random.random(mask_DHW[:, rows, columns].shape) < 0.5
    mask_DHW[random.integers(depth), rows.start, columns.start] = True
    pad = [(max(0, -top), max(0, -bottom)), (max(0, -left), max(0, -right))]
    affine = source.volume.geometry.affine
    frames = []
    for index in random.permutation(depth):
        one, pixels_HW = source.slices[index], np.pad(mask_DHW[index, rows, columns], pad)
        (frame,) = turned_frames(source, {1: np.ones((depth, height, width), bool)}, (0, 1, 2), ())[index : index + 1]
        position = np.array(one.position) + affine[:3, 1] * top + affine[:3, 2] * left
        value = 200 if kind == "FRACTIONAL" else 1
        images = [(one.sop_instance_uid, one.frame_number)] if referenced else []
        frames.append(Frame(pixels_HW * value, 1, position, frame.orientation, frame.spacing, images))
    drawing = read_annotation(seg(frames, kind, numbers=(1,)), source)
    assert np.array_equal(drawing.segments[0].mask_DHW, mask_DHW)
    assert not drawing.resampled
