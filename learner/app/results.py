"""An answer as DICOM objects, ready for the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from dicom_io.identifiers import derived_uid
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.viewer_lint import Severity, lint
from dicom_io.volume import ImageSeries
from dicom_io.write_map import write_residual_map
from dicom_io.write_report import write_guidance
from dicom_io.write_seg import write_prediction, write_residual_bands
from learner.domain.answer import Answer
from learner.domain.task import Task

PREDICTION, RESIDUAL, GUIDANCE, RESIDUAL_MAP = "prediction", "residual", "guidance", "residual map"
_KINDS = (PREDICTION, RESIDUAL, GUIDANCE, RESIDUAL_MAP)
_SERIES_NUMBER_BASE = 9000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One DICOM object of an answer.

    Attributes:
        kind: ``prediction``, ``residual``, ``guidance`` or ``residual map``.
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
        number: round of the case.
        checkpoint: version of the model that took part, empty for none.
        received_at: POSIX time of the trigger; the objects' date, so that a repeated answer is the same.
    """

    trigger_uid: str
    number: int
    checkpoint: str
    received_at: float


def build_results(
    source: ImageSeries, task: Task, answer: Answer, identity: RoundIdentity, *, residual_map: bool = False
) -> list[ResultFile]:
    """The objects of an answer; none of them fails the display rules of the common viewers.

    With ``residual_map`` the residual goes as a Parametric Map as well. It is left out in a round
    that has only one of front and back end, guidance where there is nothing to suggest.
    """
    files = [_prediction(source, task, answer, identity)]
    if answer.residual_DHW.any():
        files.append(_residual(source, task, answer, identity))
        if residual_map:
            series_identity = _identity(source, task, identity, RESIDUAL_MAP)
            files.append(
                _result(RESIDUAL_MAP, series_identity, write_residual_map(source, answer.residual_DHW, series_identity))
            )
    slices = [s for s in answer.guidance.suggestions if s.axis == 0]
    if slices:
        series_identity = _identity(source, task, identity, GUIDANCE)
        file = write_guidance(source, [(s.index, s.score, s.reason) for s in slices], series_identity)
        files.append(_result(GUIDANCE, series_identity, file))
    return [result for result in files if _displayable(result, source)]


def segment_descriptions(task: Task) -> Sequence[SegmentDescription]:
    """The labels of a task as segments of a SEG."""
    return [SegmentDescription(label.number, label.name, label.category, label.type, label.colour) for label in task.labels]


def _prediction(source: ImageSeries, task: Task, answer: Answer, identity: RoundIdentity) -> ResultFile:
    series_identity = _identity(source, task, identity, PREDICTION)
    drawn = answer.proxy_labels_DHW is not None
    file = write_prediction(source, answer.labels_DHW, segment_descriptions(task), series_identity, with_drawing=drawn)
    return _result(PREDICTION, series_identity, file)


def _residual(source: ImageSeries, task: Task, answer: Answer, identity: RoundIdentity) -> ResultFile:
    series_identity = _identity(source, task, identity, RESIDUAL)
    return _result(RESIDUAL, series_identity, write_residual_bands(source, answer.residual_DHW, series_identity))


def _identity(source: ImageSeries, task: Task, identity: RoundIdentity, kind: str) -> ResultIdentity:
    series_uid = source.volume.series.series_instance_uid
    version = identity.checkpoint or "propagation"
    return ResultIdentity(
        series_instance_uid=derived_uid(series_uid, task.task_id, identity.trigger_uid, kind, "series"),
        sop_instance_uid=derived_uid(series_uid, task.task_id, identity.trigger_uid, kind, "instance"),
        series_number=_SERIES_NUMBER_BASE + 10 * identity.number + _KINDS.index(kind),
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


def _displayable(result: ResultFile, source: ImageSeries) -> bool:
    """Whether viewers will show the object; what fails is said in the log and not sent."""
    failed = [finding for finding in lint(result.file, source) if finding.severity is Severity.ERROR]
    for finding in failed:
        _log.error("result not sent", kind=result.kind, rule=finding.rule, what=finding.what, remedy=finding.remedy)
    return not failed
