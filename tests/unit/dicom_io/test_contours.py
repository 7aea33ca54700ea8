from __future__ import annotations

import numpy as np
import pytest
from dicom_phantoms import blobs

from dicom_io.contours import filled, is_trace, outlines, traced

SHAPE = (60, 70)
ROWS, COLUMNS = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)


@pytest.mark.parametrize(("x", "y", "radius"), [(30.2, 25.7, 11.3), (12.0, 40.5, 3.1), (5.0, 5.0, 9.4), (69.0, 59.0, 20.2)])
def test_a_circle_has_the_pixels_whose_centres_it_encloses(x: float, y: float, radius: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 4000, endpoint=False)
    points = np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)
    distance = np.hypot(COLUMNS - x, ROWS - y)
    clear = np.abs(distance - radius) > 1e-4
    assert np.array_equal(filled(points, SHAPE)[clear], (distance < radius)[clear])


def test_a_rectangle_between_pixel_centres_is_exact() -> None:
    points = np.array([[9.5, 4.5], [20.5, 4.5], [20.5, 30.5], [9.5, 30.5]])
    expected = (COLUMNS >= 10) & (COLUMNS <= 20) & (ROWS >= 5) & (ROWS <= 30)
    assert np.array_equal(filled(points, SHAPE), expected)
    assert np.array_equal(filled(points[::-1], SHAPE), expected)


def test_a_slanted_triangle_follows_its_half_planes() -> None:
    a, b, c = np.array([3.3, 2.1]), np.array([60.7, 20.4]), np.array([25.9, 55.2])

    def side(p: np.ndarray, q: np.ndarray) -> np.ndarray:
        return (q[0] - p[0]) * (ROWS - p[1]) - (q[1] - p[1]) * (COLUMNS - p[0])

    expected = (side(a, b) > 0) & (side(b, c) > 0) & (side(c, a) > 0)
    assert expected.sum() > 500
    assert np.array_equal(filled(np.stack([a, b, c]), SHAPE), expected)


def test_nothing_is_filled_outside_of_the_image_or_by_a_line() -> None:
    assert not filled(np.array([[-9.0, -9.0], [-2.0, -9.0], [-2.0, -2.0]]), SHAPE).any()
    assert not filled(np.array([[1.0, 1.0], [9.0, 9.0]]), SHAPE).any()


@pytest.mark.parametrize("seed", range(5))
def test_outlines_give_any_mask_back(seed: int) -> None:
    mask = np.random.default_rng(seed).random((23, 31)) < 0.55
    again = np.zeros_like(mask)
    for polygon in outlines(mask):
        again ^= filled(polygon, (23, 31))
    assert np.array_equal(again, mask)


def test_rings_in_rings_stay_one_polygon_for_each_region() -> None:
    distance = np.hypot(COLUMNS - 35, ROWS - 30)
    mask = (distance < 28) & (distance > 20) | (distance < 12) & (distance > 5)
    polygons = outlines(mask)
    assert len(polygons) == 2
    assert np.array_equal(np.logical_or.reduce([filled(p, SHAPE) for p in polygons]), mask)


def test_an_empty_mask_has_no_outline() -> None:
    assert outlines(np.zeros((4, 4), bool)) == []
    assert len(outlines(blobs((3, 20, 24))[1] == 1)) == 1


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_trace_from_centre_to_centre_is_the_pixels_that_it_was_made_of(size: int) -> None:
    corner, far = 3, 3 + size - 1
    there, back = np.arange(corner, far), np.arange(far, corner, -1)
    ring = [*((c, corner) for c in there), *((far, r) for r in there), *((c, far) for c in back), *((corner, r) for r in back)]
    points = np.array(ring or [(corner, corner)], np.float64)
    assert is_trace(points)
    expected = np.zeros((12, 10), bool)
    expected[corner : far + 1, corner : far + 1] = True
    assert np.array_equal(traced(points, (12, 10)), expected)


@pytest.mark.parametrize("points", [[(1, 1), (4, 1), (4, 4)], [(1.2, 1), (2, 1), (2, 2)], [(0.5, 0.5), (1.5, 0.5), (1.5, 1.5)]])
def test_polygons_that_jump_or_leave_the_centres_are_no_traces(points: list[tuple[float, float]]) -> None:
    assert not is_trace(np.array(points, np.float64))
