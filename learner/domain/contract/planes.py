"""Rule 4: in which planes of the volume somebody drew.

A drawing made in a sagittal or coronal view of an axial series appears in every slice that it crosses as a thin stripe, always
in the same column or row. :func:`other_planes` finds those; everything else was drawn in the plane of the series.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import BoolArray, LabelArray

AxisPlane = tuple[int, int]
"""Array axis that a plane is perpendicular to, and its index along that axis."""

THICKNESS = 2
"""Most voxels that a drawing in another plane is thick: what a brush paints across its own plane."""
LENGTH = 4
"""Least voxels that a stripe is long, and least slices in which stripes show: less is as well a small structure."""


def other_planes(saved_DHW: LabelArray, drawn_DHW: BoolArray) -> frozenset[AxisPlane]:
    """Planes perpendicular to rows and columns in which somebody drew.

    A column (and a row alike) is such a plane when, in four slices or more, it has a stripe: four drawn voxels or more in that
    column, at least half of them in a run of equal labels that is at most two voxels wide across it; when nothing was drawn in
    these slices but stripes of such planes; and when every slice between them is drawn on in the column as well. Three such
    planes side by side are no planes: somebody drew a volume.

    Args:
        saved_DHW: uint8 labels as they were saved.
        drawn_DHW: bool, what was drawn: foreground, or where an edited answer was changed.
    """
    spots = np.flatnonzero(drawn_DHW.any(axis=(1, 2)))
    if len(spots) < LENGTH:
        return frozenset()
    rows, columns = (_span(np.asarray(drawn_DHW.any(axis=axes))) for axes in ((0, 2), (0, 1)))
    saved_DHW, drawn_DHW = saved_DHW[:, rows, columns], drawn_DHW[:, rows, columns]
    stripes = {axis: _stripes(saved_DHW, drawn_DHW, axis) for axis in (1, 2)}
    touched = {axis: np.asarray(drawn_DHW.any(axis=3 - axis)) for axis in (1, 2)}
    found = {axis: np.ones(drawn_DHW.shape[axis], bool) for axis in (1, 2)}
    while True:
        explained_D = ~np.asarray((drawn_DHW & ~found[1][:, None] & ~found[2]).any(axis=(1, 2)))
        kept = {axis: found[axis] & _thin(_lasting(stripes[axis] & explained_D[:, None], touched[axis])) for axis in (1, 2)}
        if all(np.array_equal(kept[axis], found[axis]) for axis in (1, 2)):
            break
        found = kept
    starts = {1: rows.start, 2: columns.start}
    return frozenset((axis, int(index) + starts[axis]) for axis in (1, 2) for index in np.flatnonzero(found[axis]))


def on_planes(shape: tuple[int, ...], planes: frozenset[AxisPlane]) -> BoolArray:
    """bool, the voxels ``(slice, row, column)`` that lie on any of ``planes``."""
    result_DHW = np.zeros(shape, bool)
    for plane in planes:
        result_DHW[across(plane)] = True
    return result_DHW


def across(plane: AxisPlane) -> tuple[slice | int, ...]:
    """The index that takes a plane out of a volume."""
    axis, index = plane
    return (*(slice(None),) * axis, index)


def _span(any_N: npt.NDArray[np.bool_]) -> slice:
    """First to last true place, and what the width of a run needs on both sides."""
    where = np.flatnonzero(any_N)
    return slice(max(0, int(where[0]) - THICKNESS), int(where[-1]) + THICKNESS + 1)


def _stripes(saved_DHW: LabelArray, drawn_DHW: BoolArray, axis: int) -> BoolArray:
    """Where a slice has a stripe, ``(slice, index along axis)``."""
    along = 3 - axis
    drawn = drawn_DHW.sum(axis=along)
    narrow = (drawn_DHW & ~_wide(saved_DHW, axis)).sum(axis=along)
    return np.asarray((drawn >= LENGTH) & (2 * narrow >= drawn))


def _wide(saved_DHW: LabelArray, axis: int) -> BoolArray:
    """Voxels in a run of equal labels along ``axis`` that is longer than :data:`THICKNESS`."""
    saved = np.moveaxis(saved_DHW, axis, -1)
    size = saved.shape[-1]
    wide = np.zeros(saved.shape, bool)
    if size > THICKNESS:
        equal = saved[..., 1:] == saved[..., :-1]
        run = np.logical_and.reduce([equal[..., i : size - THICKNESS + i] for i in range(THICKNESS)])
        for i in range(THICKNESS + 1):
            wide[..., i : size - THICKNESS + i] |= run
    return np.moveaxis(wide, -1, axis)


def _lasting(stripes_DN: BoolArray, touched_DN: BoolArray) -> npt.NDArray[np.bool_]:
    """Places with :data:`LENGTH` stripes or more within one run of touched slices."""
    count = np.zeros(stripes_DN.shape[1], np.int64)
    best = count.copy()
    for stripes_N, touched_N in zip(stripes_DN, touched_DN, strict=True):
        count = np.where(touched_N, count + stripes_N, 0)
        best = np.maximum(best, count)
    return np.asarray(best >= LENGTH)


def _thin(planes_N: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Without runs of more than :data:`THICKNESS` planes side by side."""
    padded = np.concatenate([[False], planes_N, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1])
    kept = np.zeros_like(planes_N)
    for start, stop in edges.reshape(-1, 2):
        kept[start:stop] = stop - start <= THICKNESS
    return kept
