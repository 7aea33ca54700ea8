"""How far to trust a proxy mask, voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.propagation.interval import Fields

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """Standard deviation of a contour's place: independent contributions, added as squares.

    The defaults minimise the negative log likelihood of true labels (``benchmarks/propagation.py --calibrate``).

    Attributes:
        pixel: of the drawing itself, in pixels.
        per_mm: per mm from the nearest known plane.
        disagreement: per mm between the shapes carried from both sides.
        inconsistency: per mm of forward-backward error of the motion.
    """

    pixel: float = 0.5
    per_mm: float = 0.3
    disagreement: float = 0.2
    inconsistency: float = 0.3

    def contour(self, fields: Fields, index: int, spacing_DHW: tuple[float, float, float]) -> FloatArray:
        """Standard deviation in mm of contours on one slice, float32 ``(H, W)``."""
        own = (self.pixel * max(spacing_DHW[1:])) ** 2 + (self.per_mm * float(fields.distance_mm[index])) ** 2
        apart = np.square(self.disagreement * fields.disagreement_DHW[index])
        astray = np.square(self.inconsistency * fields.inconsistency_DHW[index])
        return np.asarray(np.sqrt(np.float32(own) + apart + astray), dtype=np.float32)


DEFAULT_ERROR = ErrorModel()


def confidence(fields: Fields, index: int, soft_CHW: FloatArray, scores_LHW: FloatArray) -> FloatArray:
    """Confidence of one slice, float32 ``(H, W)`` in [0, 1].

    It falls with the distance to known planes (compared with the object's size), less so far from any contour; with the
    uncertainty of the label itself, but not to zero: a soft target at a contour is still a target; and to zero where
    nothing is known of a structure's extent.

    Args:
        fields: what the certainty depends on.
        index: the slice.
        soft_CHW: probabilities.
        scores_LHW: scores in mm.
    """
    radius = max(fields.radius_mm, 1e-3)
    near = 1.0 / (1.0 + float(fields.distance_mm[index]) / radius)
    away = np.exp(-np.abs(scores_LHW.max(axis=0)) / radius)
    certain = np.clip(2.0 * soft_CHW.max(axis=0) - 1.0, 0.0, 1.0)
    return np.asarray((1.0 - (1.0 - near) * away) * (0.4 + 0.6 * certain) * fields.credit_DHW[index], dtype=np.float32)
