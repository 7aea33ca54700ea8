"""A reader who knows the truth and shows of it only the slices that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.guidance import Guidance
from learner.evaluation.hands import STEADY, Hand

LabelArray = npt.NDArray[np.uint8]


@dataclass(eq=False)
class SimulatedReader:
    """Draws slices of a case along axis 0; keeps what is drawn.

    Attributes:
        truth_DHW: uint8 truth.
        label_count: labels L of the task.
        hand: how contours are drawn.
        seed: of the hand.
    """

    truth_DHW: LabelArray
    label_count: int
    hand: Hand = STEADY
    seed: int = 0
    _drawn: dict[int, LabelArray] = field(default_factory=dict, init=False)
    _absent: set[int] = field(default_factory=set, init=False)

    @property
    def object_slices(self) -> tuple[int, ...]:
        """Slices on which there is anything to draw."""
        return tuple(int(i) for i in np.flatnonzero((self.truth_DHW > 0).any(axis=(1, 2))))

    @property
    def drawn_slices(self) -> tuple[int, ...]:
        """What is drawn so far, ascending."""
        return tuple(sorted(self._drawn))

    @property
    def extent_marks(self) -> int:
        """How many slices the reader marked as empty."""
        return len(self._absent)

    def state_extents(self) -> None:
        """Marks the slice before the object's first one, and the one after its last, as empty."""
        slices = self.object_slices
        if slices:
            self._absent |= {i for i in (slices[0] - 1, slices[-1] + 1) if 0 <= i < len(self.truth_DHW)}

    def choose(self, count: int, guidance: Guidance | None) -> tuple[int, ...]:
        """Slices to draw next: as suggested where there is something to draw, and the reader's own choice for the rest.

        Left to itself, the reader spreads the first slices evenly, and puts later ones into the middle of the largest gaps.

        Args:
            count: how many at most.
            guidance: suggestions, or None.
        """
        there = set(self.object_slices) - set(self._drawn)
        suggested = [s.index for s in guidance.suggestions if s.axis == 0] if guidance is not None else []
        chosen = [i for i in dict.fromkeys(suggested) if i in there][:count]
        if not chosen and not self._drawn:
            return spread(self.object_slices, count)
        while len(chosen) < count and (free := sorted(there - set(chosen))):
            borders = sorted({self.object_slices[0] - 1, self.object_slices[-1] + 1, *self._drawn, *chosen})
            chosen.append(max(free, key=lambda i: (min(abs(i - b) for b in borders), -i)))
        return tuple(sorted(chosen))

    def draw(self, slices: Sequence[int]) -> None:
        """Draws these slices."""
        for index in slices:
            self._drawn[index] = self.hand.draw(self.truth_DHW[index], np.random.default_rng((self.seed, index)))

    def annotation(self) -> SparseAnnotation | None:
        """All that the reader has said so far; None if nothing is drawn."""
        if not self._drawn:
            return None
        labels_DHW = np.zeros(self.truth_DHW.shape, dtype=np.uint8)
        known_LDHW = np.zeros((self.label_count, *self.truth_DHW.shape), dtype=bool)
        for index, labels_HW in self._drawn.items():
            labels_DHW[index] = labels_HW
        known_LDHW[:, [*self._drawn, *self._absent]] = True
        planes = [Plane(0, i) for i in self._drawn] + [Plane(0, i, PlaneKind.ABSENT) for i in self._absent]
        return SparseAnnotation(labels_DHW, known_LDHW, tuple(sorted(planes)))


class LazyReader(SimulatedReader):
    """Draws half of what is asked for, of that only the largest sections, and never states the ends."""

    def state_extents(self) -> None:
        """Does not bother."""

    def choose(self, count: int, guidance: Guidance | None) -> tuple[int, ...]:  # noqa: ARG002 - does not listen
        """The largest sections that are not drawn yet and have no drawn neighbour; half of ``count``, at least one."""
        areas = np.count_nonzero(self.truth_DHW, axis=(1, 2))
        chosen: list[int] = []
        for index in sorted(self.object_slices, key=lambda i: (-areas[i], i)):
            if len(chosen) < max(1, count // 2) and all(abs(index - other) > 1 for other in (*self._drawn, *chosen)):
                chosen.append(index)
        return tuple(sorted(chosen))


@dataclass(eq=False)
class ScribblingReader(SimulatedReader):
    """Strokes that people drew, slice by slice as they are asked for; known voxels on no plane.

    Attributes:
        strokes_DHW: uint8 strokes: 0 background, 1..L labels, above L unmarked.
    """

    strokes_DHW: LabelArray = field(default_factory=lambda: np.zeros((0, 0, 0), dtype=np.uint8))

    def annotation(self) -> SparseAnnotation | None:
        """All strokes of the slices drawn so far; None if there is none. Stated ends are known planes."""
        if not self._drawn:
            return None
        known_DHW = np.zeros(self.truth_DHW.shape, dtype=bool)
        drawn = list(self._drawn)
        known_DHW[drawn] = self.strokes_DHW[drawn] <= self.label_count
        labels_DHW = np.where(known_DHW, self.strokes_DHW, 0).astype(np.uint8)
        known_DHW[list(self._absent)] = True
        planes = tuple(sorted(Plane(0, i, PlaneKind.ABSENT) for i in self._absent))
        return SparseAnnotation(labels_DHW, np.repeat(known_DHW[None], self.label_count, axis=0), planes)

    @property
    def stroke_labels_DHW(self) -> LabelArray:
        """Strokes of the drawn slices as label plus 1, 0 where there is none; their length is what they cost."""
        result = np.zeros(self.truth_DHW.shape, dtype=np.uint8)
        drawn = list(self._drawn)
        strokes = self.strokes_DHW[drawn]
        result[drawn] = np.where(strokes <= self.label_count, strokes + 1, 0)
        return result


def spread(slices: Sequence[int], count: int) -> tuple[int, ...]:
    """The middles of ``count`` equal parts of ``slices``; fewer if there are fewer."""
    if not slices or count < 1:
        return ()
    return tuple(sorted({slices[int(len(slices) * (2 * part + 1) / (2 * count))] for part in range(count)}))
