"""An answer as DICOM objects, ready for the archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import structlog

from dicom_io.identifiers import derived_uid
from dicom_io.results import LabelMeasurement, ResultIdentity, SegmentDescription, SuggestedSlice
from dicom_io.viewer_lint import Severity, lint
from dicom_io.volume import ImageSeries
from dicom_io.write_captures import write_captures
from dicom_io.write_key_objects import write_key_objects
from dicom_io.write_map import write_residual_map
from dicom_io.write_report import ReportClass, ReportContent, write_report
from dicom_io.write_rtstruct import write_contours
from dicom_io.write_seg import write_prediction, write_residual_bands, write_residual_fractional
from learner.domain.answer import Answer
from learner.domain.pace import give_way
from learner.domain.result_kinds import (
    CAPTURES,
    CONTOURS,
    DEFAULT_KINDS,
    KEY_OBJECTS,
    KINDS,
    PREDICTION,
    REPORT,
    RESIDUAL_BANDS,
    RESIDUAL_FRACTIONAL,
    RESIDUAL_MAP,
)
from learner.domain.task import Task
from learner.domain.viewer_link import viewer_link

PRIOR_STUDY = "earlier study"
"""How results say that the study of an earlier date took part."""

_ACCEPTED = {RESIDUAL_FRACTIONAL: ("fractional",)}
"""Display rules that a kind breaks by its nature; who chooses it accepts that."""
_FIRST_SERIES_NUMBER, _FIRST_ACCEPTANCE, _FIRST_REFUSAL = 100_000, 2_050_000_000, 2_100_000_000
_CASES, _ROUNDS, _KINDS, _REFUSALS = 200_000, 1_000, 10, 40_000_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResultSettings:
    """Which objects an answer consists of.

    Attributes:
        kinds: of :data:`KINDS`; the prediction is always written.
        report_class: SR class of the report.
        viewer: template of links to a viewer (:func:`learner.domain.viewer_link.viewer_link`); empty for none.
    """

    kinds: frozenset[str] = DEFAULT_KINDS
    report_class: ReportClass = "comprehensive"
    viewer: str = ""


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One DICOM object of an answer.

    Attributes:
        kind: one of :data:`KINDS`.
        sop_instance_uid: derived from the trigger and the kind: an answer that is made twice stays one object.
        series_instance_uid: likewise.
        file: the object as a DICOM Part 10 file.
    """

    kind: str
    sop_instance_uid: str
    series_instance_uid: str
    file: bytes


@dataclass(frozen=True, slots=True)
class RoundIdentity:
    """What the objects of one answer say of where they come from.

    Attributes:
        trigger_uid: what was answered; UIDs are derived from it.
        case_id: number of the case, 1 or more.
        number: round of the case.
        checkpoint: version of the model that took part, empty for none.
        received_at: POSIX time of the trigger; the objects' date, so that a repeated answer is the same.
        from_prior: whether another study of the same patient took part.
    """

    trigger_uid: str
    case_id: int
    number: int
    checkpoint: str
    received_at: float
    from_prior: bool = False

    @property
    def version(self) -> str:
        """What the answer was made with, in words for viewers."""
        parts = (self.checkpoint, PRIOR_STUDY if self.from_prior else "")
        return " + ".join(part for part in parts if part) or "propagation"


@dataclass(frozen=True, eq=False)
class _Writing:
    """What the writers of all kinds need."""

    source: ImageSeries
    task: Task
    answer: Answer
    before_DHW: npt.NDArray[np.uint8] | None
    identity: Callable[[str], ResultIdentity]
    report_class: ReportClass
    viewer: str

    @property
    def segments(self) -> Sequence[SegmentDescription]:
        return segment_descriptions(self.task)

    @property
    def with_drawing(self) -> bool:
        return self.answer.proxy_labels_DHW is not None

    @property
    def suggestions(self) -> list[SuggestedSlice]:
        """Suggestions that name an image: acquired slices of the series."""
        found = ((s, self.source.slice_at(s.index)) for s in self.answer.guidance.suggestions if s.axis == 0)
        return [
            SuggestedSlice(s.index, s.score, s.reason, self._link(at.sop_instance_uid)) for s, at in found if at is not None
        ]

    def _link(self, image: str) -> str:
        """Address of an image in a viewer, with this prediction laid over it."""
        series, prediction = self.source.volume.series, self.identity(PREDICTION).series_instance_uid
        return viewer_link(
            self.viewer,
            series.study_instance_uid,
            series=series.series_instance_uid,
            instance=image,
            segmentation=prediction,
        )


