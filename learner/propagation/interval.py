"""Shapes on known planes, carried into the slices between them and, a little, beyond them.

A structure ends like a dome: where it is known to be absent on the next known plane, its contour shrinks with the square of the
way gone, and is gone when it gets there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from learner.domain.ball import beyond_by_ball, disc_radius
from learner.domain.pace import give_way
from learner.propagation.motion import Carried, Motion, warp
from learner.propagation.signed_distance import NOWHERE

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

_SETTLED = 0.95
"""Credit of what lies beyond a stated extent."""
_ENDED, _GOES_ON = 0.2, 0.4
"""Area of the outermost drawn shape over that of the next: likely an end below the first, likely not above the second."""
_BELIEF_IN_END = 0.5
"""Credit of the absence beyond a likely end."""
_STRANGE, _STRANGE_PIXELS = 2.5, 1.0
"""A structure is not continued onto a slice whose motion is so many times less consistent than between drawn slices, and off by
so many pixels at least."""


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
        radius = disc_radius(float(object_HW.sum()) * spacing_HW[0] * spacing_HW[1])
        return cls(index, distances_KHW, tuple(d > NOWHERE for d in depth), depth, radius)

    def carried(self, by: Carried) -> FloatArray:
        """The signed distances as they look on another slice."""
        give_way()
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


@dataclass(frozen=True, slots=True)
class End:
    """How a structure is likely to end beyond its outermost drawn slice, where nothing is stated.

    Attributes:
        reach: for how many slices it is continued.
        belief: credit of its absence further out.
    """

    reach: int
    belief: float


@dataclass(frozen=True, eq=False)
class Filling:
    """A stack whose known planes are filled in, and the means to fill the others; works in place.

    Attributes:
        distances_KDHW: signed distances in mm: of the object, then of each label.
        fields: what their certainty depends on.
        spacing_DHW: voxel spacing in mm.
        motion: carries shapes from slice to slice.
        nearest: copy the nearer plane instead of blending both.
        usual_error: forward-backward errors of the object a step, in pixels, between drawn planes.
    """

    distances_KDHW: FloatArray
    fields: Fields
    spacing_DHW: tuple[float, float, float]
    motion: Motion
    nearest: bool
    usual_error: list[float] = field(default_factory=list)

    def between(self, first: Shape, last: Shape) -> None:
        """Fills the slices between two known planes, ``first`` being the one with the lower index."""
        inside = range(first.index + 1, last.index)
        count = last.index - first.index
        for index in inside:
            self.fields.distance_mm[index] = self.spacing_DHW[0] * min(index - first.index, last.index - index)
        if first.present[0]:
            for step in self.motion.carry(first.index, inside):
                self.distances_KDHW[:, step.index] = first.carried(step)
                self.usual_error.append(_error_a_step(step, first.index, self.distances_KDHW[0, step.index]))
                self._add_inconsistency(step, 1.0 - (step.index - first.index) / count)
        if last.present[0]:
            for step in self.motion.carry(last.index, inside[::-1]):
                share = (step.index - first.index) / count
                carried_KHW = last.carried(step)
                self.usual_error.append(_error_a_step(step, last.index, carried_KHW[0]))
                self._blend((first, last), share, step.index, carried_KHW)
                self._add_inconsistency(step, share)
        elif first.present[0]:
            for index in inside:
                self._blend((first, last), (index - first.index) / count, index, last.distances_KHW)

    def outwards(self, shapes: Sequence[Shape]) -> None:
        """Fills what lies outside the outermost of the known planes, which are given in order.

        Beyond an empty plane there is nothing. Beyond a drawn one the shape goes on, shrinking, as far as :meth:`_end` has it,
        but not onto a slice that looks too different to be matched. Further out nothing is claimed.
        """
        drawn = [s for s in shapes if s.present[0]]
        if not drawn:
            self.fields.credit_DHW[: shapes[0].index] = self.fields.credit_DHW[shapes[-1].index + 1 :] = 0.0
            return
        depth = self.distances_KDHW.shape[1]
        sides = ((shapes, range(shapes[0].index - 1, -1, -1)), (shapes[::-1], range(shapes[-1].index + 1, depth)))
        for inwards, outside in sides:
            if inwards[0].present[0]:
                self._beyond(inwards[0], outside, self._end([s for s in inwards if s.present[0]]))
            else:
                self.fields.credit_DHW[list(outside)] = _SETTLED

    def _end(self, inwards: Sequence[Shape]) -> End:
        """How a structure is likely to end, from its drawn shapes, the outermost first.

        A structure is taken to be as long as it is wide, at least: a ball of its widest section around the middle of what is
        drawn. Slices that are spread over a structure leave half a gap at its ends, which may be more. Areas tell if it is
        over before: of spread slices, the outermost shows half the area of the next; a first or last slice shows a quarter or
        less.
        """
        outermost, slice_mm = inwards[0], self.spacing_DHW[0]
        drawn_over = abs(outermost.index - inwards[-1].index)
        ball = beyond_by_ball(max(shape.radius_mm for shape in inwards), slice_mm, drawn_over)
        if len(inwards) == 1:
            return End(max(1, int(ball)), 0.0)
        gap = min(abs(outermost.index - inwards[1].index), drawn_over / (len(inwards) - 1))
        share = (outermost.radius_mm / inwards[1].radius_mm) ** 2
        going_on = min(1.0, max(0.0, (share - _ENDED) / (_GOES_ON - _ENDED)))
        return End(int(max(gap / 2, ball) * going_on + 1e-6), _BELIEF_IN_END * (1.0 - going_on))

    def _beyond(self, shape: Shape, outside: range, end: End) -> None:
        """Fills the slices ``outside``, nearest first: the labels as far as ``end`` reaches, then only the credit."""
        carried, depth = shape.distances_KHW, np.array(shape.depth_mm, dtype=np.float32)[:, None, None]
        near, reach = outside[: 2 * end.reach], end.reach
        usual = float(np.median(self.usual_error)) if self.usual_error else np.inf
        for step in self.motion.carry(shape.index, near):
            carried = shape.carried(step)
            away = abs(step.index - shape.index)
            if _error_a_step(step, shape.index, carried[0]) > max(_STRANGE * usual, _STRANGE_PIXELS):
                reach = min(reach, away - 1)
            if away <= reach:
                shrunk = carried - np.abs(depth) * np.float32((away / (2 * end.reach)) ** 2)
                self.distances_KDHW[:, step.index] = np.maximum(shrunk, NOWHERE)
            inside = 1.0 - away / (end.reach + 1)
            self._set_credit(step.index, carried[0], max(inside, 0.0 if away <= reach else end.belief), shape)
            self._add_inconsistency(step, 1.0)
        for index in outside[len(near) :]:
            self._set_credit(index, carried[0], end.belief, shape)

    def _set_credit(self, index: int, object_HW: FloatArray, inside: float, shape: Shape) -> None:
        """Credit of a slice beyond: ``inside`` where the shape would be, more the further from it."""
        far = 1.0 - np.exp(np.minimum(object_HW, 0.0) / max(shape.radius_mm, 1e-3))
        self.fields.credit_DHW[index] = inside + (1.0 - inside) * far
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


def _error_a_step(step: Carried, start: int, object_HW: FloatArray) -> float:
    """Mean forward-backward error of a chain over the object, in pixels a step; 0 where nothing moves or nothing is there."""
    inside_HW = object_HW > 0
    if step.inconsistency_HW is None or not inside_HW.any():
        return 0.0
    return float(step.inconsistency_HW[inside_HW].mean()) / abs(step.index - start)
