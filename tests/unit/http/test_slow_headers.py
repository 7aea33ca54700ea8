"""Connections whose headers do not come (slowloris) end by themselves; others are served meanwhile, and after."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from learner.http.slow_headers import HeadersInTime


class Impatient(HeadersInTime):
    """The same, for tests."""

    headers_within_s = 0.3


async def hello(_scope: Scope, _receive: Receive, send: Send) -> None:
    await asyncio.sleep(2 * Impatient.headers_within_s)  # an answer may take longer than headers
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"hi"})


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(hello, http=Impatient, log_config=None, lifespan="off", limit_concurrency=4))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield int(listening.getsockname()[1])
        server.should_exit = True
        thread.join()


def connected(port: int, sent: bytes = b"") -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), timeout=10)
    opened.sendall(sent)
    return opened


def ends(opened: socket.socket) -> bool:
    """Whether the server hangs up; a timeout is a failure of the test."""
    try:
        return opened.recv(1024) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_headers_that_do_not_come_end_the_connection(port: int, sent: bytes) -> None:
    with ExitStack() as stack:
        slow = [stack.enter_context(connected(port, sent)) for _ in range(4)]
        assert all(ends(one) for one in slow)
    assert httpx2.get(f"http://127.0.0.1:{port}/", timeout=10).text == "hi", "the others did not keep it out for good"


def test_bytes_that_drip_in_do_not_prolong_it(port: int) -> None:
    with connected(port, b"GET / HTTP/1.1\r\n") as slow:
        slow.settimeout(0.05)
        for number in range(200):
            try:
                slow.sendall(f"X-{number}: y\r\n".encode())
                assert slow.recv(1024) == b""
            except TimeoutError:
                continue  # still open
            except (ConnectionResetError, BrokenPipeError):
                break
            break
        else:
            pytest.fail("it went on for 10 s")


def test_a_connection_that_is_kept_may_ask_again_and_is_waited_for_again(port: int) -> None:
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with connected(port) as kept:
        for _ in range(2):
            kept.sendall(request)
            answer = b""
            while not answer.endswith(b"hi"):
                answer += kept.recv(1024)
            assert answer.startswith(b"HTTP/1.1 200")
        kept.sendall(request[:20])
        assert ends(kept)
