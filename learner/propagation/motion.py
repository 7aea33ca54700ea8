"""Motion between slices: how a drawn slice is carried to others.

Registrations say how one slice lies over another (:class:`Registration`). Motions chain them from a drawn slice outwards
through neighbours (:class:`ChainedMotion`), or take each slice straight from the drawn one, as the paper does
(:class:`DirectMotion`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from learner.propagation.memory import Memory
from learner.propagation.slices import Slices

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]
Pair = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Carried:
    """How one slice looks back at the drawn slice that a chain began on.

    Attributes:
        index: the slice.
        displacement_HW2: float32 pixels (column, row): where in the drawn slice each pixel comes from, less its own place; None
            where nothing moves.
        inconsistency_HW: float32 pixels, forward-backward error accumulated along the chain; None where nothing moves.
    """

    index: int
    displacement_HW2: FloatArray | None
    inconsistency_HW: FloatArray | None


class Motion(Protocol):
    """Carries a drawn slice to others."""

    def prepare(self, spans: Sequence[tuple[int, int]]) -> None:
        """Says which slices, from first to last, will be crossed, so that what they need can be computed at once."""
        ...

    def carry(self, start: int, indices: Sequence[int]) -> Iterator[Carried]:
        """The slices ``indices``, neighbours in order beginning next to ``start``, each seen from ``start``."""
        ...


class Registration(Protocol):
    """Registers pairs of prepared slices."""

    @property
    def key(self) -> str:
        """Name and settings: whatever two of the same key are given, they give the same."""
        ...

    def register(self, pairs: Sequence[tuple[ByteArray, ByteArray]]) -> Sequence[FloatArray]:
        """Displacements of pairs (target, source), both uint8 ``(H, W)`` and all of one size.

        Returns:
            For each pair float32 ``(H, W, 2)`` pixels (column, row): where in the source each pixel of the target lies, less
            its own place. What a pair gives may not depend on the pairs beside it.
        """
        ...


class NoMotion:
    """Nothing moves: slices are compared in place."""

    def prepare(self, spans: Sequence[tuple[int, int]]) -> None:
        """Nothing is needed."""

    def carry(self, start: int, indices: Sequence[int]) -> Iterator[Carried]:
        """The slices as they are; ``start`` is of no consequence."""
        del start
        for index in indices:
            yield Carried(index, None, None)


class _Registered:
    """Displacements of pairs of slices: remembered, or registered now.

    Args:
        image_DHW: float32, the region to work on.
        registration: of pairs of slices.
        memory: where slices and displacements are kept.
    """

    def __init__(self, image_DHW: FloatArray, registration: Registration, memory: Memory) -> None:
        self._registration = registration
        self._memory = memory
        self._slices = Slices(image_DHW, memory)
        self._identity = identity(self._slices.size)

    def _displacements(self, pairs: Sequence[Pair]) -> list[FloatArray]:
        """Of each pair (target, source), float32 ``(h, w, 2)`` at the size of prepared slices."""
        keys = [self._key(pair) for pair in pairs]
        found = {key: self._memory.get(key) for key in keys}
        missing = [(key, pair) for key, pair in dict(zip(keys, pairs, strict=True)).items() if found[key] is None]
        if missing:
            made = self._registration.register(
                [(self._slices[target], self._slices[source]) for _, (target, source) in missing]
            )
            for (key, _), displacement in zip(missing, made, strict=True):
                self._memory.put(key, displacement)
                found[key] = displacement
        return [np.asarray(found[key], dtype=np.float32) for key in keys]

    def _key(self, pair: Pair) -> tuple[str, bytes, bytes]:
        return self._registration.key, self._slices.digest(pair[0]), self._slices.digest(pair[1])

    def _carried(self, index: int, displacement: FloatArray, error: FloatArray) -> Carried:
        """At the size of the region, in its pixels."""
        scale = np.array(self._slices.scale_WH, dtype=np.float32)
        return Carried(index, self._slices.to_region(displacement) / scale, self._slices.to_region(error) / scale[0])

    def _error(self, back: FloatArray, forth: FloatArray) -> FloatArray:
        """How far from its own place each pixel of the target is after a way back and forth."""
        apart = back + _sample(forth, self._identity + back)
        # not cv2.magnitude, whose last bits depend on where in memory an array lies: equal drawings get equal masks
        return np.asarray(np.sqrt(np.square(apart[..., 0]) + np.square(apart[..., 1])), dtype=np.float32)


class ChainedMotion(_Registered):
    """The motion of each pair of neighbours on the way, chained."""

    def prepare(self, spans: Sequence[tuple[int, int]]) -> None:
        """Registers all neighbours at once, both ways."""
        steps = sorted({index for first, last in spans for index in range(first, last)})
        self._displacements([pair for i in steps for pair in ((i, i + 1), (i + 1, i))])

    def carry(self, start: int, indices: Sequence[int]) -> Iterator[Carried]:
        """The slices ``indices`` seen from ``start`` through the motion of each neighbouring pair on the way."""
        chain = np.zeros_like(self._identity)
        error = np.zeros(chain.shape[:2], dtype=np.float32)
        before = start
        for index in indices:
            back, forth = self._displacements([(index, before), (before, index)])
            place = self._identity + back
            error = _sample(error, place) + self._error(back, forth)
            chain = back + _sample(chain, place)
            before = index
            yield self._carried(index, chain, error)


class DirectMotion(_Registered):
    """Each slice registered with the drawn one itself, whatever lies between."""

    def prepare(self, spans: Sequence[tuple[int, int]]) -> None:
        """Nothing: which pairs are needed is known when they are asked for."""

    def carry(self, start: int, indices: Sequence[int]) -> Iterator[Carried]:
        """The slices ``indices`` seen from ``start``."""
        pairs = [pair for index in indices for pair in ((index, start), (start, index))]
        displacements = iter(self._displacements(pairs))
        for index, back, forth in zip(indices, displacements, displacements, strict=False):
            yield self._carried(index, back, self._error(back, forth))


@functools.lru_cache(maxsize=8)
def identity(size: tuple[int, int]) -> FloatArray:
    """Column and row of each pixel, float32 ``(H, W, 2)``; made once for each size, not to be written to."""
    columns, rows = np.meshgrid(np.arange(size[1]), np.arange(size[0]))
    places = np.stack([columns, rows], axis=-1).astype(np.float32)
    places.flags.writeable = False
    return places


def warp(field_HW: FloatArray, displacement_HW2: FloatArray) -> FloatArray:
    """``field_HW`` sampled at each pixel plus its displacement (column, row), replicated beyond the border."""
    return _sample(field_HW, identity(field_HW.shape[:2]) + displacement_HW2)


def _sample(field: FloatArray, place_HW2: FloatArray) -> FloatArray:
    return np.asarray(
        cv2.remap(
            field,
            np.ascontiguousarray(place_HW2[..., 0]),
            np.ascontiguousarray(place_HW2[..., 1]),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.float32,
    )
