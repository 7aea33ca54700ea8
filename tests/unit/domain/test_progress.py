"""The learning curve says no more than the records do."""

from __future__ import annotations

import pytest

from learner.domain.progress import CaseProgress, learning_curve


def case(number: int, foresight: float | None, drawn: int | None, dice: float | None = 0.9) -> CaseProgress:
    return CaseProgress(number, float(number), "", foresight, 1, drawn, 20, 10, dice)


def test_nothing_is_told_of_nothing() -> None:
    curve = learning_curve([])
    assert (curve.cases, curve.first, curve.latest, curve.saved, curve.foresight) == ((), None, None, None, None)


def test_saving_needs_a_case_beyond_the_first_three() -> None:
    first = [case(number, None, 8) for number in range(3)]
    assert learning_curve(first).saved is None
    curve = learning_curve([*first, case(4, 0.8, 2)])
    assert curve.saved == pytest.approx(0.75)
    assert curve.latest is not None
    assert curve.latest.cases == 1


def test_more_drawing_than_before_is_told_as_less_than_nothing() -> None:
    assert learning_curve([case(1, None, 4), case(2, None, 4), case(3, None, 4), case(4, None, 6)]).saved == pytest.approx(-0.5)


def test_only_the_latest_cases_stand_for_now() -> None:
    cases = [case(number, number / 20, 10 if number < 6 else 5) for number in range(12)]
    curve = learning_curve(cases)
    assert curve.latest is not None
    assert (curve.latest.cases, curve.latest.share) == (5, 0.25)
    assert curve.foresight == pytest.approx(sum(range(7, 12)) / 100)


def test_strokes_are_no_slices_and_an_unknown_dice_is_left_out() -> None:
    curve = learning_curve([case(1, None, 4, None), case(2, None, None), case(3, None, 6, 0.8)])
    assert curve.first is not None
    assert (curve.first.cases, curve.first.share, curve.first.estimated_dice) == (2, 0.25, 0.8)
    assert len(curve.cases) == 3
