"""Why an annotation was not understood, told to its reader where it was drawn: as a report in the study."""

from __future__ import annotations

from datetime import UTC, datetime

import structlog

from dicom_io.errors import DicomIoError
from dicom_io.identifiers import derived_uid
from dicom_io.pacs.port import Source
from dicom_io.read_annotation import inspect
from dicom_io.results import ResultIdentity
from dicom_io.write_refusal import write_refusal
from learner.app.results import ResultFile, refusal_series_number
from learner.app.tasks import TaskBook
from learner.domain.case import Round
from learner.domain.result_kinds import REFUSAL
from learner.domain.trigger import instance_of

_log = structlog.get_logger(__name__)


class Refusals:
    """Writes such reports, for annotations of images that a task is about; whatever else is in the archive is left alone.

    Args:
        source: the archive.
        tasks: which series matter.
    """

    def __init__(self, source: Source, tasks: TaskBook) -> None:
        self._source = source
        self._tasks = tasks

    def report(self, round_: Round, error: DicomIoError) -> ResultFile | None:
        """The report, or None where the object is too damaged to answer, or is none of our business."""
        try:
            file = self._source.fetch(instance_of(round_.trigger_uid))
            header = inspect(file)
            series = self._source.find_series(header.referenced_series_uids[0]) if header.referenced_series_uids else None
            if series is None or not self._tasks.matching(series):
                return None
            identity = _identity(round_, header.sop_instance_uid, error)
            report = write_refusal(file, error.problem, error.remedy, identity)
        except (DicomIoError, ValueError) as problem:
            _log.info("no report of the refusal", round=round_.round_id, reason=str(problem))
            return None
        return ResultFile(REFUSAL, identity.sop_instance_uid, identity.series_instance_uid, report)


def _identity(round_: Round, annotation_uid: str, error: DicomIoError) -> ResultIdentity:
    """Another reason, after a retry, makes another object: archives do not overwrite."""
    return ResultIdentity(
        series_instance_uid=derived_uid(annotation_uid, REFUSAL, str(error), "series"),
        sop_instance_uid=derived_uid(annotation_uid, REFUSAL, str(error), "instance"),
        series_number=refusal_series_number(round_.round_id),
        series_description="Annotation not understood",
        task_id="",
        round_number=0,
        algorithm_version="contract",
        created=datetime.fromtimestamp(round_.received_at, UTC),
    )
