"""What a person does to a running node: retry what was given up, hold training back and let it go on.

Concurrency: everything is a transaction on the store, so that the command line works beside a running node, and without one.
"""

from __future__ import annotations

from learner.app.learn import PAUSED
from learner.domain.case import Round, RoundEvent, RoundState
from learner.domain.job import JobKind, JobState
from learner.errors import ApprenticeError
from learner.storage.store import LocalStore

_RETRIED_FROM = (RoundState.REFUSED, RoundState.WITHDRAWN)
_WHY_NOT = {
    RoundState.WAITING: "it waits for its images and is answered once they are in the archive",
    RoundState.QUEUED: "it is to be answered already",
    RoundState.COMPUTED: "it is being delivered already",
    RoundState.ANSWERED: "it is answered",
    RoundState.UNCHANGED: "its annotation told nothing new",
}


class NoSuchRound(ApprenticeError):
    """There is no round of that number."""

    def __init__(self, round_id: int) -> None:
        super().__init__(f"there is no round {round_id}; `apprentice rounds` lists them")


class NothingToRetry(ApprenticeError):
    """The round was not given up; says where it stands."""


def find_round(store: LocalStore, round_id: int) -> Round:
    """The round of that number.

    Raises:
        NoSuchRound.
    """
    try:
        return store.records.find_round(round_id)
    except (KeyError, OverflowError):
        raise NoSuchRound(round_id) from None


def retry_round(store: LocalStore, round_id: int) -> Round:
    """Takes up again what was given up: a refused or withdrawn round, a parked respond or learn job.

    Returns:
        The round as it stands now.

    Raises:
        NoSuchRound.
        NothingToRetry: says where the round stands.
    """
    with store.transaction():
        round_ = find_round(store, round_id)
        if round_.state in _RETRIED_FROM:
            store.records.apply(round_id, RoundEvent.RETRIED, reason="")
            store.jobs.reopen(JobKind.RESPOND, round_id)
            return store.records.find_round(round_id)
        parked = [job for job in store.queries.jobs_of(round_id) if job.state == JobState.PARKED]
        if not parked:
            raise NothingToRetry(f"round {round_id} is {round_.state}: {_WHY_NOT[round_.state]}; there is nothing to retry")
        for job in parked:
            store.jobs.reopen(JobKind(job.kind), round_id)
        return round_


def training_paused(store: LocalStore) -> bool:
    """Whether training is held back."""
    return store.records.flag(PAUSED) == "yes"


def pause_training(store: LocalStore) -> None:
    """Holds training back; a job in hand is given back after its step. Answers go on."""
    store.records.set_flag(PAUSED, "yes")


def resume_training(store: LocalStore) -> None:
    """Lets training go on."""
    store.records.set_flag(PAUSED, "")
