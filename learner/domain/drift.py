"""Whether answers need more and more correction: a control chart of each series of measurements.

The chart is the one-sided cumulative sum of Page (Biometrika 41, 1954) in the self-starting form of Hawkins (The Statistician
36, 1987): each value is compared with the mean and deviation of all before it, so that no calibration is needed; the deviate
follows Student's t-distribution and is brought to the normal one. A series that gets better, as that of a network that learns,
only ever pushes the sum to zero. Deviates are cut off, so that one odd case does not raise the alarm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri, stdtr

WARM_UP = 8
"""Values that are only learned from."""
SLACK = 0.5
"""Deviations from the mean that count as noise: the chart is made for shifts of twice that."""
LIMIT = 6.0
"""Sum of deviations at which the alarm is raised."""
_LARGEST = 2.5
_LEAST_DEVIATION = 0.01
"""A series of values that hardly differ is no reason to call a hundredth a shift."""


@dataclass(frozen=True, slots=True)
class Drift:
    """How far a series has drifted downwards.

    Attributes:
        level: the cumulative sum over its limit: an alarm from 1 on.
        count: number of values.
    """

    level: float
    count: int

    @property
    def alarm(self) -> bool:
        """Whether values are lower than they were."""
        return self.level >= 1.0


def drift(values: Sequence[float]) -> Drift:
    """The state of the chart after the last of ``values``, oldest first; higher is better."""
    total = mean = squares = 0.0
    for count, value in enumerate(values):  # ``count`` values came before
        if count >= WARM_UP:
            deviation = max(float(np.sqrt(squares / (count - 1))), _LEAST_DEVIATION)
            t = (value - mean) / deviation * np.sqrt(count / (count + 1))
            z = float(np.clip(ndtri(stdtr(count - 1, t)), -_LARGEST, _LARGEST))
            total = max(0.0, total - z - SLACK)
        step = value - mean
        mean += step / (count + 1)
        squares += step * (value - mean)
    return Drift(total / LIMIT, len(values))
