"""From a trigger to its answer: all that can be computed again. Writes which object a trigger is, and what tells its images."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dicom_io.annotation import PlaneKind
from dicom_io.thumbnails import Thumbnail
from dicom_io.volume import ImageSeries
from learner.app.answering import DEFAULT_RULE, CaseAnswer, answer_case
from learner.app.audit import drawn_facts
from learner.app.experience import experience
from learner.app.pictures import pictures_of
from learner.app.results import ResultFile, ResultSettings, RoundIdentity, build_results
from learner.app.serving import ServingNetworks
from learner.app.subject import NothingLeft, NothingNew, Subject, Subjects
from learner.domain.case import Round
from learner.domain.example import Example, Withdrawal
from learner.domain.gate import foresight
from learner.domain.guidance import Suggestion
from learner.domain.prior import CarriedPrior
from learner.domain.reaction import Reaction
from learner.ports import CaseRecord, GuidanceRule, Network, PriorCarrier, Propagator, Store


@dataclass(frozen=True, eq=False)
class Computation:
    """An answer, ready to be committed.

    Attributes:
        case_id: the case.
        model_id: the model that learns from it.
        number: round of the case.
        reader: who drew.
        checkpoint: version of the model that took part, empty for none.
        results: DICOM objects for the archive.
        record: what the case has come to.
        example: what to learn from, or None where nothing is drawn.
        facts: what was measured.
        provenance: what the audit record is told of it.
        reaction: what the reader did with an answer before, or None.
    """

    case_id: int
    model_id: str
    number: int
    reader: str
    checkpoint: str
    results: list[ResultFile]
    record: CaseRecord
    example: Example | Withdrawal | None
    facts: dict[str, object]
    provenance: dict[str, Any] = field(default_factory=dict)
    reaction: Reaction | None = None


class Compute:
    """Makes answers.

    Args:
        subjects: finds what triggers are about.
        store: what earlier cases have shown.
        propagator: the front end.
        networks: the back end as it serves.
        case_key: keyed hash of what identifies a case, a site or a reader, for what the trainer sees.
        results: which objects an answer consists of.
        own_propagators: the front end of tasks that name one, by task.
        carrier: carries prior studies to new ones; None where they are not used.
        rule: says what to draw next.
    """

    def __init__(
        self,
        subjects: Subjects,
        store: Store,
        propagator: Propagator,
        networks: ServingNetworks,
        case_key: Callable[[str], str],
        results: ResultSettings | None = None,
        own_propagators: Mapping[str, Propagator] | None = None,
        carrier: PriorCarrier | None = None,
        rule: GuidanceRule = DEFAULT_RULE,
    ) -> None:
        self._subjects = subjects
        self._store = store
        self._propagator = propagator
        self._networks = networks
        self._case_key = case_key
        self._results = results
        self._own_propagators = own_propagators or {}
        self._carrier = carrier
        self._rule = rule

    def answer(self, round_: Round) -> Computation:
        """The answer to a trigger.

        Raises:
            SourceAwaited: its images are not there yet.
            NothingNew: there is nothing to answer.
            DicomIoError: the object, or its series, cannot be understood or fetched.
        """
        return self._compute(round_, self._subjects.of(round_))

    def _compute(self, round_: Round, subject: Subject) -> Computation:
        began = time.monotonic()
        serving = self._networks.for_task(subject.task)
        prior = self._carried(subject)
        if serving is None and subject.annotation is None and (prior is None or prior.proxy is None):
            if subject.number > 0:
                raise NothingLeft(self._withdrawal(subject), subject.task.model_id)
            raise NothingNew("no model serves this task yet" + (f", and {prior.reason}" if prior is not None else ""))
        answered = self._answered(subject, serving.network if serving is not None else None, prior)
        computed = time.monotonic()
        checkpoint = serving.checkpoint if serving is not None else ""
        results = self._written(round_, subject, answered, checkpoint, prior)
        pictures = pictures_of(subject.images, answered.answer)
        facts = {
            **subject.facts,
            **_facts(subject, answered),
            "site": self._site(subject.images),
            **_prior_facts(subject, prior),
            "seconds_computing": round(computed - began, 3),
            "seconds_writing": round(time.monotonic() - computed, 3),
            "pictures": [{"kind": one.kind, "axis": one.axis, "index": one.index} for one in pictures],
        }
        return Computation(
            case_id=subject.case.case_id,
            model_id=subject.task.model_id,
            number=subject.number,
            reader=subject.reader,
            checkpoint=checkpoint,
            results=results,
            record=_record(subject, answered, pictures),
            example=self._example(subject, answered),
            facts=facts,
            provenance=_provenance(subject, answered, checkpoint),
            reaction=subject.reaction,
        )

    def _written(
        self, round_: Round, subject: Subject, answered: CaseAnswer, checkpoint: str, prior: CarriedPrior | None
    ) -> list[ResultFile]:
        """The answer as DICOM objects."""
        identity = RoundIdentity(
            round_.trigger_uid,
            subject.case.case_id,
            subject.number,
            checkpoint,
            round_.received_at,
            from_prior=prior is not None and prior.proxy is not None,
        )
        before_DHW = subject.before.labels_DHW if subject.before is not None else None
        return build_results(subject.images, subject.task, answered.answer, identity, self._results, before_DHW)

    def _answered(self, subject: Subject, network: Network | None, prior: CarriedPrior | None) -> CaseAnswer:
        volume = subject.images.volume
        previous = subject.before.back_end_CDHW if subject.before is not None else None
        return answer_case(
            volume.voxels_DHW,
            volume.geometry.spacing_DHW,
            subject.annotation,
            len(subject.task.labels),
            self._own_propagators.get(subject.task.task_id, self._propagator),
            network,
            previous.astype(np.float32) if previous is not None else None,
            subject.acquired,
            experience(self._store, subject.task.task_id, subject.case.case_id),
            prior,
            self._rule,
        )

    def _carried(self, subject: Subject) -> CarriedPrior | None:
        """The prior study on today's grid, or None without one."""
        if self._carrier is None or subject.prior is None:
            return None
        volume = subject.images.volume
        return self._carrier.carry(subject.prior, volume.voxels_DHW, volume.geometry, len(subject.task.labels))

    def _example(self, subject: Subject, answered: CaseAnswer) -> Example | Withdrawal | None:
        if subject.annotation is None or answered.proxy is None:
            return self._withdrawal(subject) if subject.number > 0 else None
        return Example(
            key=self._key(subject),
            task_id=subject.task.task_id,
            round_number=subject.number,
            image_DHW=subject.images.volume.voxels_DHW,
            spacing_DHW=subject.images.volume.geometry.spacing_DHW,
            annotation=subject.annotation,
            proxy=answered.proxy,
            agreement_DHW=subject.agreement_DHW,
            site=self._site(subject.images),
            reader=self._case_key(f"reader/{subject.reader}") if subject.reader else "",
        )

    def _site(self, images: ImageSeries) -> str:
        """Keyed hash of where the images were made: the institution, and the station or else the scanner's model."""
        header = images.headers[0]
        device = _told(header, "StationName") or _told(header, "ManufacturerModelName")
        parts = [part for part in (_told(header, "InstitutionName"), device) if part]
        return self._case_key(f"site/{'/'.join(parts)}") if parts else ""

    def _withdrawal(self, subject: Subject) -> Withdrawal:
        return Withdrawal(self._key(subject), subject.task.task_id, len(subject.task.labels))

    def _key(self, subject: Subject) -> str:
        return self._case_key(subject.case.identity)


