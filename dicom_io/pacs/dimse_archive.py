"""Any PACS by DIMSE: C-FIND to find, C-GET or C-MOVE to fetch, C-STORE to store, C-ECHO to try (PS3.4, annexes A, B and C).

It keeps no log, so it is polled: :mod:`dicom_io.pacs.polling` says what that means. Queries follow the study root model; where
the study is not known they name a series or an instance alone, which strict archives refuse.

C-GET brings the objects back on the association that asked for them. With C-MOVE the archive opens one of its own to our SCP:
it has to know our AE title and address, and what it sends is taken only while it was asked for. They
are equally fast (``benchmarks/fetch_series.py``, 300 x 512x512 from Orthanc on 2 cores: 1.2 s and 1.1 s), so C-GET, which needs
nothing to be set up, is the default.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from pydicom import Dataset
from pydicom import uid as syntaxes
from pynetdicom import StoragePresentationContexts, build_role, evt
from pynetdicom.presentation import PresentationContext, build_context

from dicom_io.errors import NotInPacs, PacsError, PacsRefused, PacsUnavailable
from dicom_io.pacs.association import TRIED_AGAIN, Handler, Peer, again, association, echo, status_of
from dicom_io.pacs.dimse import send_to
from dicom_io.pacs.dimse_query import DimseQuery, responses
from dicom_io.pacs.part10 import sop_instance_uid
from dicom_io.pacs.polling import IMAGE, SERIES, PolledFeed, uids_of
from dicom_io.pacs.port import FeedPage, SeriesStatus

_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
_GET = "1.2.840.10008.5.1.4.1.2.2.3"
"""Retrieval in the study root information model (PS3.4, section C.6.2)."""

_WANTED_SYNTAXES = (
    *(syntaxes.ExplicitVRLittleEndian, syntaxes.ImplicitVRLittleEndian, syntaxes.DeflatedExplicitVRLittleEndian),
    *(syntaxes.ExplicitVRBigEndian, syntaxes.RLELossless, syntaxes.JPEGBaseline8Bit, syntaxes.JPEGExtended12Bit),
    *(syntaxes.JPEGLossless, syntaxes.JPEGLosslessSV1, syntaxes.JPEGLSLossless, syntaxes.JPEGLSNearLossless),
    *(syntaxes.JPEG2000Lossless, syntaxes.JPEG2000, syntaxes.HTJ2KLossless, syntaxes.HTJ2KLosslessRPCL, syntaxes.HTJ2K),
)
_MOST_CLASSES = 7
"""SOP classes of one C-GET; each takes a context for each transfer syntax, so that nothing is transcoded."""


class MoveReceiver:
    """Where a C-MOVE's objects arrive: a :class:`~dicom_io.pacs.port.Sink` for our SCP that takes what was asked for only."""

    def __init__(self) -> None:
        self._expected: dict[str, dict[str, bytes]] = {}
        self._lock = threading.Lock()

    @contextmanager
    def expecting(self, uids: Collection[str]) -> Iterator[dict[str, bytes]]:
        """Takes these SOP instances while it lasts; gives them by their UIDs as they arrive."""
        arrived: dict[str, bytes] = {}
        with self._lock:
            self._expected |= dict.fromkeys(uids, arrived)
        try:
            yield arrived
        finally:
            with self._lock:
                for uid in uids:
                    self._expected.pop(uid, None)

    def store(self, file: bytes) -> None:
        """Takes one file. See :meth:`dicom_io.pacs.port.Sink.store`."""
        uid = sop_instance_uid(file)
        with self._lock:
            if uid not in self._expected:
                raise PacsRefused(f"instance {uid}", "nobody asked for it", "Send it to the archive.")
            self._expected[uid][uid] = file


