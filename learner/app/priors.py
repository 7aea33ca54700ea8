"""What readers left of other studies of the same patient, that it may be carried to a new one."""

from __future__ import annotations

import numpy as np
import structlog

from dicom_io.errors import DicomIoError, PacsUnavailable
from dicom_io.pacs.port import Source
from dicom_io.patient import same_patient
from dicom_io.volume import ImageSeries
from learner.app.images import SeriesImages, first_image
from learner.app.patients import PatientLinks
from learner.domain.case import Case, Round
from learner.domain.prior import PriorStudy
from learner.domain.task import Task
from learner.errors import CorruptFile
from learner.ports import Store

_TRIED = 3
"""Prior studies that are looked at, newest first; images of old ones may be gone."""
_log = structlog.get_logger(__name__)


class PriorStudies:
    """Fetches what may be carried to a new study.

    Args:
        links: which studies are of one patient.
        source: the archive.
        store: what is known of each case.
        images: image series.
    """

    def __init__(self, links: PatientLinks, source: Source, store: Store, images: SeriesImages) -> None:
        self.links = links
        self._source = source
        self._store = store
        self._images = images

    def of(self, case: Case, task: Task, images: ImageSeries) -> PriorStudy | None:
        """The newest study of the same patient that a reader drew on, and whose images are still there.

        Raises:
            PacsUnavailable: the archive does not answer.
        """
        for round_ in self.links.drawn_before(task.task_id, case.study_instance_uid)[:_TRIED]:
            try:
                found = self._from(round_, task, images)
            except PacsUnavailable:
                raise
            except (DicomIoError, CorruptFile) as error:
                _log.info("prior study cannot be used", case=round_.case_id, reason=str(error))
                continue
            if found is not None:
                return found
        return None

    def _from(self, round_: Round, task: Task, images: ImageSeries) -> PriorStudy | None:
        assert round_.case_id is not None
        case = self._store.records.find_case(round_.case_id)
        record = self._store.files.get_record(round_.round_id)
        earlier = self._images.get(self._source.find_series(case.series_instance_uid), first_image(round_))
        fits = record.labels_DHW.shape == earlier.volume.geometry.shape and int(record.labels_DHW.max()) <= len(task.labels)
        if record.annotation is None or not fits or not same_patient(images, earlier):
            _log.info("prior study cannot be used", case=case.case_id, reason="other images, or another patient")
            return None
        gained = range(record.annotation.label_count + 1, len(task.labels) + 1)
        unknown = (*record.annotation.unknown_labels, *gained)
        return PriorStudy(
            image_DHW=earlier.volume.voxels_DHW,
            geometry=earlier.volume.geometry,
            labels_DHW=np.where(np.isin(record.labels_DHW, unknown), np.uint8(0), record.labels_DHW),
            unknown_labels=unknown,
            case_id=case.case_id,
            study_instance_uid=case.study_instance_uid,
        )
