"""Contours to masks and back, exactly: a pixel belongs to a region when its centre lies inside.

Some viewers save a label map as contours that run from centre to centre of its outermost pixels (OHIF does): of such a
:func:`trace <is_trace>` the pixels on the line belong to the region too, and it becomes the label map again.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from contourpy import LineType, contour_generator
from matplotlib.path import Path

from dicom_io.annotation import BoolArray

FloatArray = npt.NDArray[np.float64]


_ON_CENTRE = 0.01
"""How far from a pixel's centre a vertex of a trace may lie, in pixels: decimals are cut off in files."""
_EDGES_AT_ONCE = 1 << 13
"""Bounds the memory for crossings: as many for each edge as the polygon has rows."""


def filled(points: FloatArray, shape: tuple[int, int]) -> BoolArray:
    """The pixels whose centres lie inside a closed polygon, by the even-odd rule.

    Every row of pixel centres is cut with the edges; between an odd and the next even crossing it is inside. A centre on an
    edge belongs to the polygon on its right or below it, so that polygons with a common edge share no pixel.

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
    limits = np.array([shape[1], shape[0]])
    left, top = np.clip(np.ceil(points.min(axis=0)), 0, limits).astype(np.int64)
    right, bottom = np.clip(np.floor(points.max(axis=0)) + 1, 0, limits).astype(np.int64)
    if left >= right or top >= bottom:
        return mask_HW
    height, width = int(bottom - top), int(right - left)
    flips = np.zeros(height * (width + 1), np.int64)
    edges = np.stack([points, np.roll(points, -1, axis=0)], axis=1) - np.array([left, top])
    downward = edges[:, 0, 1] <= edges[:, 1, 1]
    edges = np.where(downward[:, None, None], edges, edges[:, ::-1])  # an edge cuts alike in whatever direction it runs
    for begin in range(0, len(edges), _EDGES_AT_ONCE):
        flips += np.bincount(_crossings(edges[begin : begin + _EDGES_AT_ONCE], height, width), minlength=flips.size)
    inside = np.cumsum(flips.reshape(height, width + 1), axis=1)[:, :width] % 2 == 1
    mask_HW[top:bottom, left:right] = inside
    return mask_HW


def is_trace(points: FloatArray) -> bool:
    """Whether a polygon runs from pixel centre to neighbouring pixel centre, all the way round.

    Args:
        points: vertices as for :func:`filled`.
    """
    off = np.abs(points - np.rint(points)).max(initial=0.0)
    steps = np.abs(np.rint(points) - np.rint(np.roll(points, -1, axis=0))).max(initial=0.0)
    return bool(off <= _ON_CENTRE and steps <= 1)


def traced(points: FloatArray, shape: tuple[int, int]) -> BoolArray:
    """The pixels on and inside a :func:`trace <is_trace>`; arguments and result as of :func:`filled`."""
    mask_HW = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask_HW, [np.rint(points).astype(np.int32)], 1)
    return mask_HW.astype(np.bool_)


def _crossings(edges: FloatArray, height: int, width: int) -> npt.NDArray[np.int64]:
    """Where edges ``(edge, end, (column, row))`` cut rows: index of the first pixel centre behind, row by row of width + 1."""
    first, behind = np.clip(np.ceil(edges[:, :, 1]), 0, height).astype(np.int64).T
    count = behind - first
    edge = np.repeat(np.arange(len(edges)), count)
    row = np.arange(len(edge)) - np.repeat(np.cumsum(count) - count - first, count)
    (start_column, start_row), (end_column, end_row) = edges[edge, 0].T, edges[edge, 1].T
    column = start_column + (row - start_row) * ((end_column - start_column) / (end_row - start_row))
    return np.asarray(row * (width + 1) + np.clip(np.ceil(column), 0, width).astype(np.int64))


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
