"""Answering one trigger: read, propagate, predict, fuse, residual, guide, write, deliver.

The computation ends in one transaction that decides the answer for good: round, results and learn job. After that only delivery
is left, and that may be repeated: UIDs follow from the trigger, files stand in the outbox, and storing twice stores one object.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from dicom_io.errors import DicomIoError, InvalidObject, NotInPacs, PacsClosed, PacsError, PacsRefused, PacsUnavailable
from dicom_io.pacs.port import Archive, Sink
from learner.app.attempts import OutsideFaults, park_what_kills, retry_or_park
from learner.app.audit import note_reaction, origin_of
from learner.app.compute import Computation, Compute
from learner.app.drift import warn_of_drift
from learner.app.intake import release_waiting
from learner.app.refusal import Refusals
from learner.app.results import ResultFile
from learner.app.subject import NothingLeft, NothingNew, SourceAwaited
from learner.domain.audit import Event
from learner.domain.case import Round, RoundEvent, RoundState
from learner.domain.job import Job, JobKind
from learner.domain.result_kinds import PREDICTION
from learner.domain.trigger import instance_of, withdrawn_round
from learner.errors import CorruptFile, LeaseLost, StoreUnavailable
from learner.ports import Clock, ResultRecord, Store

_log = structlog.get_logger(__name__)


_CLOSED = {RoundEvent.NOTHING_NEW: Event.UNCHANGED, RoundEvent.DELETED: Event.GONE}


@dataclass(frozen=True, slots=True)
class RespondSettings:
    """How triggers are answered.

    Attributes:
        lease_s: how long a job stays ours, in seconds.
        attempts: how often an unexpected failure is tried before the job is parked.
        keep_superseded: whether results of earlier rounds stay in the archive.
    """

    lease_s: float = 600.0
    attempts: int = 5
    keep_superseded: bool = False


class Respond:
    """Answers triggers one after the other, oldest first; readers' before images on which nothing is drawn.

    Args:
        archive: where objects are read, and superseded results deleted.
        sink: where results go; the archive itself, or another way into it.
        store: rounds, jobs, files.
        compute: makes an answer of a trigger.
        settings: how.
        clock: time.
        refusals: writes into the study why an annotation was not understood; None for no such reports.
        idle: done while there is nothing to answer.
    """

    def __init__(
        self,
        archive: Archive,
        sink: Sink,
        store: Store,
        compute: Compute,
        settings: RespondSettings,
        clock: Clock,
        refusals: Refusals | None = None,
        idle: Callable[[], None] = lambda: None,
    ) -> None:
        self._archive = archive
        self._sink = sink
        self._store = store
        self._compute = compute
        self._settings = settings
        self._clock = clock
        self._refusals = refusals
        self._idle = idle
        self._outside = OutsideFaults(store.jobs, clock)
        self._doubted: dict[int, set[str]] = {}

    def run_once(self) -> bool:
        """Answers the oldest trigger of a reader, else one of images.

        Returns:
            Whether there was one.

        Raises:
            StoreUnavailable: the job in hand is taken up again once the store can be used.
        """
        self._outside.settle()
        job = self._store.jobs.claim(JobKind.RESPOND, self._settings.lease_s)
        if job is None:
            self._idle()
            return False
        try:
            self._attempt(job)
        except StoreUnavailable as error:
            self._outside.hold(job, str(error))
            raise
        except LeaseLost:
            _log.warning("respond job taken over by another worker, or its study is forgotten", round=job.round_id)
        return True

    def _attempt(self, job: Job) -> None:
        """Answers, or says what becomes of the job."""
        try:
            if not park_what_kills(self._store.jobs, job, self._settings.attempts):
                self._respond(job)
            self._outside.forget(job)
            self._doubted.pop(job.job_id, None)
        except (StoreUnavailable, LeaseLost):
            raise
        except (PacsUnavailable, PacsClosed) as error:
            self._outside.postpone(job, str(error))
            _log.warning("archive unavailable, will try again", round=job.round_id, reason=str(error))
        except PacsRefused as error:
            self._store.jobs.park(job, str(error))
            _log.error("archive refused, job parked", round=job.round_id, reason=str(error))
        except CorruptFile as error:
            self._store.jobs.park(job, str(error))
            _log.error("file of the data folder damaged, job parked", round=job.round_id, reason=str(error))
        except Exception as error:
            retry_or_park(self._store.jobs, job, error, self._clock.now(), self._settings.attempts)

    def _respond(self, job: Job) -> None:
        round_ = self._store.records.find_round(job.round_id)
        if round_.state is RoundState.QUEUED:
            round_ = self._decide(job, round_)
        if round_.state is RoundState.COMPUTED:
            self._deliver(job, round_)
        if round_.state is RoundState.REFUSED:
            results = self._send(round_)
            self._store.jobs.finish(job)
            self._drop(results)

    def _decide(self, job: Job, round_: Round) -> Round:
        """Computes the answer, or finds why there is none, and commits that."""
        try:
            computation = self._compute.answer(round_)
        except SourceAwaited as awaited:
            return self._wait(job, awaited)
        except NothingLeft as nothing:
            return self._take_back(job, nothing)
        except NothingNew as nothing:
            return self._close(job, RoundEvent.NOTHING_NEW, str(nothing), nothing)
        except NotInPacs as gone:
            self._check_gone(round_, gone)
            return self._close(job, RoundEvent.DELETED, str(gone))
        except (PacsUnavailable, PacsRefused):
            raise
        except DicomIoError as error:
            self._doubt(job, error)
            return self._refuse(job, round_, error)
        return self._commit(job, round_, computation)

    def _check_gone(self, round_: Round, gone: NotInPacs) -> None:
        """Believes that something was deleted only where the archive does not list what asked for the round any more.

        Raises:
            PacsUnavailable: it lists it; images that are exchanged just now, or something else answers in its place.
        """
        by_images = round_.number == 0 or withdrawn_round(round_.trigger_uid) is not None
        try:
            listed = self._archive.find_series(self._images_of(round_) if by_images else round_.series_instance_uid)
        except NotInPacs:
            return
        if by_images or instance_of(round_.trigger_uid) in listed.instance_ids:
            raise PacsUnavailable(gone.subject, "the archive lists it and does not give it", "It is asked again.") from gone

    def _images_of(self, round_: Round) -> str:
        """Series Instance UID of the images of a round whose case is known."""
        assert round_.case_id is not None
        return self._store.records.find_case(round_.case_id).series_instance_uid

    def _doubt(self, job: Job, error: DicomIoError) -> None:
        """An object that cannot be read is fetched once more before it is refused: it may have been cut off on its way.

        Raises:
            PacsUnavailable: the first time.
        """
        doubted = self._doubted.setdefault(job.job_id, set())
        if isinstance(error, InvalidObject) and error.subject not in doubted:
            doubted.add(error.subject)
            raise PacsUnavailable(error.subject, error.problem, "It is fetched once more before it is refused.") from error

    def _wait(self, job: Job, awaited: SourceAwaited) -> Round:
        """Lets the round wait. The images may have arrived in the meantime, so the archive is asked once more after that."""
        uid = awaited.series_instance_uid
        with self._store.transaction():
            self._store.jobs.renew(job, self._settings.lease_s)
            self._store.records.await_source(job.round_id, uid, str(awaited))
            self._store.jobs.block(job, str(awaited))
        _log.warning("annotation waits for its images", round=job.round_id, reason=str(awaited))
        try:
            if self._archive.find_series(uid).is_stable:
                release_waiting(self._store, uid)
        except PacsError:
            _log.info("images not there yet", series=uid)
        return self._store.records.find_round(job.round_id)

    def _close(self, job: Job, event: RoundEvent, reason: str, nothing: NothingNew | None = None) -> Round:
        """There is nothing to answer."""
        records = self._store.records
        case: dict[str, Any] = {}
        if nothing is not None and nothing.case_id is not None:
            case = {"case_id": nothing.case_id}
        with self._store.transaction():
            self._store.jobs.renew(job, self._settings.lease_s)
            records.note_facts(job.round_id, **(nothing.facts if nothing is not None else {}))
            round_ = records.apply(job.round_id, event, reason=reason, **case)
            self._store.audit.record(_CLOSED[event], round_id=job.round_id, **origin_of(round_), **case)
            if nothing is not None and nothing.reaction is not None:
                note_reaction(self._store, nothing.reaction, round_)
            self._store.jobs.finish(job)
        _log.info("round closed", round=job.round_id, state=round_.state, reason=reason)
        return round_

    def _take_back(self, job: Job, nothing: NothingLeft) -> Round:
        """The last drawing of a case was withdrawn: its results go, and nothing of it is learned from any more."""
        self._delete_superseded(self._store.records.find_round(job.round_id))
        self._store.files.put_example(job.round_id, nothing.withdrawal)
        with self._store.transaction():
            self._store.jobs.add(JobKind.LEARN, job.round_id, nothing.model_id)
            return self._close(job, RoundEvent.NOTHING_NEW, str(nothing))

    def _refuse(self, job: Job, round_: Round, error: DicomIoError) -> Round:
        """The annotation is not understood; its reader is told in the study, which may be tried more than once."""
        _log.error("not understood", round=round_.round_id, code=error.code, reason=str(error))
        report = self._refusals.report(round_, error) if self._refusals is not None else None
        results = [self._outgoing(round_, report)] if report is not None else []
        with self._store.transaction():
            self._store.jobs.renew(job, self._settings.lease_s)
            self._store.records.add_results(results)
            round_ = self._store.records.apply(job.round_id, RoundEvent.NOT_UNDERSTOOD, reason=str(error))
            told = {**origin_of(round_), "code": error.code, "results": _uids(results)}
            self._store.audit.record(Event.REFUSED, round_id=job.round_id, **told)
            return round_

    def _commit(self, job: Job, round_: Round, computation: Computation) -> Round:
        """The answer stands: files first, then everything else in one transaction."""
        files, records = self._store.files, self._store.records
        files.put_record(round_.round_id, computation.record)
        if computation.example is not None:
            files.put_example(round_.round_id, computation.example)
        results = [self._outgoing(round_, result) for result in computation.results]
        with self._store.transaction():
            self._store.jobs.renew(job, self._settings.lease_s)
            records.add_results(results)
            if computation.example is not None:
                self._store.jobs.add(JobKind.LEARN, round_.round_id, computation.model_id)
            records.note_facts(round_.round_id, **computation.facts)
            round_ = records.apply(
                round_.round_id,
                RoundEvent.COMPUTED,
                case_id=computation.case_id,
                number=computation.number,
                reader=computation.reader,
                checkpoint=computation.checkpoint,
                reason="",
            )
            self._note(round_, computation, results)
        return round_

    def _note(self, round_: Round, computation: Computation, results: Sequence[ResultRecord]) -> None:
        """The answer, and what its reader did with the one before, for the audit record."""
        told = {**origin_of(round_), **computation.provenance, "results": _uids(results)}
        self._store.audit.record(Event.ANSWERED, round_id=round_.round_id, **told)
        if computation.reaction is not None:
            note_reaction(self._store, computation.reaction, round_)

    def _outgoing(self, round_: Round, result: ResultFile) -> ResultRecord:
        """A result in the outbox."""
        path = self._store.files.put_outgoing(result.sop_instance_uid, result.file)
        return ResultRecord(result.sop_instance_uid, result.series_instance_uid, round_.round_id, result.kind, path, sent=False)

    def _send(self, round_: Round) -> Sequence[ResultRecord]:
        """Sends what of a round's results is not in the archive yet; returns all of them."""
        results = self._store.records.results_of(round_.round_id)
        for result in results:
            if not result.sent:
                self._sink.store(self._store.files.get_outgoing(result.path))
                self._store.records.mark_sent(result.sop_instance_uid)
        return results

    def _drop(self, results: Sequence[ResultRecord]) -> None:
        for result in results:
            self._store.files.drop_outgoing(result.path)

    def _deliver(self, job: Job, round_: Round) -> None:
        began = time.monotonic()
        records = self._store.records
        try:
            self._archive.find_series(self._images_of(round_))
        except NotInPacs:
            self._drop(records.results_of(round_.round_id))
            self._close(job, RoundEvent.DELETED, "its images were deleted in the archive before the answer was delivered")
            return
        results = self._send(round_)
        if not any(result.kind == PREDICTION for result in results):
            self._store.jobs.park(job, "the prediction failed the display rules; the log names them")
            return
        if not self._settings.keep_superseded:
            self._delete_superseded(round_)
        with self._store.transaction():
            self._store.jobs.renew(job, self._settings.lease_s)
            now = self._clock.now()
            seconds = max(0.0, now - round_.received_at)  # the clock may have been put back
            records.note_facts(round_.round_id, seconds_to_answer=round(seconds, 3))
            records.apply(round_.round_id, RoundEvent.DELIVERED, answered_at=now)
            self._store.audit.record(Event.DELIVERED, round_id=round_.round_id)
            self._store.jobs.finish(job)
        self._drop(results)
        warn_of_drift(records, round_)
        _log.info(
            "answered",
            round=round_.round_id,
            case=round_.case_id,
            number=round_.number,
            seconds=round(seconds, 2),
            delivery_seconds=round(time.monotonic() - began, 2),
        )

    def _delete_superseded(self, round_: Round) -> None:
        if not self._archive.can_delete:
            return
        for old in self._store.records.superseded_results(round_.case_id, round_.round_id):
            self._archive.delete_series(old.series_instance_uid)
            self._store.records.mark_deleted(old.series_instance_uid)


def _uids(results: Sequence[ResultRecord]) -> dict[str, list[str]]:
    """SOP Instance UIDs of results, by kind."""
    found: dict[str, list[str]] = {}
    for result in results:
        found.setdefault(result.kind, []).append(result.sop_instance_uid)
    return found
