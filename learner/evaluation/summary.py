"""Figures of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from learner.evaluation.calibration import Reliability, pooled
from learner.evaluation.results import CaseResult, Dice, TestResult


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: over the values.
        half_width: of its 95 % interval by Student's t; None with fewer than two values.
        count: values.
    """

    mean: float
    half_width: float | None
    count: int

    def __str__(self) -> str:
        width = f" +- {self.half_width:.3f}" if self.half_width is not None else ""
        return f"{self.mean:.3f}{width}"


def estimate(values: Sequence[float]) -> Estimate:
    """Mean and 95 % t-interval of values, one a seed.

    Raises:
        ValueError: if there is none.
    """
    if not values:
        raise ValueError("there is no mean of nothing")
    mean, count = float(np.mean(values)), len(values)
    if count < 2:
        return Estimate(mean, None, count)
    error = float(np.std(values, ddof=1)) / np.sqrt(count)
    return Estimate(mean, float(stats.t.ppf(0.975, count - 1) * error), count)


def mean_dice(values: Sequence[Dice | None]) -> Dice:
    """Mean per label over cases; empty without a case. Where cases have other labels, over those that have the label."""
    there = [value for value in values if value is not None]
    numbers = sorted({number for value in there for number in value})
    return {number: float(np.mean([value[number] for value in there if number in value])) for number in numbers}


def overall(dice: Dice) -> float:
    """Mean over labels."""
    return float(np.mean(list(dice.values())))


def learning_curve(tests: Sequence[TestResult]) -> dict[int, Dice]:
    """Mean Dice per label of the network alone on the test cases, by how many cases it had learned from."""
    return {after: mean_dice([t.dice for t in tests if t.after == after]) for after in sorted({t.after for t in tests})}


def last_tests(tests: Sequence[TestResult]) -> tuple[TestResult, ...]:
    """The tests at the end of a run."""
    end = max((t.after for t in tests), default=0)
    return tuple(t for t in tests if t.after == end)


def stage_matrix(tests: Sequence[TestResult], stage_ends: Sequence[int]) -> npt.NDArray[np.float64]:
    """R[i, j]: mean Dice over labels on the test of stage j after stage i; nan where the network had not met the task."""
    result = np.full((len(stage_ends), len(stage_ends)), np.nan)
    for i, end in enumerate(stage_ends):
        for j in range(len(stage_ends)):
            found = [t.dice for t in tests if t.after == end and t.stage == j and t.dice is not None]
            if found:
                result[i, j] = float(np.mean([overall(dice) for dice in found]))
    return result


def answer_dice(cases: Sequence[CaseResult]) -> Dice:
    """Mean Dice per label of the last answers."""
    return mean_dice([case.answer_dice for case in cases])


def drawn_share(cases: Sequence[CaseResult]) -> float:
    """Drawn slices over slices that show the object, all cases together."""
    slices = sum(case.object_slices for case in cases)
    return sum(case.drawn_slices for case in cases) / slices if slices else 0.0


def contour_share(cases: Sequence[CaseResult], of: Sequence[CaseResult] | None = None) -> float:
    """Contour drawn on some cases over all contour of ``of`` (by default of the same cases), in mm."""
    whole = sum(case.whole.contour_mm for case in (of or cases) if case.whole is not None)
    drawn = sum(case.curve[-1].effort.contour_mm for case in cases if case.curve)
    return drawn / whole if whole else 0.0


def reading_seconds(cases: Sequence[CaseResult]) -> tuple[float, float]:
    """Mean seconds of a reader per case, by the stated model: for what was drawn, and for drawing all."""
    drawn = [case.curve[-1].effort.reading_seconds if case.curve else 0.0 for case in cases]
    whole = [case.whole.reading_seconds if case.whole else 0.0 for case in cases]
    return float(np.mean(drawn)), float(np.mean(whole))


def interaction_curve(cases: Sequence[CaseResult]) -> list[tuple[float, float]]:
    """Mean contour share and mean Dice of answers by round; round 0 is the network alone, where there was one.

    A case that needed fewer rounds stays at its last one.
    """
    rounds = max((case.rounds for case in cases), default=0)
    return [tuple(np.mean([_at_round(case, number) for case in cases], axis=0).tolist()) for number in range(rounds + 1)]


def _at_round(case: CaseResult, number: int) -> tuple[float, float]:
    if number == 0 or not case.curve:
        return 0.0, overall(case.network_dice_before) if case.network_dice_before else 0.0
    entry = case.curve[min(number, len(case.curve)) - 1]
    return entry.effort.contour_share, overall(entry.answer_dice)


def area_under(curve: Sequence[tuple[float, float]]) -> float:
    """Area under a curve of Dice over drawn share, over the width of the curve: a mean Dice, in [0, 1]."""
    shares, dice = (np.array(values) for values in zip(*curve, strict=True))
    width = float(shares[-1] - shares[0])
    return float(np.trapezoid(dice, shares) / width) if width > 0 else float(dice[-1])


def answer_calibration(cases: Sequence[CaseResult]) -> Reliability:
    """Reliability of last answers, all voxels together."""
    return pooled([case.calibration for case in cases if case.calibration is not None])


def test_calibration(tests: Sequence[TestResult]) -> Reliability:
    """Reliability of the network alone at the end of a run, all voxels together."""
    return pooled([t.calibration for t in tests if t.calibration is not None])


def estimate_errors(cases: Sequence[CaseResult], *, last_round: bool = False) -> list[float]:
    """Estimated minus true Dice, one a label and round that has an estimate."""
    return [
        value - entry.answer_dice[number]
        for case in cases
        for entry in (case.curve[-1:] if last_round else case.curve)
        for number, value in entry.estimated_dice.items()
    ]
