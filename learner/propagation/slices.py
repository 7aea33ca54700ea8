"""The slices of a region as registration sees them: at a size that suits it, locally normalised.

Normalising is not optional: intensities that drift from slice to slice break brightness constancy.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from learner.propagation.memory import Memory, digest

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

_SIGMA = 20.0
_COARSE = 4
"""Means over so wide a window are taken of every fourth pixel: a 25th of the time, one level of 255 at most."""
_LEAST, _MOST = 64, 320


class Slices:
    """Prepared slices of a region, computed when they are asked for and kept in a memory.

    Args:
        image_DHW: float32 voxels of the region; need not be contiguous nor finite.
        memory: where prepared slices are kept.
        least: slices smaller than this many pixels are enlarged first, at most four times: registration needs room.
        most: slices larger than this are reduced; motion between neighbouring slices is smooth.
    """

    def __init__(self, image_DHW: FloatArray, memory: Memory, least: int = _LEAST, most: int = _MOST) -> None:
        self._image_DHW = image_DHW
        self._memory = memory
        self._digests: dict[int, bytes] = {}
        height, width = self.region = (image_DHW.shape[1], image_DHW.shape[2])
        scale = 1.0
        if min(height, width) < least:
            scale = float(min(4, -(-least // min(height, width))))
        if max(height, width) * scale > most:
            scale = min(scale, max(most / max(height, width), 1.0 if max(height, width) < most else 0.0))
        self.size = (max(8, round(height * scale)), max(8, round(width * scale)))

    def digest(self, index: int) -> bytes:
        """What identifies the content of a slice's region."""
        if index not in self._digests:
            self._digests[index] = digest(self._image_DHW[index])
        return self._digests[index]

    def __getitem__(self, index: int) -> ByteArray:
        """One slice, uint8 ``size``."""
        key = ("slice", self.digest(index), self.size)
        kept = self._memory.get(key)
        if kept is None:
            kept = self._prepared(index)
            self._memory.put(key, kept)
        return np.asarray(kept, dtype=np.uint8)

    def _prepared(self, index: int) -> ByteArray:
        pixels = np.nan_to_num(self._image_DHW[index], posinf=0.0, neginf=0.0)
        if self.size != self.region:
            how = cv2.INTER_CUBIC if self.size[1] > self.region[1] else cv2.INTER_AREA
            pixels = np.asarray(cv2.resize(pixels, self.size[::-1], interpolation=how), dtype=np.float32)
        return normalise(pixels)

    @property
    def scale_WH(self) -> tuple[float, float]:
        """Prepared pixels per pixel of the region, along columns and rows."""
        return self.size[1] / self.region[1], self.size[0] / self.region[0]

    def to_region(self, field: FloatArray) -> FloatArray:
        """A field of prepared pixels, resampled to the region; its values are left as they are."""
        if self.size == self.region:
            return field
        how = cv2.INTER_AREA if self.size[1] > self.region[1] else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(field, self.region[::-1], interpolation=how), dtype=np.float32)


def normalise(pixels_HW: FloatArray, sigma: float = _SIGMA) -> ByteArray:
    """Local contrast: (pixel - local mean) / local standard deviation, three deviations either side on 8 bit.

    Args:
        pixels_HW: float32 slice on any scale.
        sigma: standard deviation of the Gaussian window in pixels.
    """
    low, high = np.percentile(pixels_HW, (0.5, 99.5))
    unit = np.clip((pixels_HW - low) / max(float(high - low), 1e-12), 0.0, 1.0).astype(np.float32)
    mean = _local_mean(unit, sigma)
    variance = _local_mean(unit * unit, sigma) - mean * mean
    deviation = np.sqrt(np.maximum(variance, 1e-4))
    return np.asarray(np.clip((unit - mean) / deviation * 42.5 + 127.5, 0, 255), dtype=np.uint8)


def _local_mean(pixels_HW: FloatArray, sigma: float) -> FloatArray:
    """The mean over a Gaussian window that is much wider than ``_COARSE`` pixels."""
    size = tuple(-(-length // _COARSE) for length in pixels_HW.shape)
    coarse = cv2.resize(pixels_HW, size[::-1], interpolation=cv2.INTER_AREA)
    sigmas = [sigma * few / many for few, many in zip(size, pixels_HW.shape, strict=True)]
    mean = cv2.GaussianBlur(coarse, (0, 0), sigmas[1], sigmaY=sigmas[0], borderType=cv2.BORDER_REFLECT)
    return np.asarray(cv2.resize(mean, pixels_HW.shape[::-1], interpolation=cv2.INTER_LINEAR), dtype=np.float32)
