"""Small pictures have square pixels, show the right slice, and say nothing but pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dicom_io.thumbnails import LONGEST_SIDE, Overlay, Thumbnail, cut, render, window

SPACING = (4.0, 1.0, 0.5)


def _cut(axis: int, index: int) -> Thumbnail:
    rng = np.random.default_rng(3)
    image_DHW = rng.normal(size=(10, 40, 60)).astype(np.float32)
    labels_DHW = np.zeros(image_DHW.shape, np.uint8)
    labels_DHW[4, 10:30, 20:40] = 2
    residual_DHW = np.zeros(image_DHW.shape, np.float32)
    residual_DHW[4, :10] = 1.0
    return cut("answer", axis, index, image_DHW, SPACING, labels_DHW, residual_DHW, window(image_DHW))


@pytest.mark.parametrize(("axis", "height", "width"), [(0, 40.0, 30.0), (1, 40.0, 30.0), (2, 40.0, 40.0)])
def test_pixels_are_square_whatever_the_spacing(axis: int, height: float, width: float) -> None:
    rows, columns = _cut(axis, 4).grey_HW.shape
    assert max(rows, columns) == LONGEST_SIDE
    assert rows / columns == pytest.approx(height / width, rel=0.02)


def test_labels_and_residual_are_those_of_the_slice() -> None:
    seen = _cut(0, 4)
    assert set(np.unique(seen.labels_HW)) == {0, 2}
    assert (seen.labels_HW == 2).mean() == pytest.approx(400 / 2400, rel=0.05)
    assert (seen.residual_HW > 128).mean() == pytest.approx(0.25, abs=0.02)
    assert not _cut(0, 5).labels_HW.any()


@pytest.mark.parametrize(
    ("overlay", "heat", "outline"), [("outline", False, True), ("residual", True, False), ("both", True, True)]
)
def test_overlays_are_drawn_where_they_belong(overlay: Overlay, heat: bool, outline: bool) -> None:
    thumbnail = _cut(0, 4)
    pixels = cv2.imdecode(np.frombuffer(render(thumbnail, {2: (0, 255, 0)}, overlay, 1), np.uint8), cv2.IMREAD_COLOR)
    blue, green, red = (pixels[..., channel].astype(int) for channel in range(3))
    assert bool((red - blue > 80)[: len(pixels) // 5].all()) == heat
    assert bool(((green == 255) & (red == 0)).any()) == outline
    quiet = (thumbnail.residual_HW == 0) & (thumbnail.labels_HW == 0)
    assert (red == blue)[quiet].all()


def test_a_flat_image_is_no_error() -> None:
    flat = np.ones((2, 4, 4), np.float32)
    seen = cut("answer", 0, 0, flat, (1.0, 1.0, 1.0), np.zeros(flat.shape, np.uint8), np.zeros_like(flat), window(flat))
    assert seen.grey_HW.max() == 0


def test_parts_of_different_shapes_are_refused() -> None:
    small, large = np.zeros((2, 2), np.uint8), np.zeros((3, 3), np.uint8)
    with pytest.raises(ValueError, match="differ in shape"):
        Thumbnail("answer", 0, 0, small, small, large)
