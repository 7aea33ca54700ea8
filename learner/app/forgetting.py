"""Forgetting a study: an order, then the work that it takes, which may be killed at any moment and goes on at the next start.

The order is one transaction (:meth:`learner.ports.Forgotten.order`). What follows is done by the thread that answers, between
two answers, so that nobody writes what is being removed. What a trainer has in hand goes with a job of its own: whatever it
made of the study meanwhile cannot be recorded any more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import structlog

from dicom_io.errors import PacsRefused, PacsUnavailable
from dicom_io.pacs.port import Archive
from learner.domain.audit import Event
from learner.ports import Clock, ForgottenStudy, Store

ASKED = "asked"
DELETED = "deleted in the archive"
PAUSE_S = 60.0
"""Time to the next attempt after one that failed, in seconds."""
_log = structlog.get_logger(__name__)


class ForgottenStudies:
    """Which studies are forgotten, by the keyed hash of their UID alone.

    Args:
        store: where they are listed.
        key: the keyed hash of a text.
    """

    def __init__(self, store: Store, key: Callable[[str], str]) -> None:
        self._store = store
        self._key = key

    def has(self, study_instance_uid: str) -> bool:
        """Whether the study is forgotten: nothing of it is taken in."""
        return self._store.forgotten.has(self._named(study_instance_uid))

    def order(self, study_instance_uid: str, *, why: str, asked_by: str = "", results: bool = True) -> ForgottenStudy:
        """Orders that a study be forgotten; see :meth:`learner.ports.Forgotten.order`. Ordered twice is ordered once."""
        named = self._named(study_instance_uid)
        with self._store.transaction():
            again = self._store.forgotten.has(named)
            made = self._store.forgotten.order(
                study_instance_uid, named, self._key, why=why, asked_by=asked_by, results=results
            )
            if not again:
                self._store.audit.record(
                    Event.STUDY_FORGOTTEN, order=made.place, why=why, rounds=list(made.rounds), by=asked_by
                )
        _log.info("study is to be forgotten", order=made.place, rounds=len(made.rounds), cases=len(made.keys), why=made.why)
        return made

    def lift(self, study_instance_uid: str, by: str = "") -> bool:
        """Lets a study be taken in again, once it is forgotten; says whether it was."""
        with self._store.transaction():
            lifted = self._store.forgotten.lift(self._named(study_instance_uid))
            if lifted:
                self._store.audit.record(Event.STUDY_LIFTED, by=by)
        return lifted

    def _named(self, study_instance_uid: str) -> str:
        return self._key(f"study/{study_instance_uid}")


class Purge:
    """Does what is left to do of orders to forget; for the thread that answers.

    Args:
        store: records and files.
        archive: where results are deleted, if it can.
        clock: time.
        forget_examples: removes the files of cases, by their keyed hashes, from every replay memory.
        empty_spool: removes a study, by its UID, from what others sent to the node itself; None where nobody does.
    """

    def __init__(
        self,
        store: Store,
        archive: Archive,
        clock: Clock,
        forget_examples: Callable[[Collection[str]], int],
        empty_spool: Callable[[str], None] | None = None,
    ) -> None:
        self._store = store
        self._archive = archive
        self._clock = clock
        self._forget_examples = forget_examples
        self._empty_spool = empty_spool
        self._in_memory: list[Callable[[], None]] = []
        self._not_before = 0.0

    def clears(self, *clear: Callable[[], None]) -> None:
        """Names what empties a cache that may hold something of a study."""
        self._in_memory += clear

    def run_once(self) -> bool:
        """Does all that can be done now; an attempt that fails is made again after a while.

        Returns:
            Whether nothing is left to do, but for trainers.
        """
        studies = self._store.forgotten.unfinished()
        if not studies or self._clock.now() < self._not_before:
            return not studies
        try:
            self._purge([study for study in studies if study.purged_at is None])
            self._delete_results(studies)
            if self._store.forgotten.settle():
                self._store.empty_log()
        except PacsUnavailable as error:
            _log.warning("results of a forgotten study are not deleted yet", reason=str(error))
        except Exception:  # answers go on; the fault is logged whole
            _log.exception("a study cannot be forgotten yet")
        else:
            return True
        self._not_before = self._clock.now() + PAUSE_S
        return False

    def _purge(self, studies: Sequence[ForgottenStudy]) -> None:
        """Records, files and memory, in this order: a file that no record names is removed, whoever is killed meanwhile."""
        if not studies:
            return
        store = self._store
        for study in studies:
            store.forgotten.reduce(study)
            store.audit.purge_rounds(study.rounds)
            store.audit.purge([study.study_uid])
            if self._empty_spool is not None:
                self._empty_spool(study.study_uid)
        removed = store.remove_leftovers() + self._forget_examples(store.forgotten.keys())
        for clear in self._in_memory:
            clear()
        store.scrub()
        for study in studies:
            store.forgotten.note_purged(study)
            _log.info("study is forgotten", order=study.place, rounds=len(study.rounds))
        store.empty_log()
        _log.info("files of forgotten studies removed", files=removed)

    def _delete_results(self, studies: Sequence[ForgottenStudy]) -> None:
        """Deletes results in the archive, where it can."""
        for study in studies:
            for series_uid in study.results:
                self._store.forgotten.note_result(study, series_uid, deleted=self._deleted(series_uid))
            if study.results:
                self._store.empty_log()

    def _deleted(self, series_uid: str) -> bool:
        if not self._archive.can_delete:
            return False
        try:
            self._archive.delete_series(series_uid)
        except PacsRefused as error:
            _log.error("a result of a forgotten study stays in the archive", series=series_uid, reason=str(error))
            return False
        return True
