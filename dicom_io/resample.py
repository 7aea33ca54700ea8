"""Masks from one grid onto another in the same space, by the nearest voxel."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import BoolArray
from dicom_io.geometry import Geometry
from dicom_io.seg_frames import Frames


def resampled(pixels_NHW: BoolArray, frames: Frames, members: npt.NDArray[np.int64], target: Geometry) -> BoolArray:
    """Foreground of some frames on the grid of ``target``.

    A target voxel is foreground when its centre lies within half a slice distance of a frame's plane and the pixel that it
    projects onto is foreground. Nothing is filled in between frames that are further apart.

    Args:
        pixels_NHW: bool, the frames ``(frame, row, column)``.
        frames: places of all frames.
        members: which of ``frames`` the ``pixels_NHW`` are.
        target: the grid to fill, in the same frame of reference.

    Returns:
        bool ``(slice, row, column)`` of the target's shape.
    """
    out_DHW = np.zeros(target.shape, bool)
    distance = frames.slice_distance if np.isfinite(frames.slice_distance) else target.spacing_DHW[0]
    for pixels_HW, member in zip(pixels_NHW, members, strict=True):
        _paste(out_DHW, pixels_HW, frames, int(member), distance, target)
    return out_DHW


def _paste(out_DHW: BoolArray, pixels_HW: BoolArray, frames: Frames, member: int, distance: float, target: Geometry) -> None:
    """One frame, as a slab of ``distance`` thickness, into the target."""
    orientation, position = frames.orientations[member], frames.positions[member]
    spacing = frames.spacings[member] if np.isfinite(frames.spacings[member]).all() else np.array(target.spacing_DHW[1:])
    frame = np.eye(4)
    frame[:3, 0] = np.cross(orientation[:3], orientation[3:]) * distance
    frame[:3, 1] = orientation[3:] * spacing[0]
    frame[:3, 2] = orientation[:3] * spacing[1]
    frame[:3, 3] = position
    rows, columns = np.flatnonzero(pixels_HW.any(axis=1)), np.flatnonzero(pixels_HW.any(axis=0))
    low, high = [-0.5, rows[0] - 0.5, columns[0] - 0.5], [0.5, rows[-1] + 0.5, columns[-1] + 0.5]
    corners = np.array(np.meshgrid(*zip(low, high, strict=True))).reshape(3, -1).T
    inside = target.to_index(corners @ frame[:3, :3].T + frame[:3, 3])
    begin = np.maximum(0, np.floor(inside.min(axis=0))).astype(int)
    end = np.minimum(target.shape, np.ceil(inside.max(axis=0)).astype(int) + 1)
    if (begin >= end).any():
        return
    box = tuple(slice(a, b) for a, b in zip(begin, end, strict=True))
    voxels = np.stack(np.meshgrid(*(np.arange(a, b) for a, b in zip(begin, end, strict=True)), indexing="ij"), axis=-1)
    local = (target.to_patient(voxels) - frame[:3, 3]) @ np.linalg.inv(frame[:3, :3]).T
    # A centre that lies exactly between two frames belongs to the one above it; the epsilon absorbs rounding.
    near = np.floor(local + 0.5 + 1e-6).astype(np.int64)
    height, width = pixels_HW.shape
    hit = (near[..., 0] == 0) & (near[..., 1] >= 0) & (near[..., 1] < height) & (near[..., 2] >= 0) & (near[..., 2] < width)
    hit[hit] = pixels_HW[near[..., 1][hit], near[..., 2][hit]]
    out_DHW[box] |= hit
