"""From the archive's log to durable triggers.

The nudge that a plugin sends only says *look now*; what is there stands in the archive's log, and what the log lost is found by
the reconciliation scan. A trigger, its job and the cursor are written in one transaction, so that a crash at any moment neither
loses nor repeats one. Annotations are taken the moment they are stored; images wait until the archive calls them stable.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection

import structlog

from dicom_io.pacs.port import Archive, SeriesStatus
from learner.app.audit import note_reaction
from learner.app.forgetting import ForgottenStudies
from learner.app.patients import PatientLinks
from learner.app.serving import serving_version
from learner.app.tasks import TaskBook
from learner.app.vanished import VanishedStudies, is_there
from learner.app.withdrawal import take_back
from learner.domain.case import Round, RoundEvent
from learner.domain.job import JobKind
from learner.domain.reaction import Reaction, ReactionKind
from learner.domain.result_kinds import PREDICTION
from learner.domain.task import Task
from learner.domain.trigger import annotation_trigger, images_trigger, instance_of
from learner.ports import ResultRecord, Store

ANNOTATION_MODALITIES = frozenset({"SEG", "SR", "RTSTRUCT"})
FEED = "archive"
_log = structlog.get_logger(__name__)


def instances_digest(series: SeriesStatus) -> str:
    """A short digest of which instances a series has."""
    return hashlib.sha256("\n".join(series.instance_ids).encode()).hexdigest()[:16]


def release_waiting(store: Store, series_instance_uid: str) -> None:
    """Lets the annotations that waited for the images of a series be answered."""
    with store.transaction():
        for waiting in store.records.waiting_for(series_instance_uid):
            store.records.apply(waiting.round_id, RoundEvent.SOURCE_ARRIVED, reason="")
            store.jobs.reopen(JobKind.RESPOND, waiting.round_id)
            _log.info("images arrived", series=series_instance_uid, round=waiting.round_id)


class Intake:
    """Takes in what arrived in the archive, once each and in order.

    Args:
        archive: its log is read; and it is asked whether an annotation that a scan did not meet is really gone.
        store: where triggers and cursor are kept.
        tasks: which series matter.
        links: which studies are of one patient; None where that does not matter.
        forgotten: studies of which nothing is taken in; None for none.
        forgets_deleted: whether studies whose images are gone from the archive are forgotten.
        most_undrawn: how many rounds 0 wait at a time; other series stay in the archive, unknown, until a scan finds them.
        arrived: told how many more entries the log has, each time that it is read.
    """

    def __init__(
        self,
        archive: Archive,
        store: Store,
        tasks: TaskBook,
        links: PatientLinks | None = None,
        forgotten: ForgottenStudies | None = None,
        *,
        forgets_deleted: bool = False,
        most_undrawn: int = 1000,
        arrived: Callable[[int], None] = lambda _entries: None,
    ) -> None:
        self._archive = archive
        self._forgotten = forgotten
        self._vanished = VanishedStudies(archive, store, forgotten) if forgotten is not None and forgets_deleted else None
        self._store = store
        self._tasks = tasks
        self._links = links
        self._most_undrawn = most_undrawn
        self._arrived = arrived
        self._has_deferred = False

    @property
    def wants_scan(self) -> bool:
        """Whether series were left for later and there is room for them now."""
        return self._has_deferred and self._store.jobs.undrawn() <= self._most_undrawn // 2

    def catch_up(self) -> int:
        """Reads the log to its end.

        Returns:
            Number of new triggers.

        Raises:
            PacsError: the cursor stays before the page that could not be read.
        """
        taken = 0
        while True:
            before = self._store.records.cursor(FEED)
            page = self._archive.page(before)
            self._arrived(page.cursor - before)
            with self._store.transaction():
                taken += sum(self._take(series) for series in page.touched)
                self._store.records.set_cursor(FEED, page.cursor)
            if page.done:
                return taken

    def reconcile(self) -> int:
        """Looks through the whole archive for what the log lost, and for annotations that were deleted.

        Returns:
            Number of new triggers.

        Raises:
            PacsError: what was found until then is kept.
        """
        taken = 0
        in_effect = {instance_of(r.trigger_uid): r for r in self._store.records.in_effect()}
        shown = self._store.records.shown_results(PREDICTION)
        met: set[str] = set()
        met_series: set[str] = set()
        was_lost, self._has_deferred = not self._has_deferred, False
        for series in self._archive.scan():
            met_series.add(series.series_instance_uid)
            if series.modality in ANNOTATION_MODALITIES:
                met.update(in_effect.keys() & set(series.instance_ids))
            with self._store.transaction():
                found = self._take(series)
            if found and (was_lost or series.modality in ANNOTATION_MODALITIES):
                _log.warning("found by reconciliation", series=series.series_instance_uid, triggers=found)
            taken += found
        for result in shown:
            if result.series_instance_uid not in met_series:
                self._note_rejection(result)
        taken += sum(self._withdraw(r) for name, r in in_effect.items() if name not in met)
        if self._vanished is not None:
            self._vanished.forget(met_series)
        return taken

    def look_for_deleted(self, instance_ids: Collection[str]) -> int:
        """Takes back the drawings of annotation objects that somebody says were deleted, if they were.

        Returns:
            Number of new triggers.

        Raises:
            PacsError: what was not looked at is found by the next reconciliation.
        """
        told = [r for r in self._store.records.in_effect() if instance_of(r.trigger_uid) in instance_ids]
        studies = {self._store.records.find_case(r.case_id).study_instance_uid for r in told if r.case_id is not None}
        taken = sum(self._withdraw(r) for r in told)
        if self._vanished is not None and told:
            self._vanished.forget((), studies)
        return taken

    def _withdraw(self, round_: Round) -> int:
        """Takes back the drawing of a deleted annotation object, if its images are still there.

        Archives delete whole studies to make room; that says nothing about what was drawn on them, unless the site says so
        (:class:`VanishedStudies`).
        """
        assert round_.case_id is not None
        case = self._store.records.find_case(round_.case_id)
        if is_there(self._archive, round_.series_instance_uid, instance_of(round_.trigger_uid)):
            return 0
        if not is_there(self._archive, case.series_instance_uid):
            return 0
        _log.info("annotation was deleted in the archive", round=round_.round_id)
        return int(take_back(self._store, round_))

    def _note_rejection(self, result: ResultRecord) -> None:
        """Somebody deleted our prediction and left its images: the answer was rejected."""
        case_id = self._store.records.find_round(result.round_id).case_id
        assert case_id is not None
        if is_there(self._archive, result.series_instance_uid):
            return
        if not is_there(self._archive, self._store.records.find_case(case_id).series_instance_uid):
            return
        with self._store.transaction():
            self._store.records.mark_deleted(result.series_instance_uid)
            note_reaction(self._store, Reaction(result.round_id, ReactionKind.REJECTED))
        _log.info("prediction was deleted in the archive", round=result.round_id)

    def _take(self, series: SeriesStatus) -> int:
        if self._store.records.is_own_series(series.series_instance_uid):
            return 0
        if self._forgotten is not None and self._forgotten.has(series.study_instance_uid):
            return 0
        if series.modality in ANNOTATION_MODALITIES:
            return sum(self._open_annotation(instance_id, series) for instance_id in series.instance_ids)
        return self._take_images(series) if series.is_stable else 0

    def _take_images(self, series: SeriesStatus) -> int:
        """A stable image series: answers what waited for it, and opens round 0 of each task that has something to say."""
        records, digest = self._store.records, instances_digest(series)
        uid = series.series_instance_uid
        release_waiting(self._store, uid)
        matching = self._tasks.matching(series)
        if self._links is not None and matching:
            self._links.note(series)
        if records.series_digest(uid) == digest:
            return sum(self._reopen(images_trigger(uid, digest, task.task_id)) for task in matching)
        answerable = [t for t in matching if t.answer_undrawn and self._can_answer_undrawn(t, series.study_instance_uid)]
        if answerable and self._store.jobs.undrawn() >= self._most_undrawn:
            return self._defer()
        records.set_series_digest(uid, series.study_instance_uid, digest)
        opened = 0
        for task in matching:
            case = records.case(task.task_id, series.study_instance_uid, uid)
            if task in answerable:
                opened += self._open(images_trigger(uid, digest, task.task_id), uid, case_id=case.case_id, number=0)
        return opened

    def _defer(self) -> int:
        """Leaves a series for later: the archive has it, and nothing here says that it was taken in."""
        if not self._has_deferred:
            _log.warning(
                "many series wait for their first answer: others stay in the archive until then", most=self._most_undrawn
            )
        self._has_deferred = True
        return 0

    def _can_answer_undrawn(self, task: Task, study_uid: str) -> bool:
        """Whether a model serves the task, or a reader drew on another study of the same patient."""
        if serving_version(self._store.checkpoints, task) is not None:
            return True
        return self._links is not None and bool(self._links.drawn_before(task.task_id, study_uid))

    def _open_annotation(self, instance_id: str, series: SeriesStatus) -> int:
        """An annotation object; one that was deleted and is sent again counts anew."""
        uid, study = series.series_instance_uid, series.study_instance_uid
        taken = self._open(annotation_trigger(instance_id), uid, study=study)
        withdrawn = 0 if taken else self._store.records.times_withdrawn(instance_id)
        return self._open(annotation_trigger(instance_id, withdrawn), uid, study=study) if withdrawn else taken

    def _open(
        self, trigger_uid: str, series_uid: str, *, case_id: int | None = None, number: int | None = None, study: str = ""
    ) -> int:
        """A round and its job. Annotations come with their study: what is drawn on it is answered in the order of arrival.

        The study is noted, too, as the case is not known yet: who has it open is told of the round.
        """
        round_id = self._store.records.open_round(trigger_uid, series_uid, case_id=case_id, number=number)
        if round_id is None:
            return self._reopen(trigger_uid)
        if study:
            self._store.records.note_facts(round_id, study_instance_uid=study)
        self._store.jobs.add(JobKind.RESPOND, round_id, study)
        _log.info("trigger taken in", round=round_id, series=series_uid, kind="images" if number == 0 else "annotation")
        return 1

    def _reopen(self, trigger_uid: str) -> int:
        """What was deleted before it was answered, and is there again."""
        round_ = self._store.records.withdrawn(trigger_uid)
        if round_ is None:
            return 0
        self._store.records.apply(round_.round_id, RoundEvent.RETRIED, reason="")
        self._store.jobs.reopen(JobKind.RESPOND, round_.round_id)
        _log.info("what was deleted is there again", round=round_.round_id)
        return 1
