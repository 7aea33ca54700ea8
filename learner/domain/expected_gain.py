"""The guidance rule that draws where most error is expected to go, by :mod:`learner.domain.lookahead`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from learner.domain.guidance import Guidance, Situation, Suggestion
from learner.domain.lookahead import (
    DEFAULT_EXPECTATION,
    Edge,
    Expectation,
    Profile,
    contour_errors,
    edge,
    edge_errors,
    gap_errors,
)
from learner.domain.ranking import ResidualRule
from learner.domain.sections import likely_extent, sections
from learner.domain.unseen import FOUND, Unseen, unseen

_MOST_TRIED = 96
"""Slices of a part whose gain is worked out; between them it is interpolated."""
_PLAUSIBLE = 0.02
"""Probability below which a voxel is no part of a label's doubt."""


@dataclass(frozen=True, slots=True)
class ExpectedGain:
    """Slices by how much Dice drawing them is expected to gain, each given those before it.

    Attributes:
        expected: what is expected of structures and of propagation.
        enough: gain of Dice below which no more drawing is asked for.
    """

    expected: Expectation = DEFAULT_EXPECTATION
    enough: float = 0.003
    name: str = field(default="expected-gain", init=False)

    def rank(self, situation: Situation, count: int = 5) -> Guidance:
        """The slices along axis 0 worth drawing next; see :class:`learner.ports.GuidanceRule`."""
        parts = list(_parts(situation, self.expected))
        if not parts:
            return Guidance((), enough=True) if _drawn(situation) else ResidualRule().rank(situation, count)
        gains = np.zeros(situation.depth)
        free = np.isin(np.arange(situation.depth), situation.free)
        for part in parts:
            gains += part.gains(situation.depth)
        suggestions: list[Suggestion] = []
        best, score = 0.0, 1.0
        while len(suggestions) < count and free.any():
            index = _best(gains, free, [*situation.known, *(s.index for s in suggestions)])
            gain = float(gains[index])
            if suggestions and gain <= 0.0:
                break
            best = best if suggestions else gain
            score = min(score, gain / best) if best > 0.0 else score
            chief = max(parts, key=lambda part: part.gain_at(index))
            suggestions.append(Suggestion(0, index, score, chief.reason(index)))
            free[index] = False
            for part in (p for p in parts if p.holds(index)):
                gains -= part.gains(situation.depth)
                part.ask(index)
                gains += part.gains(situation.depth)
        return Guidance(tuple(suggestions), enough=best < self.enough)


def _best(gains: Profile, free: npt.NDArray[np.bool_], taken: list[int]) -> int:
    """The free slice of the greatest gain; of several, the one farthest from what is drawn."""
    among = np.flatnonzero(free)
    away = np.abs(among[:, None] - np.array(taken)[None]).min(axis=1)
    return int(among[np.lexsort((away, np.round(gains[among], 9)))[-1]])


@dataclass(eq=False)
class _Part(ABC):
    """Slices between two known ones, or beyond the outermost: what drawing one of them gains for one label.

    Attributes:
        first: the lowest of these slices.
        last: the highest.
        weight: gain of mean Dice per unit of error: mm^2, or for a label that is sought its Dice.
    """

    first: int
    last: int
    weight: float
    _asked: list[int] = field(default_factory=list, init=False)
    _gains: Profile | None = field(default=None, init=False)

    def holds(self, index: int) -> bool:
        return self.first <= index <= self.last

    def ask(self, index: int) -> None:
        """From here on this slice counts as drawn."""
        self._asked.append(index)
        self._gains = None

    def gains(self, depth: int) -> Profile:
        """Gain of Dice by slice of the volume."""
        if self._gains is None:
            self._gains = self.weight * self._removed()
        result = np.zeros(depth)
        result[self.first : self.last + 1] = self._gains
        return result

    def gain_at(self, index: int) -> float:
        return float(self._gains[index - self.first]) if self._gains is not None and self.holds(index) else 0.0

    @abstractmethod
    def _removed(self) -> Profile:
        """How much less error there will be, for each of the slices."""

    @abstractmethod
    def reason(self, index: int) -> str:
        """One short clause for the reader."""


