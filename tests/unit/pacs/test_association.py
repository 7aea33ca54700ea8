"""pynetdicom's reactor is really paused while we talk: else it takes an answer off the queue, and nobody is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pydicom import Dataset
from pynetdicom import AE, evt

from dicom_io.pacs.association import Peer, _Checkpoint
from dicom_io.pacs.dimse_query import STUDY_ROOT_FIND, DimseQuery


def test_clear_returns_once_the_reactor_is_held() -> None:
    at_the_checkpoint, may_go_on = threading.Event(), threading.Event()
    steps: list[int] = []

    def react() -> None:
        while not steps or steps[-1] < 1000:
            checkpoint.wait()
            at_the_checkpoint.set()
            may_go_on.wait()  # it has passed, and was put aside by the system
            steps.append(len(steps))

    reactor = threading.Thread(target=react, daemon=True)
    checkpoint = _Checkpoint(reactor)
    reactor.start()
    assert at_the_checkpoint.wait(5)
    clearing = threading.Thread(target=checkpoint.clear)
    clearing.start()
    clearing.join(0.2)
    assert clearing.is_alive(), "the reactor passed before, and may still take something"
    may_go_on.set()
    clearing.join(5)
    assert not clearing.is_alive()
    done = len(steps)
    reactor.join(0.1)
    assert len(steps) == done, "it is held"
    checkpoint.set()
    checkpoint.clear()
    checkpoint.set()
    reactor.join(5)
    assert not reactor.is_alive()


def test_nobody_waits_for_a_reactor_that_has_ended() -> None:
    reactor = threading.Thread(target=lambda: None)
    reactor.start()
    reactor.join()
    _Checkpoint(reactor).clear()
    assert reactor._is_paused  # what pynetdicom waits for


def test_many_queries_lose_no_row() -> None:
    rows = 3

    def answer(_event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for number in range(rows):
            row = Dataset()
            row.QueryRetrieveLevel, row.StudyInstanceUID = "STUDY", f"1.{number + 1}"
            yield 0xFF00, row

    entity = AE()
    entity.add_supported_context(STUDY_ROOT_FIND)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, answer)])
    query = DimseQuery(Peer("127.0.0.1", server.socket.getsockname()[1], timeout=5))
    try:
        for _ in range(150):
            assert len(query("STUDY", {}, ("StudyInstanceUID",))) == rows
        server.active_associations[0].abort()
        assert len(query("STUDY", {}, ("StudyInstanceUID",))) == rows, "on a new association"
    finally:
        query.close()
        server.shutdown()
