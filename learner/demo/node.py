"""The demo's node: a real Orthanc with the plugin, and ``apprentice serve``, as child processes on free loopback ports."""

from __future__ import annotations

import json
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from dicom_io.pacs.orthanc_rest import OrthancArchive
from dicom_io.results import SegmentDescription
from dicom_io.whole_files import write_whole
from learner.demo.cases import DemoData
from learner.demo.client import NodeClient
from learner.demo.errors import DemoError
from learner.demo.orthanc import LocalOrthanc, PluginOptions
from learner.demo.report import DemoOptions
from learner.errors import StoreError
from learner.storage.sweep import FolderLock

USER = "demo"
_MARKER = "made-by-apprentice-demo"
_PARTS = ("orthanc", "data", "config", "learner.log")
_START_TIMEOUT_S = 120.0
_STOP_TIMEOUT_S = 30.0
_SHOWN_LOG_LINES = 8


class DemoNode:
    """Orthanc and learner of one demo; use it as a context, from a thread that outlives it.

    Args:
        options: where it lives and how it learns.
        data: gives the task.

    Attributes:
        orthanc: the archive's process.
        archive: its REST API.
        client: the learner's API.
    """

    def __init__(self, options: DemoOptions, data: DemoData) -> None:
        self._folder = options.folder.resolve()
        self._lock = _prepare(self._folder, keep=options.keep)
        password = secrets.token_urlsafe(12)
        port = _free_port()
        self.learner_url = f"http://127.0.0.1:{port}"
        plugin = PluginOptions(self.learner_url, f"{self.learner_url}/")
        self.orthanc = LocalOrthanc(self._folder / "orthanc", credentials={USER: password}, stable_age=1, plugin=plugin)
        self._configuration = _write_configuration(self._folder, options, data, self.orthanc, port)
        self.password = password
        self.archive = OrthancArchive(self.orthanc.url, USER, password)
        self.client = NodeClient(self.learner_url)
        self.has_viewer = options.viewer is not None
        self._learner: subprocess.Popen[bytes] | None = None

    @property
    def learner_log(self) -> Path:
        """The learner's log, the trainer's lines included."""
        return self._folder / "learner.log"

    def __enter__(self) -> Self:
        try:
            self.orthanc.start()
            self._start_learner()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends both, the learner first, so that it does not miss its archive."""
        if self._learner is not None:
            self._learner.terminate()
            try:
                self._learner.wait(_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._learner.kill()
                self._learner.wait()
            self._learner = None
        self.orthanc.stop()
        self.archive.close()
        self.client.close()
        self._lock.release()

    def check_alive(self) -> None:
        """Raises a DemoError if one of the two has ended."""
        if self._learner is None or self._learner.poll() is not None:
            raise DemoError(f"the learner has ended; see {self.learner_log}\n{self._log_tail()}")
        if self.orthanc.pid is None:
            raise DemoError(f"Orthanc has ended; see {self.orthanc.log_path}")

    def log_errors(self) -> tuple[str, ...]:
        """Lines of error or worse in both logs: level ``E`` of Orthanc's, ``error`` and ``critical`` and tracebacks of ours."""
        found = [line for line in _lines(self.orthanc.log_path) if line.startswith("E") and line[1:5].isdigit()]
        for line in _lines(self.learner_log):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                found.append(line)  # our log is JSON; what is not is a library's cry or a traceback
                continue
            if not isinstance(entry, dict) or entry.get("level") in ("error", "critical"):
                found.append(line)
        return tuple(found)

    def _start_learner(self) -> None:
        command = ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "learner", "serve"]
        with self.learner_log.open("ab") as log:
            self._learner = subprocess.Popen(  # noqa: S603  # the program is this one
                [*command, "--config", str(self._configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is for the parent, which stops its children in order
            )
        ends = time.monotonic() + _START_TIMEOUT_S
        while not self.client.ready():
            self.check_alive()
            if time.monotonic() > ends:
                raise DemoError(f"the learner did not become ready in time; see {self.learner_log}\n{self._log_tail()}")
            time.sleep(0.1)

    def _log_tail(self) -> str:
        return "\n".join(_lines(self.learner_log)[-_SHOWN_LOG_LINES:])


def _prepare(folder: Path, *, keep: bool) -> FolderLock:
    """A folder of the demo's own, empty but for what is to be kept; nobody else's while the lock is held."""
    marker = folder / _MARKER
    try:
        if folder.is_dir() and any(folder.iterdir()) and not marker.is_file():
            raise DemoError(f"{folder} holds other things; name another folder for the demo's node, or empty it")
        folder.mkdir(parents=True, exist_ok=True)
        marker.touch()
        lock = FolderLock(folder)
        for name in () if keep else _PARTS:
            path = folder / name
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    except StoreError:
        raise DemoError(f"{folder} is in use by a demo that still runs; end that one, or name another with --work") from None
    except OSError as error:
        raise DemoError(f"{folder} cannot be used ({error.strerror}); name another folder for the demo's node") from None
    return lock


def _write_configuration(folder: Path, options: DemoOptions, data: DemoData, orthanc: LocalOrthanc, port: int) -> Path:
    """The learner's settings, task and secret, as files; returns that of the settings."""
    config = folder / "config"
    (config / "tasks").mkdir(parents=True, exist_ok=True)
    write_whole(config / "password", orthanc.credentials[USER].encode())
    (config / "password").chmod(0o600)
    sections: dict[str, dict[str, object]] = {
        "node": {"data": str(folder / "data")},
        "pacs": {"url": orthanc.url, "user": USER, "password_file": "password"},
        "api": {"port": port},
        "tasks": {"folder": "tasks"},
        "answer": {"threads": options.threads},
        "learning": {"steps": options.steps, "idle_steps": 0, "threads": options.threads},
    }
    if options.viewer is not None:
        sections["viewer"] = {"folder": str(options.viewer.resolve())}
    path = config / "apprentice.toml"
    path.write_text("".join(_toml_section(name, values) for name, values in sections.items()), encoding="utf-8")
    (config / "tasks" / f"{data.task_id}.toml").write_text(_task_file(data), encoding="utf-8")
    return path


def _task_file(data: DemoData) -> str:
    """The task as a TOML file of ``config/tasks``."""
    match = _toml_section("match", {"modalities": list(data.modalities), "series_description": data.series_description})
    return f"title = {json.dumps(data.title)}\n\n" + match + "".join(_label(segment) for segment in data.segments)


def _label(segment: SegmentDescription) -> str:
    values: dict[str, object] = {
        "name": segment.name,
        "names": [f"Segment {segment.number}"],  # OHIF's name for it: whoever tries the demo need not rename anything
        "colour": f"#{bytes(segment.colour).hex()}",
    }
    codes = {
        name: {"value": code.value, "scheme": code.scheme, "meaning": code.meaning}
        for name, code in (("category", segment.category), ("type", segment.type))
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    lines += [f"{name} = {{ {', '.join(f'{k} = {json.dumps(v)}' for k, v in code.items())} }}" for name, code in codes.items()]
    return "[[labels]]\n" + "\n".join(lines) + "\n\n"


def _toml_section(name: str, values: dict[str, object]) -> str:
    """A table of strings, numbers and lists of them; TOML writes these as JSON does."""
    return f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()) + "\n"


def _lines(path: Path) -> Sequence[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.is_file() else ()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
