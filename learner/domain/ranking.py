"""Ranking slices: drawing which one would remove most of the expected error?

The expected number of wrong voxels of a slice is the sum over it of one minus the largest probability, and of the residual
as far as the network is trusted. Propagation errors grow with the distance to drawn slices; so drawing slice z takes from a
slice z' at distance d from its nearest drawn slice the share 1 - |z - z'| / d of its errors. Slices are taken one after the
other, each given those before: so they spread by themselves. An unstated end of a structure comes first: knowing the ends is
worth more than any slice in between.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.guidance import Guidance, Situation, Suggestion

FloatArray = npt.NDArray[np.float32]
Profile = npt.NDArray[np.float64]

_PLAUSIBLE = 0.05
_ENOUGH = 0.01
_MIDDLE = 0.6


@dataclass(frozen=True, slots=True)
class _Why:
    """The parts of a slice's expected error, for the reason."""

    error: Profile
    residual: Profile
    area: Profile
    distance: Profile


def rank_slices(
    soft_CDHW: FloatArray | None,
    residual_DHW: FloatArray | None,
    annotation: SparseAnnotation | None,
    depth: int,
    count: int = 5,
    trust: float = 1.0,
    acquired: frozenset[int] | None = None,
) -> Guidance:
    """The slices along axis 0 worth drawing next.

    Args:
        soft_CDHW: float32 probabilities of the answer, or None without one: the middle of the volume is shared out.
        residual_DHW: float32 disagreement of front and back end in [0, 1], or None.
        annotation: what is known, or None.
        depth: slices of the volume.
        count: how many to suggest at most.
        trust: in [0, 1], how far the back end, and so the residual, is to be believed.
        acquired: slices that were acquired, all of them if None; on the others, interpolated ones, nobody can draw.

    Returns:
        Guidance without any known or interpolated slice; suggestions touch each other or known slices only where nothing else
        is left.
    """
    known = set(annotation.planes_of(axis=0)) if annotation is not None else set()
    why = _expected_errors(soft_CDHW, residual_DHW, sorted(known), depth, trust)
    suggestions: list[Suggestion] = []
    closed = set() if acquired is None else set(range(depth)) - acquired
    taken = set(known)
    volume = max(float(why.area.sum()), 1.0)
    best_gain = 0.0
    for index in _open_ends(why.area, annotation, depth, closed)[:count]:
        suggestions.append(Suggestion(0, index, 1.0, "the structure's end is not known on this side"))
        taken.add(index)
    highest = 0.9 if suggestions else 1.0
    while len(suggestions) < count and len(taken | closed) < depth:
        gains = _gains(why.error, taken, depth)
        allowed = _allowed(gains, taken, closed, depth)
        index = int(np.argmax(np.where(allowed, gains, -1.0)))
        if gains[index] <= 0.0:
            break
        best_gain = best_gain or float(gains[index])
        highest = min(highest, float(gains[index]) / best_gain)
        suggestions.append(Suggestion(0, index, highest, _reason(why, index, first=not known and not suggestions)))
        taken.add(index)
    ends = any(s.score >= 1.0 and "end" in s.reason for s in suggestions)
    enough = bool(known) and soft_CDHW is not None and not ends and best_gain / volume < _ENOUGH
    return Guidance(tuple(suggestions), enough)


def _expected_errors(
    soft_CDHW: FloatArray | None, residual_DHW: FloatArray | None, known: list[int], depth: int, trust: float
) -> _Why:
    zeros = np.zeros(depth)
    distance = _distances(known, depth)
    if soft_CDHW is None:
        middle = np.abs(np.arange(depth) - (depth - 1) / 2) <= _MIDDLE * depth / 2
        return _Why(np.where(middle, 1.0, 0.0), zeros, middle.astype(np.float64), distance)
    foreground_DHW = 1.0 - soft_CDHW[0]
    area = foreground_DHW.sum(axis=(1, 2), dtype=np.float64)
    plausible = foreground_DHW > _PLAUSIBLE
    doubt = ((1.0 - soft_CDHW.max(axis=0)) * plausible).sum(axis=(1, 2), dtype=np.float64)
    disputed = zeros
    if residual_DHW is not None:
        disputed = trust * (residual_DHW * (plausible | (residual_DHW > 0.5))).sum(axis=(1, 2), dtype=np.float64)
    if known:
        error = doubt + 0.5 * disputed + 0.02 * area * np.minimum(distance, 10.0)
        error[known] = 0.0
    else:
        error = doubt + 0.5 * disputed + area
    return _Why(error, disputed, area, distance)


