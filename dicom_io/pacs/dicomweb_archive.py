"""Any DICOMweb archive: QIDO-RS to find, WADO-RS to fetch, STOW-RS to store (PS3.18, sections 10.6, 10.4 and 10.5).

It keeps no log, so it is polled: :mod:`dicom_io.pacs.polling` says what that means. A series is fetched by one request for all
of its instances, in the transfer syntax in which they are stored: the fastest of all interfaces of Orthanc
(``benchmarks/fetch_series.py``, 300 x 512x512 on 2 cores: 0.24 s).
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import httpx2
from pydicom.datadict import tag_for_keyword

from dicom_io.errors import NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.pacs.dicomweb import DicomWebSink
from dicom_io.pacs.http_client import open_client
from dicom_io.pacs.http_errors import answer_error, transport_error
from dicom_io.pacs.multipart import BrokenMultipart, boundary_of, parts
from dicom_io.pacs.part10 import sop_instance_uid
from dicom_io.pacs.polling import IMAGE, SERIES, STUDY, UNIQUE_KEYS, Found, PolledFeed, uids_of
from dicom_io.pacs.port import FeedPage, SeriesStatus

_PAGE = 500
_NO_CONTENT = 204
_DICOM = 'multipart/related; type="application/dicom"; transfer-syntax=*'
_JSON = "application/dicom+json"


class DicomWebArchive:
    """An :class:`~dicom_io.pacs.port.Archive` on a DICOMweb service. It cannot delete.

    Args:
        url: the service's root, such as ``http://127.0.0.1:8042/dicom-web``.
        user: its user, empty for none.
        password: the user's password.
        token: bearer token, for a service that wants one instead; empty for none.
        timeout: seconds to wait for a connection, and for each piece of an answer.
        verify: whether and against what a TLS certificate is checked; a context may hold a certificate of ours.
        stable_age: seconds without a change after which a series is stable.
        days: how many days back studies are looked at; 0 for all.
        page_size: results asked for by one query.
    """

    can_delete = False

    def __init__(
        self,
        url: str,
        user: str = "",
        password: str = "",
        *,
        token: str = "",
        timeout: float = 30.0,
        verify: ssl.SSLContext | bool = True,
        stable_age: float = 10.0,
        days: int = 30,
        page_size: int = _PAGE,
    ) -> None:
        self._client = open_client(url, user=user, password=password, token=token, timeout=timeout, verify=verify)
        self._sink = DicomWebSink(url, user, password, token=token, timeout=timeout, verify=verify)
        self._feed = PolledFeed(self._find, stable_age=stable_age, days=days)
        self._page_size = page_size

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()
        self._sink.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def page(self, cursor: int, limit: int = 500) -> FeedPage:
        """What a poll finds. See :meth:`dicom_io.pacs.polling.PolledFeed.page`."""
        return self._feed.page(cursor, limit)

    def scan(self) -> Iterator[SeriesStatus]:
        """Every series within the window. See :meth:`dicom_io.pacs.polling.PolledFeed.scan`."""
        return self._feed.scan()

    def find_series(self, series_instance_uid: str) -> SeriesStatus:
        """The series of that UID. See :meth:`dicom_io.pacs.port.Source.find_series`."""
        return self._feed.find_series(series_instance_uid)

    def series_of(self, sop_instance_uid: str) -> tuple[str, ...]:
        """Series with that instance. See :meth:`dicom_io.pacs.port.Source.series_of`."""
        return self._feed.series_of(sop_instance_uid)

    def fetch(self, instance_id: str) -> bytes:
        """One instance (Retrieve Instance). See :meth:`dicom_io.pacs.port.Source.fetch`."""
        study, series, instance = uids_of(instance_id)
        with self._retrieved(f"/studies/{study}/series/{series}/instances/{instance}") as files:
            for file in files:
                return file
        raise NotInPacs(instance_id, "the archive has no such object", "It was deleted, or never arrived.")

    def fetch_series(self, series: SeriesStatus) -> list[bytes]:
        """All instances of a series (Retrieve Series). See :meth:`dicom_io.pacs.port.Source.fetch_series`.

        What the answer leaves out is asked for by itself.
        """
        with self._retrieved(f"/studies/{series.study_instance_uid}/series/{series.series_instance_uid}") as files:
            found = {sop_instance_uid(file): file for file in files}
        return [found.get(uids_of(name)[2]) or self.fetch(name) for name in series.instance_ids]

    def store(self, file: bytes) -> None:
        """Stores one file (STOW-RS). See :meth:`dicom_io.pacs.port.Sink.store`."""
        self._sink.store(file)

    def delete_series(self, series_instance_uid: str) -> None:
        """Refuses. See :meth:`dicom_io.pacs.port.Archive.delete_series`."""
        raise PacsRefused(series_instance_uid, "DICOMweb has no service that deletes", "Delete it in the archive itself.")

    @contextmanager
    def _retrieved(self, path: str) -> Iterator[Iterator[bytes]]:
        """The files of a multipart answer, as they arrive.

        Raises:
            NotInPacs, PacsUnavailable, PacsRefused.
        """
        try:
            with self._client.stream("GET", path, headers={"Accept": _DICOM}) as answer:
                if not answer.is_success:
                    raise answer_error(path, answer.status_code, missing=NotInPacs)
                boundary = boundary_of(answer.headers.get("Content-Type", ""))
                yield parts(answer.iter_bytes(), boundary)
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise transport_error(path, error) from error
        except BrokenMultipart as error:
            raise PacsUnavailable(path, f"the answer is not whole ({error})", "It is asked again.") from error

    def _find(self, level: str, keys: Mapping[str, str], asked: Sequence[str]) -> list[Found]:
        """A query (QIDO-RS), all of its pages. See :class:`dicom_io.pacs.polling.Find`.

        An archive may answer with less than was asked for and says so in a Warning (PS3.18, section 8.3.4.4), or not at all;
        so the pages go on until an empty one, or a short one without a warning.
        """
        path, matching = _path(level, keys)
        found: dict[tuple[str, ...], Found] = {}
        offset = 0
        while True:
            options = matching | {"includefield": list(asked), "limit": str(self._page_size), "offset": str(offset)}
            rows, is_cut = self._query(path, options)
            offset += len(rows)
            fresh = {_identity(row): row for row in rows if row.get(UNIQUE_KEYS[level])}
            if fresh and not fresh.keys() - found.keys():
                problem = "the archive cuts its answers off and has no next page (it ignores offset)"
                raise PacsRefused(path, problem, "Allow more results in the archive, or look back fewer days.")
            found |= fresh
            if not fresh or (len(rows) < self._page_size and not is_cut):
                return list(found.values())

    def _query(self, path: str, options: Mapping[str, Any]) -> tuple[list[Found], bool]:
        """One page of results, and whether the archive said that there are more."""
        try:
            answer = self._client.get(path, params=options, headers={"Accept": _JSON})
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise transport_error(path, error) from error
        if answer.status_code == _NO_CONTENT:
            return [], False
        if not answer.is_success:
            raise answer_error(path, answer.status_code)
        try:
            rows = [_texts(row) for row in json.loads(answer.content)]
        except (ValueError, AttributeError, TypeError) as error:
            raise PacsUnavailable(path, "the answer is no DICOM JSON", "Check that the address is a DICOMweb root.") from error
        return rows, answer.headers.get("Warning", "").startswith("299")


def _path(level: str, keys: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    """Path and remaining matching keys of a query (PS3.18, table 10.6.1-1)."""
    rest, path = dict(keys), ""
    if level != STUDY and "StudyInstanceUID" in rest:
        path = f"/studies/{rest.pop('StudyInstanceUID')}"
        if level == IMAGE and "SeriesInstanceUID" in rest:
            path += f"/series/{rest.pop('SeriesInstanceUID')}"
    return path + {STUDY: "/studies", SERIES: "/series", IMAGE: "/instances"}[level], rest


_KEYWORDS = {
    f"{tag_for_keyword(keyword):08X}": keyword
    for keyword in (
        *("StudyInstanceUID", "StudyDescription", "NumberOfStudyRelatedSeries", "NumberOfStudyRelatedInstances"),
        *("SeriesInstanceUID", "Modality", "SeriesDescription", "BodyPartExamined", "ProtocolName"),
        *("NumberOfSeriesRelatedInstances", "SOPInstanceUID", "SOPClassUID", "PatientID", "IssuerOfPatientID"),
    )
}


def _texts(row: Mapping[str, Any]) -> Found:
    """The values of a result in the DICOM JSON model (PS3.18, annex F), by keyword, as text."""
    found = {}
    for tag, element in row.items():
        values = element.get("Value")
        if tag in _KEYWORDS and values and values[0] is not None:
            found[_KEYWORDS[tag]] = "\\".join(str(value) for value in values).strip()
    return found


def _identity(row: Found) -> tuple[str, ...]:
    return tuple(row.get(keyword, "") for keyword in UNIQUE_KEYS.values())
