"""A feed made of questions: for archives that keep no log which can be read (DICOMweb, DIMSE).

The archive is asked for its studies again and again, and what it says is compared with what it said before. That has limits
which a log does not have:

- Only studies are looked at whose Study Date lies within the last ``days`` days: neither DICOMweb nor DIMSE knows when an
  object *arrived*. A drawing in an older study is not found.
- A study whose numbers of series and instances did not change is taken as unchanged between two scans; an archive that does
  not tell the numbers is asked for every series. The scan looks at each series, and at the instances of short ones: a
  drawing deleted and another saved between two looks is found there.
- A series counts as stable when its instances stayed the same for ``stable_age`` seconds *of being looked at*.
- Nothing is remembered over a restart: then everything within the window is told once more, and again when stable.

All of it is questions at the levels STUDY, SERIES and IMAGE with keys and values, which QIDO-RS and C-FIND have in common.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

from dicom_io.errors import NotInPacs
from dicom_io.pacs.part10 import is_uid
from dicom_io.pacs.port import FeedPage, SeriesStatus

STUDY, SERIES, IMAGE = "STUDY", "SERIES", "IMAGE"
UNIQUE_KEYS = {STUDY: "StudyInstanceUID", SERIES: "SeriesInstanceUID", IMAGE: "SOPInstanceUID"}
"""What names an entry of each level (PS3.4, section C.6.2.1). An answer without it is of no use."""

_NUMBERS = ("NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances")
_STUDY_ASKED = ("StudyInstanceUID", "StudyDescription", "PatientID", "IssuerOfPatientID", *_NUMBERS)
_SERIES_ASKED = (
    *("StudyInstanceUID", "SeriesInstanceUID", "Modality", "SeriesDescription", "BodyPartExamined", "ProtocolName"),
    "NumberOfSeriesRelatedInstances",
)
_FEW = 5
"""A scan looks at the instances of series that have no more than these."""

Found = Mapping[str, str]


class Find(Protocol):
    """One question to an archive."""

    def __call__(self, level: str, keys: Mapping[str, str], asked: Sequence[str]) -> list[Found]:
        """Everything that matches.

        Args:
            level: ``STUDY``, ``SERIES`` or ``IMAGE``.
            keys: keyword to value that must match; UIDs of the levels above among them where they are known.
            asked: keywords whose values are wanted as well; the answer leaves out what the archive does not tell.

        Raises:
            PacsUnavailable, PacsRefused.
        """
        ...


@dataclass
class _Seen:
    """A series as it was when it was last looked at."""

    status: SeriesStatus
    since: float
    number: int


class PolledFeed:
    """Feed, and the finding half of a source, of an archive that answers questions. See the module's limits.

    Series and studies go by their UIDs, an instance by ``study/series/instance``.

    Args:
        find: asks the archive.
        stable_age: seconds without a change after which a series is stable.
        days: how many days back studies are looked at; 0 for all.
        clock: seconds that only go forward.
    """

    def __init__(self, find: Find, *, stable_age: float, days: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._find = find
        self._stable_age = stable_age
        self._days = days
        self._clock = clock
        self._series: dict[str, _Seen] = {}
        self._studies: dict[str, tuple[str, ...]] = {}
        self._last = 0
        self._more_at: int | None = None
        self._polling = threading.Lock()
        self._lock = threading.Lock()

    def page(self, cursor: int, limit: int = 500) -> FeedPage:
        """What is new, changed or stable since ``cursor``, in the order in which it was found out.

        See :meth:`dicom_io.pacs.port.Feed.page`. Asks the archive, but for the rest of a page that was too long.
        """
        with self._lock:
            self._last = max(self._last, cursor)
            is_rest = cursor == self._more_at
        if not is_rest:
            for _ in self._look(thoroughly=False):
                pass
            self._ripen()
        with self._lock:
            ahead = sorted((seen.number, seen.status) for seen in self._series.values() if seen.number > cursor)
            told = ahead[:limit]
            end = told[-1][0] if told else max(cursor, self._last)
            self._more_at = end if len(ahead) > limit else None
            return FeedPage(tuple(status for _, status in told), end, len(ahead) <= limit)

    def scan(self) -> Iterator[SeriesStatus]:
        """Every series within the window. See :meth:`dicom_io.pacs.port.Feed.scan`."""
        yield from list(self._look(thoroughly=True))  # a caller that stops half-way holds nothing up

    def find_series(self, series_instance_uid: str) -> SeriesStatus:
        """The series of that UID, within the window or not. See :meth:`dicom_io.pacs.port.Source.find_series`."""
        with self._lock:
            seen = self._series.get(series_instance_uid)
        keys = {"SeriesInstanceUID": series_instance_uid}
        if seen is not None:  # the strict hierarchy of PS3.4, section C.4.1.2.2, where that is possible
            keys["StudyInstanceUID"] = seen.status.study_instance_uid
        for found in self._find(SERIES, keys, _SERIES_ASKED):
            study = {"StudyInstanceUID": found.get("StudyInstanceUID") or keys.get("StudyInstanceUID", "")}
            studies = self._find(STUDY, study, _STUDY_ASKED)
            status = self._with_instances(_status(found, studies[0] if studies else study))
            if status.instance_ids:
                return self._note(status).status
        with self._lock:
            self._series.pop(series_instance_uid, None)
        raise NotInPacs(series_instance_uid, "the archive has no such series", "Send it to the archive.")

    def series_of(self, sop_instance_uid: str) -> tuple[str, ...]:
        """Series with that instance. See :meth:`dicom_io.pacs.port.Source.series_of`."""
        found = self._find(IMAGE, {"SOPInstanceUID": sop_instance_uid}, ("SeriesInstanceUID",))
        return tuple(sorted({one["SeriesInstanceUID"] for one in found if one.get("SeriesInstanceUID")}))

    def _look(self, *, thoroughly: bool) -> Iterator[SeriesStatus]:
        """Asks for what may have changed; yields each series that was looked at."""
        with self._polling:
            studies = {one["StudyInstanceUID"]: one for one in self._find(STUDY, self._window(), _STUDY_ASKED)}
            self._forget(studies)
            for uid, study in studies.items():
                numbers = tuple(study.get(keyword, "") for keyword in _NUMBERS)
                if thoroughly or not all(numbers) or self._studies.get(uid) != numbers:
                    yield from self._look_at(study, thoroughly=thoroughly)
                    self._studies[uid] = numbers

    def _window(self) -> dict[str, str]:
        """Open at its end: clocks and time zones differ."""
        if not self._days:
            return {}
        first: date = datetime.now(UTC).date() - timedelta(days=self._days)
        return {"StudyDate": f"{first:%Y%m%d}-"}

    def _look_at(self, study: Found, *, thoroughly: bool) -> Iterator[SeriesStatus]:
        uid = study["StudyInstanceUID"]
        rows = {one["SeriesInstanceUID"]: one for one in self._find(SERIES, {"StudyInstanceUID": uid}, _SERIES_ASKED)}
        with self._lock:
            known = {name: one for name, one in self._series.items() if one.status.study_instance_uid == uid}
            for gone in known.keys() - rows.keys():
                del self._series[gone]
        for name, row in rows.items():
            status, count = _status(row, study), row.get("NumberOfSeriesRelatedInstances", "")
            seen = known.get(name)
            if seen is not None and count == str(len(seen.status.instance_ids)) and not (thoroughly and int(count) <= _FEW):
                status = replace(status, instance_ids=seen.status.instance_ids)
            else:
                status = self._with_instances(status)
            if status.instance_ids:
                yield self._note(status).status

    def _with_instances(self, status: SeriesStatus) -> SeriesStatus:
        keys = {"StudyInstanceUID": status.study_instance_uid, "SeriesInstanceUID": status.series_instance_uid}
        found = self._find(IMAGE, keys, ("SOPInstanceUID",))
        prefix = f"{status.study_instance_uid}/{status.series_instance_uid}/"
        return replace(status, instance_ids=tuple(sorted({prefix + one["SOPInstanceUID"] for one in found})))

    def _note(self, status: SeriesStatus) -> _Seen:
        """Remembers what was seen, and since when it is so."""
        with self._lock:
            seen = self._series.get(status.series_instance_uid)
            if seen is None or replace(seen.status, is_stable=False) != status:
                seen = _Seen(status, self._clock(), self._next())
                self._series[status.series_instance_uid] = seen
            elif not seen.status.is_stable and self._clock() - seen.since >= self._stable_age:
                seen.status, seen.number = replace(seen.status, is_stable=True), self._next()
            return seen

    def _ripen(self) -> None:
        """What was found unchanged just now, study by study, becomes stable in time."""
        with self._lock:
            now = self._clock()
            for seen in self._series.values():
                was_looked_at = seen.status.study_instance_uid in self._studies
                if was_looked_at and not seen.status.is_stable and now - seen.since >= self._stable_age:
                    seen.status, seen.number = replace(seen.status, is_stable=True), self._next()

    def _forget(self, studies: Mapping[str, Found]) -> None:
        """Studies that are gone, or have left the window."""
        gone = self._studies.keys() - studies.keys()
        for uid in gone:
            del self._studies[uid]
        with self._lock:
            for name in [name for name, seen in self._series.items() if seen.status.study_instance_uid in gone]:
                del self._series[name]

    def _next(self) -> int:
        self._last += 1
        return self._last


def _status(series: Found, study: Found) -> SeriesStatus:
    """Without instances, not stable."""
    return SeriesStatus(
        archive_id=series["SeriesInstanceUID"],
        study_instance_uid=study["StudyInstanceUID"],
        series_instance_uid=series["SeriesInstanceUID"],
        modality=series.get("Modality", ""),
        series_description=series.get("SeriesDescription", ""),
        instance_ids=(),
        is_stable=False,
        study_description=study.get("StudyDescription", ""),
        body_part=series.get("BodyPartExamined", ""),
        protocol_name=series.get("ProtocolName", ""),
        patient_id=study.get("PatientID", ""),
        issuer_of_patient_id=study.get("IssuerOfPatientID", ""),
    )


def uids_of(instance_id: str) -> tuple[str, str, str]:
    """Study, Series and SOP Instance UID of an instance's identifier.

    Raises:
        NotInPacs: it is none that this feed gave out.
    """
    uids = instance_id.split("/")
    if len(uids) != 3 or not all(is_uid(uid) for uid in uids):
        raise NotInPacs(instance_id, "the archive has no such object", "It was deleted, or never arrived.")
    return uids[0], uids[1], uids[2]
