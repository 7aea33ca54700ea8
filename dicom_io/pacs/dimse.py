"""Storing by DIMSE: the Storage service (PS3.4, annex B) as its user, with pynetdicom.

Nagle's algorithm is off on every connection: with it each C-STORE waits some 40 ms for an acknowledgement.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from dicom_io.errors import PacsError, PacsRefused, PacsUnavailable
from dicom_io.pacs.part10 import read_whole

_MAX_CONTEXTS = 128
_TRIES = 3
"""Associations in a row that may break off before one object is stored."""
_WARNINGS = (0xB000, 0xB006, 0xB007)
_REJECTED_PERMANENT = 0x01
_PROCESSING_FAILURE = 0x0110
_RESOURCE_LIMITATION = 0x0213
_TRIED_AGAIN = "It is tried again; look at the archive's log."

Progress = Callable[[int], None]


class DimseSink:
    """A :class:`~dicom_io.pacs.port.Sink` on a storage SCP. Each object goes by an association of its own.

    Args:
        host: its host.
        port: its port.
        called_aet: its application entity title.
        calling_aet: ours.
        timeout: seconds to wait for a connection, and for each answer.
    """

    def __init__(
        self, host: str, port: int, called_aet: str = "ANY-SCP", calling_aet: str = "APPRENTICE", *, timeout: float = 30.0
    ) -> None:
        self._address = (host, port)
        self._called_aet = called_aet
        self._calling_aet = calling_aet
        self._timeout = timeout

    def store(self, file: bytes) -> None:
        """Stores one file. See :meth:`dicom_io.pacs.port.Sink.store`."""
        send([file], self._address, called_aet=self._called_aet, calling_aet=self._calling_aet, timeout=self._timeout)


def send(
    files: Sequence[bytes],
    address: tuple[str, int],
    *,
    called_aet: str = "ANY-SCP",
    calling_aet: str = "MODALITY",
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> None:
    """Sends files in one association, as a modality does; goes on in another one where it breaks off.

    Args:
        files: DICOM Part 10 files; they leave in this order and in the transfer syntax that they have.
        address: host and port of the storage SCP.
        called_aet: its application entity title.
        calling_aet: ours.
        timeout: seconds to wait for a connection, and for each answer.
        progress: called with the number of files sent so far, after each.

    Raises:
        PacsRefused: a file is not whole, or the SCP refuses the association, the kind of object, or an object.
        PacsUnavailable: no connection, or it broke off again and again; what was sent before stands.
    """
    datasets = [read_whole(file) for file in files]
    peer = _Peer(address, called_aet, calling_aet, timeout)
    sent = tries = 0
    while sent < len(datasets):
        before = sent
        try:
            with closing(_sending(peer, datasets[sent:])) as steps:
                for _ in steps:
                    sent += 1
                    if progress is not None:
                        progress(sent)
        except _Interrupted:
            tries = 1 if sent > before else tries + 1
            if tries >= _TRIES:
                raise


class _Interrupted(PacsUnavailable):
    """The association ended, or an answer did not come. Storing is idempotent, so another association can go on from there.

    pynetdicom 3.0.4 itself loses an answer once in some thousands on a busy machine: its reactor thread may take the answer off
    the queue while ``send_c_store`` believes it to be paused.
    """


def _sending(peer: _Peer, datasets: Sequence[Dataset]) -> Generator[None, None, None]:
    """Sends in one association; yields after each object."""
    association = _associate(peer, _contexts(peer.subject, datasets))
    try:
        for dataset in datasets:
            _store(peer.subject, association, dataset)
            yield
    finally:
        if association.is_established:
            association.release()


@dataclass(frozen=True)
class _Peer:
    """Whom we talk to, and how."""

    address: tuple[str, int]
    called_aet: str
    calling_aet: str
    timeout: float

    @property
    def subject(self) -> str:
        return f"C-STORE to {self.called_aet} at {self.address[0]}:{self.address[1]}"


def _contexts(subject: str, datasets: Sequence[Dataset]) -> list[PresentationContext]:
    """One presentation context for each pair of SOP class and transfer syntax, so that nothing is transcoded."""
    pairs = sorted({(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in datasets})
    if len(pairs) > _MAX_CONTEXTS:
        problem = f"{len(pairs)} kinds of objects, and an association takes {_MAX_CONTEXTS}"
        raise PacsRefused(subject, problem, "Send them in several parts.")
    return [build_context(*pair) for pair in pairs]


def _associate(peer: _Peer, contexts: list[PresentationContext]) -> Association:
    entity = AE(ae_title=peer.calling_aet)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.timeout
    association = entity.associate(
        *peer.address,
        contexts=contexts,
        ae_title=peer.called_aet,
        max_pdu=0,
        evt_handlers=[(evt.EVT_CONN_OPEN, _no_delay)],
    )
    if association.is_established:
        return association
    if association.rejected_contexts:  # none was accepted: pynetdicom aborts such an association
        raise _not_accepted(peer.subject, str(contexts[0].abstract_syntax), str(contexts[0].transfer_syntax[0]))
    answer = association.acceptor.primitive
    if association.is_rejected and answer is not None and answer.result == _REJECTED_PERMANENT:
        raise PacsRefused(peer.subject, "the association was rejected", "Check the AE titles on both sides.")
    if association.is_aborted or association.is_rejected:
        raise PacsUnavailable(peer.subject, "no association for now", _TRIED_AGAIN)
    raise PacsUnavailable(peer.subject, "no connection", "Check that it runs, and its address.")


def _no_delay(event: evt.Event) -> None:
    connection = event.assoc.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _store(subject: str, association: Association, dataset: Dataset) -> None:
    try:
        answer = association.send_c_store(dataset)
    except ValueError as error:  # no presentation context was accepted, or the data set cannot be encoded
        raise _not_accepted(subject, dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID) from error
    except RuntimeError as error:  # the association ended meanwhile
        raise _Interrupted(subject, "the association broke off", _TRIED_AGAIN) from error
    if "Status" not in answer:
        raise _Interrupted(subject, "no answer came", _TRIED_AGAIN)
    status = int(answer.Status)
    if status != 0 and status not in _WARNINGS:
        raise _failure(subject, status)


def _not_accepted(subject: str, sop_class: str, transfer_syntax: str) -> PacsRefused:
    problem = f"it does not accept SOP class {sop_class} in transfer syntax {transfer_syntax}"
    return PacsRefused(subject, problem, "Allow that kind of object in the archive's configuration.")


def _failure(subject: str, status: int) -> PacsError:
    """The error for a failure status of C-STORE (PS3.4, table B.2-1; PS3.7, annex C)."""
    problem = f"it answered with status {status:#06x}"
    if status & 0xFF00 == 0xA700 or status in (_PROCESSING_FAILURE, _RESOURCE_LIMITATION):
        return PacsUnavailable(subject, problem, _TRIED_AGAIN)
    return PacsRefused(subject, problem, "The object is not to its liking; look at the archive's log.")
