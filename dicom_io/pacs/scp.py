"""Our own service class provider: C-ECHO, C-STORE and storage commitment for whom we allow (PS3.4, annexes A, B and J).

What arrives goes, whole and undecoded, to a :class:`~dicom_io.pacs.port.Sink`; success is answered when that has returned. One
that is cut off, whose data set contradicts the command, or whose UIDs are none, is refused. Nobody can hold much: connections,
the length of a PDU, the size of an object and every wait are bounded, and a TLS handshake holds up no one else. Nothing of a
patient is logged.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from socketserver import BaseServer
from types import TracebackType
from typing import Any, Self

from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, AllStoragePresentationContexts, evt
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from dicom_io.errors import PacsError, PacsRefused
from dicom_io.pacs.association import Peer, prepare
from dicom_io.pacs.commitment import PUSH_MODEL, Commitment, Holds
from dicom_io.pacs.part10 import sop_instance_uid
from dicom_io.pacs.port import Sink

_VERIFICATION = "1.2.840.10008.1.1"
_SUCCESS, _OUT_OF_RESOURCES, _MISMATCH, _CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xA900, 0xC000
_MAX_PDU = 128 * 1024
_LONGEST_OTHER_PDU = 1024 * 1024
"""An A-ASSOCIATE-RQ has no negotiated length; 128 contexts of 45 transfer syntaxes are some 200 KiB."""
_FAREWELL_S = 5.0
_READ_AT_ONCE = 64 * 1024
_MIB = 2**20
_log = logging.getLogger(__name__)


class StorageScp:
    """A storage SCP in threads of its own.

    Args:
        sink: what takes the objects.
        ae_title: our application entity title; others that are called are refused.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        allowed_aets: AE titles that may connect; empty for all.
        tls: certificates (see :func:`dicom_io.pacs.tls.server_tls`), or None for connections without TLS.
        associations: how many at the same time.
        max_object_bytes: the largest object; a sender that exceeds it is cut off.
        timeout: seconds without a word after which a sender is cut off.
        holds: with it storage commitment is answered, from what it says is there.
        commitment_peers: by AE title, who gets commitment reports on an association of our own.
    """

    def __init__(
        self,
        sink: Sink,
        ae_title: str,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        allowed_aets: Collection[str] = (),
        tls: ssl.SSLContext | None = None,
        associations: int = 10,
        max_object_bytes: int = 2048 * _MIB,
        timeout: float = 60.0,
        holds: Holds | None = None,
        commitment_peers: Mapping[str, Peer] | None = None,
    ) -> None:
        self._sink = sink
        self._address = (host, port)
        self._tls = tls
        self._max_object_bytes = max_object_bytes
        self._received: Callable[[], None] = lambda: None
        self._commitment = None if holds is None else Commitment(holds, commitment_peers or {})
        self._entity = AE(ae_title=ae_title)
        self._entity.require_called_aet = True
        self._entity.require_calling_aet = list(allowed_aets)
        self._entity.maximum_associations = associations
        self._entity.maximum_pdu_size = _MAX_PDU
        self._entity.acse_timeout = self._entity.dimse_timeout = self._entity.network_timeout = timeout
        self._timeout = timeout
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def port(self) -> int:
        """The port that it listens on, once it was started."""
        assert self._server is not None
        return int(self._server.server_address[1])

    def start(self, received: Callable[[], None] = lambda: None) -> None:
        """Listens.

        Args:
            received: called after each object that was taken.

        Raises:
            OSError: the address cannot be had.
        """
        self._received = received
        handlers: list[Any] = [(evt.EVT_C_STORE, self._store), (evt.EVT_CONN_OPEN, prepare), (evt.EVT_REJECTED, _refused)]
        if self._commitment is not None:
            handlers.append((evt.EVT_N_ACTION, self._commitment.request))
        self._server = _Server(
            self._entity,
            self._address,
            self._entity.ae_title,
            _contexts(commitment=self._commitment is not None),
            self._tls,
            handlers,
            partial(_Connection, bounds=(self._timeout, self._max_object_bytes)),
        )
        self._thread = threading.Thread(target=self._server.serve_forever, name="scp", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ends all associations and listens no more. What was answered is kept."""
        if self._server is None or self._thread is None:
            return
        self._server.shutdown()
        self._thread.join()
        for association in self._server.active_associations:
            _hang_up(association)
        if self._commitment is not None:
            self._commitment.stop()
        self._server.server_close()
        self._server = self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _store(self, event: evt.Event) -> int:
        """Handles a C-STORE; gives its status (PS3.4, table B.2-1)."""
        file = event.encoded_dataset()
        request: Any = event.request
        if sop_instance_uid(file) != request.AffectedSOPInstanceUID:
            _log.warning("object refused: its SOP Instance UID is not the one that was announced")
            return _MISMATCH
        try:
            self._sink.store(file)
        except PacsRefused as error:
            _log.warning("object refused: %s", error)
            return _CANNOT_UNDERSTAND
        except PacsError as error:
            _log.warning("object not taken: %s", error)
            return _OUT_OF_RESOURCES
        self._received()
        return _SUCCESS


