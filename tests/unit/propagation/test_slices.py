from __future__ import annotations

import cv2
import numpy as np
import pytest

from learner.propagation.slices import normalise


@pytest.mark.parametrize("size", [(70, 90), (64, 257), (320, 200)])
def test_the_local_mean_of_few_pixels_is_that_of_all(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    pixels = cv2.GaussianBlur(rng.standard_normal(size).astype(np.float32), (0, 0), 2.0)
    pixels += np.linspace(0, 0.3, size[1], dtype=np.float32)
    low, high = np.percentile(pixels, (0.5, 99.5))
    unit = np.clip((pixels - low) / (high - low), 0, 1).astype(np.float32)
    mean, square = (cv2.GaussianBlur(field, (0, 0), 20.0, borderType=cv2.BORDER_REFLECT) for field in (unit, unit * unit))
    exact = np.clip((unit - mean) / np.sqrt(np.maximum(square - mean**2, 1e-4)) * 42.5 + 127.5, 0, 255)
    apart = np.abs(normalise(pixels).astype(np.float64) - exact)
    assert apart.max() < 2.0
    assert apart.mean() < 0.6, "half a level of it is rounding down"
