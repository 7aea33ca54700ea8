"""From a trigger to its answer: everything that can be computed again without harm. Writes only which object a trigger is."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import structlog

from dicom_io.annotation import AnnotationHeader, Drawing, PlaneKind, SparseAnnotation
from dicom_io.errors import EmptyAnnotation, NotInPacs, UnsupportedObject
from dicom_io.pacs.port import SeriesStatus, Source
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.results import MANUFACTURER
from dicom_io.volume import ImageSeries
from learner.app.answering import CaseAnswer, answer_case
from learner.app.images import SeriesImages
from learner.app.results import ResultFile, RoundIdentity, build_results
from learner.app.serving import ServingNetworks
from learner.app.task_choice import TaskChoice
from learner.domain.case import Case, Round
from learner.domain.contract import EarlierAnswer, accumulate, adds_nothing, interpret
from learner.domain.example import Example
from learner.domain.task import Task
from learner.ports import CaseRecord, Propagator, Store

_log = structlog.get_logger(__name__)


class SourceAwaited(Exception):
    """The images of an annotation are not in the archive, or still arriving."""

    def __init__(self, series_instance_uid: str, problem: str) -> None:
        super().__init__(f"{problem}; it is answered once the series is complete in the archive")
        self.series_instance_uid = series_instance_uid


class NothingNew(Exception):
    """The object tells nothing that is not known: our own result, or a result or drawing saved again without change."""


@dataclass(frozen=True, eq=False)
class Computation:
    """An answer, ready to be committed.

    Attributes:
        case_id: the case.
        number: round of the case.
        reader: who drew.
        checkpoint: version of the model that took part, empty for none.
        results: DICOM objects for the archive.
        record: what the case has come to.
        example: what to learn from, or None where nothing is drawn.
        facts: what was measured.
    """

    case_id: int
    number: int
    reader: str
    checkpoint: str
    results: list[ResultFile]
    record: CaseRecord
    example: Example | None
    facts: dict[str, object]


@dataclass(frozen=True, eq=False)
class _Subject:
    """What a trigger is about, once everything it needs is at hand."""

    case: Case
    task: Task
    images: ImageSeries
    before: CaseRecord | None
    annotation: SparseAnnotation | None
    header: AnnotationHeader | None
    number: int
    facts: dict[str, object]


class Compute:
    """Makes answers.

    Args:
        source: the archive.
        store: what is known of each case.
        images: image series.
        tasks: which task a series belongs to.
        propagator: the front end.
        networks: the back end as it serves.
        case_key: keyed hash of a series UID, for what the trainer sees.
        residual_map: whether the residual goes to the archive as a Parametric Map as well.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        images: SeriesImages,
        tasks: TaskChoice,
        propagator: Propagator,
        networks: ServingNetworks,
        case_key: Callable[[str], str],
        *,
        residual_map: bool = False,
    ) -> None:
        self._source = source
        self._store = store
        self._images = images
        self._tasks = tasks
        self._propagator = propagator
        self._networks = networks
        self._case_key = case_key
        self._residual_map = residual_map

    def answer(self, round_: Round) -> Computation:
        """The answer to a trigger.

        Raises:
            SourceAwaited: its images are not there yet.
            NothingNew: there is nothing to answer.
            DicomIoError: the object, or its series, cannot be understood or fetched.
        """
        subject = self._undrawn(round_) if round_.number == 0 else self._drawn(round_)
        return self._compute(round_, subject)

    def _undrawn(self, round_: Round) -> _Subject:
        """Round 0: a new series, nothing drawn."""
        assert round_.case_id is not None
        case = self._store.records.find_case(round_.case_id)
        if self._store.records.rounds_of(case.case_id):
            raise NothingNew("the case was answered already")
        task = self._tasks.by_name(case.task_id)
        images = self._images.get(self._source.find_series(case.series_instance_uid))
        return _Subject(case, task, images, None, None, None, 0, {})

    def _drawn(self, round_: Round) -> _Subject:
        """An annotation object."""
        file = self._source.fetch(round_.trigger_uid)
        header = inspect(file)
        self._store.records.note_facts(round_.round_id, annotation_uid=header.sop_instance_uid)
        if self._store.records.is_own_object(header.sop_instance_uid):
            raise NothingNew("this object is a result of this node")
        series = self._image_series(header)
        images = self._images.get(series)
        drawing = read_annotation(file, images)
        if _made_by_a_node(drawing):
            raise NothingNew("this object is a result of another node, or of this one before its data was lost")
        task = self._tasks.for_drawing(series, drawing)
        case = self._store.records.case(task.task_id, series.study_instance_uid, series.series_instance_uid)
        earlier = self._records(case, images)
        found = interpret(drawing, task, [_earlier_answer(record) for record in earlier])
        before = earlier[-1] if earlier else None
        annotated = before.annotation if before is not None else None
        if found.annotation is None and not found.edited:
            raise EmptyAnnotation(f"object {header.sop_instance_uid}", "nothing is drawn in it", "Draw at least one slice.")
        if found.annotation is None or adds_nothing(annotated, found.annotation):
            raise NothingNew("saved without any change to what is known already")
        remarks = [*images.remarks, *drawing.remarks]
        if found.unknown_labels:
            remarks.append(f"segments that no label of task {task.task_id} matches were left out: {len(found.unknown_labels)}")
        facts: dict[str, object] = {
            "edited": found.edited,
            "new_slices": len(found.annotation.planes),
            "remarks": remarks,
        }
        number = 1 + max((r.number or 0 for r in self._store.records.rounds_of(case.case_id)), default=0)
        return _Subject(case, task, images, before, accumulate(annotated, found.annotation), header, number, facts)

    def _image_series(self, header: AnnotationHeader) -> SeriesStatus:
        """The image series that an annotation refers to.

        Raises:
            SourceAwaited: it is not in the archive, or still arriving.
            UnsupportedObject: the object names none.
        """
        if not header.referenced_series_uids:
            raise UnsupportedObject(
                f"object {header.sop_instance_uid}",
                "it names no image series",
                "Store it with a Referenced Series Sequence, as OHIF, Slicer and dcmqi do.",
            )
        uid = header.referenced_series_uids[0]
        try:
            series = self._source.find_series(uid)
        except NotInPacs:
            raise SourceAwaited(uid, f"its image series {uid} is not in the archive") from None
        if not series.is_stable:
            raise SourceAwaited(uid, f"its image series {uid} is still arriving")
        self._warn_of_twins(header, uid)
        return series

    def _warn_of_twins(self, header: AnnotationHeader, uid: str) -> None:
        """Says so where the images' SOP Instance UIDs stand in another series as well; the series that is named decides."""
        for sop_uid in header.referenced_sop_instance_uids[:1]:
            twins = [other for other in self._source.series_of(sop_uid) if other != uid]
            if twins:
                _log.warning(
                    "SOP Instance UIDs stand in two series; read against the one that the annotation names",
                    annotation=header.sop_instance_uid,
                    series=uid,
                    others=twins,
                )

    def _records(self, case: Case, images: ImageSeries) -> list[CaseRecord]:
        """What the earlier rounds of a case came to, on the same grid, oldest first."""
        records = [self._store.files.get_record(r.round_id) for r in self._store.records.rounds_of(case.case_id)]
        return [record for record in records if record.labels_DHW.shape == images.volume.geometry.shape]

    def _compute(self, round_: Round, subject: _Subject) -> Computation:
        began = time.monotonic()
        serving = self._networks.for_task(subject.task.task_id)
        if serving is None and subject.annotation is None:
            raise NothingNew("no model serves this task yet")
        volume = subject.images.volume
        previous = subject.before.back_end_CDHW if subject.before is not None else None
        answered = answer_case(
            volume.voxels_DHW,
            volume.geometry.spacing_DHW,
            subject.annotation,
            len(subject.task.labels),
            self._propagator,
            serving.network if serving is not None else None,
            previous.astype(np.float32) if previous is not None else None,
        )
        seconds = time.monotonic() - began
        checkpoint = serving.checkpoint if serving is not None else ""
        identity = RoundIdentity(round_.trigger_uid, subject.number, checkpoint, round_.received_at)
        results = build_results(subject.images, subject.task, answered.answer, identity, residual_map=self._residual_map)
        facts = {
            **subject.facts,
            **_facts(subject, answered),
            "seconds_computing": round(seconds, 3),
            "seconds_writing": round(time.monotonic() - began - seconds, 3),
        }
        back_end = answered.back_end_CDHW
        return Computation(
            case_id=subject.case.case_id,
            number=subject.number,
            reader=subject.header.reader if subject.header is not None else "",
            checkpoint=checkpoint,
            results=results,
            record=CaseRecord(
                annotation=subject.annotation,
                labels_DHW=answered.answer.labels_DHW,
                back_end_CDHW=back_end.astype(np.float16) if back_end is not None else None,
            ),
            example=self._example(subject, answered),
            facts=facts,
        )

    def _example(self, subject: _Subject, answered: CaseAnswer) -> Example | None:
        if subject.annotation is None or answered.proxy is None:
            return None
        return Example(
            key=self._case_key(f"{subject.task.task_id}/{subject.case.series_instance_uid}"),
            task_id=subject.task.task_id,
            round_number=subject.number,
            image_DHW=subject.images.volume.voxels_DHW,
            spacing_DHW=subject.images.volume.geometry.spacing_DHW,
            annotation=subject.annotation,
            proxy=answered.proxy,
        )


