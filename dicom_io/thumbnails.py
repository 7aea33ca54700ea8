"""Small pictures of slices: grey values, labels and residual, cut once and coloured when somebody looks.

They hold pixels alone, no text and no attribute of the images' headers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

LONGEST_SIDE = 192
"""Pixels of the longer side of a thumbnail, at most."""
_WINDOW_PERCENTILES = (1.0, 99.0)
_WINDOW_SAMPLES = 200_000
_HEAT = (240, 59, 32)
_HEAT_OPACITY = 0.65
_LEAST_HEAT = 0.1
"""A disagreement below this is not coloured, so that what is coloured stands out."""
Overlay = Literal["outline", "residual", "both"]
ByteArray = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """One slice, small, with square pixels.

    Attributes:
        kind: what it shows: ``answer`` (where the answer is largest), ``residual`` (where both ends disagree most), or
            ``guidance`` (a slice that is worth drawing).
        axis: array axis that the slice is perpendicular to.
        index: its index along that axis.
        grey_HW: uint8 image, windowed.
        labels_HW: uint8 labels of the answer.
        residual_HW: uint8 disagreement in 1/255.
    """

    kind: str
    axis: int
    index: int
    grey_HW: ByteArray
    labels_HW: ByteArray
    residual_HW: ByteArray

    def __post_init__(self) -> None:
        if not self.grey_HW.shape == self.labels_HW.shape == self.residual_HW.shape:
            raise ValueError("image, labels and residual of a thumbnail differ in shape")


def window(image_DHW: FloatArray) -> tuple[float, float]:
    """Least and greatest grey value to show of a volume: percentiles of every so many voxels."""
    voxels = image_DHW.ravel()
    low, high = np.percentile(voxels[:: max(1, voxels.size // _WINDOW_SAMPLES)], _WINDOW_PERCENTILES)
    return float(low), float(high)


def cut(
    kind: str,
    axis: int,
    index: int,
    image_DHW: FloatArray,
    spacing_DHW: tuple[float, float, float],
    labels_DHW: ByteArray,
    residual_DHW: FloatArray,
    shown: tuple[float, float],
) -> Thumbnail:
    """A thumbnail of one slice.

    Args:
        kind: see :class:`Thumbnail`.
        axis: axis of the slice.
        index: of the slice.
        image_DHW: float32 voxels.
        spacing_DHW: distance of voxel centres in mm.
        labels_DHW: uint8 labels of the answer.
        residual_DHW: float32 in [0, 1].
        shown: least and greatest grey value.
    """
    rows, columns = (spacing_DHW[other] for other in range(3) if other != axis)
    grey_HW, labels_HW, residual_HW = (np.take(a, index, axis) for a in (image_DHW, labels_DHW, residual_DHW))
    height, width = grey_HW.shape[0] * rows, grey_HW.shape[1] * columns
    scale = LONGEST_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    low, high = shown
    grey_HW = np.clip((grey_HW - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)
    shrinks = grey_HW.shape[0] > size[1] or grey_HW.shape[1] > size[0]
    smooth = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return Thumbnail(
        kind=kind,
        axis=axis,
        index=index,
        grey_HW=_bytes(cv2.resize(grey_HW, size, interpolation=smooth)),
        labels_HW=cv2.resize(np.ascontiguousarray(labels_HW), size, interpolation=cv2.INTER_NEAREST).astype(np.uint8),
        residual_HW=_bytes(cv2.resize(np.ascontiguousarray(residual_HW), size, interpolation=smooth)),
    )


def render(thumbnail: Thumbnail, colours: Mapping[int, tuple[int, int, int]], overlay: Overlay, scale: int = 2) -> bytes:
    """A thumbnail as a PNG file.

    Args:
        thumbnail: what to show.
        colours: RGB of each label; a label without one is drawn white.
        overlay: outlines of the answer, heat of the residual, or both.
        scale: pixels of the file per pixel of the thumbnail; on more of them an outline hides less of the edge.
    """
    size = thumbnail.grey_HW.shape[1] * scale, thumbnail.grey_HW.shape[0] * scale
    grey_HW = cv2.resize(thumbnail.grey_HW, size, interpolation=cv2.INTER_LINEAR)
    pixels_HW3: ByteArray = np.repeat(grey_HW[..., None], 3, axis=2)
    if overlay != "outline":
        residual_HW = cv2.resize(thumbnail.residual_HW, size, interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
        share = np.where(residual_HW < _LEAST_HEAT, 0, residual_HW * _HEAT_OPACITY)[..., None]
        pixels_HW3 = np.rint(pixels_HW3 * (1 - share) + np.asarray(_HEAT) * share).astype(np.uint8)
    if overlay != "residual":
        labels_HW = cv2.resize(thumbnail.labels_HW, size, interpolation=cv2.INTER_NEAREST)
        for number in np.unique(labels_HW[labels_HW > 0]):
            lines, _ = cv2.findContours((labels_HW == number).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(pixels_HW3, lines, -1, colours.get(int(number), (255, 255, 255)), 1)
    _, encoded = cv2.imencode(".png", np.ascontiguousarray(pixels_HW3[..., ::-1]))
    return encoded.tobytes()


def _bytes(shares_HW: Any) -> ByteArray:
    levels_HW: ByteArray = np.rint(np.clip(shares_HW, 0, 1) * 255).astype(np.uint8)
    return levels_HW
