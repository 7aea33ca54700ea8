"""Masks from one grid onto another in the same space, by the nearest voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import BoolArray
from dicom_io.geometry import Geometry

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
_ROUNDING = 1e-6


def slab(orientation: FloatArray, position: FloatArray, spacing: FloatArray, thickness: float) -> FloatArray:
    """The affine of a frame taken for a slab.

    Args:
        orientation: Image Orientation (Patient), ``(6,)``.
        position: Image Position (Patient), LPS mm, ``(3,)``.
        spacing: of rows and columns in mm, ``(2,)``.
        thickness: in mm.

    Returns:
        4x4 float64, from ``(slice, row, column, 1)`` to LPS mm, the frame's plane at slice 0.
    """
    affine = np.eye(4)
    affine[:3, 0] = np.cross(orientation[:3], orientation[3:]) * thickness
    affine[:3, 1] = orientation[3:] * spacing[0]
    affine[:3, 2] = orientation[:3] * spacing[1]
    affine[:3, 3] = position
    return affine


def paste(out_DHW: BoolArray, mask_HW: BoolArray, affine: FloatArray, target: Geometry) -> None:
    """Adds a slab to a mask on another grid.

    A target voxel becomes foreground when its centre lies within the slab and the pixel that it projects onto is foreground;
    one half-way between two slabs belongs to the upper one.

    Args:
        out_DHW: bool ``(slice, row, column)`` of the target's shape; changed.
        mask_HW: bool ``(row, column)``, the slab's foreground.
        affine: of the slab, as :func:`slab` gives it.
        target: the grid of ``out_DHW``, in the same frame of reference.
    """
    inverse = np.linalg.inv(affine[:3, :3])
    steps = inverse @ target.affine[:3, :3]  # of slab coordinates, per target index
    steps[np.abs(steps) < 1e-9] = 0.0
    base = inverse @ (target.affine[:3, 3] - affine[:3, 3])
    corners = np.array(np.meshgrid([-0.5, 0.5], [-0.5, mask_HW.shape[0] - 0.5], [-0.5, mask_HW.shape[1] - 0.5]))
    inside = target.to_index(corners.reshape(3, -1).T @ affine[:3, :3].T + affine[:3, 3])
    begin = np.clip(np.floor(inside.min(axis=0)), 0, target.shape).astype(np.int64)
    end = np.clip(np.ceil(inside.max(axis=0)) + 1, 0, target.shape).astype(np.int64)
    for index in range(begin[0], end[0]):
        at_slice = base + steps[:, 0] * index
        box = _within_slab(at_slice[0], steps[0], begin, end)
        if box is None:
            continue
        rows, columns = np.arange(box[0].start, box[0].stop)[:, None], np.arange(box[1].start, box[1].stop)[None]
        out_DHW[index][box] |= _sampled(mask_HW, *(_nearest(at_slice[k], steps[k], rows, columns) for k in range(3)))


def _within_slab(height: float, steps: FloatArray, begin: IntArray, end: IntArray) -> tuple[slice, slice] | None:
    """The rows and columns of one target slice between which all voxels within the slab lie."""
    box = []
    for axis, other in ((1, 2), (2, 1)):
        across = sorted((steps[other] * begin[other], steps[other] * (end[other] - 1)))
        own = height + steps[axis] * np.arange(begin[axis], end[axis])
        near = np.flatnonzero((own + across[0] <= 0.5) & (own + across[1] >= -0.5 - _ROUNDING))
        if not len(near):
            return None
        box.append(slice(int(begin[axis] + near[0]), int(begin[axis] + near[-1] + 1)))
    return box[0], box[1]


def _nearest(base: float, steps: FloatArray, rows: IntArray, columns: IntArray) -> IntArray:
    """One slab coordinate of voxels, rounded; of length 1 along each axis that it does not depend on."""
    exact = np.full((1, 1), base + 0.5 + _ROUNDING)
    if steps[1]:
        exact = exact + steps[1] * rows
    if steps[2]:
        exact = exact + steps[2] * columns
    return np.asarray(np.floor(exact), dtype=np.int64)


def _sampled(mask_HW: BoolArray, across: IntArray, row: IntArray, column: IntArray) -> BoolArray:
    """Foreground at nearest pixels; none outside of the slab. Shapes broadcast to ``(row, column)`` of the target."""
    height, width = mask_HW.shape
    within = (across == 0) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    return np.asarray(within & mask_HW[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)])
