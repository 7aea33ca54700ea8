"""Shapes on known planes, carried into the slices between them and, a little, beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from learner.propagation.motion import Carried, Motion, warp
from learner.propagation.signed_distance import NOWHERE

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_SETTLED = 0.95
"""Credit of what lies beyond a stated extent."""


@dataclass(frozen=True, eq=False)
class Shape:
    """What is known on one plane.

    Attributes:
        index: of the plane.
        distances_KHW: signed distances in mm: of the object (the union of labels), then of each label.
        present: for each channel, whether there is anything of it.
        depth_mm: for each channel, the largest signed distance: how much it can shrink.
        radius_mm: radius of a disc of the object's area; 0 where it is absent.
    """

    index: int
    distances_KHW: FloatArray
    present: tuple[bool, ...]
    depth_mm: tuple[float, ...]
    radius_mm: float

    @classmethod
    def of(cls, index: int, distances_KHW: FloatArray, spacing_HW: tuple[float, float], object_HW: BoolArray) -> Shape:
        """The shape with these signed distances."""
        depth = tuple(float(d.max()) for d in distances_KHW)
        radius = float(np.sqrt(object_HW.sum() * spacing_HW[0] * spacing_HW[1] / np.pi))
        return cls(index, distances_KHW, tuple(d > NOWHERE for d in depth), depth, radius)

    def carried(self, by: Carried) -> FloatArray:
        """The signed distances as they look on another slice."""
        if by.displacement_HW2 is None:
            return self.distances_KHW
        pairs = zip(self.distances_KHW, self.present, strict=True)
        return np.stack([warp(d, by.displacement_HW2) if there else d for d, there in pairs])


@dataclass(eq=False)
class Fields:
    """What the certainty of each slice depends on.

    Attributes:
        distance_mm: per slice, distance to the nearest known plane; infinite where there is none.
        disagreement_DHW: mm, how far the shapes carried from both sides are apart.
        inconsistency_DHW: mm, forward-backward error of the motion.
        credit_DHW: factor in [0, 1] for what is extrapolated.
        radius_mm: size of the object, to which distances compare.
    """

    distance_mm: npt.NDArray[np.float64]
    disagreement_DHW: FloatArray
    inconsistency_DHW: FloatArray
    credit_DHW: FloatArray
    radius_mm: float = 1.0

    @classmethod
    def unknown(cls, depth: int, size: tuple[int, int]) -> Fields:
        """Nothing is settled yet."""
        zeros = np.zeros((depth, *size), dtype=np.float32)
        return cls(np.zeros(depth), zeros, zeros.copy(), np.ones_like(zeros))

    def mark_known(self, index: int) -> None:
        """A known plane: no distance, full credit."""
        self.distance_mm[index] = 0.0
        self.credit_DHW[index] = 1.0

    def worst(self, other: Fields) -> Fields:
        """The less certain of both, slice by slice."""
        return Fields(
            np.maximum(self.distance_mm, other.distance_mm),
            np.maximum(self.disagreement_DHW, other.disagreement_DHW),
            np.maximum(self.inconsistency_DHW, other.inconsistency_DHW),
            np.minimum(self.credit_DHW, other.credit_DHW),
            max(self.radius_mm, other.radius_mm),
        )


def between(
    first: Shape,
    last: Shape,
    motion: Motion,
    nearest: bool,
    distances_KDHW: FloatArray,
    fields: Fields,
    spacing_DHW: tuple[float, float, float],
) -> None:
    """Fills the slices between two known planes, in place.

    Args:
        first: the plane with the lower index.
        last: the plane with the higher index.
        motion: carries shapes from slice to slice.
        nearest: copy the nearer plane instead of blending both.
        distances_KDHW: signed distances of the stack, to be filled.
        fields: certainty of the stack, to be filled.
        spacing_DHW: voxel spacing in mm.
    """
    inside = range(first.index + 1, last.index)
    count, pixel = last.index - first.index, max(spacing_DHW[1:])
    for index in inside:
        fields.distance_mm[index] = spacing_DHW[0] * min(index - first.index, last.index - index)
    if not first.present[0] and not last.present[0]:
        return
    if first.present[0]:
        for step in motion.carry(first.index, inside):
            distances_KDHW[:, step.index] = first.carried(step)
            _add_inconsistency(fields, step, 1.0 - (step.index - first.index) / count, pixel)
    if not last.present[0]:
        for index in inside:
            here = distances_KDHW[:, index]
            _blend(first, last, (index - first.index) / count, count, nearest, here.copy(), last.distances_KHW, here)
        return
    for step in motion.carry(last.index, inside[::-1]):
        share = (step.index - first.index) / count
        from_first, from_last = distances_KDHW[:, step.index].copy(), last.carried(step)
        _blend(first, last, share, count, nearest, from_first, from_last, distances_KDHW[:, step.index])
        _add_inconsistency(fields, step, share, pixel)
        both = [k for k in range(len(from_last)) if first.present[k] and last.present[k]]
        if both:
            fields.disagreement_DHW[step.index] = np.abs(from_first[both] - from_last[both]).max(axis=0)


def _add_inconsistency(fields: Fields, step: Carried, weight: float, pixel: float) -> None:
    if step.inconsistency_HW is not None:
        fields.inconsistency_DHW[step.index] += np.float32(weight * pixel) * step.inconsistency_HW


def _blend(
    first: Shape,
    last: Shape,
    share: float,
    count: int,
    nearest: bool,
    from_first_KHW: FloatArray,
    from_last_KHW: FloatArray,
    result_KHW: FloatArray,
) -> None:
    """Blends both sides, channel by channel; one that is absent on one side shrinks towards it.

    The copy of the nearer plane goes up to where the whole object is known to be absent.
    """
    for k in range(len(result_KHW)):
        if nearest:
            before = not last.present[0] or (first.present[0] and share <= 0.5)
            result_KHW[k] = from_first_KHW[k] if before else from_last_KHW[k]
        elif first.present[k] and last.present[k]:
            result_KHW[k] = (1.0 - share) * from_first_KHW[k] + share * from_last_KHW[k]
        elif first.present[k]:
            result_KHW[k] = from_first_KHW[k] - _shrunk(first.depth_mm[k], share, count)
        elif last.present[k]:
            result_KHW[k] = from_last_KHW[k] - _shrunk(last.depth_mm[k], 1.0 - share, count)
        else:
            result_KHW[k] = NOWHERE


def _shrunk(depth_mm: float, share: float, count: int) -> float:
    """By how much a shape has shrunk: with the square, as a dome does near its base; gone half a slice before the other plane."""
    return depth_mm * (share * count / (count - 0.5)) ** 2


def outwards(
    shapes: Sequence[Shape],
    motion: Motion,
    distances_KDHW: FloatArray,
    fields: Fields,
    spacing_DHW: tuple[float, float, float],
) -> None:
    """Fills what lies outside the outermost known planes, in place.

    Beyond an empty plane there is nothing. Beyond a drawn one the shape goes on for half the mean gap of drawn planes (for as
    far as the shape's radius if only one is drawn), shrinking; further out nothing is claimed.
    """
    depth = distances_KDHW.shape[1]
    drawn = [s.index for s in shapes if s.present[0]]
    if not drawn:
        fields.credit_DHW[: shapes[0].index] = fields.credit_DHW[shapes[-1].index + 1 :] = 0.0
        return
    gap_mm = (
        (drawn[-1] - drawn[0]) / (len(drawn) - 1) * spacing_DHW[0] if len(drawn) > 1 else 2.0 * max(s.radius_mm for s in shapes)
    )
    reach = max(1, round(gap_mm / 2 / spacing_DHW[0]))
    for shape, outside in ((shapes[0], range(shapes[0].index - 1, -1, -1)), (shapes[-1], range(shapes[-1].index + 1, depth))):
        if not shape.present[0]:
            for index in outside:
                fields.credit_DHW[index] = _SETTLED
            continue
        _extrapolate(shape, outside, reach, motion, distances_KDHW, fields, spacing_DHW)


def _extrapolate(
    shape: Shape,
    outside: range,
    reach: int,
    motion: Motion,
    distances_KDHW: FloatArray,
    fields: Fields,
    spacing_DHW: tuple[float, float, float],
) -> None:
    near = outside[: 2 * reach]
    carried = shape.distances_KHW
    for step in motion.carry(shape.index, near):
        carried = shape.carried(step)
        away = abs(step.index - shape.index)
        if away <= reach:
            shrunk = np.array(shape.depth_mm, dtype=np.float32) * np.float32((away / (2 * reach)) ** 2)
            distances_KDHW[:, step.index] = np.where(np.array(shape.present), 1, 0)[:, None, None] * (
                carried - shrunk[:, None, None]
            )
            distances_KDHW[~np.array(shape.present), step.index] = NOWHERE
        _set_credit(fields, step.index, carried[0], 1.0 - away / (reach + 1), shape.radius_mm)
        fields.distance_mm[step.index] = away * spacing_DHW[0]
        _add_inconsistency(fields, step, 1.0, max(spacing_DHW[1:]))
    for index in outside[len(near) :]:
        _set_credit(fields, index, carried[0], 0.0, shape.radius_mm)
        fields.distance_mm[index] = abs(index - shape.index) * spacing_DHW[0]


def _set_credit(fields: Fields, index: int, object_HW: FloatArray, inside: float, radius_mm: float) -> None:
    """Credit of an extrapolated slice: ``inside`` where the shape would be, more the further from it."""
    far = 1.0 - np.exp(np.minimum(object_HW, 0.0) / max(radius_mm, 1e-3))
    base = max(inside, 0.0)
    fields.credit_DHW[index] = base + (1.0 - base) * far
