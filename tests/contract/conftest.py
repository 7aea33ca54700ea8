from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from benches import Clients, QueriedOrthanc, make_queried_orthanc
from orthanc_fixtures import MakeOrthanc, make_orthanc, make_orthanc_once, orthanc

__all__ = ["make_orthanc", "make_orthanc_once", "orthanc"]


@pytest.fixture
def clients() -> Iterator[Clients]:
    with ExitStack() as stack:
        yield Clients(stack)


@pytest.fixture(scope="module")
def queried_orthanc(make_orthanc_once: MakeOrthanc) -> QueriedOrthanc:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return make_queried_orthanc(make_orthanc_once, port)
