"""Durable work and the right to do it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class JobKind(StrEnum):
    """What there is to do; answering goes before learning."""

    RESPOND = "respond"
    LEARN = "learn"
    FORGET = "forget"
    """A model's replay memory forgets the cases of a forgotten study. The round is one of that study."""
    RETRAIN = "retrain"
    """A model is trained anew from what it remembers. The round is the latest that it met."""


class JobState(StrEnum):
    """Where a job stands."""

    READY = "ready"
    """To be done, from ``not_before`` on."""
    LEASED = "leased"
    """Being done by the owner of its lease; taken up again when the lease runs out."""
    BLOCKED = "blocked"
    """Waits for something to arrive; made ready by that event, not by time."""
    DONE = "done"
    PARKED = "parked"
    """Given up after the last attempt, with a reason; a person may retry it."""


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of durable work, done under a lease.

    Attributes:
        job_id: number in the store; jobs of one kind are taken in this order.
        kind: what to do.
        round_id: the round that it is about.
        attempts: how often it was begun, this time included.
        lease: secret of this lease; finishing with an outdated one has no effect.
        lane: jobs of one lane are done strictly one after the other; a learn job's is its model. Empty for none.
    """

    job_id: int
    kind: JobKind
    round_id: int
    attempts: int
    lease: str
    lane: str = ""
