"""An association that breaks off: another one goes on from there, and gives up when that does not help."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage
from slices import make_slices, uids

from dicom_io.errors import PacsUnavailable
from dicom_io.pacs.dimse import send


class Peer:
    """A storage SCP that aborts the association at the objects that it is told to."""

    def __init__(self, *aborted_at: int) -> None:
        self.aborted_at = set(aborted_at)
        self.calls = 0
        self.stored: list[str] = []
        self.port = 0

    def handle(self, event: evt.Event) -> int:
        self.calls += 1
        if self.calls in self.aborted_at:
            event.assoc.abort()
            return 0x0000
        self.stored.append(str(event.request.AffectedSOPInstanceUID))
        return 0x0000

    @contextmanager
    def running(self) -> Iterator[tuple[str, int]]:
        entity = AE()
        entity.add_supported_context(MRImageStorage)
        server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, self.handle)])
        try:
            yield "127.0.0.1", server.socket.getsockname()[1]
        finally:
            server.shutdown()


def test_the_rest_goes_by_another_association() -> None:
    files, told, peer = make_slices(5), [], Peer(3)
    with peer.running() as address:
        send(files, address, timeout=5.0, progress=told.append)
    assert peer.stored == [uids(file)[0] for file in files]
    assert told == [1, 2, 3, 4, 5]


def test_it_gives_up_after_three_associations_without_an_object() -> None:
    peer = Peer(*range(2, 100))
    with peer.running() as address, pytest.raises(PacsUnavailable):
        send(make_slices(3), address, timeout=5.0)
    assert peer.calls == 1 + 3
    assert len(peer.stored) == 1
