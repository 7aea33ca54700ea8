from __future__ import annotations

import numpy as np
import pytest

from learner.evaluation.metrics import contour_share, contour_voxels, dice, mean_dice, normalised_surface_dice


def cube(first: int, last: int, size: int = 12) -> np.ndarray:
    mask = np.zeros((size, size, size), np.uint8)
    mask[first:last, first:last, first:last] = 1
    return mask


def test_dice_per_label() -> None:
    truth, answer = np.zeros((1, 2, 4), np.uint8), np.zeros((1, 2, 4), np.uint8)
    truth[0, 0] = [1, 1, 2, 2]
    answer[0, 0] = [1, 0, 2, 2]
    assert dice(answer, truth, 3) == {1: pytest.approx(2 / 3), 2: 1.0, 3: 1.0}
    with pytest.raises(ValueError, match="cannot be compared"):
        dice(answer[:, :1], truth, 2)


def test_mean_dice() -> None:
    assert mean_dice([{1: 0.5, 2: 1.0}, {1: 1.0, 2: 0.0}]) == {1: 0.75, 2: 0.5}
    assert mean_dice([]) == {}


def test_surface_dice() -> None:
    one, other = cube(2, 8) > 0, cube(3, 9) > 0
    assert normalised_surface_dice(one, one, (1, 1, 1)) == 1
    assert normalised_surface_dice(one, other, (1, 1, 1), 2.0) == 1
    assert 0 < normalised_surface_dice(one, other, (1, 1, 1), 0.5) < 1
    assert normalised_surface_dice(one, other, (1, 1, 1), 1.0) > normalised_surface_dice(one, other, (3, 3, 3), 1.0)
    nothing = np.zeros_like(one)
    assert normalised_surface_dice(nothing, one, (1, 1, 1)) == 0
    assert normalised_surface_dice(nothing, nothing, (1, 1, 1)) == 1


def test_contours() -> None:
    labels = cube(2, 7)
    assert contour_voxels(labels, 1).tolist() == [0, 0, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0]
    assert contour_share(labels, 1, [2, 4]) == pytest.approx(0.4)
    assert contour_share(np.zeros_like(labels), 1, [2]) == 0
