"""What a person does to a running node: retry what was given up, hold training back, compare versions, roll back, train anew.

Concurrency: everything is a transaction on the store, so that the command line works beside a running node, and without one.
"""

from __future__ import annotations

from collections.abc import Mapping

from learner.app.forgetting import ForgottenStudies
from learner.app.gate import Gate
from learner.app.learn import PAUSED
from learner.domain.audit import Event
from learner.domain.case import Round, RoundEvent, RoundState
from learner.domain.checkpoint import Checkpoint, CheckpointState
from learner.domain.gate import Verdict
from learner.domain.job import JobKind, JobState
from learner.domain.next_cases import NextCase, rank_cases
from learner.errors import ApprenticeError
from learner.storage.store import LocalStore

_RETRIED_FROM = (RoundState.REFUSED, RoundState.WITHDRAWN)
_LONGEST_NUMBER = 19
_WHY_NOT = {
    RoundState.FORGOTTEN: "its study was forgotten; `apprentice forget --lift` lets it be taken in again",
    RoundState.WAITING: "it waits for its images and is answered once they are in the archive",
    RoundState.QUEUED: "it is to be answered already",
    RoundState.COMPUTED: "it is being delivered already",
    RoundState.ANSWERED: "it is answered",
    RoundState.UNCHANGED: "its annotation told nothing new",
}


class NoSuchRound(ApprenticeError):
    """There is no round of that number."""

    def __init__(self, round_id: int | str) -> None:
        super().__init__(f"there is no round {round_id}; `apprentice rounds` lists them")


class NothingToRetry(ApprenticeError):
    """The round was not given up; says where it stands."""


class NoSuchVersion(ApprenticeError):
    """There is no such version of a model, or its file is not kept any more."""


class NothingToRollBack(ApprenticeError):
    """No version served before, or the one that was asked for serves already."""


class NothingToRetrain(ApprenticeError):
    """A model cannot be trained anew now; says why."""


class NotForgotten(ApprenticeError):
    """The study is not forgotten."""


class BeingForgotten(ApprenticeError):
    """Something of the study is still to be removed."""


class NothingToDrop(ApprenticeError):
    """No marked version can be dropped; says why."""


class NothingHeld(ApprenticeError):
    """There is no drawing that both versions were not trained on."""


def next_cases(store: LocalStore, task_id: str, limit: int) -> tuple[NextCase, ...]:
    """Cases of a task on which drawing is expected to teach most, best first, of its newest cases that are answered."""
    return rank_cases(store.queries.answered_cases(task_id))[:limit]


def find_round(store: LocalStore, round_id: int) -> Round:
    """The round of that number.

    Raises:
        NoSuchRound.
    """
    try:
        return store.records.find_round(round_id)
    except (KeyError, OverflowError):
        raise NoSuchRound(round_id) from None


def find_answer(store: LocalStore, which: str) -> Round:
    """A round by its number, or by the SOP Instance UID of one of its results or of its annotation.

    Raises:
        NoSuchRound.
    """
    if which.isdecimal() and len(which) < _LONGEST_NUMBER:
        return find_round(store, int(which))
    found = store.queries.find_result(which) or store.queries.find_trigger(which)
    if found is None:
        raise NoSuchRound(which)
    return found