class DimseArchive:
    """An :class:`~dicom_io.pacs.port.Archive` on a query/retrieve SCP. It cannot delete.

    Args:
        peer: the archive; its C-STORE service has the same address.
        stable_age: seconds without a change after which a series is stable.
        days: how many days back studies are looked at; 0 for all.
        receiver: with it objects are fetched by C-MOVE and arrive there; by C-GET if None.
        move_to: the AE title under which the archive knows our SCP; the peer's ``calling_aet`` if empty.
    """

    can_delete = False

    def __init__(
        self, peer: Peer, *, stable_age: float = 10.0, days: int = 30, receiver: MoveReceiver | None = None, move_to: str = ""
    ) -> None:
        self._peer = peer
        self._find = DimseQuery(peer)
        self._feed = PolledFeed(self._find, stable_age=stable_age, days=days)
        self._receiver = receiver
        self._move_to = move_to or peer.calling_aet

    def close(self) -> None:
        """Closes the connection."""
        self._find.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def echo(self) -> None:
        """Asks whether the archive is there (C-ECHO).

        Raises:
            PacsRefused, PacsUnavailable.
        """
        echo(self._peer)

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
        """One instance. See :meth:`dicom_io.pacs.port.Source.fetch`. The file's meta information is made anew."""
        study, series, instance = uids_of(instance_id)
        return self._retrieve(study, series, [instance], level=IMAGE)[instance]

    def fetch_series(self, series: SeriesStatus) -> list[bytes]:
        """All instances of a series. See :meth:`dicom_io.pacs.port.Source.fetch_series`."""
        wanted = [uids_of(name)[2] for name in series.instance_ids]
        found = self._retrieve(series.study_instance_uid, series.series_instance_uid, wanted, level=SERIES)
        return [found[uid] for uid in wanted]

    def store(self, file: bytes) -> None:
        """Stores one file (C-STORE). See :meth:`dicom_io.pacs.port.Sink.store`."""
        send_to(self._peer, [file])

    def delete_series(self, series_instance_uid: str) -> None:
        """Refuses. See :meth:`dicom_io.pacs.port.Archive.delete_series`."""
        raise PacsRefused(series_instance_uid, "DIMSE has no service that deletes", "Delete it in the archive itself.")

    def _retrieve(self, study: str, series: str, wanted: Sequence[str], *, level: str) -> dict[str, bytes]:
        """The wanted instances by their SOP Instance UIDs.

        Raises:
            NotInPacs: one of them is gone. PacsUnavailable, PacsRefused.
        """
        found: dict[str, bytes] = {}

        def ask() -> None:
            """Goes on where an association broke off."""
            missing = [uid for uid in wanted if uid not in found]
            self._retrieve_some(study, series, missing, IMAGE if found else level, found)

        refused: PacsError | None = None
        try:
            again(ask)
        except PacsRefused as error:  # some refuse to send what is not there
            refused = error
        for uid in wanted:
            if uid not in found:
                raise self._not_sent(study, series, uid, refused)
        return found

    def _not_sent(self, study: str, series: str, uid: str, refused: PacsError | None) -> PacsError:
        """Whether what did not come is gone, was refused, or only did not come."""
        keys = {"StudyInstanceUID": study, "SeriesInstanceUID": series, "SOPInstanceUID": uid}
        if self._find(IMAGE, keys, ()):
            return refused or PacsUnavailable(f"instance {uid}", "the archive has it and did not send it", TRIED_AGAIN)
        return NotInPacs(f"instance {uid}", "the archive has no such object", "It was deleted, or never arrived.")

    def _retrieve_some(self, study: str, series: str, wanted: Sequence[str], level: str, found: dict[str, bytes]) -> None:
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        identifier.StudyInstanceUID, identifier.SeriesInstanceUID = study, series
        if level == IMAGE:
            identifier.SOPInstanceUID = list(wanted)
        if self._receiver is None:
            self._get(identifier, found)
        else:
            self._move(identifier, wanted, found, self._receiver)

    def _get(self, identifier: Dataset, found: dict[str, bytes]) -> None:
        def take(event: evt.Event) -> int:
            file = event.encoded_dataset()
            found[sop_instance_uid(file)] = file
            return 0x0000

        contexts = self._storage_contexts(identifier)
        roles = [build_role(uid, scp_role=True) for uid in sorted({str(one.abstract_syntax) for one in contexts})]
        handlers: list[Handler] = [(evt.EVT_C_STORE, take)]
        with association(self._peer, [build_context(_GET), *contexts], roles=roles, handlers=handlers) as opened:
            for answer, _ in responses(self._peer, lambda: opened.send_c_get(identifier, _GET)):
                status_of(self._peer, answer)

    def _move(self, identifier: Dataset, wanted: Sequence[str], found: dict[str, bytes], receiver: MoveReceiver) -> None:
        with receiver.expecting(wanted) as arrived:
            try:
                with association(self._peer, [build_context(_MOVE)]) as opened:
                    for answer, _ in responses(self._peer, lambda: opened.send_c_move(identifier, self._move_to, _MOVE)):
                        status_of(self._peer, answer)
            finally:
                found |= arrived

    def _storage_contexts(self, identifier: Dataset) -> list[PresentationContext]:
        """What a C-GET may bring: the SOP classes that are there, in every transfer syntax that may be wanted."""
        keys = {"StudyInstanceUID": identifier.StudyInstanceUID, "SeriesInstanceUID": identifier.SeriesInstanceUID}
        rows = self._find(IMAGE, keys, ("SOPInstanceUID", "SOPClassUID"))
        classes = sorted({row.get("SOPClassUID", "") for row in rows})
        if not all(classes) or not 0 < len(classes) <= _MOST_CLASSES:  # not told, or too many
            return [build_context(str(one.abstract_syntax), list(_WANTED_SYNTAXES)) for one in StoragePresentationContexts]
        return [build_context(uid, syntax) for uid in classes for syntax in _WANTED_SYNTAXES]
