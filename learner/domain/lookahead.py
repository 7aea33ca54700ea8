"""The error that drawing a slice is expected to remove: a one-dimensional model of structures and of their propagation.

Of each label only its size on each slice matters: the radius of a disc of the same area. Where a label was drawn on one known
slice and is absent from the next one, or nothing further out is known, its end may lie on any slice in between. The probability
of each place follows from how much longer than wide structures are (a prior), and from how the drawn sections shrink towards
the end (an ellipsoid). For each place, propagation is imitated with and without the slice in question: between two drawn slices
the radius is interpolated, beyond the last one it goes on for half a gap or as far as a ball would, and before an empty one it
shrinks. What differs from the assumed structure is error; so is the error of contours, which grows with the distance to the
nearest drawn slice.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from learner.domain.ball import beyond_by_ball

Profile = npt.NDArray[np.float64]

SURE = 0.05
"""A slice on which the answer shows nothing of a label may have some all the same, with this probability, and conversely."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What is expected of structures and of propagation.

    Attributes:
        elongation: half the length of a structure over its largest radius, median.
        spread: standard deviation of the logarithm of the elongation.
        scatter: standard deviation of a section's radius, as a share of the largest one, about the ellipsoid.
        contour: error of a contour, in mm per mm to the nearest drawn slice.
    """

    elongation: float = 2.0
    spread: float = 0.7
    scatter: float = 0.2
    contour: float = 0.1


DEFAULT_EXPECTATION = Expectation()


@dataclass(frozen=True, eq=False)
class Edge:
    """Slices on one side of a drawn section, on which the label may end: 1, 2, ... n slices away.

    Attributes:
        inner: index of the drawn slice.
        step: 1 or -1, towards the end.
        count: slices n.
        closed: whether the label is known to be absent on slice n + 1.
        chance_J: probability that the label goes on for j = 0 ... n slices.
        radius_JA: mm, radius on slice a = 0 ... n if it goes on for j.
        before: distance in slices and radius in mm of the drawn slice further in, or None.
        mean_gap: mean distance of drawn slices, in slices.
        span: distance of the outermost drawn slices, in slices.
        largest_mm: radius of the widest drawn section.
        answered_A: mm, radius that the answer gives the label on slice a = 0 ... n, or None where no network took part in it.
        trust: in [0, 1], the network's share in the answer where the proxy is half sure.
    """

    inner: int
    step: int
    count: int
    closed: bool
    chance_J: Profile
    radius_JA: Profile
    before: tuple[int, float] | None
    mean_gap: float
    span: int
    largest_mm: float
    answered_A: Profile | None = None
    trust: float = 0.0

    def told(self, answered_A: Profile, trust: float) -> Edge:
        """The edge with what a network knows: ends that the answer does not show are less likely, the more it is trusted."""
        showing_A = np.clip(answered_A / max(float(answered_A[0]), 1e-6), SURE, 1.0 - SURE)[1:]
        on_A, off_A = np.log(showing_A), np.log(1.0 - showing_A)
        log_J = np.append(0.0, np.cumsum(on_A)) + np.append(np.cumsum(off_A[::-1])[::-1], 0.0)
        chance_J = self.chance_J * np.exp(trust * (log_J - log_J.max()))
        return replace(self, chance_J=chance_J / chance_J.sum(), answered_A=answered_A, trust=trust)

    def place(self, index: int) -> int:
        """How many slices away a slice is; outside 1 ... n it is none of the edge's."""
        return (index - self.inner) * self.step


def edge(
    known: Sequence[int],
    radii: Sequence[float],
    at: int,
    step: int,
    depth: int,
    slice_mm: float,
    expected: Expectation,
) -> Edge:
    """The edge beyond a drawn slice.

    Args:
        known: slices on which it is known where the label is, ascending.
        radii: mm, radius of the label on each, 0 where it is absent.
        at: position in ``known`` of the drawn slice.
        step: 1 or -1.
        depth: slices of the volume.
        slice_mm: distance of slices.
        expected: of structures.
    """
    inner, own = known[at], radii[at]
    beyond = at + step
    closed = 0 <= beyond < len(known)
    count = abs(known[beyond] - inner) - 1 if closed else (depth - 1 - inner if step > 0 else inner)
    present = [(k, r) for k, r in zip(known, radii, strict=True) if r > 0]
    largest = max(r for _, r in present)
    centre = (present[0][0] + present[-1][0]) / 2
    towards = max(0.0, (inner - centre) * step)
    seen = [((k - centre) * step * slice_mm, r / largest) for k, r in present if (k - centre) * step > 0]
    half_J = (towards + np.arange(count + 1) + 0.5) * slice_mm
    log_J = log_lengths(half_J, largest, slice_mm, expected, open_ended=not closed)
    for away, share in seen:
        model_J = np.sqrt(np.maximum(0.0, 1.0 - np.square(away / half_J)))
        log_J -= 0.5 * np.square((share - model_J) / expected.scatter)
    chance_J = np.exp(log_J - log_J.max())
    away_A = (towards + np.arange(count + 1)) * slice_mm
    shape_JA = np.sqrt(np.maximum(0.0, 1.0 - np.square(away_A[None] / half_J[:, None])))
    radius_JA = own * shape_JA / np.maximum(shape_JA[:, :1], 1e-6)
    radius_JA[np.arange(count + 1)[None] > np.arange(count + 1)[:, None]] = 0.0
    inwards = at - step
    before = None
    if 0 <= inwards < len(known) and radii[inwards] > 0:
        before = (abs(known[inwards] - inner), radii[inwards])
    span = present[-1][0] - present[0][0]
    gaps = span / max(len(present) - 1, 1)
    return Edge(inner, step, count, closed, chance_J / chance_J.sum(), radius_JA, before, gaps, span, largest)