def build_results(
    source: ImageSeries,
    task: Task,
    answer: Answer,
    identity: RoundIdentity,
    settings: ResultSettings | None = None,
    before_DHW: npt.NDArray[np.uint8] | None = None,
) -> list[ResultFile]:
    """The objects of an answer; none of them fails the display rules of the common viewers.

    A residual is left out in a round that has only one of front and back end; contours where nothing was found, key objects
    and captures where there is nothing to suggest.

    Args:
        source: the image series.
        task: what is segmented.
        answer: what was found.
        identity: where the answer comes from.
        settings: which objects; the usual ones where left out.
        before_DHW: uint8 labels of the round before, for the volumes in the report; None in the first round.
    """
    settings = settings or ResultSettings()
    writing = _Writing(
        source,
        task,
        answer,
        before_DHW,
        lambda kind: _identity(source, task, identity, kind),
        settings.report_class,
        settings.viewer,
    )
    chosen = [kind for kind in KINDS if kind == PREDICTION or kind in settings.kinds]
    results: list[ResultFile] = []
    for kind in chosen:
        give_way()
        results += _displayable(list(_WRITERS[kind](writing)), source)
    return results


def segment_descriptions(task: Task) -> Sequence[SegmentDescription]:
    """The labels of a task as segments of a SEG."""
    return [SegmentDescription(label.number, label.name, label.category, label.type, label.colour) for label in task.labels]


def series_number(case_id: int, number: int, kind: str) -> int:
    """Series Number of a result: 100000 + 10000 x case + 10 x round + kind.

    Two results of one study have different numbers, whatever their tasks: no two rounds of a case, of 1000 that follow each
    other, and no two cases, of 200,000. The greatest is below 2^31, the limit of VR IS (PS3.5 section 6.2).
    """
    place = (case_id % _CASES) * _ROUNDS + number % _ROUNDS
    return _FIRST_SERIES_NUMBER + place * _KINDS + KINDS.index(kind)


def acceptance_series_number(round_id: int) -> int:
    """Series Number of what a reader accepted of a round's answer, above those of all results."""
    return _FIRST_ACCEPTANCE + round_id % _REFUSALS


def refusal_series_number(round_id: int) -> int:
    """Series Number of the report of a refusal, above those of all results."""
    return _FIRST_REFUSAL + round_id % _REFUSALS


def _identity(source: ImageSeries, task: Task, identity: RoundIdentity, kind: str) -> ResultIdentity:
    parts = (source.volume.series.series_instance_uid + source.part, task.task_id, identity.trigger_uid, kind)
    version = identity.version
    return ResultIdentity(
        series_instance_uid=derived_uid(*parts, "series"),
        sop_instance_uid=derived_uid(*parts, "instance"),
        series_number=series_number(identity.case_id, identity.number, kind),
        series_description=_description(task, kind, identity.number, version),
        task_id=task.task_id,
        round_number=identity.number,
        algorithm_version=version,
        created=datetime.fromtimestamp(identity.received_at, UTC),
    )


def _description(task: Task, kind: str, number: int, version: str) -> str:
    """Series Description of at most 64 characters; where that is too few, the task's name gives way."""
    rest = f" {kind} r{number} (research use)"
    return f"{task.task_id[: 64 - len(rest)]}{rest} {version}"[:64].rstrip()


def _result(kind: str, identity: ResultIdentity, file: bytes) -> ResultFile:
    return ResultFile(kind, identity.sop_instance_uid, identity.series_instance_uid, file)


