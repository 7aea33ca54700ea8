"""Effort, calibration, continual learning, and means over seeds, on examples worked out by hand."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from monai.metrics.meandice import compute_dice
from monai.metrics.surface_dice import compute_surface_dice
from scipy import ndimage

from learner.evaluation import results
from learner.evaluation.calibration import near, pooled, reliability
from learner.evaluation.continual import average_accuracy, backward_transfer, forgetting
from learner.evaluation.effort import Contours, Effort, ReadingTime, contour_lengths
from learner.evaluation.metrics import dice, normalised_surface_dice
from learner.evaluation.results import CaseResult, RoundResult, TestResult, as_record, case_from
from learner.evaluation.summary import area_under, estimate, interaction_curve, stage_matrix

SCORES = np.array([[0.9, 0.2, 0.1], [0.8, 0.7, 0.3], [0.85, 0.6, 0.5]])


def test_figures_of_a_matrix() -> None:
    assert average_accuracy(SCORES) == pytest.approx((0.85 + 0.6 + 0.5) / 3)
    assert backward_transfer(SCORES) == pytest.approx(((0.85 - 0.9) + (0.6 - 0.7)) / 2)
    assert forgetting(SCORES) == pytest.approx(((0.9 - 0.85) + (0.7 - 0.6)) / 2)
    recovered = SCORES.copy()
    recovered[1, 0] = 0.95
    assert forgetting(recovered) == pytest.approx(((0.95 - 0.85) + (0.7 - 0.6)) / 2)
    assert backward_transfer(recovered) == backward_transfer(SCORES)
    assert backward_transfer(SCORES[:1, :1]) is None
    with pytest.raises(ValueError, match="no R"):
        average_accuracy(SCORES[:2])


def test_the_matrix_of_tests() -> None:
    def result(after: int, stage: int, score: float) -> TestResult:
        return TestResult(after, "t", "", stage, "c", {1: score, 2: score + 0.2})

    tests = [result(3, 0, 0.5), result(3, 0, 0.7), result(3, 1, 0.1), result(5, 0, 0.6), result(5, 1, 0.8), result(4, 1, 0.0)]
    assert stage_matrix(tests, (3, 5)) == pytest.approx(np.array([[0.7, 0.2], [0.7, 0.9]]))


def test_calibration_error_by_hand() -> None:
    truth = np.zeros((1, 1, 4), np.uint8)
    truth[0, 0, :2] = 1
    sure = np.array([0.8, 0.8, 0.8, 0.4])
    soft = np.stack([1 - sure, sure])[:, None, None].astype(np.float32)
    found = reliability(soft, truth, (1.0, 1.0, 1.0))
    # three voxels of confidence 0.8, of which two are right; one of 0.6, which is right
    assert sum(found.count) == 4
    assert found.error == pytest.approx((abs(2.4 - 2) + abs(0.6 - 1)) / 4, abs=1e-4)
    known = np.zeros_like(truth, bool)
    known[0, 0, 2] = True
    assert reliability(soft, truth, (1.0, 1.0, 1.0), known).error == pytest.approx((abs(1.6 - 2) + abs(0.6 - 1)) / 3, abs=1e-4)
    assert pooled([found, found]).error == pytest.approx(found.error)
    assert pooled([]).error is None


def test_near_is_in_millimetres() -> None:
    there = np.zeros((9, 30, 30), bool)
    there[4, 15, 15] = True
    found = near(there, (3.0, 1.0, 1.0))
    assert np.flatnonzero(found[:, 15, 15]).tolist() == [3, 4, 5]
    assert np.flatnonzero(found[4, :, 15]).tolist() == list(range(10, 21))
    assert not near(np.zeros_like(there), (1.0, 1.0, 1.0)).any()


def test_effort() -> None:
    labels = np.zeros((3, 30, 30), np.uint8)
    labels[1, 5:15, 5:15] = 1
    labels[2, 5:25, 5:25] = 1
    lengths = contour_lengths(labels, 1, (3.0, 0.5, 0.5))
    assert lengths[0] == 0
    assert lengths[1:] == pytest.approx([20 - 4 * (1 - np.sqrt(0.5)) * 0.5, 40 - 4 * (1 - np.sqrt(0.5)) * 0.5], abs=1e-6)
    contours = Contours(labels, 1, (3.0, 0.5, 0.5), ReadingTime(per_cm=2.0, per_slice=3.0, per_click=5.0))
    effort = contours.effort([1], clicks=2)
    assert (effort.drawn_slices, effort.contour_voxels, effort.clicks) == (1, 36, 2)
    assert effort.contour_share == pytest.approx(36 / (36 + 76))
    assert effort.reading_seconds == pytest.approx(2 * lengths[1] / 10 + 3 + 10)
    assert contours.whole.contour_share == 1


@pytest.mark.parametrize("seed", range(3))
def test_dice_and_surface_dice_are_those_of_monai(seed: int) -> None:
    field = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal((2, 16, 20, 20)), (0, 3, 3, 3))
    one, other = (field[0] > 0), (field[0] + 0.3 * field[1] > 0)
    tensors = [torch.from_numpy(mask[None, None]).float() for mask in (one, other)]
    assert dice(one.astype(np.uint8), other.astype(np.uint8), 1)[1] == pytest.approx(float(compute_dice(*tensors)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        padded = [torch.nn.functional.pad(tensor, (1,) * 6) for tensor in tensors]
        expected = compute_surface_dice(*padded, [2.0], include_background=True, spacing=[3.0, 1.0, 1.0], use_subvoxels=True)
    assert normalised_surface_dice(one, other, (3.0, 1.0, 1.0)) == pytest.approx(float(expected))
    assert 0 < float(expected) < 1


def case(*points: tuple[float, float], before: float | None = None) -> CaseResult:
    curve = tuple(
        RoundResult(Effort(1, 1, share, 1.0, 0, 1.0), {1: 0.0}, None, {1: value}, {1: 0.5}, 0.0) for share, value in points
    )
    last = {1: points[-1][1]}
    return CaseResult("c", 1, 9, 0.1, 0, len(curve), None if before is None else {1: before}, last, last, 0.1, curve=curve)


def test_the_interaction_curve_and_its_area() -> None:
    curve = interaction_curve([case((0.1, 0.8), (0.3, 0.9), before=0.5), case((0.2, 0.6), before=0.5)])
    assert [tuple(round(v, 6) for v in point) for point in curve] == [(0, 0.5), (0.15, 0.7), (0.25, 0.75)]
    assert area_under(curve) == pytest.approx((0.15 * 0.6 + 0.1 * 0.725) / 0.25)


def test_intervals_over_seeds() -> None:
    found = estimate([0.8, 0.9, 1.0])
    assert found.mean == pytest.approx(0.9)
    assert found.half_width == pytest.approx(4.302653 * 0.1 / np.sqrt(3), rel=1e-5)
    assert str(estimate([0.5])) == "0.500"
    with pytest.raises(ValueError, match="nothing"):
        estimate([])


def test_records_read_as_they_were_written() -> None:
    made = replace(case((0.1, 0.8), before=0.5), whole=Effort(9, 90, 1.0, 100.0, 0, 20.0), answer_nsd={1: 0.5})
    assert case_from(as_record(made)) == made
    test = TestResult(4, "t", "s", 1, "c", {1: 0.5, 2: 0.25})
    assert results.test_from(as_record(test)) == test
