"""A reader who knows the truth and shows of it only the slices that are asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.guidance import Guidance

LabelArray = npt.NDArray[np.uint8]


@dataclass(eq=False)
class SimulatedReader:
    """Draws slices of a case along axis 0; keeps what is drawn.

    Attributes:
        truth_DHW: uint8 truth.
        label_count: labels L of the task.
        jitter: standard deviation in pixels of a smooth displacement of drawn contours; 0 draws perfectly.
        seed: of the jitter.
    """

    truth_DHW: LabelArray
    label_count: int
    jitter: float = 0.0
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
            self._drawn[index] = self._hand(index)

    def annotation(self) -> SparseAnnotation | None:
        """All that the reader has said so far; None if that is nothing."""
        if not self._drawn:
            return None
        labels_DHW = np.zeros(self.truth_DHW.shape, dtype=np.uint8)
        known_LDHW = np.zeros((self.label_count, *self.truth_DHW.shape), dtype=bool)
        for index, labels_HW in self._drawn.items():
            labels_DHW[index] = labels_HW
        known_LDHW[:, [*self._drawn, *self._absent]] = True
        planes = [Plane(0, i) for i in self._drawn] + [Plane(0, i, PlaneKind.ABSENT) for i in self._absent]
        return SparseAnnotation(labels_DHW, known_LDHW, tuple(sorted(planes)))

    def _hand(self, index: int) -> LabelArray:
        """The truth of a slice as this reader's hand draws it."""
        labels_HW = self.truth_DHW[index]
        if self.jitter <= 0:
            return np.array(labels_HW, dtype=np.uint8)
        rng = np.random.default_rng((self.seed, index))
        shift = [ndimage.gaussian_filter(rng.standard_normal(labels_HW.shape), 4.0) for _ in range(2)]
        grid = np.indices(labels_HW.shape, dtype=np.float64)
        moved = [g + self.jitter * s / max(float(s.std()), 1e-9) for g, s in zip(grid, shift, strict=True)]
        return np.asarray(ndimage.map_coordinates(labels_HW, moved, order=0, mode="nearest"), dtype=np.uint8)


def spread(slices: Sequence[int], count: int) -> tuple[int, ...]:
    """The middles of ``count`` equal parts of ``slices``; fewer if there are fewer."""
    if not slices or count < 1:
        return ()
    return tuple(sorted({slices[int(len(slices) * (2 * part + 1) / (2 * count))] for part in range(count)}))
