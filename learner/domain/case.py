"""Cases, rounds, and the table of their states."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

PRUNED = "pruned"
"""Fact of a round whose record is not kept any more: what was drawn and answered in it is known no longer."""


@dataclass(frozen=True, slots=True)
class Case:
    """One image series of a task.

    Attributes:
        case_id: number in the learner's store.
        task_id: its task.
        study_instance_uid: Study Instance UID.
        series_instance_uid: Series Instance UID of the images.
        part: which of several volumes in the series; empty where the series is one volume.
    """

    case_id: int
    task_id: str
    study_instance_uid: str
    series_instance_uid: str
    part: str = ""

    @property
    def identity(self) -> str:
        """What the keyed hash is made of, by which the trainer knows the case."""
        return f"{self.task_id}/{self.series_instance_uid}{self.part}"


class RoundState(StrEnum):
    """Where a round stands."""

    WAITING = "waiting"
    """Its images are not in the archive yet."""
    QUEUED = "queued"
    """To be computed, or being computed."""
    COMPUTED = "computed"
    """The answer stands in the outbox, decided for good; not all of it is in the archive yet."""
    ANSWERED = "answered"
    """Every object of the answer is in the archive."""
    UNCHANGED = "unchanged"
    """The annotation repeats what is known already; there is nothing to answer."""
    REFUSED = "refused"
    """The annotation cannot be understood; the reason says why and what to do."""
    WITHDRAWN = "withdrawn"
    """The annotation, or the series, was deleted in the archive before it was answered; queued again if it comes again."""
    FORGOTTEN = "forgotten"
    """Its study was forgotten: nothing is kept of it but its number. No event leads here, and none away."""


class RoundEvent(StrEnum):
    """What happens to a round."""

    SOURCE_MISSING = "source-missing"
    SOURCE_ARRIVED = "source-arrived"
    COMPUTED = "computed"
    DELIVERED = "delivered"
    NOTHING_NEW = "nothing-new"
    NOT_UNDERSTOOD = "not-understood"
    DELETED = "deleted"
    RETRIED = "retried"
    KNOWLEDGE_LOST = "knowledge-lost"
    """Another drawing of the case, which may have said the same, was withdrawn."""


_TRANSITIONS: dict[tuple[RoundState, RoundEvent], RoundState] = {
    (RoundState.QUEUED, RoundEvent.SOURCE_MISSING): RoundState.WAITING,
    (RoundState.QUEUED, RoundEvent.COMPUTED): RoundState.COMPUTED,
    (RoundState.QUEUED, RoundEvent.NOTHING_NEW): RoundState.UNCHANGED,
    (RoundState.QUEUED, RoundEvent.NOT_UNDERSTOOD): RoundState.REFUSED,
    (RoundState.QUEUED, RoundEvent.DELETED): RoundState.WITHDRAWN,
    (RoundState.WAITING, RoundEvent.SOURCE_ARRIVED): RoundState.QUEUED,
    (RoundState.WAITING, RoundEvent.NOT_UNDERSTOOD): RoundState.REFUSED,
    (RoundState.WAITING, RoundEvent.DELETED): RoundState.WITHDRAWN,
    (RoundState.COMPUTED, RoundEvent.DELIVERED): RoundState.ANSWERED,
    (RoundState.COMPUTED, RoundEvent.DELETED): RoundState.WITHDRAWN,
    (RoundState.UNCHANGED, RoundEvent.KNOWLEDGE_LOST): RoundState.QUEUED,
    (RoundState.REFUSED, RoundEvent.RETRIED): RoundState.QUEUED,
    (RoundState.WITHDRAWN, RoundEvent.RETRIED): RoundState.QUEUED,
}


class IllegalTransition(Exception):
    """An event that cannot happen to a round in its state: a programming error, never bad input."""

    def __init__(self, state: RoundState, event: RoundEvent) -> None:
        super().__init__(f"a round that is {state} cannot become {event}")


def next_state(state: RoundState, event: RoundEvent) -> RoundState:
    """The state after ``event``.

    Raises:
        IllegalTransition: if the table has no such pair.
    """
    try:
        return _TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(state, event) from None


_NAMING = frozenset({"drawn_by", "withdrawn_by"})


@dataclass(frozen=True, slots=True)
class Round:
    """One trigger and its answer.

    Attributes:
        round_id: number in the learner's store; rises with the order of arrival.
        trigger_uid: what asked for it, see :mod:`learner.domain.trigger`.
        series_instance_uid: series of the annotation object, or of the images in round 0.
        state: where it stands.
        case_id: its case, once known.
        number: round of the case; 0 is the answer before anything is drawn. None until computed.
        reason: why it is refused or waits, with the remedy; empty otherwise.
        reader: who drew, where the object says so.
        checkpoint: name of the checkpoint that served; empty without a model.
        received_at: POSIX time at which the learner saw the trigger.
        answered_at: POSIX time at which the last object stood in the archive, or None.
        facts: what was measured (drawn slices, volumes, seconds ...), for the API and the page.
    """

    round_id: int
    trigger_uid: str
    series_instance_uid: str
    state: RoundState
    case_id: int | None
    number: int | None
    reason: str
    reader: str
    checkpoint: str
    received_at: float
    answered_at: float | None
    facts: dict[str, object]

    @property
    def nameless_facts(self) -> dict[str, object]:
        """The facts without those that name a person."""
        return {name: value for name, value in self.facts.items() if name not in _NAMING}
