"""How a hand draws a slice whose truth is known: perfectly, or as people do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

LabelArray = npt.NDArray[np.uint8]

_SMOOTH = 4.0
"""Standard deviation in pixels of the Gaussian that makes displacements smooth along a contour."""


@dataclass(frozen=True, slots=True)
class Hand:
    """A hand.

    Attributes:
        jitter: standard deviation in pixels of a smooth displacement of the contours.
        patches: share of the plane in which the drawing is one pixel too small, and in which it is one too large.
        misses: chance that a small part of a structure, apart from its main one on the slice, is left out; one in ten drawings
            misses a bite at the rim of its main part, too.
    """

    jitter: float = 0.0
    patches: float = 0.0
    misses: float = 0.0

    def draw(self, labels_HW: LabelArray, rng: np.random.Generator) -> LabelArray:
        """The truth of a slice as this hand draws it."""
        drawn_HW = np.array(labels_HW, dtype=np.uint8)
        if self.jitter > 0:
            drawn_HW = self._displaced(drawn_HW, rng)
        if self.patches > 0:
            drawn_HW = self._patched(drawn_HW, rng)
        if self.misses > 0:
            drawn_HW = self._incomplete(drawn_HW, rng)
        return drawn_HW

    def _displaced(self, labels_HW: LabelArray, rng: np.random.Generator) -> LabelArray:
        shift = [ndimage.gaussian_filter(rng.standard_normal(labels_HW.shape), _SMOOTH) for _ in range(2)]
        grid = np.indices(labels_HW.shape, dtype=np.float64)
        moved = [g + self.jitter * s / max(float(s.std()), 1e-9) for g, s in zip(grid, shift, strict=True)]
        return np.asarray(ndimage.map_coordinates(labels_HW, moved, order=0, mode="nearest"), dtype=np.uint8)

    def _patched(self, labels_HW: LabelArray, rng: np.random.Generator) -> LabelArray:
        """Eroded where a smooth random field is low, dilated where it is high."""
        field = ndimage.gaussian_filter(rng.standard_normal(labels_HW.shape), _SMOOTH)
        low, high = np.quantile(field, (self.patches, 1 - self.patches))
        result = labels_HW.copy()
        inside = ndimage.binary_erosion(labels_HW > 0)
        result[(field < low) & ~inside] = 0
        grown = ndimage.grey_dilation(labels_HW, footprint=ndimage.generate_binary_structure(2, 1))
        spare = (field > high) & (labels_HW == 0)
        result[spare] = grown[spare]
        return result

    def _incomplete(self, labels_HW: LabelArray, rng: np.random.Generator) -> LabelArray:
        result = labels_HW.copy()
        for number in np.unique(labels_HW[labels_HW > 0]):
            parts, count = ndimage.label(labels_HW == number)
            sizes = np.bincount(parts.ravel())[1:]
            for part in range(1, count + 1):
                if sizes[part - 1] < sizes.max() / 2 and rng.random() < self.misses:
                    result[parts == part] = 0
            if rng.random() < 0.1:
                result[_bite(parts == 1 + int(sizes.argmax()), rng)] = 0
        return result


def _bite(part_HW: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """A disk at the rim of a part, about a twentieth of it."""
    rows, columns = np.nonzero(part_HW & ~ndimage.binary_erosion(part_HW))
    chosen = int(rng.integers(len(rows)))
    grid = np.indices(part_HW.shape)
    radius = np.sqrt(0.1 * np.count_nonzero(part_HW) / np.pi)
    distance = np.hypot(grid[0] - rows[chosen], grid[1] - columns[chosen])
    return np.asarray(part_HW & (distance <= radius))


STEADY = Hand()
UNSTEADY = Hand(jitter=1.0, patches=0.15, misses=0.5)