def _made_by_a_node(drawing: Drawing) -> bool:
    """Whether an object says that software like this wrote it and that nobody drew it (rule 7, by equipment)."""
    machine_made = all(segment.algorithm_type in {"AUTOMATIC", "SEMIAUTOMATIC"} for segment in drawing.segments)
    return machine_made and drawing.header.manufacturer == MANUFACTURER


def _earlier_answer(record: CaseRecord) -> EarlierAnswer:
    drawn = record.annotation.planes_of() if record.annotation is not None else ()
    return EarlierAnswer(record.labels_DHW, frozenset(drawn))


def _facts(subject: _Subject, answered: CaseAnswer) -> dict[str, object]:
    """What the API, the page and the reader are told of an answer."""
    volume, answer = subject.images.volume, answered.answer
    uids = volume.series.sop_instance_uids
    millilitres = volume.geometry.voxel_volume_mm3 / 1000
    drawn: Sequence[int] = ()
    if subject.annotation is not None:
        drawn = subject.annotation.planes_of(PlaneKind.DRAWN)
    return {
        "slices": volume.geometry.shape[0],
        "drawn_slices": list(drawn),
        "volumes_ml": {
            label.name: round(float(np.count_nonzero(answer.labels_DHW == label.number)) * millilitres, 3)
            for label in subject.task.labels
        },
        "estimated_dice": list(answer.estimated_dice) if answer.estimated_dice is not None else None,
        "guidance": [
            {
                "axis": s.axis,
                "index": s.index,
                "sop_instance_uid": uids[s.index] if s.axis == 0 else "",
                "score": round(s.score, 4),
                "reason": s.reason,
            }
            for s in answer.guidance.suggestions
        ],
        "enough": answer.guidance.enough,
    }
