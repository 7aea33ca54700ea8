"""A reader accepts a prediction as it is, on some slices or as a whole.

What was accepted goes to the archive as an object of its own, as a drawing would, and comes back from there as an annotation of
kind *confirmed* (rule 3 of the contract): the archive stays the truth, and a node that lost its data reads it again.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

import structlog

from dicom_io.annotation import SparseAnnotation
from dicom_io.identifiers import derived_uid
from dicom_io.pacs.port import Sink, Source
from dicom_io.results import ResultIdentity
from dicom_io.volume import ImageSeries
from dicom_io.write_acceptance import write_acceptance
from learner.app.images import SeriesImages, first_image
from learner.app.results import acceptance_series_number, segment_descriptions
from learner.app.tasks import TaskBook
from learner.domain.audit import Event
from learner.domain.case import PRUNED, Case, Round, RoundState
from learner.domain.task import Task
from learner.errors import ApprenticeError
from learner.ports import CaseRecord, Clock, Store

_log = structlog.get_logger(__name__)


class NothingToAccept(ApprenticeError):
    """There is no such answer any more, or nothing on these slices that is not known; says what to do."""


class Acceptance:
    """Writes what readers accept.

    Args:
        source: the archive, for the images.
        sink: where the objects go.
        store: what was answered.
        images: image series.
        tasks: meaning of the labels.
        mark: word of the contract by which slices are accepted; empty where the site has none.
        clock: time.
    """

    def __init__(
        self, source: Source, sink: Sink, store: Store, images: SeriesImages, tasks: TaskBook, mark: str, clock: Clock
    ) -> None:
        self._source = source
        self._sink = sink
        self._store = store
        self._images = images
        self._tasks = tasks
        self._mark = mark
        self._clock = clock

    def accept(self, case: Case, round_id: int, slices: Collection[int] | None, reader: str) -> str:
        """Stores what a reader accepts.

        Args:
            case: the case.
            round_id: the round whose answer the reader looked at.
            slices: planes of acquired slices, from 0; None for all.
            reader: who accepts; empty where nobody is signed in.

        Returns:
            SOP Instance UID of the object in the archive.

        Raises:
            NothingToAccept.
            DicomIoError: the images cannot be read, or the object not be stored.
        """
        round_, task = self._answer(case, round_id)
        record = self._store.files.get_record(round_id)
        images = self._images.get(self._source.find_series(case.series_instance_uid), first_image(round_))
        accepted = _chosen(images, record, slices)
        identity = self._identity(case, task, round_, accepted, reader)
        file = write_acceptance(
            images,
            record.labels_DHW,
            accepted,
            segment_descriptions(task),
            identity,
            reader,
            self._mark,
            with_drawing=record.annotation is not None,
        )
        self._sink.store(file)
        uid, count = identity.sop_instance_uid, len(accepted)
        self._store.audit.record(Event.ACCEPTED, round_id=round_id, by=reader, annotation=uid, slices=count)
        _log.info("answer accepted", case=case.case_id, round=round_id, slices=len(accepted))
        return identity.sop_instance_uid

    def _answer(self, case: Case, round_id: int) -> tuple[Round, Task]:
        """The round that the reader looked at, which must be the newest of the case."""
        rounds, task = self._store.records.rounds_of(case.case_id), self._tasks.get(case.task_id)
        if not rounds or task is None:
            raise NothingToAccept("the case has no answer; draw on a few slices first")
        if rounds[-1].state is not RoundState.ANSWERED:
            raise NothingToAccept("a drawing of the case is being answered; look at that answer first")
        if rounds[-1].round_id != round_id:
            raise NothingToAccept("there is a newer answer; look at that first")
        if rounds[-1].facts.get(PRUNED):
            raise NothingToAccept("the answer is not kept any more (retention.rounds_days); draw on a few slices first")
        if not self._mark:
            raise NothingToAccept("the site's contract has no word for accepted slices; set contract.reviewed")
        return rounds[-1], task

    def _identity(self, case: Case, task: Task, round_: Round, accepted: Collection[int], reader: str) -> ResultIdentity:
        """The same acceptance, sent twice, is one object."""
        planes = ",".join(map(str, sorted(accepted)))
        parts = ("accepted", case.series_instance_uid, case.part, task.task_id, round_.trigger_uid, planes, reader)
        rest = f" accepted r{round_.number} (research use)"
        return ResultIdentity(
            series_instance_uid=derived_uid(*parts, "series"),
            sop_instance_uid=derived_uid(*parts, "instance"),
            series_number=acceptance_series_number(round_.round_id),
            series_description=f"{task.task_id[: 64 - len(rest)]}{rest}",
            task_id=task.task_id,
            round_number=round_.number or 0,
            algorithm_version=round_.checkpoint or "propagation",
            created=datetime.fromtimestamp(self._clock.now(), UTC),
        )


def _chosen(images: ImageSeries, record: CaseRecord, slices: Collection[int] | None) -> frozenset[int]:
    """The planes that are accepted."""
    acquired = frozenset(one.plane for one in images.slices)
    chosen = acquired if slices is None else frozenset(slices)
    if not chosen or not chosen <= acquired or record.labels_DHW.shape != images.volume.geometry.shape:
        raise NothingToAccept("the series has no such slices; look at the answer again")
    if record.annotation is not None and chosen <= _known(record.annotation):
        raise NothingToAccept("all of these slices are drawn or accepted already")
    return chosen


def _known(annotation: SparseAnnotation) -> frozenset[int]:
    """Planes on which all that there is to know is known."""
    return frozenset(index for index in annotation.planes_of() if annotation.known_LDHW[:, index].all())