def _record(subject: Subject, answered: CaseAnswer, pictures: tuple[Thumbnail, ...]) -> CaseRecord:
    """What the next round starts from."""
    back_end = answered.back_end_CDHW
    return CaseRecord(
        drawing=subject.drawing,
        annotation=subject.annotation,
        labels_DHW=answered.answer.labels_DHW,
        back_end_CDHW=back_end.astype(np.float16) if back_end is not None else None,
        evidence=answered.evidence,
        pictures=pictures,
    )


def _facts(subject: Subject, answered: CaseAnswer) -> dict[str, object]:
    """What the API, the page and the reader are told of an answer."""
    answer, annotation = answered.answer, subject.annotation
    millilitres = subject.images.volume.geometry.voxel_volume_mm3 / 1000
    return {
        "slices": len(subject.images.slices),
        "structure_slices": int(answer.labels_DHW[sorted(subject.acquired)].any(axis=(1, 2)).sum()),
        "drawn_slices": list(annotation.planes_of(PlaneKind.DRAWN)) if annotation is not None else [],
        "planes": [[p.axis, p.index, p.kind] for p in annotation.planes] if annotation is not None else [],
        "volumes_ml": {
            label.name: round(float(np.count_nonzero(answer.labels_DHW == label.number)) * millilitres, 3)
            for label in subject.task.labels
        },
        "estimated_dice": list(answer.estimated_dice) if answer.estimated_dice is not None else None,
        "guidance": [_suggested(one, subject.images) for one in answer.guidance.suggestions],
        "enough": answer.guidance.enough,
        "foresight": _foresight(subject, answered),
        "propagator": answered.proxy.method if answered.proxy is not None else "",
        "trust": round(answered.trust, 4),
    }


