"""Calibration near the object: is a voxel of which the answer is 80 % sure right in 80 % of the cases?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

BAND_MM = 5.0
"""How far from the truth or the answer voxels count."""
_BINS = 15


@dataclass(frozen=True, slots=True)
class Reliability:
    """Sums over voxels by confidence, in 15 equal bins of [0, 1]; those of several cases add up.

    Attributes:
        count: voxels.
        confidence: sum of the largest probabilities.
        correct: voxels whose most likely class is right.
    """

    count: tuple[int, ...]
    confidence: tuple[float, ...]
    correct: tuple[int, ...]

    @property
    def error(self) -> float | None:
        """Expected calibration error (Guo et al., ICML 2017, equation 3); None without a voxel."""
        total = sum(self.count)
        if not total:
            return None
        return sum(abs(sure - right) for sure, right in zip(self.confidence, self.correct, strict=True)) / total


def pooled(parts: Sequence[Reliability]) -> Reliability:
    """All voxels of several cases together."""
    return Reliability(
        tuple(sum(p.count[b] for p in parts) for b in range(_BINS)),
        tuple(sum(p.confidence[b] for p in parts) for b in range(_BINS)),
        tuple(sum(p.correct[b] for p in parts) for b in range(_BINS)),
    )


def reliability(
    soft_CDHW: FloatArray, truth_DHW: LabelArray, spacing_DHW: tuple[float, float, float], known_DHW: BoolArray | None = None
) -> Reliability:
    """Reliability of probabilities within 5 mm of the truth's or the answer's object, object included.

    Args:
        soft_CDHW: float32 probabilities.
        truth_DHW: uint8 truth.
        spacing_DHW: voxel spacing in mm.
        known_DHW: voxels that were drawn, which do not count; or None.
    """
    answer_DHW = soft_CDHW.argmax(axis=0)
    where_DHW = near((truth_DHW > 0) | (answer_DHW > 0), spacing_DHW)
    if known_DHW is not None:
        where_DHW &= ~known_DHW
    sure = soft_CDHW[:, where_DHW].max(axis=0).astype(np.float64)
    right = answer_DHW[where_DHW] == truth_DHW[where_DHW]
    place = np.clip((sure * _BINS).astype(np.intp), 0, _BINS - 1)
    return Reliability(
        tuple(int(n) for n in np.bincount(place, minlength=_BINS)),
        tuple(round(float(s), 4) for s in np.bincount(place, sure, minlength=_BINS)),
        tuple(int(n) for n in np.bincount(place, right, minlength=_BINS)),
    )


def near(object_DHW: BoolArray, spacing_DHW: tuple[float, float, float]) -> BoolArray:
    """Voxels within :data:`BAND_MM` of an object, the object included; none without an object."""
    if not object_DHW.any():
        return np.zeros_like(object_DHW)
    margin = [int(np.ceil(BAND_MM / step)) + 1 for step in spacing_DHW]
    box = ndimage.find_objects(object_DHW.astype(np.uint8))[0]
    around = tuple(slice(max(0, s.start - m), s.stop + m) for s, m in zip(box, margin, strict=True))
    result = np.zeros_like(object_DHW)
    result[around] = ndimage.distance_transform_edt(~object_DHW[around], sampling=spacing_DHW) <= BAND_MM
    return result
