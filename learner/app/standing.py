"""Where a case stands for the reader who has it open: what was made of the latest drawing, and which answer there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from learner.app.withdrawal import is_in_effect
from learner.domain.case import Round, RoundState
from learner.domain.trigger import withdrawn_round


class CaseState(StrEnum):
    """Where a case stands."""

    UNDRAWN = "undrawn"
    """Nothing is drawn that counts, and no model answers."""
    WAITING = "waiting"
    """A drawing waits for images that are not in the archive."""
    ANSWERING = "answering"
    """A drawing, or the series itself, is being answered."""
    ANSWERED = "answered"
    """The answer to all that was drawn stands in the archive."""
    UNCHANGED = "unchanged"
    """The latest drawing told nothing new; the answer before it stands."""
    REFUSED = "refused"
    """The latest drawing was not understood."""


_OPEN = (RoundState.QUEUED, RoundState.COMPUTED)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a case stands.

    Attributes:
        state: in a word.
        latest: the round that decides it; None where nothing happened yet.
        answer: the round whose results stand in the archive, or None.
        last_drawing: the newest drawing, or acceptance, that counts, or None.
    """

    state: CaseState
    latest: Round | None
    answer: Round | None
    last_drawing: Round | None


def standing(rounds: Sequence[Round]) -> Standing:
    """Where a case with these rounds stands; ``rounds`` in any order."""
    by_age = sorted(rounds, key=lambda r: r.round_id)
    answered = sorted((r for r in by_age if r.state is RoundState.ANSWERED), key=lambda r: (r.number or 0, r.round_id))
    answer = answered[-1] if answered else None
    if answer is not None and any(_ends(r) and r.round_id > answer.round_id for r in by_age):
        answer = None
    drawings = [r for r in answered if is_in_effect(r)]
    for state, found in (
        (CaseState.ANSWERING, [r for r in by_age if r.state in _OPEN]),
        (CaseState.WAITING, [r for r in by_age if r.state is RoundState.WAITING]),
    ):
        if found:
            return Standing(state, found[-1], answer, drawings[-1] if drawings else None)
    latest = by_age[-1] if by_age else None
    return Standing(_settled(latest, answer), latest, answer, drawings[-1] if drawings else None)


def _settled(latest: Round | None, answer: Round | None) -> CaseState:
    if latest is not None and latest.state is RoundState.REFUSED:
        return CaseState.REFUSED
    if answer is None:
        return CaseState.UNDRAWN
    assert latest is not None
    return CaseState.UNCHANGED if latest.state is RoundState.UNCHANGED else CaseState.ANSWERED


def _ends(round_: Round) -> bool:
    """Whether a round took back the last drawing of its case, and its answer with it."""
    return round_.state is RoundState.UNCHANGED and withdrawn_round(round_.trigger_uid) is not None


def unplaced(rounds: Sequence[Round]) -> list[Round]:
    """Rounds of a study whose case is not known, newest first: to be read, waiting, or refused and not drawn anew since."""
    answered = [r.round_id for r in rounds if r.state is RoundState.ANSWERED]
    newest = max(answered, default=0)
    told = (RoundState.QUEUED, RoundState.WAITING)
    found = [
        r for r in rounds if r.case_id is None and (r.state in told or (r.state is RoundState.REFUSED and r.round_id > newest))
    ]
    return sorted(found, key=lambda r: -r.round_id)
