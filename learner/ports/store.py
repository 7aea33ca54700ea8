"""The learner's memory of what happened, as the use cases see it.

All of one :class:`Store` share its transactions: what is written inside ``with store.transaction():`` stands or falls together.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from learner.domain.case import Case, Round, RoundEvent
from learner.domain.job import Job, JobKind
from learner.domain.task import Label, Task
from learner.ports.authors import Authors
from learner.ports.files import CaseFiles
from learner.ports.models import Checkpoints, Lessons

REFUSAL = "refusal"
"""Kind of the result that says in the study why an annotation was not understood."""


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """One object that goes, or went, to the archive.

    Attributes:
        sop_instance_uid: its SOP Instance UID, derived from its round.
        series_instance_uid: its series.
        round_id: the round that it answers.
        kind: as :mod:`learner.app.results` names it.
        path: file in the outbox, relative to the data folder.
        sent: whether it stands in the archive.
    """

    sop_instance_uid: str
    series_instance_uid: str
    round_id: int
    kind: str
    path: str
    sent: bool


class Records(Protocol):
    """Cursor, series, cases, rounds, results, flags."""

    def cursor(self, feed: str) -> int:
        """Where the next page of ``feed`` begins; 0 at first."""
        ...

    def set_cursor(self, feed: str, position: int) -> None:
        """Remembers where the next page begins."""
        ...

    def series_digest(self, series_instance_uid: str) -> str:
        """Digest of the instances with which the stable series was last taken in, or an empty string."""
        ...

    def set_series_digest(self, series_instance_uid: str, digest: str) -> None:
        """Remembers with which instances a stable series was taken in."""
        ...

    def case(self, task_id: str, study_instance_uid: str, series_instance_uid: str, part: str = "") -> Case:
        """The case of that task, series and part of the series, made if it is new.

        A case that was made before it was known that the series has parts, and was not answered, becomes the one of ``part``.
        """
        ...

    def find_case(self, case_id: int) -> Case:
        """The case of that number.

        Raises:
            KeyError: if there is none.
        """
        ...

    def open_round(
        self, trigger_uid: str, series_instance_uid: str, *, case_id: int | None = None, number: int | None = None
    ) -> int | None:
        """Records a trigger as a queued round; None if it is recorded already."""
        ...

    def find_round(self, round_id: int) -> Round:
        """The round of that number.

        Raises:
            KeyError: if there is none.
        """
        ...

    def rounds_of(self, case_id: int) -> tuple[Round, ...]:
        """Rounds of a case that have an answer, oldest first."""
        ...

    def latest_rounds(self, task_id: str, count: int, *, but_of: int) -> tuple[int, ...]:
        """Numbers of the latest answered round of each of the last ``count`` cases of a task, newest first.

        Args:
            task_id: the task.
            count: cases at most.
            but_of: number of a case that is left out.
        """
        ...

    def in_effect(self) -> tuple[Round, ...]:
        """Answered rounds of annotation objects that were not withdrawn, oldest first."""
        ...

    def measured(self, task_id: str, limit: int = 200) -> tuple[Round, ...]:
        """The latest answered rounds of a task in which something was drawn, oldest first."""
        ...

    def unchanged_of(self, case_id: int) -> tuple[Round, ...]:
        """Rounds of annotations that told nothing new of a case, oldest first."""
        ...

    def times_withdrawn(self, instance_id: str) -> int:
        """How often the annotation object with that identifier was withdrawn by deleting it in the archive."""
        ...

    def waiting_for(self, series_instance_uid: str) -> tuple[Round, ...]:
        """Rounds whose images are of that series, not taken in yet, oldest first."""
        ...

    def apply(self, round_id: int, event: RoundEvent, **changes: object) -> Round:
        """Moves a round on by the table of :mod:`learner.domain.case` and sets the given fields.

        Raises:
            IllegalTransition: if the event cannot happen in the round's state.
        """
        ...

    def await_source(self, round_id: int, series_instance_uid: str, reason: str) -> None:
        """Lets a round wait for the images of that series."""
        ...

    def note_facts(self, round_id: int, **facts: object) -> None:
        """Adds to what was measured in a round."""
        ...

    def add_results(self, results: Sequence[ResultRecord]) -> None:
        """Records what will go to the archive; what went there before goes again."""
        ...

    def results_of(self, round_id: int) -> tuple[ResultRecord, ...]:
        """The results of a round, in the order in which they go to the archive."""
        ...

    def superseded_results(self, case_id: int | None, round_id: int) -> tuple[ResultRecord, ...]:
        """Sent results that the answer of a round replaces, and that are not yet known to be deleted.

        Those of the case's earlier rounds, and the report that says why the round itself was refused before it was retried.
        """
        ...

    def mark_sent(self, sop_instance_uid: str) -> None:
        """The object stands in the archive."""
        ...

    def mark_deleted(self, series_instance_uid: str) -> None:
        """The result series was deleted from the archive."""
        ...

    def is_own_series(self, series_instance_uid: str) -> bool:
        """Whether the series is one of our results."""
        ...

    def is_own_object(self, sop_instance_uid: str) -> bool:
        """Whether the object is one of our results."""
        ...

    def set_patient(self, study_instance_uid: str, patient_key: str) -> None:
        """Remembers whose study it is, by a keyed hash; an empty one forgets it."""
        ...

    def drawn_before(self, task_id: str, study_instance_uid: str) -> tuple[Round, ...]:
        """What may be carried to a study from others of the same patient, newest first.

        The latest answered round of each case of the task that still has a drawing in effect, unless the withdrawal of one is
        still to be answered.
        """
        ...

    def labels_of(self, task_id: str) -> tuple[Label, ...]:
        """The labels with which a task was last taken in; none for a new one."""
        ...

    def set_labels(self, task: Task) -> None:
        """Remembers the labels of a task."""
        ...

    def keep_task(self, task: Task) -> None:
        """Keeps a task that was made from an annotation."""
        ...

    def kept_tasks(self) -> tuple[Task, ...]:
        """Tasks that were made from annotations."""
        ...

    def flag(self, name: str) -> str:
        """A setting that is changed while the node runs, or an empty string."""
        ...

    def set_flag(self, name: str, value: str) -> None:
        """Changes it."""
        ...


class Jobs(Protocol):
    """Durable work under leases."""

    def add(self, kind: JobKind, round_id: int, lane: str = "") -> None:
        """Adds a job once; one of the same kind and round that is there already stays as it is.

        Args:
            kind: what to do.
            round_id: the round that it is about.
            lane: jobs of one lane are taken strictly one after the other; empty for none.
        """
        ...

    def claim(self, kind: JobKind, lease_s: float, turn_after: str | None = None) -> Job | None:
        """The oldest job of that kind that is ready, or whose lease ran out; leased for ``lease_s``. None if there is none.

        No job is taken while an earlier one of its kind and lane is ready or leased. Jobs of round 0, for which nobody waits in
        front of a screen, come after all others.

        Args:
            kind: what to do.
            lease_s: seconds.
            turn_after: the lane that had its turn; the next in alphabetical order that has work has it now, after the last the
                first. The oldest job of all lanes where left out.
        """
        ...

    def renew(self, job: Job, lease_s: float) -> None:
        """Extends the lease.

        Raises:
            LeaseLost: if the job is not ours any more.
        """
        ...

    def finish(self, job: Job) -> None:
        """Done.

        Raises:
            LeaseLost: if the job is not ours any more.
        """
        ...

    def block(self, job: Job, reason: str) -> None:
        """Waits for something to arrive.

        Raises:
            LeaseLost.
        """
        ...

    def release(self, job: Job, not_before: float, reason: str, *, count_attempt: bool = True) -> None:
        """Ready again from ``not_before`` on.

        Raises:
            LeaseLost.
        """
        ...

    def park(self, job: Job, reason: str) -> None:
        """Gives up until a person retries.

        Raises:
            LeaseLost.
        """
        ...

    def reopen(self, kind: JobKind, round_id: int) -> None:
        """Makes a blocked, parked or finished job ready again, with no attempt counted."""
        ...

    def pending(self, kind: JobKind) -> int:
        """Number of jobs that are ready now or leased."""
        ...


class Store(Protocol):
    """Everything that the learner remembers."""

    @property
    def records(self) -> Records:
        """Cursor, series, cases, rounds, results."""
        ...

    @property
    def jobs(self) -> Jobs:
        """Durable work."""
        ...

    @property
    def checkpoints(self) -> Checkpoints:
        """Versions of models."""
        ...

    @property
    def lessons(self) -> Lessons:
        """What each model has met."""
        ...

    @property
    def files(self) -> CaseFiles:
        """Arrays and outgoing objects."""
        ...

    @property
    def authors(self) -> Authors:
        """Who stored what through the node."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; transactions nest into the outermost."""
        ...
