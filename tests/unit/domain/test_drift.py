"""The control chart: silent on noise and on progress, loud after a shift."""

from __future__ import annotations

import numpy as np
import pytest

from learner.domain.drift import WARM_UP, drift


def first_alarm(values: np.ndarray) -> int | None:
    return next((count for count in range(1, len(values) + 1) if drift(list(values[:count])).alarm), None)


def test_few_stationary_streams_of_a_hundred_cases_raise_the_alarm() -> None:
    rng = np.random.default_rng(1)
    normal = [first_alarm(rng.normal(0.85, 0.04, 100)) for _ in range(100)]
    skewed = [first_alarm(1 - rng.beta(2, 12, 100)) for _ in range(100)]
    assert sum(alarm is not None for alarm in normal) <= 5
    assert sum(alarm is not None for alarm in skewed) <= 12


def test_a_fall_by_one_and_a_half_deviations_is_seen_within_a_dozen_cases() -> None:
    rng = np.random.default_rng(2)
    streams = [np.concatenate([rng.normal(0.85, 0.04, 40), rng.normal(0.79, 0.04, 40)]) for _ in range(50)]
    delays = [(first_alarm(stream) or 999) - 40 for stream in streams]
    assert 0 < np.median(delays) <= 12
    assert np.mean([delay > 25 for delay in delays]) <= 0.1


def test_getting_better_is_no_drift() -> None:
    rng = np.random.default_rng(3)
    learning = 0.9 - 0.6 * np.exp(-np.arange(80) / 15) + rng.normal(0, 0.03, 80)
    assert first_alarm(learning) is None


def test_one_odd_case_raises_no_alarm() -> None:
    values = np.r_[np.random.default_rng(4).normal(0.85, 0.03, 30), 0.0, 0.85, 0.86]
    assert first_alarm(values) is None


@pytest.mark.parametrize("values", [[], [0.5], [0.9] * 40, [0.9] * WARM_UP + [0.895] * 40, [0.9] * (WARM_UP - 1) + [0.0]])
def test_too_little_to_tell_is_no_alarm(values: list[float]) -> None:
    found = drift(values)
    assert (found.alarm, found.count) == (False, len(values))
