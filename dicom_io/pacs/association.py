"""Associations as their requestor: whom we talk to, with what, and what it means when it does not work (PS3.8, section 7).

Nagle's algorithm is off on every connection: with it each message waits some 40 ms for an acknowledgement.

pynetdicom 3.0.4 loses an answer once in some thousands on a busy machine: its reactor thread may take the answer off the queue
while the caller believes it to be paused, and a query then finds too little and says so to no one. :class:`_Checkpoint` makes
sure that it is paused.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext, build_context

from dicom_io.errors import PacsClosed, PacsError, PacsRefused, PacsUnavailable

MAX_CONTEXTS = 128
"""Presentation contexts of one association: their IDs are the odd numbers of a byte."""

TRIED_AGAIN = "It is tried again; look at the archive's log."
_VERIFICATION = "1.2.840.10008.1.1"
_TRIES = 3
_REACTOR_LOOKED_AT_S = 0.05
_REJECTED_PERMANENT = 0x01
_PROCESSING_FAILURE = 0x0110
_RESOURCE_LIMITATION = 0x0213
_Answer = TypeVar("_Answer")
Handler = tuple[Any, Callable[[evt.Event], Any]]


class Interrupted(PacsUnavailable):
    """The association ended, or an answer did not come; another association can go on from there."""


@dataclass(frozen=True)
class Peer:
    """Whom we talk to, and how.

    Attributes:
        host: its host.
        port: its port.
        called_aet: its application entity title.
        calling_aet: ours.
        timeout: seconds to wait for a connection, and for each answer.
        tls: certificates, or None for a connection without TLS.
    """

    host: str
    port: int
    called_aet: str = "ANY-SCP"
    calling_aet: str = "APPRENTICE"
    timeout: float = 30.0
    tls: ssl.SSLContext | None = None

    @property
    def name(self) -> str:
        """AE title and address, for messages."""
        return f"{self.called_aet} at {self.host}:{self.port}"


@contextmanager
def association(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    *,
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
    handlers: Sequence[Handler] = (),
) -> Iterator[Association]:
    """An established association, released at the end, or aborted where the end leaves an operation open.

    Raises:
        PacsRefused: it was rejected for good, or none of ``contexts`` was accepted.
        PacsUnavailable: no connection, or not now.
    """
    opened = _open(peer, contexts, roles, handlers)
    is_idle = False
    try:
        yield opened
        is_idle = True
    except PacsError:  # said by an answer, after which the association is idle
        is_idle = True
        raise
    finally:
        if opened.is_established:
            (opened.release if is_idle else opened.abort)()


def again(ask: Callable[[], _Answer]) -> _Answer:
    """What ``ask`` gives, asked up to three times while its associations break off.

    Raises:
        PacsRefused, PacsUnavailable.
    """
    for _ in range(_TRIES - 1):
        try:
            return ask()
        except Interrupted:
            continue
    return ask()


def echo(peer: Peer) -> None:
    """Asks whether somebody is there (C-ECHO, PS3.4 annex A).

    Raises:
        PacsRefused, PacsUnavailable.
    """
    with association(peer, [build_context(_VERIFICATION)]) as opened:
        status_of(peer, opened.send_c_echo())


def status_of(peer: Peer, answer: Dataset) -> int:
    """The status of an answer that is no failure.

    Raises:
        Interrupted: there is none.
        PacsUnavailable, PacsRefused: it is a failure (PS3.7, annex C; PS3.4, tables B.2-1, C.4-1, C.4-2 and C.4-3).
    """
    if "Status" not in answer:
        raise Interrupted(peer.name, "no answer came", TRIED_AGAIN)
    status = int(answer.Status)
    if status & 0xF000 in (0xA000, 0xC000) or 0x0100 <= status <= 0x02FF:
        raise _failure(peer, status)
    return status


def _failure(peer: Peer, status: int) -> PacsError:
    problem = f"it answered with status {status:#06x}"
    if status & 0xFF00 == 0xA700 or status in (_PROCESSING_FAILURE, _RESOURCE_LIMITATION):
        return PacsUnavailable(peer.name, problem, TRIED_AGAIN)
    return PacsRefused(peer.name, problem, "The object or the request is not to its liking; look at the archive's log.")


def not_accepted(peer: Peer, sop_class: str, transfer_syntax: str) -> PacsRefused:
    """The error for a presentation context that was not accepted."""
    problem = f"it does not accept SOP class {sop_class} in transfer syntax {transfer_syntax}"
    return PacsRefused(peer.name, problem, "Allow that kind of object in the archive's configuration.")


def _open(
    peer: Peer,
    contexts: Sequence[PresentationContext],
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation],
    handlers: Sequence[Handler],
) -> Association:
    entity = AE(ae_title=peer.calling_aet)
    entity.connection_timeout = entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = peer.timeout
    opened = entity.associate(
        peer.host,
        peer.port,
        contexts=list(contexts),
        ae_title=peer.called_aet,
        max_pdu=0,
        ext_neg=list(roles),
        evt_handlers=[(evt.EVT_CONN_OPEN, prepare), *handlers],
        tls_args=None if peer.tls is None else (peer.tls, peer.host),
    )
    if opened.is_established:
        return opened
    if opened.rejected_contexts:  # none was accepted: pynetdicom aborts such an association
        raise not_accepted(peer, str(contexts[0].abstract_syntax), str(contexts[0].transfer_syntax[0]))
    answer = opened.acceptor.primitive
    if opened.is_rejected and answer is not None and answer.result == _REJECTED_PERMANENT:
        raise PacsClosed(peer.name, "the association was rejected", "Check the AE titles on both sides.")
    if opened.is_aborted or opened.is_rejected:
        raise PacsUnavailable(peer.name, "no association for now", TRIED_AGAIN)
    raise PacsUnavailable(peer.name, "no connection", "Check that it runs, its address, and TLS on both sides.")


def prepare(event: evt.Event) -> None:
    """Sets up a connection that was opened, as requestor or as acceptor: no delay, closed for good, a reactor that pauses."""
    opened: Any = event.assoc
    connection = opened.dul.socket.socket
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.dul.socket._shutdown_socket = partial(_close, connection)  # noqa: SLF001 - pynetdicom's leaves it open at times
    opened._reactor_checkpoint = _Checkpoint(opened)  # noqa: SLF001 - where the race is


def _close(connection: socket.socket) -> None:
    """Closes a connection, whether or not the other side was faster."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


class _Checkpoint:
    """Stands in for the ``threading.Event`` at which an association's reactor thread pauses while another thread talks.

    With the event the other thread may find the reactor *about to pause*, go on, and lose its answer to it. Here ``clear``
    returns once the reactor is held.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._changed = threading.Condition()
        self._is_open = True
        self._is_held = False

    def set(self) -> None:
        with self._changed:
            self._is_open = True
            self._changed.notify_all()

    def wait(self) -> None:
        with self._changed:
            while not self._is_open:
                self._is_held = True
                self._changed.notify_all()
                self._changed.wait()
            self._is_held = False

    def clear(self) -> None:
        with self._changed:
            self._is_open = False
            if threading.current_thread() is self._reactor:
                return
            while not self._is_held and self._reactor.is_alive():
                self._changed.wait(_REACTOR_LOOKED_AT_S)
            if not self._is_held:
                self._reactor._is_paused = True  # noqa: SLF001 - it has ended; pynetdicom would wait for its pause for ever
