"""DICOMweb servers as they are: cutting answers off, ignoring what they are asked, leaving parts out."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from slices import make_slices, uids

from dicom_io.errors import NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.pacs.dicomweb_archive import DicomWebArchive
from dicom_io.pacs.port import SeriesStatus

Answer = tuple[int, dict[str, str], bytes]
SERIES = [{"0020000D": {"vr": "UI", "Value": ["1.1"]}, "0020000E": {"vr": "UI", "Value": [f"1.2.{n}"]}} for n in range(7)]
INSTANCE = [{"00080018": {"vr": "UI", "Value": ["1.3"]}}]


class Server:
    """Answers as a test says, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str, dict[str, list[str]]], Answer]) -> None:
        self.answer = answer
        self.headers: list[dict[str, str]] = []

    @contextmanager
    def running(self) -> Iterator[str]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.headers.append(dict(self.headers))
                address = urlsplit(self.path)
                status, headers, body = outer.answer(address.path, parse_qs(address.query))
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                yield f"http://127.0.0.1:{server.server_port}"
            finally:
                server.shutdown()
                thread.join()


def rows(path: str, found: list[dict[str, object]], query: dict[str, list[str]], most: int, *, warns: bool) -> Answer:
    if path.endswith("/instances"):
        return 200, {}, json.dumps(INSTANCE if query["offset"] == ["0"] else []).encode()
    if path == "/studies":
        return 200, {}, json.dumps([{"0020000D": {"vr": "UI", "Value": ["1.1"]}}] if query["offset"] == ["0"] else []).encode()
    start = int(query["offset"][0])
    page = found[start : start + min(most, int(query["limit"][0]))]
    more = {"Warning": '299 host "There are additional results that can be requested"'}
    headers = more if warns and start + len(page) < len(found) else {}
    return (200, headers, json.dumps(page).encode()) if page else (204, {}, b"")


@pytest.mark.parametrize(("most", "page_size", "warns"), [(3, 500, True), (500, 3, False), (3, 3, False), (7, 7, True)])
def test_all_pages_are_asked_for(most: int, page_size: int, warns: bool) -> None:
    server = Server(lambda path, query: rows(path, SERIES, query, most, warns=warns))
    with server.running() as url, DicomWebArchive(url, days=0, page_size=page_size) as archive:
        assert len(archive.page(0).touched) == len(SERIES)


def test_an_archive_that_ignores_offset_and_cuts_off_is_named() -> None:
    def answer(path: str, query: dict[str, list[str]]) -> Answer:
        return rows(path, SERIES, query | {"offset": ["0"]}, 3, warns=True)

    with Server(answer).running() as url, DicomWebArchive(url, days=0) as archive, pytest.raises(PacsRefused, match="offset"):
        archive.page(0)


def test_a_token_goes_with_every_request() -> None:
    server = Server(lambda path, query: rows(path, SERIES, query, 500, warns=False))
    with server.running() as url, DicomWebArchive(url, token="hush", days=0) as archive:
        archive.page(0)
    assert {headers["Authorization"] for headers in server.headers} == {"Bearer hush"}


def multipart(files: list[bytes]) -> Answer:
    body = b"".join(b"--x\r\nContent-Type: application/dicom\r\n\r\n" + file + b"\r\n" for file in files) + b"--x--"
    return 200, {"Content-Type": 'multipart/related; type="application/dicom"; boundary=x'}, body


def test_what_a_series_answer_leaves_out_is_asked_for_by_itself() -> None:
    files = make_slices(3)
    by_uid = {uids(file)[0]: file for file in files}

    def answer(path: str, query: dict[str, list[str]]) -> Answer:
        if path.count("/") == 4:
            return multipart([files[2], files[0]])
        return multipart([by_uid[path.rpartition("/")[2]]]) if path.rpartition("/")[2] in by_uid else (404, {}, b"")

    with Server(answer).running() as url, DicomWebArchive(url) as archive:
        names = tuple(sorted(f"1.1/1.2/{uid}" for uid in by_uid))
        series = _status(names)
        assert archive.fetch_series(series) == [by_uid[name.rpartition("/")[2]] for name in names]
        with pytest.raises(NotInPacs):
            archive.fetch_series(_status((*names, "1.1/1.2/1.9")))


def _status(names: tuple[str, ...]) -> SeriesStatus:
    return SeriesStatus("1.2", "1.1", "1.2", "MR", "", names, is_stable=True)


@pytest.mark.parametrize(
    "answer",
    [
        (200, {"Content-Type": "application/dicom"}, b"DICM"),
        (200, {"Content-Type": "multipart/related; boundary=x"}, b"--x\r\n\r\nhalf"),
        (503, {}, b""),
    ],
)
def test_an_answer_that_is_not_whole_is_asked_again(answer: Answer) -> None:
    server = Server(lambda _path, _query: answer)
    with server.running() as url, DicomWebArchive(url) as archive, pytest.raises(PacsUnavailable):
        archive.fetch("1.1/1.2/1.3")