def _contexts(*, commitment: bool) -> list[PresentationContext]:
    """Everything that can be stored, as it comes; explicit VR before the others where the sender leaves the choice."""
    syntaxes = sorted(ALL_TRANSFER_SYNTAXES, key=lambda uid: uid != "1.2.840.10008.1.2.1")
    contexts = [build_context(str(one.abstract_syntax), syntaxes) for one in AllStoragePresentationContexts]
    contexts.append(build_context(_VERIFICATION))
    if commitment:
        contexts.append(build_context(PUSH_MODEL))
    return contexts


def _refused(event: evt.Event) -> None:
    _log.warning("association refused: AE title %r calls %r", event.assoc.requestor.ae_title, _called(event))


def _called(event: evt.Event) -> str:
    request = event.assoc.requestor.primitive
    return "" if request is None else str(request.called_ae_title)


class _Server(ThreadedAssociationServer):
    """Shakes hands in the connection's thread, not in the one that all wait for."""

    daemon_threads = True

    def get_request(self) -> tuple[Any, Any]:
        assert self.socket is not None
        connection, address = self.socket.accept()
        if self.ssl_context is not None:
            connection = self.ssl_context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def shutdown(self) -> None:
        BaseServer.shutdown(self)  # pynetdicom's own expects to be one of the servers that its AE started


class _Connection(RequestHandler):
    """Bounds what one sender can make us hold: pynetdicom would read a PDU of any length, and an object of any size."""

    def __init__(self, *arguments: Any, bounds: tuple[float, int]) -> None:
        self._bounds = bounds
        super().__init__(*arguments)

    def _create_association(self) -> Association:
        association = super()._create_association()
        timeout, max_object_bytes = self._bounds
        self.request.settimeout(timeout)
        connection: Any = association.dul.socket  # its method is replaced: pynetdicom has no other place for it
        connection.recv = partial(_receive, connection, association, max_object_bytes)
        return association


def _receive(connection: Any, association: Association, max_object_bytes: int, size: int) -> bytearray:
    """Reads ``size`` bytes, fewer where the connection ends.

    Raises:
        OSError: they are more than a PDU or an object may have; the connection ends then.
    """
    message = association.dimse.message
    held = 0 if message is None or message.data_set is None else message.data_set.tell()
    received = bytearray()
    try:
        if size > _LONGEST_OTHER_PDU or held + size > max_object_bytes + _MAX_PDU:
            raise OSError("more than is allowed")  # noqa: TRY301 - as if the network had ended it
        while len(received) < size and (piece := connection.socket.recv(min(_READ_AT_ONCE, size - len(received)))):
            received += piece
    except OSError as error:  # of TLS and time too
        _log.warning("connection ended: %s", error)
        connection.socket.close()  # pynetdicom leaves that to the garbage collector
        raise
    return received


def _hang_up(association: Association) -> None:
    """Ends the connection of an association, after what it is doing."""
    was_at_work = association.is_established
    connection = association.dul.socket
    opened = None if connection is None else connection.socket
    if opened is None:
        return
    with suppress(OSError):
        opened.shutdown(socket.SHUT_RDWR)
    association.join(_FAREWELL_S if was_at_work else 0)  # others wait for a request, in threads that hold nothing up
    opened.close()
