"""Positions of slices to the regular grid of a volume: which plane each slice fills, and by how many pixels it is shifted.

Every acquired slice fills exactly one plane, pixel for pixel, so that what is drawn on it, or predicted for it, maps between
slice and volume without loss. Planes that no slice fills are interpolated. A stack that leans (tilted gantry) is sheared back
by whole pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.errors import SeriesNotAVolume

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

SPACING_TOLERANCE = 0.1
"""How far a slice may lie from its place in the grid without a remark, as a share of the slice distance: scanners round."""
UNEVEN_TOLERANCE = 0.2
"""How far a slice may lie from its plane at all, as a share of the slice distance. Below the quarter within which the frame of
an annotation is taken to lie on a slice, so that no drawing can be taken for one of a neighbouring plane."""
GREATEST_GAP = 3
"""Greatest distance of neighbouring slices, in slice distances: two missing slices in a row are interpolated, which still
follows a structure from one to the next; across more there is nothing to follow."""
GREATEST_INTERPOLATED_SHARE = 0.5
"""Greatest share of planes that are interpolated: at least every second plane of a volume was seen by the scanner."""
TILT_TOLERANCE_DEGREES = 1.0
"""Greatest angle between stacking direction and normal that the grid itself takes over; a steeper stack is sheared back."""
SAME_POSITION_MM = 0.01
"""Slices closer than this along the normal lie at one position."""


@dataclass(frozen=True, eq=False)
class Grid:
    """A regular grid and the place of each slice in it.

    Attributes:
        shape: of the volume: ``(slice, row, column)``.
        affine: 4x4 float64, from ``(slice, row, column, 1)`` to LPS mm.
        planes: the plane of each slice, int64 ``(N,)``, ascending.
        shifts: rows and columns by which each slice is shifted, int64 ``(N, 2)``, from 0.
        remarks: what was made regular, for a technologist.
    """

    shape: tuple[int, int, int]
    affine: FloatArray
    planes: IntArray
    shifts: IntArray
    remarks: tuple[str, ...] = ()


def place_indices(along: FloatArray) -> IntArray:
    """For each slice the number of its position, from 0, ascending; ``along`` in mm along the normal, in any order."""
    order = np.argsort(along, kind="stable")
    numbers = np.empty(len(along), np.int64)
    numbers[order] = np.concatenate([[0], np.cumsum(np.diff(along[order]) >= SAME_POSITION_MM)])
    return numbers


def grid_of(name: str, positions: FloatArray, orientation: FloatArray, spacing: FloatArray, size: tuple[int, int]) -> Grid:
    """The grid of slices at different positions, sorted along their normal.

    Args:
        name: subject of errors.
        positions: Image Position (Patient) of each slice, ``(N, 3)``, LPS mm, ascending along the normal.
        orientation: Image Orientation (Patient), ``(6,)``.
        spacing: Pixel Spacing, ``(2,)``, mm.
        size: rows and columns of a slice.

    Raises:
        SeriesNotAVolume: no regular grid comes near enough to the slices; says why.
    """
    row, column = orientation[:3], orientation[3:]
    normal = np.cross(row, column)
    along = positions @ normal
    planes, step = _planes(name, along)
    offsets = positions - positions[0]
    beside = np.stack([offsets @ column, offsets @ row], axis=1)  # mm along rows' and along columns' index
    remarks = [*_unevenness(along, planes, step)]
    leaning = beside[-1] / planes[-1]
    off_line = float(np.linalg.norm(beside - planes[:, None] * leaning, axis=1).max())
    angle = float(np.degrees(np.arctan2(np.linalg.norm(leaning), step)))
    affine = np.eye(4)
    affine[:3, 1], affine[:3, 2] = column * spacing[0], row * spacing[1]
    if angle <= TILT_TOLERANCE_DEGREES and off_line <= SPACING_TOLERANCE * step:
        affine[:3, 0] = offsets[-1] / planes[-1]
        affine[:3, 3] = positions[0]
        return Grid((int(planes[-1]) + 1, *size), affine, planes, np.zeros((len(planes), 2), np.int64), tuple(remarks))
    shifts = np.rint(beside / spacing).astype(np.int64)
    lowest, extent = shifts.min(axis=0), np.ptp(shifts, axis=0)
    if (extent > size).any():
        problem = f"its slices lie beside each other, not in a stack (up to {np.linalg.norm(beside, axis=1).max():.0f} mm)"
        raise SeriesNotAVolume(name, problem, "Choose a series of parallel slices, or reformat it.")
    affine[:3, 0] = normal * step
    affine[:3, 3] = positions[0] + affine[:3, 1:3] @ lowest
    remarks.append(_shear_remark(angle, off_line, float(np.linalg.norm(beside - shifts * spacing, axis=1).max()), step))
    shape = (int(planes[-1]) + 1, size[0] + int(extent[0]), size[1] + int(extent[1]))
    return Grid(shape, affine, planes, shifts - lowest, tuple(remarks))


def _planes(name: str, along: FloatArray) -> tuple[IntArray, float]:
    """The plane of each slice, and the distance of planes in mm.

    The distance is the usual one (median), or the smallest where that fits better, as where it changes from 3 to 6 mm. A fine
    enough grid fits any slices; so the finer one has to fit as well as a regular stack does.
    """
    gaps = np.diff(along)
    fits: list[tuple[float, IntArray, float]] = []
    for base, tolerance in ((float(np.median(gaps)), UNEVEN_TOLERANCE), (float(gaps.min()), SPACING_TOLERANCE)):
        counts = np.rint(gaps / base)
        if counts.min() < 1:
            continue
        planes = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        step = float((along[-1] - along[0]) / planes[-1])
        off = float(np.abs(along - along[0] - planes * step).max() / step)
        if off <= tolerance:
            fits.append((off, planes, step))
    if not fits:
        problem = f"the slice distance changes between {gaps.min():.2f} and {gaps.max():.2f} mm, and no regular grid fits"
        raise SeriesNotAVolume(name, problem, "Choose a series with one slice distance, or reformat it.")
    _, planes, step = min(fits, key=lambda fit: fit[0])
    counts = np.diff(planes)
    missing = int(planes[-1]) + 1 - len(planes)
    if counts.max() > GREATEST_GAP or missing > GREATEST_INTERPOLATED_SHARE * (planes[-1] + 1):
        widest = int(counts.argmax())
        problem = (
            f"{missing} slice(s) are missing, {counts[widest] - 1} of them after slice {widest + 1} of {len(planes)} "
            f"({gaps[widest]:.2f} mm where slices are {step:.2f} mm apart)"
        )
        remedy = (
            f"Send the missing images from the scanner or archive; up to {GREATEST_GAP - 1} in a row, "
            f"and {GREATEST_INTERPOLATED_SHARE:.0%} in all, can be interpolated."
        )
        raise SeriesNotAVolume(name, problem, remedy)
    return planes, step


def _unevenness(along: FloatArray, planes: IntArray, step: float) -> list[str]:
    """Remarks on interpolated planes and on slices off their plane."""
    remarks = []
    gaps, counts = np.diff(along), np.diff(planes)
    missing = int(planes[-1]) + 1 - len(planes)
    if missing:
        remarks.append(
            f"{missing} of {planes[-1] + 1} planes were not acquired (first after slice {int((counts > 1).argmax()) + 1}; "
            f"slices are {gaps.min():.2f} to {gaps.max():.2f} mm apart) and were interpolated between their neighbours."
        )
    off = float(np.abs(along - along[0] - planes * step).max())
    if off > SPACING_TOLERANCE * step:
        remarks.append(
            f"The slice distance is uneven ({gaps.min():.2f} to {gaps.max():.2f} mm): slices lie up to {off:.2f} mm beside "
            f"their planes, which are {step:.2f} mm apart."
        )
    return remarks


def _shear_remark(angle: float, off_line: float, error: float, step: float) -> str:
    if off_line > SPACING_TOLERANCE * step:
        cause = "The slices are displaced sideways against each other"
    else:
        cause = f"The stack leans by {angle:.1f} degrees (tilted gantry)"
    return f"{cause}: they were shifted back by whole pixels and lie at most {error:.2f} mm beside their place."
