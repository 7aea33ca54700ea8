"""Laws of the even-odd rule, against an independent implementation."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.contours import filled

SHAPE = (14, 17)
COORDINATE = st.integers(-600, 2200).map(lambda v: v / 100)
POLYGONS = st.lists(st.tuples(COORDINATE, COORDINATE), min_size=3, max_size=12).map(
    lambda points: np.add(points, (0.0031, 0.00217))  # no edge runs through the centre of a pixel
)


@settings(max_examples=200, deadline=None)
@given(points=POLYGONS)
def test_a_pixel_is_filled_when_a_ray_from_its_centre_crosses_an_odd_number_of_edges(points: np.ndarray) -> None:
    mask_HW = filled(points, SHAPE)
    rows, columns = np.indices(SHAPE)
    a, b = points, np.roll(points, -1, axis=0)
    crossed = np.zeros(SHAPE, int)
    for (ax, ay), (bx, by) in zip(a, b, strict=True):
        spans = (ay > rows) != (by > rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            crossed += spans & (columns < ax + (rows - ay) * (bx - ax) / (by - ay))
    assert np.array_equal(mask_HW, crossed % 2 == 1)


@settings(max_examples=100, deadline=None)
@given(points=POLYGONS, turn=st.integers(0, 11))
def test_neither_the_first_vertex_nor_the_direction_matters(points: np.ndarray, turn: int) -> None:
    mask_HW = filled(points, SHAPE)
    assert np.array_equal(filled(np.roll(points, turn, axis=0)[::-1], SHAPE), mask_HW)
