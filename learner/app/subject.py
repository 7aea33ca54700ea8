"""What a trigger is about: which case, which images, and everything that readers have said about it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import structlog

from dicom_io.annotation import AnnotationHeader, Drawing, SparseAnnotation
from dicom_io.errors import EmptyAnnotation, NotInPacs, UnsupportedObject
from dicom_io.pacs.port import SeriesStatus, Source
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.results import MACHINE_MADE, MANUFACTURER
from dicom_io.volume import ImageSeries
from learner.app.audit import drawn_by, reaction_of
from learner.app.forgetting import ForgottenStudies
from learner.app.images import SeriesImages, first_image, image_digest, images_of
from learner.app.priors import PriorStudies
from learner.app.task_choice import TaskChoice
from learner.domain.case import PRUNED, Case, Round
from learner.domain.contract import (
    ContractNames,
    EarlierAnswer,
    Interpretation,
    adds_nothing,
    agreement,
    combine,
    interpret,
    is_copy,
    with_label_count,
)
from learner.domain.example import Withdrawal
from learner.domain.prior import PriorStudy
from learner.domain.reaction import Reaction
from learner.domain.task import Task
from learner.domain.trigger import instance_of, withdrawn_round
from learner.ports import CaseRecord, Store

_log = structlog.get_logger(__name__)


class SourceAwaited(Exception):
    """The images of an annotation are not in the archive, or still arriving."""

    def __init__(self, series_instance_uid: str, problem: str) -> None:
        super().__init__(f"{problem}; it is answered once the series is complete in the archive")
        self.series_instance_uid = series_instance_uid


class NothingNew(Exception):
    """The object tells nothing that is not known: our own result, or a result or drawing saved again without change.

    Args:
        why: one clause.
        case_id: the case, where a drawing of it was saved again.
        reaction: what the reader did with an answer by that.
        **facts: what is to be noted of the round.
    """

    def __init__(self, why: str, case_id: int | None = None, reaction: Reaction | None = None, **facts: object) -> None:
        super().__init__(why)
        self.case_id = case_id
        self.reaction = reaction
        self.facts = facts


class NothingLeft(NothingNew):
    """The last drawing of a case was taken back, and no network can answer without one.

    Args:
        withdrawal: what is to be forgotten.
        model_id: by which model.
    """

    def __init__(self, withdrawal: Withdrawal, model_id: str) -> None:
        super().__init__("nothing is drawn any more, and no model serves this task yet")
        self.withdrawal = withdrawal
        self.model_id = model_id


@dataclass(frozen=True, eq=False)
class Subject:
    """What a trigger is about, once everything it needs is at hand.

    Attributes:
        case: the case.
        task: its task.
        images: its images.
        before: what the case had come to after the latest round, or None.
        drawing: what this trigger adds, or None.
        annotation: all that readers said of the case, this trigger included; None where nothing is drawn.
        agreement_DHW: float32 share of the readers of a voxel that agree, or None where nobody disagrees.
        reader: who drew; empty where nobody did, or the object does not say.
        number: round of the case.
        facts: what was found in reading.
        prior: what readers left of another study of the same patient, looked for in round 0 alone; or None.
        reaction: what its reader did with an answer, or None.
    """

    case: Case
    task: Task
    images: ImageSeries
    before: CaseRecord | None
    drawing: SparseAnnotation | None
    annotation: SparseAnnotation | None
    agreement_DHW: npt.NDArray[np.float32] | None
    reader: str
    number: int
    facts: dict[str, object]
    prior: PriorStudy | None = None
    reaction: Reaction | None = None

    @property
    def acquired(self) -> frozenset[int]:
        """Slices of the volume that were acquired; the others are interpolated."""
        return acquired_slices(self.images)


class Subjects:
    """Finds what triggers are about.

    Args:
        source: the archive.
        store: what is known of each case.
        images: image series.
        tasks: which task a series belongs to.
        names: words by which readers mark segments and objects.
        priors: other studies of the same patient; None where they are not used.
        forgotten: studies of which nothing is taken in; None for none.
    """

    def __init__(
        self,
        source: Source,
        store: Store,
        images: SeriesImages,
        tasks: TaskChoice,
        names: ContractNames,
        priors: PriorStudies | None = None,
        forgotten: ForgottenStudies | None = None,
    ) -> None:
        self._forgotten = forgotten
        self._source = source
        self._store = store
        self._images = images
        self._tasks = tasks
        self._names = names
        self._priors = priors

    def of(self, round_: Round) -> Subject:
        """What a trigger is about.

        Raises:
            SourceAwaited: its images are not there yet.
            NothingNew: there is nothing to answer.
            DicomIoError: the object, or its series, cannot be understood or fetched.
        """
        withdrawn = withdrawn_round(round_.trigger_uid)
        if withdrawn is not None:
            return self._without(withdrawn)
        return self._undrawn(round_) if round_.number == 0 else self._drawn(round_)

    def _undrawn(self, round_: Round) -> Subject:
        """Round 0: a new series, nothing drawn."""
        assert round_.case_id is not None
        opened = self._store.records.find_case(round_.case_id)
        task = self._tasks.by_name(opened.task_id)
        images = self._images.get(self._source.find_series(opened.series_instance_uid))
        case = self._store.records.case(task.task_id, opened.study_instance_uid, opened.series_instance_uid, images.part)
        if self._store.records.rounds_of(case.case_id):
            raise NothingNew("the case was answered already")
        self._store.records.note_images(case.case_id, image_digest(images))
        prior = self._priors.of(case, task, images) if self._priors is not None else None
        return Subject(case, task, images, None, None, None, None, "", 0, {}, prior)

    def _drawn(self, round_: Round) -> Subject:
        """An annotation object."""
        file = self._source.fetch(instance_of(round_.trigger_uid))
        header = self._with_reader(inspect(file))
        self._store.records.note_facts(round_.round_id, annotation_uid=header.sop_instance_uid, drawn_by=drawn_by(header))
        if self._store.records.is_own_object(header.sop_instance_uid):
            raise NothingNew("this object is a result of this node")
        series = self._remembered_series(header)
        images = self._images.get(series, images_of(header))
        drawing = replace(read_annotation(file, images), header=header)
        if _made_by_a_node(drawing):
            raise NothingNew("this object is a result of another node, or of this one before its data was lost")
        acquired, digest = acquired_slices(images), image_digest(images)
        known = self._answers_on(series.series_instance_uid, digest, images)
        everywhere = [answer for answers in known.values() for answer in answers]
        task = self._tasks.for_drawing(series, drawing, lambda one: is_copy(one, drawing, everywhere, sorted(acquired)))
        case = self._store.records.case(task.task_id, series.study_instance_uid, series.series_instance_uid, images.part)
        self._store.records.note_images(case.case_id, digest)
        earlier = self._earlier(case, task, images)
        answers = [_earlier_answer(r, record) for r, record in earlier]
        elsewhere = [answer for case_id, of in known.items() if case_id != case.case_id for answer in of]
        found = interpret(drawing, task, [*elsewhere, *answers], self._names, acquired)
        new = _new_knowledge(found, header, _combined(earlier), case, answers)
        drawings = [*_drawings(earlier), new]
        return Subject(
            case=case,
            task=task,
            images=images,
            before=earlier[-1][1] if earlier else None,
            drawing=new,
            annotation=combine(drawings),
            agreement_DHW=agreement(drawings),
            reader=header.reader,
            number=self._next_number(case),
            facts=_facts(found, new, drawing, images),
            reaction=reaction_of(found, answers, new),
        )

    def _with_reader(self, header: AnnotationHeader) -> AnnotationHeader:
        """The header, with the name of whoever stored the object through the node where it names nobody itself."""
        return header if header.reader else replace(header, reader=self._store.authors.author_of(header.sop_instance_uid))

    def _without(self, round_id: int) -> Subject:
        """A reader took a drawing back: what the others say is answered."""
        gone = self._store.records.find_round(round_id)
        assert gone.case_id is not None
        case = self._store.records.find_case(gone.case_id)
        task = self._tasks.by_name(case.task_id)
        images = self._images.get(self._source.find_series(case.series_instance_uid), first_image(gone))
        records = self._earlier(case, task, images)
        drawings = _drawings(records)
        return Subject(
            case=case,
            task=task,
            images=images,
            before=records[-1][1] if records else None,
            drawing=None,
            annotation=combine(drawings),
            agreement_DHW=agreement(drawings),
            reader=gone.reader,
            number=self._next_number(case),
            facts={"withdrawn_round": round_id, "remarks": list(images.remarks), "first_image": gone.facts.get("first_image")},
        )

    def image_series(self, header: AnnotationHeader) -> SeriesStatus:
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

    def _remembered_series(self, header: AnnotationHeader) -> SeriesStatus:
        """:meth:`image_series`, of a study that is not forgotten; whose study it is is noted."""
        series = self.image_series(header)
        if self._forgotten is not None and self._forgotten.has(series.study_instance_uid):
            raise NothingNew("the study of its images was forgotten")
        if self._priors is not None:
            self._priors.links.note(series)
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

    def _earlier(self, case: Case, task: Task, images: ImageSeries) -> list[tuple[Round, CaseRecord]]:
        """The rounds of a case and what they came to, on the same grid, oldest first, for the labels that the task has now."""
        return [(r, _for_labels(record, len(task.labels))) for r, record in self._records_of(case, images)]

    def _records_of(self, case: Case, images: ImageSeries) -> list[tuple[Round, CaseRecord]]:
        kept = [r for r in self._store.records.rounds_of(case.case_id) if not r.facts.get(PRUNED)]
        pairs = [(r, self._store.files.get_record(r.round_id)) for r in kept]
        return [(r, record) for r, record in pairs if record.labels_DHW.shape == images.volume.geometry.shape]

    def _answers_on(self, series_uid: str, digest: str, images: ImageSeries) -> dict[int, list[EarlierAnswer]]:
        """The answers of all cases of the same images by case, whatever their task and their UIDs."""
        cases = self._store.records.cases_of_images(digest, series_uid)
        pairs = {case.case_id: self._records_of(case, images) for case in cases}
        return {number: [_earlier_answer(*pair, elsewhere=True) for pair in of] for number, of in pairs.items()}

    def _next_number(self, case: Case) -> int:
        return 1 + max((r.number or 0 for r in self._store.records.rounds_of(case.case_id)), default=0)


def acquired_slices(images: ImageSeries) -> frozenset[int]:
    """Planes of the volume that an acquired slice fills."""
    return frozenset(one.plane for one in images.slices)


def _new_knowledge(
    found: Interpretation,
    header: AnnotationHeader,
    before: SparseAnnotation | None,
    case: Case,
    answers: Sequence[EarlierAnswer],
) -> SparseAnnotation:
    """What an object adds.

    Raises:
        EmptyAnnotation: nothing is drawn in it.
        NothingNew: everything that it says is known.
    """
    if found.annotation is None and not found.edited:
        raise EmptyAnnotation(f"object {header.sop_instance_uid}", "nothing is drawn in it", "Draw at least one slice.")
    if found.annotation is None or adds_nothing(before, found.annotation):
        why = "saved without any change to what is known already"
        reaction = reaction_of(found, answers, None)
        raise NothingNew(why, case.case_id, reaction, edited=found.edited, remarks=list(found.remarks))
    return found.annotation


def _facts(found: Interpretation, new: SparseAnnotation, drawing: Drawing, images: ImageSeries) -> dict[str, object]:
    """What was found in reading an object."""
    return {
        "edited": found.edited,
        "accepted": found.accepted,
        "share_changed": round(found.share_changed, 4),
        "new_slices": len(new.planes),
        "remarks": [*images.remarks, *drawing.remarks, *found.remarks],
        "first_image": [images.slices[0].sop_instance_uid, images.slices[0].frame_number],
    }


def _drawings(earlier: Sequence[tuple[Round, CaseRecord]]) -> list[SparseAnnotation]:
    """What each round added, withdrawn ones left out, oldest first."""
    return [record.drawing for r, record in earlier if record.drawing is not None and not r.facts.get("withdrawn")]


def _combined(earlier: Sequence[tuple[Round, CaseRecord]]) -> SparseAnnotation | None:
    return combine(_drawings(earlier))


def _for_labels(record: CaseRecord, count: int) -> CaseRecord:
    """A record as one of a task with ``count`` labels; nothing was said of those that the task gained since."""

    def widened(annotation: SparseAnnotation | None) -> SparseAnnotation | None:
        return None if annotation is None else with_label_count(annotation, count)

    return replace(record, annotation=widened(record.annotation), drawing=widened(record.drawing))


def _made_by_a_node(drawing: Drawing) -> bool:
    """Whether an object says that software like this wrote it and that nobody drew it (rule 7, by equipment).

    A report does not say who drew its regions; software like this draws none in it but those of its guidance.
    """
    machine_made = all(segment.algorithm_type in MACHINE_MADE for segment in drawing.segments)
    return drawing.header.manufacturer == MANUFACTURER and (machine_made or drawing.header.modality == "SR")


def _earlier_answer(round_: Round, record: CaseRecord, *, elsewhere: bool = False) -> EarlierAnswer:
    drawn = record.annotation.planes_of() if record.annotation is not None else ()
    return EarlierAnswer(record.labels_DHW, frozenset(drawn), round_.round_id, elsewhere)