def _provenance(subject: Subject, answered: CaseAnswer, checkpoint: str) -> dict[str, Any]:
    """From what an answer was made, and by which rules."""
    case = subject.case
    rules = ("edited", "accepted", "share_changed", "withdrawn_round")
    return {
        **drawn_facts(subject.drawing, subject.annotation),
        "case": case.case_id,
        "task": case.task_id,
        "model": subject.task.model_id,
        "number": subject.number,
        "study": case.study_instance_uid,
        "series": case.series_instance_uid,
        "prior_study": subject.prior.study_instance_uid if subject.prior is not None else "",
        "checkpoint": checkpoint,
        "trust": round(answered.trust, 4),
        "propagator": answered.proxy.method if answered.proxy is not None else "",
        **{name: subject.facts[name] for name in rules if name in subject.facts},
    }


def _foresight(subject: Subject, answered: CaseAnswer) -> list[float | None] | None:
    """How well the network alone, which was not shown any drawing, foresaw what was drawn in this round: Dice per label."""
    if subject.drawing is None or answered.back_end_CDHW is None:
        return None
    return list(foresight(subject.drawing, answered.back_end_CDHW))


def _told(header: Any, name: str) -> str:
    """What a header says, without the difference of case and spaces; empty where it says nothing."""
    return " ".join(str(header.get(name) or "").split()).casefold()


def _prior_facts(subject: Subject, prior: CarriedPrior | None) -> dict[str, object]:
    """Which study an answer was carried from, or why none was: case and study by number and UID, nothing of the patient."""
    if subject.prior is None or prior is None:
        return {}
    return {
        "prior": {
            "case": subject.prior.case_id,
            "study_instance_uid": subject.prior.study_instance_uid,
            "carried": prior.proxy is not None,
            "agreement": round(prior.agreement, 3),
            "reason": prior.reason,
        }
    }


def _suggested(suggestion: Suggestion, images: ImageSeries) -> dict[str, object]:
    """A slice to draw, and how a viewer finds it."""
    acquired = images.slice_at(suggestion.index) if suggestion.axis == 0 else None
    return {
        "axis": suggestion.axis,
        "index": suggestion.index,
        "sop_instance_uid": acquired.sop_instance_uid if acquired is not None else "",
        "frame_number": acquired.frame_number if acquired is not None else 0,
        "score": round(suggestion.score, 4),
        "reason": suggestion.reason,
    }
