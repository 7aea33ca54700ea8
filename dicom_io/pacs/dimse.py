"""Storing by DIMSE: the Storage service (PS3.4, annex B) as its user, with pynetdicom."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Generator, Sequence
from contextlib import closing

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext, build_context

from dicom_io.errors import PacsRefused
from dicom_io.pacs.association import MAX_CONTEXTS, TRIED_AGAIN, Interrupted, Peer, association, not_accepted, status_of
from dicom_io.pacs.part10 import read_whole

_TRIES = 3
"""Associations in a row that may break off before one object is stored."""

Progress = Callable[[int], None]


class DimseSink:
    """A :class:`~dicom_io.pacs.port.Sink` on a storage SCP. Each object goes by an association of its own.

    Args:
        host: its host.
        port: its port.
        called_aet: its application entity title.
        calling_aet: ours.
        timeout: seconds to wait for a connection, and for each answer.
        tls: certificates, or None for a connection without TLS.
    """

    def __init__(
        self,
        host: str,
        port: int,
        called_aet: str = "ANY-SCP",
        calling_aet: str = "APPRENTICE",
        *,
        timeout: float = 30.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._peer = Peer(host, port, called_aet, calling_aet, timeout, tls)

    def store(self, file: bytes) -> None:
        """Stores one file. See :meth:`dicom_io.pacs.port.Sink.store`."""
        send_to(self._peer, [file])


def send(
    files: Sequence[bytes],
    address: tuple[str, int],
    *,
    called_aet: str = "ANY-SCP",
    calling_aet: str = "MODALITY",
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> None:
    """Sends files in one association, as a modality does. See :func:`send_to`.

    Args:
        files: DICOM Part 10 files; they leave in this order and in the transfer syntax that they have.
        address: host and port of the storage SCP.
        called_aet: its application entity title.
        calling_aet: ours.
        timeout: seconds to wait for a connection, and for each answer.
        progress: called with the number of files sent so far, after each.

    Raises:
        PacsRefused, PacsUnavailable.
    """
    send_to(Peer(*address, called_aet, calling_aet, timeout), files, progress)


def send_to(peer: Peer, files: Sequence[bytes], progress: Progress | None = None) -> None:
    """Sends files in one association; goes on in another one where it breaks off. Storing is idempotent, so that it can.

    Args:
        peer: the storage SCP.
        files: DICOM Part 10 files; they leave in this order and in the transfer syntax that they have.
        progress: called with the number of files sent so far, after each.

    Raises:
        PacsRefused: a file is not whole, or the SCP refuses the association, the kind of object, or an object.
        PacsUnavailable: no connection, or it broke off again and again; what was sent before stands.
    """
    datasets = [read_whole(file) for file in files]
    sent = tries = 0
    while sent < len(datasets):
        before = sent
        try:
            with closing(_sending(peer, datasets[sent:])) as steps:
                for _ in steps:
                    sent += 1
                    if progress is not None:
                        progress(sent)
        except Interrupted:
            tries = 1 if sent > before else tries + 1
            if tries >= _TRIES:
                raise


def _sending(peer: Peer, datasets: Sequence[Dataset]) -> Generator[None, None, None]:
    """Sends in one association; yields after each object."""
    with association(peer, _contexts(peer, datasets)) as opened:
        for dataset in datasets:
            _store(peer, opened, dataset)
            yield


def _contexts(peer: Peer, datasets: Sequence[Dataset]) -> list[PresentationContext]:
    """One presentation context for each pair of SOP class and transfer syntax, so that nothing is transcoded."""
    pairs = sorted({(str(one.SOPClassUID), str(one.file_meta.TransferSyntaxUID)) for one in datasets})
    if len(pairs) > MAX_CONTEXTS:
        problem = f"{len(pairs)} kinds of objects, and an association takes {MAX_CONTEXTS}"
        raise PacsRefused(peer.name, problem, "Send them in several parts.")
    return [build_context(*pair) for pair in pairs]


def _store(peer: Peer, opened: Association, dataset: Dataset) -> None:
    try:
        answer = opened.send_c_store(dataset)
    except ValueError as error:  # no presentation context was accepted, or the data set cannot be encoded
        raise not_accepted(peer, dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID) from error
    except RuntimeError as error:  # the association ended meanwhile
        raise Interrupted(peer.name, "the association broke off", TRIED_AGAIN) from error
    status_of(peer, answer)
