"""Which case of a task to draw next: where an answer is expected to be poor, of a site that little was drawn from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from learner.domain.case import Case, Round

_UNKNOWN_DICE = 0.5
"""What is expected of an answer of which nothing is said."""


@dataclass(frozen=True, slots=True)
class NextCase:
    """A case worth drawing.

    Attributes:
        case: the case.
        score: in [0, 1]; comparable within one task.
        expected_dice: mean over labels that the last answer is expected to have, or None where nothing is said.
        drawn_slices: how many are drawn already.
        reason: one clause, in plain words.
    """

    case: Case
    score: float
    expected_dice: float | None
    drawn_slices: int
    reason: str


def rank_cases(cases: Sequence[tuple[Case, Round]]) -> tuple[NextCase, ...]:
    """Cases by what drawing on them is expected to teach, best first; those whose guidance says ``enough`` are left out.

    The score is what the answer is expected to lack of Dice 1, over the root of one plus the number of cases of the same site
    that were drawn on. What a case's own drawing taught already halves it.

    Args:
        cases: cases of one task, each with its last answered round.
    """
    drawn_at = Counter(_site(last) for _, last in cases if _drawn(last))
    ranked = []
    for case, last in cases:
        if last.facts.get("enough") and _drawn(last):
            continue
        dice = _expected_dice(last)
        lacking = 1.0 - (_UNKNOWN_DICE if dice is None else dice)
        others = drawn_at[_site(last)] - (1 if _drawn(last) else 0)
        score = lacking / math.sqrt(1 + others) * (0.5 if _drawn(last) else 1.0)
        ranked.append(NextCase(case, round(score, 4), dice, _drawn(last), _reason(dice, others, _drawn(last))))
    return tuple(sorted(ranked, key=lambda one: (-one.score, one.case.case_id)))


def _expected_dice(last: Round) -> float | None:
    estimates = last.facts.get("estimated_dice")
    values = [float(v) for v in estimates if v is not None] if isinstance(estimates, list) else []
    return round(sum(values) / len(values), 4) if values else None


def _drawn(last: Round) -> int:
    drawn = last.facts.get("drawn_slices")
    return len(drawn) if isinstance(drawn, list) else 0


def _site(last: Round) -> str:
    return str(last.facts.get("site") or "")


def _reason(dice: float | None, others: int, drawn: int) -> str:
    """One clause for the reader."""
    parts = ["nothing is known of the answer's quality" if dice is None else f"the answer's expected Dice is {dice:.2f}"]
    if drawn:
        parts.append(f"{drawn} slices are drawn")
    elif not others:
        parts.append("nothing was drawn at this site yet")
    return ", ".join(parts)