def retry_round(store: LocalStore, round_id: int, by: str = "") -> Round:
    """Takes up again what was given up: a refused or withdrawn round, a parked respond or learn job.

    Args:
        store: of the node.
        round_id: number of the round.
        by: who wants it; empty where nobody is signed in.

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
            store.audit.record(Event.RETRIED, round_id=round_id, by=by)
            return store.records.find_round(round_id)
        parked = [job for job in store.queries.jobs_of(round_id) if job.state == JobState.PARKED]
        if not parked:
            raise NothingToRetry(f"round {round_id} is {round_.state}: {_WHY_NOT[round_.state]}; there is nothing to retry")
        for job in parked:
            store.jobs.reopen(JobKind(job.kind), round_id)
        store.audit.record(Event.RETRIED, round_id=round_id, by=by)
        return round_


def training_paused(store: LocalStore) -> bool:
    """Whether training is held back."""
    return store.records.flag(PAUSED) == "yes"


def pause_training(store: LocalStore, by: str = "") -> None:
    """Holds training back; a job in hand is given back after its step. Answers go on."""
    _set_paused(store, "yes", Event.PAUSED, by)


def resume_training(store: LocalStore, by: str = "") -> None:
    """Lets training go on."""
    _set_paused(store, "", Event.RESUMED, by)


def _set_paused(store: LocalStore, value: str, event: Event, by: str) -> None:
    with store.transaction():
        if store.records.flag(PAUSED) != value:
            store.records.set_flag(PAUSED, value)
            store.audit.record(event, by=by)


def find_version(store: LocalStore, model_id: str, name: str) -> Checkpoint:
    """A version of a model whose file is kept.

    Args:
        store: of the node.
        model_id: the model.
        name: such as ``prostate-12``, or ``12``.

    Raises:
        NoSuchVersion.
    """
    for found in store.checkpoints.versions(model_id):
        if name in {found.name, str(found.number)}:
            if found.kept:
                return found
            raise NoSuchVersion(f"the file of {found.name} is not kept any more; learning.keep_checkpoints says how many are")
    raise NoSuchVersion(f"model {model_id} has no version {name}; `apprentice versions {model_id}` lists them")


def roll_back(store: LocalStore, model_id: str, name: str = "", *, retrain: bool = False, by: str = "") -> Checkpoint:
    """Lets an earlier version serve, until a later one is clearly better.

    Args:
        store: of the node.
        model_id: the model.
        name: the version; the one that served before if empty.
        retrain: whether training goes on from it, too.
        by: who wants it; empty where nobody is signed in.

    Raises:
        NoSuchVersion.
        NothingToRollBack.
    """
    with store.transaction():
        serving = store.checkpoints.serving(model_id)
        target = find_version(store, model_id, name) if name else _served_before(store, model_id, serving)
        if serving is not None and target.name == serving.name and not retrain:
            raise NothingToRollBack(f"{target.name} serves already; there is nothing to roll back")
        before = serving.name if serving is not None else ""
        store.audit.record(Event.ROLLED_BACK, version=target.name, model=model_id, instead_of=before, retrain=retrain, by=by)
        return store.checkpoints.roll_back(target, retrain=retrain)


def retrain(store: LocalStore, model_id: str, by: str = "") -> None:
    """Orders that a model be trained anew from what it remembers, as a new version that has to pass the gate.

    Raises:
        NothingToRetrain: there is no version, nothing to learn from, or the model is being trained anew already.
    """
    with store.transaction():
        learned = [one for one in store.lessons.of_model(model_id) if not one.held]
        if store.checkpoints.head(model_id) is None:
            raise NothingToRetrain(
                f"there is no version of a model {model_id} yet; `apprentice tasks` lists what serves each task"
            )
        if not learned:
            raise NothingToRetrain(
                f"model {model_id} has no case left to learn from; `apprentice retrain {model_id} --drop-marked` removes its "
                "marked versions, and it begins anew with the next drawing"
            )
        if not store.jobs.order(JobKind.RETRAIN, max(one.round_id for one in learned), model_id):
            raise NothingToRetrain(
                f"model {model_id} is being trained anew already; `apprentice versions {model_id}` shows how far"
            )
        store.audit.record(Event.RETRAINING_ORDERED, model=model_id, by=by)


def drop_marked(store: LocalStore, model_id: str, by: str = "") -> tuple[Checkpoint, ...]:
    """Removes the versions of a model that learned from a forgotten study, but for the one that serves and the head.

    Where the model has no case left to learn from, these go, too: it begins anew.

    Returns:
        The versions whose files were removed.

    Raises:
        NothingToDrop: no version is marked, or only those that are needed; says what to do.
    """
    begins_anew = all(one.held for one in store.lessons.of_model(model_id))
    dropped = store.checkpoints.drop_marked(model_id, all_of_them=begins_anew)
    if dropped:
        store.audit.record(Event.VERSIONS_DROPPED, model=model_id, versions=[one.name for one in dropped], by=by)
        return dropped
    marked = [one.name for one in store.checkpoints.history(model_id) if one.from_forgotten]
    if not marked:
        raise NothingToDrop(f"no version of model {model_id} that is kept learned from a forgotten study")
    raise NothingToDrop(
        f"{', '.join(marked)} serves, or training goes on from it; `apprentice retrain {model_id}` makes another, "
        "which serves once it passed the gate"
    )


def lift(forgotten: ForgottenStudies, study_uid: str, by: str = "") -> None:
    """Lets a forgotten study be taken in again.

    Raises:
        NotForgotten.
        BeingForgotten: something of it is not removed yet.
    """
    if not forgotten.has(study_uid):
        raise NotForgotten("that study is not forgotten; `apprentice forget` lists orders, without UIDs")
    if not forgotten.lift(study_uid, by):
        raise BeingForgotten("what is known of that study is still being removed; try again once it is")


def _served_before(store: LocalStore, model_id: str, serving: Checkpoint | None) -> Checkpoint:
    for one in store.checkpoints.history(model_id):
        if one.state is CheckpointState.RETIRED and (serving is None or one.number < serving.number):
            return one
    raise NothingToRollBack(f"of model {model_id} no version served before; `apprentice versions {model_id}` lists them")


def compare_versions(
    store: LocalStore, gate: Gate, model_id: str, names: tuple[str, str], label_counts: Mapping[str, int]
) -> Verdict:
    """Two versions on the cases that are held back; the verdict is that on the second, as if the first served.

    Args:
        store: of the node.
        gate: judges.
        model_id: the model.
        names: of the versions.
        label_counts: labels of each task.

    Raises:
        NoSuchVersion.
        NothingHeld.
    """
    one, other = (find_version(store, model_id, name) for name in names)
    evidence = gate.evidence(lesson for lesson in store.lessons.of_model(model_id) if lesson.held)
    if not evidence:
        raise NothingHeld(f"model {model_id} has no case that is held back from training yet; draw more cases")
    return gate.compare(one, other, evidence, label_counts)
