"""Where the acquired slices of a series lie: finds the one that something was drawn on, and the pixel of it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from dicom_io.volume import ImageSeries

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

PLACE_TOLERANCE = 0.25
"""How far something may lie from the slice that it belongs to, as a share of the distance to the next slice."""


class AcquiredGrid:
    """The acquired slices of a series, by what names them and by where they lie.

    Slices are meant by their index in ``ImageSeries.slices``. Tilted, uneven and incomplete stacks keep the places at which
    they were acquired; of the regular grid of the volume only directions and pixel spacing count, which are the slices' own.

    Attributes:
        orientation: Image Orientation (Patient) of the slices, ``(6,)``.
        pixel_spacing: row and column spacing in mm, ``(2,)``.
    """

    def __init__(self, source: ImageSeries) -> None:
        geometry = source.volume.geometry
        _, height, width = geometry.spacing_DHW
        down, along = geometry.affine[:3, 1] / height, geometry.affine[:3, 2] / width
        self.orientation: FloatArray = np.concatenate([along, down])
        self.pixel_spacing: FloatArray = np.array([height, width])
        self._axes = np.stack([np.cross(along, down), down, along])
        self._origins = np.array([one.position for one in source.slices])
        self._heights = self._origins @ self._axes[0]
        self._order = np.argsort(self._heights)
        self._gaps = _gaps(self._heights, self._order, geometry.spacing_DHW[0])
        self._named = _named(source)

    def named(self, references: Iterable[tuple[str, int]]) -> int:
        """The slice that references (SOP Instance UID, frame number or 0) mean; -1 where they mean none, or several."""
        found = {self._named[one] for one in references if one in self._named}
        return found.pop() if len(found) == 1 else -1

    def nearest(self, points: FloatArray) -> IntArray:
        """The slice whose plane lies nearest to each of ``points``, LPS mm ``(point, 3)``; ``(point,)``."""
        heights = points @ self._axes[0]
        ordered = self._heights[self._order]
        above = np.clip(np.searchsorted(ordered, heights), 0, len(ordered) - 1)
        below = np.maximum(above - 1, 0)
        closer = np.where(np.abs(ordered[above] - heights) < np.abs(ordered[below] - heights), above, below)
        return np.asarray(self._order[closer], dtype=np.int64)

    def offsets(self, points: FloatArray, slices: IntArray | int) -> FloatArray:
        """Where points lie on their slices.

        Args:
            points: LPS mm, ``(point, 3)``.
            slices: the slice of each point, ``(point,)``, or of all.

        Returns:
            ``(point, 3)``: distance from the slice as a share of the distance to the next one, row and column in pixels (centre
            of the first pixel at 0).
        """
        millimetres = (points - self._origins[slices]) @ self._axes.T
        scale = np.empty_like(millimetres)
        scale[:, 0], scale[:, 1], scale[:, 2] = self._gaps[slices], *self.pixel_spacing
        return np.asarray(millimetres / scale)

    def slice_plane(self, index: int) -> FloatArray:
        """Origin, step of a row and step of a column of a slice, LPS mm ``(3, 3)``."""
        steps = self._axes[1:] * self.pixel_spacing[:, None]
        return np.concatenate([self._origins[index][None], steps])

    def __len__(self) -> int:
        return len(self._origins)


def _named(source: ImageSeries) -> dict[tuple[str, int], int]:
    """Slices by what may be said of them: image and frame, or the image alone where it is one slice."""
    counts: dict[str, int] = {}
    for one in source.slices:
        counts[one.sop_instance_uid] = counts.get(one.sop_instance_uid, 0) + 1
    named: dict[tuple[str, int], int] = {}
    for index, one in enumerate(source.slices):
        named[one.sop_instance_uid, one.frame_number or 1] = index
        if counts[one.sop_instance_uid] == 1:
            named[one.sop_instance_uid, 0] = index
    return named


def _gaps(heights: FloatArray, order: IntArray, single: float) -> FloatArray:
    """Distance of each slice to the nearest other one; ``single`` where there is none."""
    gaps = np.full(len(heights), single)
    if len(heights) > 1:
        steps = np.maximum(np.diff(heights[order]), 1e-6)
        gaps[order] = np.minimum(np.append(steps, np.inf), np.insert(steps, 0, np.inf))
    return gaps