class _WrongArea(_Part):
    """A part whose error is an area."""

    def _removed(self) -> Profile:
        now, every = self._error(self._asked), np.arange(self.first, self.last + 1)
        tried = sorted({*every[:: -(-len(every) // _MOST_TRIED)].tolist(), self.last, *self._asked})
        less = [now - self._error([*self._asked, i]) if i not in self._asked else 0.0 for i in tried]
        return np.asarray(np.interp(every, tried, less))

    @abstractmethod
    def _error(self, asked: list[int]) -> float:
        """Expected wrong area in mm^2 once these slices are drawn."""


@dataclass(eq=False)
class _Gap(_WrongArea):
    """Slices between two drawn ones."""

    error_A: Profile

    def _error(self, asked: list[int]) -> float:
        return gap_errors(self.error_A, [i - self.first + 1 for i in asked])

    def reason(self, index: int) -> str:
        away = min(index - self.first, self.last - index) + 1
        return f"{away} slices from anything drawn" if away > 1 else "next to a drawn slice, the rest is well known"


@dataclass(eq=False)
class _Open(_WrongArea):
    """Slices on which a label may end; distance of slices in mm, error of contours in mm per mm."""

    edge: Edge
    slice_mm: float
    contour: float

    def _error(self, asked: list[int]) -> float:
        places = [self.edge.place(i) for i in asked]
        return float(self.edge.chance_J @ edge_errors(self.edge, places, self.slice_mm, self.contour))

    def reason(self, index: int) -> str:
        if self.edge.closed:
            return "the structure ends somewhere between this and the next drawn slice"
        there = float(self.edge.chance_J[self.edge.place(index) :].sum())
        if there > 0.5:
            return "the structure may go on beyond what is drawn"
        return "the structure may end before this slice"


@dataclass(eq=False)
class _Search(_Part):
    """Slices that may show a label which no known one does."""

    unseen: Unseen

    def _removed(self) -> Profile:
        return FOUND * self.unseen.missed(self._asked).on_slices()

    def reason(self, index: int) -> str:
        del index
        return "a label that is not drawn yet may be found here"


def _parts(situation: Situation, expected: Expectation) -> Iterator[_Part]:
    """All parts of all labels, as soon as one is drawn on any slice."""
    annotation = situation.annotation
    if annotation is None:
        return
    looked_for = [number for number in range(1, annotation.label_count + 1) if number not in annotation.unknown_labels]
    for number in looked_for:
        known, radii = sections(situation, number)
        if any(radii):
            yield from _parts_of(number, known, radii, situation, expected, len(looked_for))
        elif (extent := likely_extent(situation, expected)) is not None:
            yield _search(number, known, extent, situation, expected, len(looked_for))


def _search(
    number: int, known: list[int], extent: tuple[int, int], situation: Situation, expected: Expectation, labels: int
) -> _Part:
    """The part of a label that no known slice shows."""
    widest_mm, slice_mm = max(sections(situation)[1]), situation.spacing_DHW[0]
    places = unseen(known, extent, situation.depth, widest_mm, slice_mm, expected)
    if situation.soft_CDHW is not None and situation.trust > 0.0:
        places = places.told(situation.soft_CDHW[number].sum(axis=(1, 2), dtype=np.float64), situation.trust)
    return _Search(0, situation.depth - 1, 1.0 / labels, places)


def _parts_of(
    number: int, known: list[int], radii: list[float], situation: Situation, expected: Expectation, labels: int
) -> Iterator[_Part]:
    """The parts of one label."""
    slice_mm, doubt, answered = situation.spacing_DHW[0], _doubt(situation, number), _answered(situation, number)
    edges: list[Edge] = []
    gaps: list[tuple[int, int, Profile]] = []
    size = sum(math.pi * r * r for r in radii)
    for at, radius in enumerate(radii):
        if radius == 0:
            continue
        for step in (-1, 1):
            beyond = at + step
            if not (0 <= beyond < len(known)) or radii[beyond] == 0:
                one = edge(known, radii, at, step, situation.depth, slice_mm, expected)
                if answered is not None:
                    reached = one.inner + one.step * np.arange(one.count + 1)
                    one = one.told(answered[reached], situation.trust)
                edges += [one] if one.count else []
            elif step > 0 and known[beyond] - known[at] > 1:
                first, last = known[at] + 1, known[beyond] - 1
                share_A = np.arange(1, last - first + 2) / (last - first + 2)
                radius_A = radius + (radii[beyond] - radius) * share_A
                size += math.pi * float(np.square(radius_A).sum())
                away_A = np.minimum(share_A, 1 - share_A) * (last - first + 2)
                error_A = contour_errors(radius_A, away_A, slice_mm, expected.contour)
                gaps.append((first, last, error_A if doubt is None else np.sqrt(error_A * doubt[first : last + 1])))
    size += sum(math.pi * float(one.chance_J @ np.square(one.radius_JA[:, 1:]).sum(axis=1)) for one in edges)
    weight = 1.0 / (2.0 * size * labels)
    for first, last, error_A in gaps:
        yield _Gap(first, last, weight, error_A)
    for one in edges:
        first, last = sorted((one.inner + one.step, one.inner + one.step * one.count))
        yield _Open(first, last, weight, one, slice_mm, expected.contour)


def _drawn(situation: Situation) -> bool:
    """Whether anything is drawn on a slice that is known."""
    annotation = situation.annotation
    return annotation is not None and any(bool(annotation.labels_DHW[i].any()) for i in situation.known)


def _doubt(situation: Situation, number: int) -> Profile | None:
    """Expected wrong area in mm^2 of a label on each slice, by the answer's own probabilities."""
    if situation.soft_CDHW is None:
        return None
    soft_DHW = situation.soft_CDHW[number]
    pixel_mm2 = situation.spacing_DHW[1] * situation.spacing_DHW[2]
    unsure_DHW = np.where(soft_DHW > _PLAUSIBLE, np.minimum(soft_DHW, 1.0 - soft_DHW), 0.0)
    return np.asarray(unsure_DHW.sum(axis=(1, 2), dtype=np.float64) * pixel_mm2)


def _answered(situation: Situation, number: int) -> Profile | None:
    """The radius in mm of a label on each slice by an answer in which a network has a say, or None."""
    if situation.soft_CDHW is None or situation.trust <= 0.0:
        return None
    area = situation.soft_CDHW[number].sum(axis=(1, 2), dtype=np.float64)
    return np.asarray(np.sqrt(area * situation.spacing_DHW[1] * situation.spacing_DHW[2] / math.pi))
