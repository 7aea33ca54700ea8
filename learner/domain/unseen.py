"""Where a label may be that is looked for and that no known slice shows: a one-dimensional model.

The label, if the case has it at all, covers an interval of slices, none of them known. As much as is known of its length is how
long structures are for their width; that it touches what is drawn or lies within it is taken for granted, and so is nothing
else: all such places are as likely as each other. The more slices were seen without it, the likelier the case has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from learner.domain.lookahead import SURE, Expectation, Profile, log_lengths

IS_THERE = 0.8
"""Probability that a case has a label that is looked for, before any slice is seen."""
FOUND = 0.6
"""Dice of a label that propagation knows from one slice."""


@dataclass(frozen=True, eq=False)
class Unseen:
    """Intervals of slices that a label may cover.

    Attributes:
        depth: slices of the volume.
        first_K: lowest slice of each interval.
        last_K: highest slice.
        chance_K: probability of each; what they lack to 1 is that the case has no such label.
    """

    depth: int
    first_K: npt.NDArray[np.intp]
    last_K: npt.NDArray[np.intp]
    chance_K: Profile

    def missed(self, asked: Sequence[int]) -> Unseen:
        """Those intervals that hold none of these slices, with their probabilities as they are."""
        kept_K = np.ones(len(self.first_K), dtype=bool)
        for index in asked:
            kept_K &= (index < self.first_K) | (index > self.last_K)
        return replace(self, first_K=self.first_K[kept_K], last_K=self.last_K[kept_K], chance_K=self.chance_K[kept_K])

    def on_slices(self) -> Profile:
        """Probability that each slice of the volume shows the label."""
        begins = np.bincount(self.first_K, weights=self.chance_K, minlength=self.depth)
        ends = np.bincount(self.last_K + 1, weights=self.chance_K, minlength=self.depth + 1)
        return np.asarray(np.cumsum(begins - ends[:-1]))

    def told(self, area_D: Profile, trust: float) -> Unseen:
        """The intervals with what a network shows of the label: others are less likely, the more it is trusted.

        Args:
            area_D: area that the answer gives the label on each slice, in any unit.
            trust: in [0, 1], the network's share in the answer where the proxy is half sure.
        """
        largest = float(area_D.max(initial=0.0))
        showing_D = np.clip(np.sqrt(area_D / largest) if largest > 0 else np.zeros(self.depth), SURE, 1.0 - SURE)
        odds = np.append(0.0, np.cumsum(np.log(showing_D) - np.log(1.0 - showing_D)))
        log_K = np.append(0.0, odds[self.last_K + 1] - odds[self.first_K])
        chance_K = np.append(1.0 - self.chance_K.sum(), self.chance_K) * np.exp(trust * (log_K - log_K.max()))
        return replace(self, chance_K=chance_K[1:] / chance_K.sum())


def unseen(
    known: Sequence[int], extent: tuple[int, int], depth: int, widest_mm: float, slice_mm: float, expected: Expectation
) -> Unseen:
    """The intervals that a label may cover.

    Args:
        known: slices on which it is known to be absent.
        extent: first and last slice of what is drawn, as far as it is likely to reach.
        depth: slices of the volume.
        widest_mm: radius of the widest section drawn: so wide the label is taken to be.
        slice_mm: distance of slices.
        expected: of structures.
    """
    first, last = (part.ravel() for part in np.meshgrid(np.arange(depth), np.arange(depth), indexing="ij"))
    touching = (first <= last) & (last >= extent[0] - 1) & (first <= extent[1] + 1)
    first_K, last_K = first[touching], last[touching]
    half_mm = 0.5 * slice_mm * np.arange(1, depth + 1)
    chance_K = np.exp(log_lengths(half_mm, widest_mm, slice_mm / 2, expected, open_ended=True))[last_K - first_K]
    places = np.bincount(last_K - first_K, minlength=depth)
    chance_K = chance_K / places[last_K - first_K]
    prior = Unseen(depth, first_K, last_K, chance_K / chance_K.sum())
    left = prior.missed(known)
    share = float(left.chance_K.sum())
    return replace(left, chance_K=left.chance_K * IS_THERE / (IS_THERE * share + 1.0 - IS_THERE))
