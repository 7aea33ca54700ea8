"""Shapes on known planes, carried into the slices between them and, a little, beyond them.

A structure ends like a dome: where it is known to be absent on the next known plane, its contour shrinks with the square of the
way gone, and is gone when it gets there.
"""

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


@dataclass(frozen=True, eq=False)
class Filling:
    """A stack whose known planes are filled in, and the means to fill the others; works in place.

    Attributes:
        distances_KDHW: signed distances in mm: of the object, then of each label.
        fields: what their certainty depends on.
        spacing_DHW: voxel spacing in mm.
        motion: carries shapes from slice to slice.
        nearest: copy the nearer plane instead of blending both.
    """

    distances_KDHW: FloatArray
    fields: Fields
    spacing_DHW: tuple[float, float, float]
    motion: Motion
    nearest: bool

    def between(self, first: Shape, last: Shape) -> None:
        """Fills the slices between two known planes, ``first`` being the one with the lower index."""
        inside = range(first.index + 1, last.index)
        count = last.index - first.index
        for index in inside:
            self.fields.distance_mm[index] = self.spacing_DHW[0] * min(index - first.index, last.index - index)
        if first.present[0]:
            for step in self.motion.carry(first.index, inside):
                self.distances_KDHW[:, step.index] = first.carried(step)
                self._add_inconsistency(step, 1.0 - (step.index - first.index) / count)
        if last.present[0]:
            for step in self.motion.carry(last.index, inside[::-1]):
                share = (step.index - first.index) / count
                self._blend((first, last), share, step.index, last.carried(step))
                self._add_inconsistency(step, share)
        elif first.present[0]:
            for index in inside:
                self._blend((first, last), (index - first.index) / count, index, last.distances_KHW)

    def outwards(self, shapes: Sequence[Shape]) -> None:
        """Fills what lies outside the outermost of the known planes, which are given in order.

        Beyond an empty plane there is nothing. Beyond a drawn one the shape goes on for half the mean gap of drawn planes (for
        as far as the shape's radius if only one is drawn), shrinking; further out nothing is claimed.
        """
        drawn = [s.index for s in shapes if s.present[0]]
        if not drawn:
            self.fields.credit_DHW[: shapes[0].index] = self.fields.credit_DHW[shapes[-1].index + 1 :] = 0.0
            return
        reach_mm = max(s.radius_mm for s in shapes)
        if len(drawn) > 1:
            reach_mm = (drawn[-1] - drawn[0]) / (len(drawn) - 1) * self.spacing_DHW[0] / 2.0
        reach = max(1, round(reach_mm / self.spacing_DHW[0]))
        self._beyond(shapes[0], range(shapes[0].index - 1, -1, -1), reach)
        self._beyond(shapes[-1], range(shapes[-1].index + 1, self.distances_KDHW.shape[1]), reach)

    def _beyond(self, shape: Shape, outside: range, reach: int) -> None:
        """Fills the slices ``outside``, nearest first; from ``reach`` slices on only the credit."""
        if not shape.present[0]:
            self.fields.credit_DHW[list(outside)] = _SETTLED
            return
        carried, depth = shape.distances_KHW, np.array(shape.depth_mm, dtype=np.float32)[:, None, None]
        near = outside[: 2 * reach]
        for step in self.motion.carry(shape.index, near):
            carried = shape.carried(step)
            away = abs(step.index - shape.index)
            if away <= reach:
                shrunk = carried - np.abs(depth) * np.float32((away / (2 * reach)) ** 2)
                self.distances_KDHW[:, step.index] = np.maximum(shrunk, NOWHERE)
            self._set_credit(step.index, carried[0], 1.0 - away / (reach + 1), shape)
            self._add_inconsistency(step, 1.0)
        for index in outside[len(near) :]:
            self._set_credit(index, carried[0], 0.0, shape)

    def _set_credit(self, index: int, object_HW: FloatArray, inside: float, shape: Shape) -> None:
        """Credit of an extrapolated slice: ``inside`` where the shape would be, more the further from it."""
        far = 1.0 - np.exp(np.minimum(object_HW, 0.0) / max(shape.radius_mm, 1e-3))
        base = max(inside, 0.0)
        self.fields.credit_DHW[index] = base + (1.0 - base) * far
        self.fields.distance_mm[index] = abs(index - shape.index) * self.spacing_DHW[0]

    def _blend(self, ends: tuple[Shape, Shape], share: float, index: int, from_last_KHW: FloatArray) -> None:
        """Blends both sides, channel by channel; one that is absent on one side shrinks towards it.

        The copy of the nearer plane goes up to where the whole object is known to be absent.
        """
        first, last = ends
        result_KHW = self.distances_KDHW[:, index]
        from_first_KHW = result_KHW.copy()
        for k in range(len(result_KHW)):
            if self.nearest:
                before = not last.present[0] or (first.present[0] and share <= 0.5)
                result_KHW[k] = from_first_KHW[k] if before else from_last_KHW[k]
            elif first.present[k] and last.present[k]:
                result_KHW[k] = (1.0 - share) * from_first_KHW[k] + share * from_last_KHW[k]
            elif first.present[k]:
                result_KHW[k] = from_first_KHW[k] - first.depth_mm[k] * share**2
            elif last.present[k]:
                result_KHW[k] = from_last_KHW[k] - last.depth_mm[k] * (1.0 - share) ** 2
            else:
                result_KHW[k] = NOWHERE
        both = [k for k in range(len(result_KHW)) if first.present[k] and last.present[k]]
        if both:
            self.fields.disagreement_DHW[index] = np.abs(from_first_KHW[both] - from_last_KHW[both]).max(axis=0)

    def _add_inconsistency(self, step: Carried, weight: float) -> None:
        if step.inconsistency_HW is not None:
            pixel = max(self.spacing_DHW[1:])
            self.fields.inconsistency_DHW[step.index] += np.float32(weight * pixel) * step.inconsistency_HW