def _distances(known: list[int], depth: int) -> Profile:
    """Distance in slices to the nearest known one; the volume's depth where none is."""
    if not known:
        return np.full(depth, float(depth))
    return np.asarray(np.abs(np.arange(depth)[:, None] - np.array(known)[None]).min(axis=1), dtype=np.float64)


def _gains(error: Profile, taken: set[int], depth: int) -> Profile:
    """Expected errors that drawing each slice would remove."""
    indices = np.arange(depth)
    extent = np.flatnonzero(error > 0.02 * error.max(initial=0.0))
    longest = max(2.0, float(extent[-1] - extent[0] + 1) / 2.0) if len(extent) else 2.0
    nearest = np.minimum(_distances(sorted(taken), depth), longest)
    apart = np.abs(indices[:, None] - indices[None])
    removed = np.clip(1.0 - apart / np.maximum(nearest[None], 1e-6), 0.0, 1.0)
    return np.asarray(removed @ error, dtype=np.float64)


def _allowed(gains: Profile, taken: set[int], closed: set[int], depth: int) -> npt.NDArray[np.bool_]:
    """Slices not known, suggested or closed, and not next to a known or suggested one while others have anything to give."""
    free = np.array([index not in taken and index not in closed for index in range(depth)])
    apart = free & np.array([not {index - 1, index + 1} & taken for index in range(depth)])
    worth = gains > 0.25 * gains[free].max(initial=0.0)
    return apart if bool((apart & worth).any()) else free


def _open_ends(area: Profile, annotation: SparseAnnotation | None, depth: int, closed: set[int]) -> list[int]:
    """Where the structure may end, on each side on which the outermost known slice still shows it."""
    if annotation is None:
        return []
    planes = annotation.planes_of(axis=0)
    if not any(annotation.labels_DHW[index].any() for index in planes):
        return []
    filled = np.flatnonzero(area > max(0.02 * float(area.max(initial=0.0)), 1.0))
    ends = []
    for outermost, step, last in ((planes[0], -1, 0), (planes[-1], 1, depth - 1)):
        if outermost == last or not annotation.labels_DHW[outermost].any():
            continue
        beyond = [int(i) for i in filled if (i - outermost) * step > 0]
        end = max(beyond, key=lambda i: i * step) if beyond else outermost + step
        while end in closed and end != last:
            end += step
        ends += [] if end in closed else [end]
    return ends


def _reason(why: _Why, index: int, *, first: bool) -> str:
    """One short clause for the reader."""
    if first:
        whole = why.area.max() > why.area.min() and why.area[index] >= 0.9 * why.area.max()
        return "about the largest cross-section" if whole else "shares out the volume"
    if why.residual[index] > 0.25 * max(float(why.area[index]), 1.0):
        return "drawing and network disagree here"
    reach = why.distance[index]
    if reach >= 2 and reach < len(why.area):
        return f"{int(reach)} slices from anything drawn"
    return "the answer is uncertain here"


@dataclass(frozen=True, slots=True)
class ResidualRule:
    """Slices by doubt and residual, an unstated end first."""

    name: str = field(default="residual", init=False)

    def rank(self, situation: Situation, count: int = 5) -> Guidance:
        """The slices along axis 0 worth drawing next; see :class:`learner.ports.GuidanceRule`."""
        return rank_slices(
            situation.soft_CDHW,
            situation.residual_DHW,
            situation.annotation,
            situation.depth,
            count,
            situation.trust,
            situation.acquired,
        )