def log_lengths(
    half_J: npt.NDArray[np.floating], largest: float, slice_mm: float, expected: Expectation, *, open_ended: bool
) -> Profile:
    """Logarithm of the probability that half the length is within half a slice of each; the last takes what is longer."""
    ends = np.append(half_J - slice_mm / 2, half_J[-1] + slice_mm / 2)
    scores = (np.log(np.maximum(ends, 1e-6)) - math.log(expected.elongation * largest)) / expected.spread
    below = np.array([0.5 * (1.0 + math.erf(s / math.sqrt(2.0))) for s in scores])
    if open_ended:
        below[-1] = 1.0
    return np.log(np.maximum(np.diff(below), 1e-9))


def edge_errors(one: Edge, asked: Sequence[int], slice_mm: float, contour: float) -> Profile:
    """Expected wrong area of the edge's slices together, in mm^2, for each number j of slices that the label goes on.

    Args:
        one: the edge.
        asked: places (1 ... n) of slices that are drawn besides.
        slice_mm: distance of slices.
        contour: error of contours, in mm per mm.
    """
    places = sorted(asked)
    errors_J = np.zeros(one.count + 1)
    bounds = [0, *places, one.count + 1]
    for group in range(len(places) + 1):
        rows = slice(bounds[group], bounds[group + 1])
        truth_JA = one.radius_JA[rows]
        if not len(truth_JA):
            continue
        absent = bounds[group + 1] if group < len(places) or one.closed else None
        found_JA, away_A = _imitated(one, truth_JA, [0, *places[:group]], absent, slice_mm)
        if one.answered_A is not None:
            beyond = slice(bounds[group] + 1, absent)
            found_JA[:, beyond] += one.trust * (one.answered_A[None, beyond] - found_JA[:, beyond])
        wrong_JA = math.pi * np.abs(np.square(truth_JA) - np.square(found_JA))
        wrong_JA += contour_errors(np.minimum(truth_JA, found_JA), away_A, slice_mm, contour)
        errors_J[rows] = wrong_JA[:, 1:].sum(axis=1)
    return errors_J


def _imitated(one: Edge, truth_JA: Profile, drawn: list[int], absent: int | None, slice_mm: float) -> tuple[Profile, Profile]:
    """The radii that propagation gives, and the distance of each slice to the nearest drawn one, in slices."""
    found_JA = np.zeros_like(truth_JA)
    found_JA[:, drawn] = truth_JA[:, drawn]
    places = np.arange(truth_JA.shape[1])
    away_A = np.abs(places[:, None] - np.array(drawn)[None]).min(axis=1).astype(np.float64)
    for first, last in itertools.pairwise(drawn):
        share_A = (places[first + 1 : last] - first) / (last - first)
        found_JA[:, first + 1 : last] = truth_JA[:, [first]] * (1 - share_A) + truth_JA[:, [last]] * share_A
    last = drawn[-1]
    if absent is not None:
        share_A = (places[last + 1 : absent] - last) / (absent - last)
        found_JA[:, last + 1 : absent] = truth_JA[:, [last]] * (1 - np.square(share_A))
        return found_JA, away_A
    reach_J = _reach(one, truth_JA, drawn, slice_mm)[:, None]
    beyond_A = (places[last + 1 :] - last)[None]
    shrunk_JA = truth_JA[:, [last]] * (1 - np.square(beyond_A / np.maximum(2 * reach_J, 1)))
    found_JA[:, last + 1 :] = np.where(beyond_A <= reach_J, np.maximum(shrunk_JA, 0.0), 0.0)
    return found_JA, away_A


def _reach(one: Edge, truth_JA: Profile, drawn: list[int], slice_mm: float) -> Profile:
    """For how many slices propagation continues a label beyond the last drawn slice, where nothing further is known."""
    outermost_J, last = truth_JA[:, drawn[-1]], drawn[-1]
    widest_J = np.maximum(one.largest_mm, truth_JA[:, drawn].max(axis=1))
    ball_J: Profile = beyond_by_ball(widest_J, slice_mm, one.span + last)
    if len(drawn) > 1:
        gap, next_J = float(last - drawn[-2]), truth_JA[:, drawn[-2]]
    elif one.before is not None:
        gap, next_J = one.before[0], np.full(len(truth_JA), one.before[1])
    else:
        return np.maximum(1.0, np.floor(ball_J))
    if one.mean_gap > 0:
        gap = min(gap, one.mean_gap)
    going_on_J = np.clip((np.square(outermost_J / np.maximum(next_J, 1e-6)) - 0.2) / 0.2, 0.0, 1.0)
    return np.asarray(np.floor(np.maximum(gap / 2, ball_J) * going_on_J + 1e-6))


def contour_errors(radius_A: Profile, away_A: Profile, slice_mm: float, contour: float) -> Profile:
    """Expected wrong area in mm^2 of discs with uncertain contours, by the distance to the nearest drawn slice, in slices."""
    return np.minimum(2 * math.pi * radius_A * contour * away_A * slice_mm, math.pi * np.square(radius_A))


def gap_errors(error_A: Profile, asked: Sequence[int]) -> float:
    """What remains of the errors of slices 1 ... n between two drawn ones, once those at ``asked`` are drawn too.

    Errors fall with the distance to the nearest drawn slice.
    """
    count = len(error_A)
    places = np.arange(1, count + 1)
    before = np.minimum(places, count + 1 - places)
    now = np.abs(places[:, None] - np.array([0, *asked, count + 1])[None]).min(axis=1)
    return float(error_A @ (now / before))
