"""Training a model anew, in turns: which job it is for, how far it goes, and which cases it learns from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from learner.domain.checkpoint import LEARNED_CASES, Checkpoint
from learner.domain.job import Job
from learner.ports import Store, Trainer

TURN_STEPS = 200
"""Steps between two versions: what is lost when it is interrupted, and how long a new drawing waits."""
_RETRAINED = "retrained"
"""Fact of a version on its way: which job, and up to how many steps."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """What is to be done next.

    Attributes:
        until: steps that the model has in the end: as many as the version that it takes the place of.
        facts: of the version that the turn makes.
    """

    until: int
    facts: dict[str, object]


class Retraining:
    """Finds the next turn of a job. The versions themselves say how far it is, so that a killed process goes on from there.

    Args:
        store: versions, and cases that models have met.
        case_key: keyed hash by which a trainer knows a case.
    """

    def __init__(self, store: Store, case_key: Callable[[str], str]) -> None:
        self._store = store
        self._case_key = case_key

    def turn(self, job: Job, head: Checkpoint | None, trainer: Trainer) -> Turn | None:
        """The next turn; in the first one the trainer starts over. None where nothing is left to do.

        Args:
            job: its lane is the model.
            head: the version that training goes on from.
            trainer: in the state of the head.
        """
        versions = self._store.checkpoints.versions(job.lane)
        own = [until for one in versions if (until := _until(one, job)) is not None]
        if not own:
            return self._first(job, trainer)
        if head is None or not any(_until(one, job) is not None for one in _lineage(head, versions)):
            _log.warning("not trained anew: a person rolled back meanwhile", model=job.lane)
            return None
        return Turn(own[0], _facts(job, own[0]))

    def _first(self, job: Job, trainer: Trainer) -> Turn | None:
        until, keys = trainer.steps, trainer.start_over()
        if not keys:
            _log.error("not trained anew: the model remembers no case", model=job.lane)
            return None
        met = [self._store.records.find_case(one.case_id) for one in self._store.lessons.of_model(job.lane)]
        learned = [case.case_id for case in met if self._case_key(case.identity) in keys]
        return Turn(until, {**_facts(job, until), LEARNED_CASES: learned})


def _facts(job: Job, until: int) -> dict[str, object]:
    return {_RETRAINED: {"job": job.job_id, "steps": until}}


def _until(version: Checkpoint, job: Job) -> int | None:
    """Up to how many steps the job goes that made the version; None for versions of others."""
    found = version.facts.get(_RETRAINED)
    return int(found["steps"]) if isinstance(found, dict) and found["job"] == job.job_id else None


def _lineage(head: Checkpoint, versions: Sequence[Checkpoint]) -> list[Checkpoint]:
    """A version, and those that it was trained from."""
    by_name, found, name = {one.name: one for one in versions}, [], head.name
    while name in by_name:
        found.append(by_name[name])
        name = by_name[name].parent
    return found
