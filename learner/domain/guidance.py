"""Which slices are worth drawing next."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One slice worth drawing.

    Attributes:
        axis: array axis that the slice is perpendicular to.
        index: its index along that axis.
        score: expected worth in [0, 1]; comparable within one guidance only.
        reason: one short clause for the reader, in plain words.
    """

    axis: int
    index: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Guidance:
    """Ranked slices, best first; never one that is drawn already.

    Attributes:
        suggestions: best first.
        enough: whether drawing more is expected to gain little.
    """

    suggestions: tuple[Suggestion, ...]
    enough: bool = False