def _prediction(of: _Writing) -> Iterator[ResultFile]:
    identity = of.identity(PREDICTION)
    file = write_prediction(of.source, of.answer.labels_DHW, of.segments, identity, with_drawing=of.with_drawing)
    yield _result(PREDICTION, identity, file)


def _residual(
    kind: str, write: Callable[[ImageSeries, npt.NDArray[np.float32], ResultIdentity], bytes]
) -> Callable[[_Writing], Iterator[ResultFile]]:
    """The writer of a kind of residual."""

    def residual(of: _Writing) -> Iterator[ResultFile]:
        if of.answer.residual_DHW.any():
            identity = of.identity(kind)
            yield _result(kind, identity, write(of.source, of.answer.residual_DHW, identity))

    return residual


def _key_objects(of: _Writing) -> Iterator[ResultFile]:
    if of.suggestions:
        identity = of.identity(KEY_OBJECTS)
        yield _result(KEY_OBJECTS, identity, write_key_objects(of.source, of.suggestions, identity))


def _report(of: _Writing) -> Iterator[ResultFile]:
    answer = of.answer
    if not of.suggestions and not of.source.onto_slices(answer.labels_DHW).any():
        return
    content = ReportContent(of.suggestions, _measurements(of), answer.residual_DHW, answer.labels_DHW, of.identity(PREDICTION))
    identity = of.identity(REPORT)
    yield _result(REPORT, identity, write_report(of.source, content, identity, of.report_class))


def _measurements(of: _Writing) -> list[LabelMeasurement]:
    millilitres = of.source.volume.geometry.voxel_volume_mm3 / 1000

    def volume(labels_DHW: npt.NDArray[np.uint8], number: int) -> float:
        return float(np.count_nonzero(labels_DHW == number)) * millilitres

    return [
        LabelMeasurement(
            segment=segment,
            volume_ml=volume(of.answer.labels_DHW, segment.number),
            volume_before_ml=None if of.before_DHW is None else volume(of.before_DHW, segment.number),
            estimated_dice=None if of.answer.estimated_dice is None else of.answer.estimated_dice[segment.number - 1],
        )
        for segment in of.segments
    ]


def _contours(of: _Writing) -> Iterator[ResultFile]:
    if not of.source.onto_slices(of.answer.labels_DHW).any():
        return
    identity = of.identity(CONTOURS)
    file = write_contours(of.source, of.answer.labels_DHW, of.segments, identity, with_drawing=of.with_drawing)
    yield _result(CONTOURS, identity, file)


def _captures(of: _Writing) -> Iterator[ResultFile]:
    identity = of.identity(CAPTURES)
    written = write_captures(of.source, of.suggestions, of.answer.labels_DHW, of.answer.residual_DHW, of.segments, identity)
    for uid, file in written:
        yield ResultFile(CAPTURES, uid, identity.series_instance_uid, file)


_WRITERS: dict[str, Callable[[_Writing], Iterator[ResultFile]]] = {
    PREDICTION: _prediction,
    RESIDUAL_BANDS: _residual(RESIDUAL_BANDS, write_residual_bands),
    RESIDUAL_MAP: _residual(RESIDUAL_MAP, write_residual_map),
    RESIDUAL_FRACTIONAL: _residual(RESIDUAL_FRACTIONAL, write_residual_fractional),
    KEY_OBJECTS: _key_objects,
    REPORT: _report,
    CONTOURS: _contours,
    CAPTURES: _captures,
}


def _displayable(series: list[ResultFile], source: ImageSeries) -> list[ResultFile]:
    """The objects of one series that viewers will show; what fails is said in the log and not sent."""
    shown = []
    for result in series:
        found = lint(result.file, source, accept=_ACCEPTED.get(result.kind, ()), siblings=len(series))
        failed = [finding for finding in found if finding.severity is Severity.ERROR]
        for finding in failed:
            _log.error("result not sent", kind=result.kind, rule=finding.rule, what=finding.what, remedy=finding.remedy)
        if not failed:
            shown.append(result)
    return shown
