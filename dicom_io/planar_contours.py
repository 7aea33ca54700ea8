"""Closed contours in patient coordinates onto planes of a volume, and the masks that they enclose."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.acquired_grid import PLACE_TOLERANCE, AcquiredGrid
from dicom_io.annotation import BoolArray
from dicom_io.contours import filled, is_trace, traced
from dicom_io.volume import ImageSeries

FloatArray = npt.NDArray[np.float64]
CURVE_POINTS = 128
"""Vertices that stand for an ellipse."""


@dataclass(frozen=True, eq=False)
class PlacedContour:
    """A closed contour in one plane.

    Attributes:
        axis: array axis that the plane is perpendicular to: 0 for an acquired slice, 1 or 2 for a plane of the volume across
            the slices.
        index: index in ``ImageSeries.slices`` (axis 0), or of the volume's row or column.
        points: vertices ``(vertex, 2)`` as (later, earlier) of the two remaining array axes: (column, row) on a slice; centre
            of the first pixel at 0.
    """

    axis: int
    index: int
    points: FloatArray


def placed(points: FloatArray, source: ImageSeries, grid: AcquiredGrid) -> PlacedContour | None:
    """The plane in which a contour lies, along any axis of the volume.

    On slices as they were acquired a contour has to lie within :data:`PLACE_TOLERANCE`; across them, where viewers place planes
    freely, in the plane of the nearest voxels.

    Args:
        points: vertices in LPS mm, ``(vertex, 3)``.
        source: the image series.
        grid: its acquired slices.

    Returns:
        None for a contour that lies oblique to all axes, or on no plane.
    """
    index = int(grid.nearest(points.mean(axis=0)[None])[0])
    on_slice = grid.offsets(points, index)
    if np.abs(on_slice[:, 0]).max() <= PLACE_TOLERANCE:
        return PlacedContour(0, index, on_slice[:, [2, 1]])
    voxels = source.volume.geometry.to_index(points)
    for axis, others in ((1, [2, 0]), (2, [1, 0])):
        along = voxels[:, axis]
        middle = round(float(along.mean()))
        if np.ptp(along) <= 2 * PLACE_TOLERANCE and 0 <= middle < source.volume.geometry.shape[axis]:
            return PlacedContour(axis, middle, voxels[:, others])
    return None


def mask_of(
    contours: Iterable[PlacedContour], source: ImageSeries, *, exclusive: bool
) -> tuple[BoolArray, frozenset[tuple[int, int]]]:
    """What contours enclose: a voxel whose centre lies inside, or on a line that was traced from centre to centre.

    Args:
        contours: of one structure.
        source: the image series.
        exclusive: whether contours in one plane are combined by exclusive or, so that an inner one is a hole.

    Returns:
        Bool ``(slice, row, column)`` of the volume, and array axis and index of the planes on which something is enclosed.
    """
    shape = source.volume.geometry.shape
    planes: dict[tuple[int, int], BoolArray] = {}
    for contour in contours:
        place = contour.axis, contour.index
        size = source.acquired_size if contour.axis == 0 else (shape[0], shape[3 - contour.axis])
        inside = (traced if is_trace(contour.points) else filled)(contour.points, size)
        if place not in planes:
            planes[place] = inside
        elif exclusive:
            planes[place] ^= inside
        else:
            planes[place] |= inside
    on_slices = np.zeros((len(source.slices), *source.acquired_size), bool)
    for (axis, index), inside in planes.items():
        if axis == 0:
            on_slices[index] = inside
    mask_DHW = source.onto_volume(on_slices)
    for (axis, index), inside in planes.items():
        if axis:
            mask_DHW[(slice(None),) * axis + (index,)] |= inside
    return mask_DHW, frozenset(
        (axis, source.slices[index].plane if axis == 0 else index) for (axis, index), inside in planes.items() if inside.any()
    )


def ellipse(points: FloatArray) -> FloatArray:
    """A polygon for an ellipse, given both ends of both axes, ``(4, 2)`` or ``(4, 3)`` (PS3.3 section C.18.6.1.2)."""
    axes = np.stack([(points[1] - points[0]) / 2, (points[3] - points[2]) / 2])
    return np.asarray((points[0] + points[1]) / 2 + _unit_circle() @ axes)


def ellipsoid_sections(points: FloatArray, grid: AcquiredGrid) -> list[PlacedContour]:
    """The ellipses in which acquired slices cut an ellipsoid, given both ends of its three axes, ``(6, 3)`` in LPS mm.

    There are none where it is flat.
    """
    axes = np.stack([(points[2 * k + 1] - points[2 * k]) / 2 for k in range(3)], axis=1)
    if np.linalg.norm(axes, axis=0).min() < 1e-3 or np.linalg.cond(axes) > 1e6:
        return []
    to_ball = np.linalg.inv(axes)  # in its coordinates the ellipsoid is the unit ball
    sections = []
    for index in range(len(grid)):
        origin, row_step, column_step = grid.slice_plane(index)
        base = to_ball @ (origin - (points[0] + points[1]) / 2)
        steps = to_ball @ np.stack([column_step, row_step], axis=1)
        squares = steps.T @ steps
        centre = -np.linalg.solve(squares, steps.T @ base)
        rest = 1.0 - float(np.sum((base + steps @ centre) ** 2))
        if rest > 0:
            rim = np.linalg.solve(np.linalg.cholesky(squares).T, _unit_circle().T).T
            sections.append(PlacedContour(0, index, centre + np.sqrt(rest) * rim))
    return sections


def _unit_circle() -> FloatArray:
    angles = np.linspace(0.0, 2 * np.pi, CURVE_POINTS, endpoint=False)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)
