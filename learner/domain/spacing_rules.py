"""Guidance rules that look at nothing but where the structure seems to be: what every other rule has to beat."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from learner.domain.guidance import Guidance, Situation, Suggestion
from learner.domain.lookahead import DEFAULT_EXPECTATION
from learner.domain.sections import likely_extent


def claimed_slices(situation: Situation) -> range:
    """Slices that the structure is likely on; before a drawing those on which the answer shows any, all where it shows none."""
    extent = likely_extent(situation, DEFAULT_EXPECTATION)
    if extent is not None:
        return range(extent[0], extent[1] + 1)
    if situation.soft_CDHW is not None:
        there = np.flatnonzero((situation.soft_CDHW.argmax(axis=0) > 0).any(axis=(1, 2)))
        if len(there):
            return range(int(there[0]), int(there[-1]) + 1)
    return range(situation.depth)


@dataclass(frozen=True, slots=True)
class Uniform:
    """The middle of the largest gap between known slices and the ends of the structure, as far as these are known.

    Where an end was not stated, it is taken to be where it is as likely as not. Once no gap is left, slices beyond follow.
    """

    name: str = field(default="uniform", init=False)

    def rank(self, situation: Situation, count: int = 5) -> Guidance:
        """The slices along axis 0 worth drawing next; see :class:`learner.ports.GuidanceRule`."""
        claimed, free = claimed_slices(situation), set(situation.free)
        borders = {claimed[0] - 1, claimed[-1] + 1, *situation.known}
        chosen: list[tuple[int, int]] = []
        while free and len(chosen) < count:
            inside = {i for i in free if claimed[0] <= i <= claimed[-1]} or free
            best = max(inside, key=lambda i: (min(abs(i - b) for b in borders), -abs(2 * i - claimed[0] - claimed[-1]), -i))
            chosen.append((best, min(abs(best - b) for b in borders)))
            borders.add(best)
            free.discard(best)
        worth = list(accumulate((gap for _, gap in chosen), min))  # none is worth more than what was asked for before it
        return Guidance(
            tuple(
                Suggestion(0, i, gap / worth[0], "in the middle of the widest gap")
                for (i, _), gap in zip(chosen, worth, strict=True)
            )
        )


@dataclass(frozen=True, slots=True)
class ForegroundRandom:
    """Slices of the answer's foreground at random.

    Attributes:
        seed: the same seed and situation give the same slices.
    """

    seed: int = 0
    name: str = field(default="foreground-random", init=False)

    def rank(self, situation: Situation, count: int = 5) -> Guidance:
        """The slices along axis 0 worth drawing next; see :class:`learner.ports.GuidanceRule`."""
        free = set(situation.free)
        candidates = [i for i in claimed_slices(situation) if i in free] or sorted(free)
        rng = np.random.default_rng((self.seed, *situation.known))
        chosen = rng.permutation(candidates)[:count]
        return Guidance(tuple(Suggestion(0, int(i), 1.0 / (n + 1), "at random") for n, i in enumerate(chosen)))
