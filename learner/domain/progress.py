"""What a task's readers get back for their drawing: how well the network foresees it, and how much of it they still do.

Every figure comes from the records of answered rounds; nothing is estimated from an unknown truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

FIRST_CASES = 3
"""Cases that later ones are compared with."""
LATEST_CASES = 5
"""Cases, none of the first, that stand for how it is now."""


@dataclass(frozen=True, slots=True)
class CaseProgress:
    """One case on which something was drawn.

    Attributes:
        case_id: the case.
        drawn_at: POSIX time at which its first drawing came.
        version: the version of the model that served then; empty for none.
        foresight: Dice of that network, which had learned nothing of this case, on the case's first drawing: the mean over the
            labels that were looked for. None where none served, or that drawing was withdrawn.
        rounds: drawings that were answered.
        drawn: slices drawn so far; None where strokes or other planes were drawn, which are no slices.
        slices: slices of the series.
        structure: slices on which the latest answer shows the structure; None in rounds of earlier versions.
        estimated_dice: what the latest answer may be expected to have, mean over labels; None where nothing can be said.
    """

    case_id: int
    drawn_at: float
    version: str
    foresight: float | None
    rounds: int
    drawn: int | None
    slices: int | None
    structure: int | None
    estimated_dice: float | None

    @property
    def share(self) -> float | None:
        """Share of the series' slices that were drawn."""
        return self.drawn / self.slices if self.drawn is not None and self.slices else None


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is drawn on some cases, and what comes of it.

    Attributes:
        cases: number of cases.
        share: mean share of the slices that were drawn.
        estimated_dice: mean of the answers' estimated Dice; None where nothing can be said.
    """

    cases: int
    share: float
    estimated_dice: float | None


@dataclass(frozen=True, slots=True)
class LearningCurve:
    """The cases of a task in the order of their first drawing.

    Attributes:
        cases: oldest first.
        first: effort on the first :data:`FIRST_CASES` cases; None before there is one.
        latest: effort on the last :data:`LATEST_CASES` after these; None before there is one.
        foresight: mean foresight of the last :data:`LATEST_CASES` cases that have one; None without.
    """

    cases: tuple[CaseProgress, ...]
    first: Effort | None
    latest: Effort | None
    foresight: float | None

    @property
    def saved(self) -> float | None:
        """Share of the drawing that the latest cases take less than the first; below 0 if they take more."""
        if self.first is None or self.latest is None or not self.first.share:
            return None
        return 1.0 - self.latest.share / self.first.share


def learning_curve(cases: Sequence[CaseProgress]) -> LearningCurve:
    """The curve of a task.

    Args:
        cases: each case once, in the order of their first drawing.
    """
    measured = [case for case in cases if case.share is not None]
    seen = [case.foresight for case in cases if case.foresight is not None]
    return LearningCurve(
        cases=tuple(cases),
        first=_effort(measured[:FIRST_CASES]),
        latest=_effort(measured[FIRST_CASES:][-LATEST_CASES:]),
        foresight=fmean(seen[-LATEST_CASES:]) if seen else None,
    )


def _effort(cases: Sequence[CaseProgress]) -> Effort | None:
    shares = [case.share for case in cases if case.share is not None]
    if not shares:
        return None
    dice = [case.estimated_dice for case in cases if case.estimated_dice is not None]
    return Effort(len(shares), fmean(shares), fmean(dice) if dice else None)
