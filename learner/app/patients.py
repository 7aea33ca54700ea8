"""Which studies are of one patient."""

from __future__ import annotations

from collections.abc import Callable

from dicom_io.pacs.port import SeriesStatus
from dicom_io.patient import identity
from learner.domain.case import Round
from learner.ports import Store


class PatientLinks:
    """Which studies are of one patient. All that is kept of a patient is a keyed hash.

    Args:
        store: where it is kept.
        key: the keyed hash of a text.
    """

    def __init__(self, store: Store, key: Callable[[str], str]) -> None:
        self._store = store
        self._key = key

    def note(self, series: SeriesStatus) -> None:
        """Remembers whose study a series belongs to, if its Patient ID stands for somebody."""
        who = identity(series.patient_id, series.issuer_of_patient_id)
        self._store.records.set_patient(series.study_instance_uid, self._key(f"patient\x1f{who}") if who else "")

    def drawn_before(self, task_id: str, study_instance_uid: str) -> tuple[Round, ...]:
        """The latest answer of each other study of the same patient in which the task's structure was drawn, newest first."""
        return self._store.records.drawn_before(task_id, study_instance_uid)
