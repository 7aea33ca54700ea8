"""Orthanc by its REST API: the durable log, reading, writing, deleting.

The body is asked for as it is (``Accept-Encoding: identity``): Orthanc compresses twenty times slower than it sends. A page of
the log costs two requests whatever it speaks of: ``/tools/bulk-content`` takes series and instances alike, and answers with
the series that they belong to. Concurrency: one connection pool, which the calling threads share; a series is fetched by two
threads of its own, which is the fastest of what this interface has (``benchmarks/fetch_series.py``, 300 x 512x512 on 2 cores:
0.30 s; one thread 0.31 s, four 0.36 s, the zip archive 4.6 s; WADO-RS, which needs Orthanc's plugin, 0.24 s).
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2

from dicom_io.errors import NotInPacs, PacsClosed, PacsError, PacsRefused, PacsUnavailable
from dicom_io.pacs.http_client import open_client
from dicom_io.pacs.http_errors import answer_error, transport_error
from dicom_io.pacs.port import FeedPage, SeriesStatus

_FETCH_THREADS = 2
_BULK = 200
_FEW = 20
"""New instances of a page that are looked up."""
_STUDIES_KEPT = 20_000
_STORED = ("Success", "AlreadyStored")
_JSON = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Study:
    """What a series takes from its study.

    Attributes:
        uid: Study Instance UID.
        description: Study Description.
        patient_id: Patient ID.
        issuer_of_patient_id: Issuer of Patient ID, where Orthanc is told to index it.
    """

    uid: str
    description: str
    patient_id: str = field(repr=False)
    issuer_of_patient_id: str = field(repr=False)


class OrthancArchive:
    """An :class:`~dicom_io.pacs.port.Archive` on Orthanc's REST API (1.9.4 and newer).

    Args:
        url: base address, such as ``http://127.0.0.1:8042``.
        user: its user, empty for none.
        password: the user's password.
        token: bearer token, for an Orthanc behind a proxy that wants one instead; empty for none.
        timeout: seconds to wait for a connection, and for each piece of an answer.
        verify: whether and against what a TLS certificate is checked; a context may hold a certificate of ours.
    """

    can_delete = True

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        *,
        token: str = "",
        timeout: float = 30.0,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        self._client = open_client(url, user=user, password=password, token=token, timeout=timeout, verify=verify)
        self._studies: dict[str, _Study] = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def page(self, cursor: int, limit: int = 500) -> FeedPage:
        """The entries of ``/changes`` after ``cursor``. See :meth:`dicom_io.pacs.port.Feed.page`.

        While instances pour in, those of a series that is known already are not looked up one by one: a series is told when it
        begins and when it is stable. So only a second object in a series of drawings is told later.
        """
        answer = self._json("GET", "/changes", params={"since": cursor, "limit": limit})
        with _understood("/changes"):
            end, done = max(int(answer["Last"]), cursor), bool(answer["Done"])
            kinds = [entry["ResourceType"] for entry in answer["Changes"]]
            told = ("Series", "Instance") if kinds.count("Instance") <= _FEW else ("Series",)
            last_entry = {entry["ID"]: number for number, entry in enumerate(answer["Changes"]) if kinds[number] in told}
        found = self._statuses(list(last_entry))
        touched = sorted(found, key=lambda one: max(last_entry.get(name, -1) for name in (one.archive_id, *one.instance_ids)))
        return FeedPage(tuple(touched), end, done)

    def scan(self) -> Iterator[SeriesStatus]:
        """Every series. See :meth:`dicom_io.pacs.port.Feed.scan`. The list is one snapshot, so that deletions skip nothing."""
        names: list[str] = self._list("GET", "/series")
        for start in range(0, len(names), _BULK):
            yield from self._statuses(names[start : start + _BULK])

    def find_series(self, series_instance_uid: str) -> SeriesStatus:
        """The series of that UID. See :meth:`dicom_io.pacs.port.Source.find_series`."""
        found = self._statuses(self._lookup(series_instance_uid, "Series"))
        if not found:
            raise NotInPacs(series_instance_uid, "the archive has no such series", "Send it to the archive.")
        return min(found, key=lambda one: one.archive_id)

    def series_of(self, sop_instance_uid: str) -> tuple[str, ...]:
        """Series with that instance. See :meth:`dicom_io.pacs.port.Source.series_of`."""
        return tuple(sorted({one.series_instance_uid for one in self._statuses(self._lookup(sop_instance_uid, "Instance"))}))

    def fetch(self, instance_id: str) -> bytes:
        """One instance. See :meth:`dicom_io.pacs.port.Source.fetch`."""
        path = f"/instances/{quote(instance_id, safe='')}/file"
        answer = self._request("GET", path, missing=NotInPacs)
        if answer.headers.get("content-type", "").startswith("text/"):
            raise PacsUnavailable(path, "the answer is a text and no DICOM object", "Look at the proxy before the archive.")
        return answer.content

    def fetch_series(self, series: SeriesStatus) -> list[bytes]:
        """All instances of a series. See :meth:`dicom_io.pacs.port.Source.fetch_series`."""
        with ThreadPoolExecutor(_FETCH_THREADS, thread_name_prefix="fetch") as pool:
            return list(pool.map(self.fetch, series.instance_ids))

    def store(self, file: bytes) -> None:
        """Stores one file. See :meth:`dicom_io.pacs.port.Sink.store`."""
        answer = self._json("POST", "/instances", content=file, headers={"Content-Type": "application/dicom"})
        with _understood("/instances"):  # a zip of several files is answered by a list
            statuses = [one["Status"] for one in (answer if isinstance(answer, list) else [answer])]
        for status in statuses:
            if status not in _STORED:
                problem = f"the archive did not keep the object (status {status!r})"
                raise PacsRefused("/instances", problem, "Look for a filter in the archive's configuration.")

    def delete_series(self, series_instance_uid: str) -> None:
        """Deletes a series. See :meth:`dicom_io.pacs.port.Archive.delete_series`."""
        for name in self._lookup(series_instance_uid, "Series"):
            try:
                self._request("DELETE", f"/series/{name}", missing=NotInPacs)
            except NotInPacs:
                continue  # somebody was faster

    def _lookup(self, uid: str, level: str) -> list[str]:
        found = self._list("POST", "/tools/lookup", content=uid.encode())
        with _understood("/tools/lookup"):
            return [one["ID"] for one in found if one["Type"] == level]

    def _statuses(self, names: Sequence[str]) -> list[SeriesStatus]:
        """The series that ``names`` (of series or of instances) belong to, each once; without what is gone."""
        if not names:
            return []
        with _understood("/tools/bulk-content"):
            series = {one["ID"]: one for one in self._bulk(names, "Series")}
            studies = self._studies_of({one["ParentStudy"] for one in series.values()})
            return [_status(one, studies[one["ParentStudy"]]) for one in series.values() if one["ParentStudy"] in studies]

    def _studies_of(self, names: Iterable[str]) -> Mapping[str, _Study]:
        """What is known of each study that is still there; asked for once."""
        wanted = set(names)
        with self._lock:
            known = {name: self._studies[name] for name in wanted if name in self._studies}
        unknown = sorted(wanted - known.keys())
        if not unknown:
            return known
        for one in self._bulk(unknown, "Study"):
            known[one["ID"]] = _study(one)
        with self._lock:
            if len(self._studies) > _STUDIES_KEPT:
                self._studies.clear()
            self._studies.update(known)
        return known

    def _bulk(self, names: Sequence[str], level: str) -> list[_JSON]:
        found: list[_JSON] = []
        for start in range(0, len(names), _BULK):
            wanted = {"Resources": list(names[start : start + _BULK]), "Level": level, "Metadata": False}
            found += self._list("POST", "/tools/bulk-content", json=wanted)
        return found

    def _json(self, method: str, path: str, **options: Any) -> Any:
        """The answer's JSON. Its form is Orthanc's; what it must contain is checked where it is used."""
        answer = self._request(method, path, **options)
        try:
            return json.loads(answer.content)
        except ValueError as error:
            raise PacsUnavailable(path, "the answer is no JSON", "Check that the address is Orthanc's.") from error

    def _list(self, method: str, path: str, **options: Any) -> list[Any]:
        answer = self._json(method, path, **options)
        with _understood(path):
            if not isinstance(answer, list):
                raise TypeError("no list")
            return answer

    def _request(self, method: str, path: str, *, missing: type[PacsError] = PacsClosed, **options: Any) -> httpx2.Response:
        """One request; ``missing`` is what a 404 means at this path."""
        try:
            answer = self._client.request(method, path, **options)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise transport_error(path, error) from error
        if not answer.is_success:
            raise answer_error(path, answer.status_code, missing=missing)
        return answer


@contextmanager
def _understood(path: str) -> Iterator[None]:
    """What is read within is an answer of Orthanc: JSON of another form comes from something else at its address."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise PacsUnavailable(path, "the answer is not Orthanc's", "Check that the address is Orthanc's.") from error


def _study(study: _JSON) -> _Study:
    tags, patient = study["MainDicomTags"], study.get("PatientMainDicomTags") or {}
    return _Study(
        tags["StudyInstanceUID"],
        tags.get("StudyDescription") or "",
        patient.get("PatientID") or "",
        patient.get("IssuerOfPatientID") or "",
    )


def _status(series: _JSON, study: _Study) -> SeriesStatus:
    tags = series["MainDicomTags"]
    return SeriesStatus(
        archive_id=series["ID"],
        study_instance_uid=study.uid,
        series_instance_uid=tags["SeriesInstanceUID"],
        modality=tags.get("Modality") or "",
        series_description=tags.get("SeriesDescription") or "",
        instance_ids=tuple(sorted(series["Instances"])),
        is_stable=bool(series["IsStable"]),
        study_description=study.description,
        body_part=tags.get("BodyPartExamined") or "",
        protocol_name=tags.get("ProtocolName") or "",
        patient_id=study.patient_id,
        issuer_of_patient_id=study.issuer_of_patient_id,
    )
