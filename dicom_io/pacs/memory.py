"""An archive in memory, for tests and trials. It obeys the same contract suite as the real ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from dicom_io.errors import NotInPacs, PacsError
from dicom_io.pacs.part10 import read_whole
from dicom_io.pacs.port import FeedPage, SeriesStatus


@dataclass
class _Series:
    status: SeriesStatus
    files: dict[str, bytes] = field(default_factory=dict)


class MemoryArchive:
    """An :class:`~dicom_io.pacs.port.Archive` that forgets all when it goes. Its identifiers are the DICOM UIDs.

    Attributes:
        outage: an error that every call raises while it is set, as an archive that is down or locked would.
    """

    can_delete = True

    def __init__(self) -> None:
        self.outage: PacsError | None = None
        self._series: dict[str, _Series] = {}
        self._log: list[tuple[int, str]] = []
        self._last = 0
        self._lock = threading.RLock()

    def settle(self) -> None:
        """Time passes: every series that is not stable becomes so, and the log says it."""
        with self._lock:
            for series in self._series.values():
                if not series.status.is_stable:
                    series.status = replace(series.status, is_stable=True)
                    self._note(series.status.series_instance_uid)

    def page(self, cursor: int, limit: int = 500) -> FeedPage:
        """The entries after ``cursor``. See :meth:`dicom_io.pacs.port.Feed.page`."""
        with self._entered():
            ahead = [entry for entry in self._log if entry[0] > cursor]
            entries = ahead[:limit]
            last_entry = {uid: number for number, uid in entries if uid in self._series}
            touched = sorted(last_entry, key=lambda uid: last_entry[uid])
            end = entries[-1][0] if entries else max(cursor, self._last)
            return FeedPage(tuple(self._series[uid].status for uid in touched), end, len(ahead) <= limit)

    def scan(self) -> Iterator[SeriesStatus]:
        """Every series. See :meth:`dicom_io.pacs.port.Feed.scan`."""
        with self._entered():
            statuses = [series.status for series in self._series.values()]
        yield from statuses

    def find_series(self, series_instance_uid: str) -> SeriesStatus:
        """The series of that UID. See :meth:`dicom_io.pacs.port.Source.find_series`."""
        with self._entered():
            if series_instance_uid not in self._series:
                raise NotInPacs(series_instance_uid, "the archive has no such series", "Send it to the archive.")
            return self._series[series_instance_uid].status

    def series_of(self, sop_instance_uid: str) -> tuple[str, ...]:
        """Series with that instance. See :meth:`dicom_io.pacs.port.Source.series_of`."""
        with self._entered():
            return tuple(sorted(uid for uid, series in self._series.items() if sop_instance_uid in series.files))

    def fetch(self, instance_id: str) -> bytes:
        """One instance. See :meth:`dicom_io.pacs.port.Source.fetch`."""
        with self._entered():
            for series in self._series.values():
                if instance_id in series.files:
                    return series.files[instance_id]
        raise NotInPacs(instance_id, "the archive has no such object", "It was deleted, or never arrived.")

    def fetch_series(self, series: SeriesStatus) -> list[bytes]:
        """All instances of a series. See :meth:`dicom_io.pacs.port.Source.fetch_series`."""
        return [self.fetch(name) for name in series.instance_ids]

    def store(self, file: bytes) -> None:
        """Stores one file. See :meth:`dicom_io.pacs.port.Sink.store`."""
        dataset = read_whole(file)
        uid, name = str(dataset.SeriesInstanceUID), str(dataset.SOPInstanceUID)
        with self._entered():
            series = self._series.setdefault(uid, _Series(_new_status(dataset)))
            if name in series.files:
                return
            series.files[name] = file
            series.status = replace(series.status, instance_ids=tuple(sorted(series.files)), is_stable=False)
            self._note(uid)

    def delete_series(self, series_instance_uid: str) -> None:
        """Deletes a series; its entries vanish. See :meth:`dicom_io.pacs.port.Archive.delete_series`."""
        with self._entered():
            self._series.pop(series_instance_uid, None)
            self._log = [entry for entry in self._log if entry[1] != series_instance_uid]

    def _note(self, uid: str) -> None:
        self._last += 1
        self._log.append((self._last, uid))

    def _entered(self) -> threading.RLock:
        if self.outage is not None:
            raise self.outage
        return self._lock


def _new_status(dataset: object) -> SeriesStatus:
    def text(name: str) -> str:
        return str(getattr(dataset, name, None) or "")

    return SeriesStatus(
        archive_id=text("SeriesInstanceUID"),
        study_instance_uid=text("StudyInstanceUID"),
        series_instance_uid=text("SeriesInstanceUID"),
        modality=text("Modality"),
        series_description=text("SeriesDescription"),
        instance_ids=(),
        is_stable=False,
        study_description=text("StudyDescription"),
        body_part=text("BodyPartExamined"),
        protocol_name=text("ProtocolName"),
        patient_id=text("PatientID"),
        issuer_of_patient_id=text("IssuerOfPatientID"),
    )
