"""Motion between neighbouring slices, and its chaining from a drawn slice outwards.

Dense inverse search (Kroeger et al., Fast Optical Flow using Dense Inverse Search, ECCV 2016; OpenCV's ``DISOpticalFlow``) on
locally normalised slices. Normalising is not optional: intensities that drift from slice to slice break brightness constancy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Carried:
    """How one slice looks back at the drawn slice that a chain began on.

    Attributes:
        index: the slice.
        displacement_HW2: float32 pixels (column, row): where in the drawn slice each pixel comes from, less its own place; None
            where nothing moves.
        inconsistency_HW: float32 pixels, forward-backward error accumulated along the chain; None where nothing moves.
    """

    index: int
    displacement_HW2: FloatArray | None
    inconsistency_HW: FloatArray | None


class Motion(Protocol):
    """Carries a drawn slice to others."""

    def carry(self, start: int, indices: Sequence[int]) -> Iterator[Carried]:
        """The slices ``indices``, neighbours in order beginning next to ``start``, each seen from ``start``."""
        ...

    def forget(self) -> None:
        """Drops what is kept for one interval: another one begins."""
        ...


class NoMotion:
    """Nothing moves: slices are compared in place."""

    def carry(self, start: int, indices: Sequence[int]) -> Iterator[Carried]:
        """The slices as they are; ``start`` is of no consequence."""
        del start
        for index in indices:
            yield Carried(index, None, None)

    def forget(self) -> None:
        """Nothing is kept."""


class FlowMotion:
    """Chained dense optical flow between neighbouring slices.

    Args:
        image_DHW: float32, the region to work on.
        sigma: standard deviation in pixels of the window of the local normalisation.
        least: slices smaller than this many pixels are enlarged first, at most four times: the flow's patches are 8 x 8.
        most: slices larger than this are reduced; motion between neighbouring slices is smooth.
    """

    def __init__(self, image_DHW: FloatArray, sigma: float = 20.0, least: int = 64, most: int = 320) -> None:
        self._image_DHW = image_DHW
        self._sigma = sigma
        height, width = image_DHW.shape[1:]
        scale = 1.0
        if min(height, width) < least:
            scale = float(min(4, -(-least // min(height, width))))
        if max(height, width) * scale > most:
            scale = min(scale, max(most / max(height, width), 1.0 if max(height, width) < most else 0.0))
        self._size = (max(8, round(width * scale)), max(8, round(height * scale)))
        columns, rows = np.meshgrid(np.arange(self._size[0]), np.arange(self._size[1]))
        self._identity = np.stack([columns, rows], axis=-1).astype(np.float32)
        self._search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._slices: dict[int, ByteArray] = {}
        self._flows: dict[tuple[int, int], FloatArray] = {}

    def forget(self) -> None:
        """Drops slices and flows, which the next interval does not need."""
        self._slices.clear()
        self._flows.clear()

    def carry(self, start: int, indices: Sequence[int]) -> Iterator[Carried]:
        """The slices ``indices`` seen from ``start`` through the motion of each neighbouring pair on the way."""
        chain = np.zeros_like(self._identity)
        error = np.zeros(chain.shape[:2], dtype=np.float32)
        before = start
        for index in indices:
            back, forth = self._flow(index, before), self._flow(before, index)
            place = self._identity + back
            error = _sample(error, place) + np.linalg.norm(back + _sample(forth, place), axis=-1).astype(np.float32)
            chain = back + _sample(chain, place)
            before = index
            yield Carried(index, self._to_full(chain), self._resize(error) / np.float32(self._scale[0]))

    @property
    def _scale(self) -> tuple[float, float]:
        height, width = self._image_DHW.shape[1:]
        return self._size[0] / width, self._size[1] / height

    def _resize(self, field: FloatArray) -> FloatArray:
        height, width = self._image_DHW.shape[1:]
        if self._size == (width, height):
            return field
        how = cv2.INTER_AREA if self._size[0] > width else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(field, (width, height), interpolation=how), dtype=np.float32)

    def _to_full(self, field: FloatArray) -> FloatArray:
        return np.asarray(self._resize(field) / np.array(self._scale), dtype=np.float32)

    def _slice(self, index: int) -> ByteArray:
        if index not in self._slices:
            pixels = self._image_DHW[index]
            if self._size != pixels.shape[::-1]:
                how = cv2.INTER_CUBIC if self._size[0] > pixels.shape[1] else cv2.INTER_AREA
                pixels = cv2.resize(np.ascontiguousarray(pixels), self._size, interpolation=how)
            self._slices[index] = normalise(np.asarray(pixels, dtype=np.float32), self._sigma)
        return self._slices[index]

    def _flow(self, target: int, source: int) -> FloatArray:
        if (target, source) not in self._flows:
            flow = self._search.calc(self._slice(target), self._slice(source), None)  # type: ignore[call-overload]  # stubs forbid None
            self._flows[target, source] = np.asarray(flow, dtype=np.float32)
        return self._flows[target, source]


def normalise(pixels_HW: FloatArray, sigma: float) -> ByteArray:
    """Local contrast: (pixel - local mean) / local standard deviation, three deviations either side on 8 bit.

    Args:
        pixels_HW: float32 slice on any scale.
        sigma: standard deviation of the Gaussian window in pixels.
    """
    low, high = np.percentile(pixels_HW, (0.5, 99.5))
    unit = np.clip((pixels_HW - low) / max(float(high - low), 1e-12), 0.0, 1.0).astype(np.float32)
    mean = cv2.GaussianBlur(unit, (0, 0), sigma, borderType=cv2.BORDER_REFLECT)
    variance = cv2.GaussianBlur(unit * unit, (0, 0), sigma, borderType=cv2.BORDER_REFLECT) - mean * mean
    deviation = np.sqrt(np.maximum(variance, 1e-4))
    return np.asarray(np.clip((unit - mean) / deviation * 42.5 + 127.5, 0, 255), dtype=np.uint8)


def warp(field_HW: FloatArray, displacement_HW2: FloatArray) -> FloatArray:
    """``field_HW`` sampled at each pixel plus its displacement (column, row), replicated beyond the border."""
    height, width = field_HW.shape[:2]
    columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return _sample(field_HW, np.stack([columns, rows], axis=-1) + displacement_HW2)


def _sample(field: FloatArray, place_HW2: FloatArray) -> FloatArray:
    return np.asarray(
        cv2.remap(
            field,
            np.ascontiguousarray(place_HW2[..., 0]),
            np.ascontiguousarray(place_HW2[..., 1]),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.float32,
    )
