"""What a broken answer becomes, against a server that breaks it on the wire."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from dicom_io.errors import NotInPacs, PacsClosed, PacsError, PacsRefused, PacsUnavailable
from dicom_io.pacs.dicomweb import DicomWebSink
from dicom_io.pacs.orthanc_rest import OrthancArchive

Serve = Callable[[bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server that answers each connection with the same bytes and closes it; gives its address."""
    listeners: list[tuple[socket.socket, threading.Thread]] = []

    def answer_all(listener: socket.socket, answer: bytes) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # shut down
            with closing(connection):
                connection.recv(1 << 16)
                connection.sendall(answer)

    def start(answer: bytes) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        thread = threading.Thread(target=answer_all, args=(listener, answer))
        thread.start()
        listeners.append((listener, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for listener, thread in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def _answer(status: str, body: bytes, length: int | None = None) -> bytes:
    said = len(body) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {said}\r\nConnection: close\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (_answer("200 OK", b"DICM", length=4000), PacsUnavailable),
        (b"", PacsUnavailable),
        (b"no HTTP at all\r\n\r\n", PacsUnavailable),
        (_answer("503 Service Unavailable", b""), PacsUnavailable),
        (_answer("507 Insufficient Storage", b""), PacsUnavailable),
        (_answer("429 Too Many Requests", b""), PacsUnavailable),
        (_answer("401 Unauthorized", b""), PacsClosed),
        (_answer("403 Forbidden", b""), PacsClosed),
        (_answer("302 Found", b""), PacsClosed),
        (_answer("407 Proxy Authentication Required", b""), PacsClosed),
        (_answer("413 Content Too Large", b""), PacsRefused),
        (_answer("404 Not Found", b""), NotInPacs),
        (_answer("200 OK\r\nContent-Type: text/html", b"<html>a login page</html>"), PacsUnavailable),
    ],
)
def test_fetching_translates_every_failure(serve: Serve, answer: bytes, kind: type[PacsError]) -> None:
    with OrthancArchive(serve(answer), "reader", "a-secret") as archive, pytest.raises(kind) as caught:
        archive.fetch("abc")
    assert type(caught.value) is kind
    assert "/instances/abc/file" in str(caught.value)
    assert "a-secret" not in str(caught.value)


def test_an_answer_that_is_no_json_is_unavailable(serve: Serve) -> None:
    with OrthancArchive(serve(_answer("200 OK", b"<html>a login page</html>"))) as archive, pytest.raises(PacsUnavailable):
        archive.page(0)


@pytest.mark.parametrize("body", [b"{}", b'{"Changes": [7], "Last": 1, "Done": true}', b"null", b'{"Last": []}', b"[7]"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda archive: archive.page(0),
        lambda archive: archive.find_series("1.2.3"),
        lambda archive: list(archive.scan()),
        lambda archive: archive.store(b"x"),
    ],
)
def test_json_of_something_else_is_unavailable(serve: Serve, body: bytes, ask: Callable[[OrthancArchive], object]) -> None:
    """A series is never taken for deleted because something else answers in Orthanc's place."""
    with OrthancArchive(serve(_answer("200 OK", body))) as archive, pytest.raises(PacsUnavailable, match="not Orthanc's"):
        ask(archive)


def test_a_path_that_the_archive_does_not_know_is_no_missing_object(serve: Serve) -> None:
    with OrthancArchive(serve(_answer("404 Not Found", b""))) as archive, pytest.raises(PacsClosed):
        archive.find_series("1.2.3")


def test_a_filtered_object_is_refused(serve: Serve) -> None:
    with OrthancArchive(serve(_answer("200 OK", b'{"Status": "FilteredOut"}'))) as archive, pytest.raises(PacsRefused):
        archive.store(b"x")


_FAILED = b'{"00081198": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [272]}}]}, "00081199": {"vr": "SQ"}}'
_KEPT = b'{"00081198": {"vr": "SQ"}, "00081199": {"vr": "SQ", "Value": [{}]}}'


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (_answer("409 Conflict", _FAILED), PacsRefused),
        (_answer("202 Accepted", _FAILED), PacsRefused),
        (_answer("200 OK", b"{}"), PacsRefused),
        (_answer("200 OK", b"<xml/>"), PacsUnavailable),
        (_answer("500 Internal Server Error", b""), PacsUnavailable),
        (_answer("401 Unauthorized", b""), PacsRefused),
    ],
)
def test_storing_by_dicomweb_translates_every_failure(serve: Serve, answer: bytes, kind: type[PacsError]) -> None:
    with DicomWebSink(serve(answer), "reader", "a-secret") as sink, pytest.raises(kind) as caught:
        sink.store(b"x")
    assert "a-secret" not in str(caught.value)


def test_the_failure_reason_is_told(serve: Serve) -> None:
    with DicomWebSink(serve(_answer("409 Conflict", _FAILED))) as sink, pytest.raises(PacsRefused, match="0x0110"):
        sink.store(b"x")


def test_an_empty_sequence_of_failures_is_none(serve: Serve) -> None:
    with DicomWebSink(serve(_answer("200 OK", _KEPT))) as sink:
        sink.store(b"x")
