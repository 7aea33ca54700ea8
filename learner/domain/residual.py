"""Where front end and back end, or two versions of one of them, disagree."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]


def residual(one_CDHW: FloatArray | None, other_CDHW: FloatArray | None) -> FloatArray | None:
    """Disagreement of two predictions per voxel: the largest difference of any class's probability.

    Args:
        one_CDHW: float32 probabilities, or None.
        other_CDHW: float32 probabilities of the same shape, or None.

    Returns:
        float32 ``(D, H, W)`` in [0, 1]; None if one of them is missing.

    Raises:
        ValueError: if the shapes differ.
    """
    if one_CDHW is None or other_CDHW is None:
        return None
    if one_CDHW.shape != other_CDHW.shape:
        raise ValueError(f"predictions of shapes {one_CDHW.shape} and {other_CDHW.shape} cannot be compared")
    result = np.zeros(one_CDHW.shape[1:], dtype=np.float32)
    for one_DHW, other_DHW in zip(one_CDHW, other_CDHW, strict=True):
        np.maximum(result, np.abs(one_DHW - other_DHW), out=result)
    return np.minimum(result, np.float32(1.0))
