"""Contours to masks and back, exactly: a pixel belongs to a region when its centre lies inside."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from contourpy import LineType, contour_generator
from matplotlib.path import Path

from dicom_io.annotation import BoolArray

FloatArray = npt.NDArray[np.float64]


def filled(points: FloatArray, shape: tuple[int, int]) -> BoolArray:
    """The pixels whose centres lie inside a closed polygon, by the even-odd rule.

    Args:
        points: vertices ``(vertex, 2)`` as (column, row) in pixels, where (0, 0) is the *centre* of the first pixel. The last
            vertex is joined to the first.
        shape: rows and columns of the mask.

    Returns:
        bool ``(row, column)``.
    """
    mask_HW = np.zeros(shape, bool)
    if len(points) < 3:
        return mask_HW
    low = np.maximum(0, np.ceil(points.min(axis=0))).astype(int)
    high = np.minimum([shape[1] - 1, shape[0] - 1], np.floor(points.max(axis=0))).astype(int)
    if (low > high).any():
        return mask_HW
    columns, rows = np.meshgrid(np.arange(low[0], high[0] + 1), np.arange(low[1], high[1] + 1))
    centres = np.stack([columns.ravel(), rows.ravel()], axis=1)
    inside = Path(np.concatenate([points, points[:1]])).contains_points(centres)
    mask_HW[low[1] : high[1] + 1, low[0] : high[0] + 1] = inside.reshape(rows.shape)
    return mask_HW


def outlines(mask_HW: BoolArray) -> list[FloatArray]:
    """Closed polygons that :func:`filled` turns back into ``mask_HW``.

    Lines run half-way between the centres of foreground and background pixels. Holes are joined to their outer line by a
    bridge of no width, so that one region stays one polygon.

    Args:
        mask_HW: bool ``(row, column)``.

    Returns:
        One array ``(vertex, 2)`` of (column, row) for each region, first vertex repeated at the end, centre convention.
    """
    padded = np.pad(mask_HW.astype(np.float64), 1)
    lines = contour_generator(z=padded, line_type=LineType.Separate).lines(0.5)
    closed = [np.asarray(line, dtype=np.float64) - 1.0 for line in lines]
    outer = [line for line in closed if _area(line) > 0]
    holes = [line for line in closed if _area(line) < 0]
    if outer and not holes:
        return outer
    polygons = outer.copy()
    for hole in holes:
        around = [index for index, line in enumerate(outer) if Path(line).contains_point(hole[0])]
        owner = min(around, key=lambda index: _area(outer[index]))
        polygons[owner] = np.concatenate([polygons[owner], hole, outer[owner][:1]])
    return polygons


def _area(line: FloatArray) -> float:
    """Signed area; contourpy runs around higher values anticlockwise, and clockwise around holes in them."""
    x, y = line[:, 0], line[:, 1]
    return float(0.5 * np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
