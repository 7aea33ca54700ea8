"""Something that stands between node and Orthanc, passes on what both say, and breaks it the way that a test wants."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2

_PASSED_ON = ("Authorization", "Content-Type", "Accept")


@dataclass
class Answer:
    """What Orthanc answered."""

    status: int
    body: bytes
    content_type: str = "application/json"


class Exchange(BaseHTTPRequestHandler):
    """One connection of the node."""

    protocol_version = "HTTP/1.1"
    proxy: FaultyProxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if not self.proxy.is_up:  # a connection from before it was stopped
            self.close_connection = True
            return
        fault = self.proxy.fault_of(self.command, self.path)
        if fault is None:
            self.reply(self.ask(body))
        else:
            fault(self, body)

    do_POST = do_DELETE = do_PUT = do_GET

    def ask(self, body: bytes) -> Answer:
        """What Orthanc says to the request."""
        headers = {name: self.headers[name] for name in _PASSED_ON if name in self.headers}
        found = self.proxy.client.request(self.command, self.proxy.target + self.path, content=body, headers=headers)
        return Answer(found.status_code, found.content, found.headers.get("Content-Type", "application/json"))

    def reply(self, answer: Answer, length: int | None = None) -> None:
        """Sends an answer, which may lie about its length."""
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body) if length is None else length))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Nothing is written of it."""


Fault = Callable[[Exchange, bytes], None]


@dataclass
class FaultyProxy:
    """The proxy, on a port that it keeps when it is stopped and started again.

    Attributes:
        target: Orthanc's address.
        port: its own.
        fault: what happens to requests that ``applies`` is true of; None for nothing.
        applies: takes method and path.
    """

    target: str
    port: int
    fault: Fault | None = None
    applies: Callable[[str, str], bool] = lambda _method, _path: True
    client: httpx2.Client = field(default_factory=lambda: httpx2.Client(timeout=30, trust_env=False))
    _server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def is_up(self) -> bool:
        return self._server is not None

    def fault_of(self, method: str, path: str) -> Fault | None:
        return self.fault if self.applies(method, path) else None

    def start(self) -> None:
        handler = type("Handler", (Exchange,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Connections are refused from now on."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def status(number: int) -> Fault:
    """Answers with a status, whatever is asked."""
    return lambda exchange, _body: exchange.reply(Answer(number, b""))


def html(exchange: Exchange, _body: bytes) -> None:
    """A page for people, with success as its status."""
    exchange.reply(Answer(200, b"<html><title>Sign in</title></html>", "text/html"))


def half(exchange: Exchange, body: bytes) -> None:
    """The connection ends in the middle of the body."""
    whole = exchange.ask(body)
    exchange.reply(Answer(whole.status, whole.body[: len(whole.body) // 2], whole.content_type), len(whole.body))
    exchange.close_connection = True


def shortened(exchange: Exchange, body: bytes) -> None:
    """Half of the body, and a Content-Length that says that it is all."""
    whole = exchange.ask(body)
    exchange.reply(Answer(whole.status, whole.body[: len(whole.body) // 2], whole.content_type))


def reset(exchange: Exchange, _body: bytes) -> None:
    """The connection is reset before any answer (RST)."""
    exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.close_connection = True
    exchange.connection.close()


def slow(seconds: float) -> Fault:
    """Every answer takes so long."""

    def later(exchange: Exchange, body: bytes) -> None:
        whole = exchange.ask(body)
        time.sleep(seconds)  # the fault itself
        exchange.reply(whole)

    return later


def first_only(fault: Fault) -> Fault:
    """Breaks the first answer of each path; the next ones are whole."""
    met: set[tuple[str, str]] = set()

    def once(exchange: Exchange, body: bytes) -> None:
        asked = (exchange.command, exchange.path)
        if asked in met:
            exchange.reply(exchange.ask(body))
        else:
            met.add(asked)
            fault(exchange, body)

    return once
