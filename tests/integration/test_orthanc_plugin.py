"""The plugin in a real Orthanc, with a small real HTTP server in the learner's place."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest
from orthanc_fixtures import PASSWORD, USER, MakeOrthanc
from slices import make_slices, uids

from dicom_io.pacs.dimse import send
from dicom_io.pacs.orthanc_rest import OrthancArchive
from learner.demo.orthanc import PLUGIN_SCRIPT, LocalOrthanc, PluginOptions

pytestmark = pytest.mark.orthanc
_DEADLINE_S = 30.0
_STATE = {"rounds": 7}
_NOBODY = "http://127.0.0.1:9"  # the discard port, which no one serves any more


class StandIn:
    """Takes nudges and tells a state, as the learner's API does."""

    def __init__(self) -> None:
        self.changes: list[dict[str, str]] = []
        self.tokens: set[str | None] = set()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stand_in.tokens.add(self.headers["Authorization"])
                if self.path == "/api/nudge":
                    stand_in.changes += body["changes"]
                self._answer(202 if self.path == "/api/nudge" else 404, {})

            def do_GET(self) -> None:
                stand_in.tokens.add(self.headers["Authorization"])
                self._answer(200 if self.path == "/api/status" else 404, _STATE)

            def _answer(self, status: int, body: dict[str, int]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
                pass

        return Handler


@pytest.fixture
def learner() -> Iterator[StandIn]:
    stand_in = StandIn()
    yield stand_in
    stand_in.close()


def _until(good: Callable[[], object]) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while not good():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def _status(orthanc: LocalOrthanc) -> dict[str, Any]:
    answer = httpx2.get(f"{orthanc.url}/apprentice/status", auth=(USER, PASSWORD), timeout=20)
    assert answer.status_code == 200
    return answer.json()


def _assert_serves(orthanc: LocalOrthanc) -> None:
    """It takes a series by C-STORE, and has it."""
    files = make_slices(3)
    send(files, orthanc.dicom_address)
    with OrthancArchive(orthanc.url, USER, PASSWORD) as archive:
        assert len(archive.find_series(uids(files[0])[1]).instance_ids) == 3


def _altered_copy(orthanc: LocalOrthanc, name: str, text: str) -> Path:
    """The script of a copy of the plugin, at the end of one of whose files stands ``text``."""
    folder = orthanc.folder / "altered" / "orthanc_plugin"
    shutil.copytree(PLUGIN_SCRIPT.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    with (folder / name).open("a") as file:
        file.write(text)
    return folder / "main.py"


def test_a_stored_series_nudges_the_learner(make_orthanc: MakeOrthanc, learner: StandIn) -> None:
    orthanc = make_orthanc(plugin=PluginOptions(learner.url))
    orthanc.start()
    _until(lambda: any(change["kind"] == "OrthancStarted" for change in learner.changes))
    files = make_slices(30)
    send(files, orthanc.dicom_address)
    with OrthancArchive(orthanc.url, USER, PASSWORD) as archive:
        series = archive.find_series(uids(files[0])[1])
        for kind, name in (("NewInstance", ""), ("NewSeries", series.archive_id), ("StableSeries", series.archive_id)):
            _until(lambda: {"kind": kind, "id": name} in learner.changes)  # noqa: B023  # called before the loop goes on
        archive.delete_series(series.series_instance_uid)
    _until(lambda: {"kind": "Deleted", "id": series.archive_id} in learner.changes)
    assert learner.changes.count({"kind": "NewInstance", "id": ""}) < 30  # told together, not one by one


def test_the_route_tells_the_learners_state_and_the_counters(make_orthanc: MakeOrthanc, learner: StandIn) -> None:
    orthanc = make_orthanc()
    token = orthanc.folder / "token"
    token.write_text("a-token\n")
    inside = Path(orthanc.path_inside(token))
    orthanc.plugin = PluginOptions(learner.url, page_url="https://learner.example/page", token_file=inside)
    orthanc.start()
    _until(lambda: learner.changes)
    status = _status(orthanc)
    assert status["learner"] == {"reachable": True, "problem": "", "state": _STATE}
    _until(lambda: _status(orthanc)["plugin"]["delivered"] > 0)
    assert learner.tokens == {"Bearer a-token"}
    script = httpx2.get(f"{orthanc.url}/plugins/explorer.js", auth=(USER, PASSWORD))
    assert '"https://learner.example/page"' in script.text
    assert httpx2.post(f"{orthanc.url}/apprentice/status", auth=(USER, PASSWORD), json={}).status_code == 405
    assert httpx2.get(f"{orthanc.url}/apprentice/status").status_code == 401


def test_without_the_learner_orthanc_is_unaffected(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc(plugin=PluginOptions(_NOBODY))
    orthanc.start()
    _assert_serves(orthanc)
    _until(lambda: _status(orthanc)["plugin"]["failures"] > 0)
    status = _status(orthanc)
    assert (status["learner"]["reachable"], status["learner"]["state"]) == (False, None)
    assert status["plugin"]["delivered"] == 0
    begin = time.monotonic()
    orthanc.stop(timeout=60)
    assert time.monotonic() - begin < 20


def test_a_learner_that_hangs_holds_nothing_up(make_orthanc: MakeOrthanc) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        orthanc = make_orthanc(plugin=PluginOptions(url, more={"TimeoutSeconds": 1}))
        orthanc.start()
        _assert_serves(orthanc)
        assert _status(orthanc)["learner"]["problem"] == "it did not answer in time"
        begin = time.monotonic()
        orthanc.stop(timeout=60)
        assert time.monotonic() - begin < 20


def test_what_waited_is_told_once_the_learner_can_be_reached(make_orthanc: MakeOrthanc, learner: StandIn) -> None:
    orthanc = make_orthanc()
    token = orthanc.folder / "token"
    orthanc.plugin = PluginOptions(learner.url, token_file=Path(orthanc.path_inside(token)))
    orthanc.start()
    _assert_serves(orthanc)  # a token file that is not there hinders messages, and nothing else
    _until(lambda: _status(orthanc)["plugin"]["failures"] > 0)
    assert learner.changes == []
    token.write_text("late")
    _until(lambda: {"kind": "NewInstance", "id": ""} in learner.changes)
    assert learner.tokens == {"Bearer late"}


@pytest.mark.parametrize(
    ("url", "more"),
    [
        ("nonsense", {}),
        (_NOBODY, {"TimeoutSeconds": "soon"}),
        (_NOBODY, {"QueueSize": 0}),
        (_NOBODY, {"Unheard": True}),
    ],
)
def test_wrong_options_do_not_keep_orthanc_from_serving(make_orthanc: MakeOrthanc, url: str, more: dict[str, object]) -> None:
    orthanc = make_orthanc(plugin=PluginOptions(url, more=more))
    orthanc.start()
    _assert_serves(orthanc)
    assert "PACS Apprentice plugin: not loaded" in orthanc.log_path.read_text()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("options.py", "\ndef broken(:\n"),
        ("notifier.py", "\nimport a_module_that_is_not_there\n"),
        ("callbacks.py", "\nraise SystemExit(3)\n"),
    ],
)
def test_a_broken_plugin_does_not_keep_orthanc_from_serving(make_orthanc: MakeOrthanc, name: str, text: str) -> None:
    orthanc = make_orthanc()
    orthanc.plugin = PluginOptions(_NOBODY, script=_altered_copy(orthanc, name, text))
    orthanc.start()
    _assert_serves(orthanc)
    assert "PACS Apprentice plugin: not loaded" in orthanc.log_path.read_text()


def test_an_error_in_the_callback_does_not_keep_orthanc_from_serving(make_orthanc: MakeOrthanc) -> None:
    orthanc = make_orthanc()
    script = _altered_copy(orthanc, "notifier.py", "\nNotifier.note = lambda *change: 1 / 0\n")
    orthanc.plugin = PluginOptions(_NOBODY, script=script)
    orthanc.start()
    _assert_serves(orthanc)
    _until(lambda: "a change was not taken: ZeroDivisionError" in orthanc.log_path.read_text())
    assert _status(orthanc)["plugin"]["noted"] == 0
