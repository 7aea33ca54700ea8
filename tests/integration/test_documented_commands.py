"""The commands of the documentation, run as they stand against a real node that ``docs/first-task.md`` sets up from zero.

Ports and placeholders (``ROUND``, ``FILE...``, ``FOLDER``) apart, nothing of them is changed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from documented_commands import FENCE, NOT_RUN, ROOT, STEPS, Step, commands_of
from node_harness import free_port, phantom, wait_for

from learner.demo.orthanc import LocalOrthanc, PluginOptions

USER, PASSWORD = "apprentice", "change-me"
_PATIENCE_S = 400.0
"""The first version takes sixty steps of training, on a machine that may be busy."""
_FILE_NAME = re.compile(r"^# (mine/\S+)$", re.MULTILINE)


@dataclass
class Terminal:
    """A folder that looks like a clone, with what a person has in it, and the environment of their shell."""

    folder: Path
    make_orthanc: Callable[..., LocalOrthanc]
    port: int = field(default_factory=free_port)
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))
    placeholders: dict[str, str] = field(default_factory=dict)
    orthanc_: LocalOrthanc | None = None
    node: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        for name in ("docs", "config"):
            (self.folder / name).symlink_to(ROOT / name)
        shutil.copytree(ROOT / "docker", self.folder / "docker", ignore=shutil.ignore_patterns("secrets"))
        (self.folder / ".venv").symlink_to(sys.prefix)
        (self.folder / "series").mkdir()
        for number, file in enumerate(phantom()[0]):
            (self.folder / "series" / f"{number:03d}.dcm").write_bytes(file)
        for block in (
            block
            for language, block in FENCE.findall((ROOT / "docs" / "first-task.md").read_text("utf-8"))
            if language == "toml"
        ):
            name = _FILE_NAME.match(block)
            assert name, "each block of settings says which file it is"
            path = self.folder / name.group(1)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block, "utf-8")
        with (self.folder / "mine" / "apprentice.toml").open("a") as settings:
            settings.write(f"\n[api]\nport = {self.port}\n[learning]\nidle_steps = 0\nthreads = 1\n")
        self._ports()
        self.environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment.pop("APPRENTICE_CONFIG", None)

    def _ports(self) -> None:
        plugin = PluginOptions(learner_url=f"http://127.0.0.1:{self.port}")
        self.orthanc_ = self.make_orthanc(plugin=plugin, credentials={USER: PASSWORD}, stable_age=5)
        settings = self.folder / "mine" / "apprentice.toml"
        settings.write_text(self.here(settings.read_text("utf-8")), "utf-8")

    @property
    def archive(self) -> LocalOrthanc:
        assert self.orthanc_ is not None
        return self.orthanc_

    def here(self, text: str) -> str:
        """A command, or settings, with the ports of this test and what placeholders stand for."""
        ports = {"127.0.0.1:8042": f"127.0.0.1:{self.archive.http_port}", "127.0.0.1:8075": f"127.0.0.1:{self.port}"}
        for written, meant in {**ports, "127.0.0.1 4242": f"127.0.0.1 {self.archive.dicom_port}", **self.placeholders}.items():
            text = text.replace(written, meant)
        return text

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        arguments = ["bash", "-c", self.here(command)]
        return subprocess.run(
            arguments, cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )

    def play(self, step: Step) -> None:
        """Runs a step, again and again if it is to be waited for."""
        if step.needs and getattr(self, step.needs)() is not None:
            return  # it took the command's place
        if step.command.startswith("export "):
            name, _, value = step.command.removeprefix("export ").partition("=")
            self.environment[name] = value
            return

        def good() -> bool:
            done = self.run(step.command)
            self.said = f"{step.command}\n{done.stdout}{done.stderr}"
            return done.returncode == step.code and re.search(step.expect, done.stdout + done.stderr) is not None

        if step.until:
            wait_for(good, step.command, _PATIENCE_S)
        else:
            assert good(), self.said

    # What steps need.

    def orthanc(self) -> bool:
        """Starts Orthanc from the same template, on ports of its own."""
        self.archive.start()
        return True

    def serve(self) -> bool:
        """Starts the node with the page's own command, in the background."""
        command = next(step.command for step in STEPS if step.needs == "serve")
        with (self.folder / "node.log").open("wb") as log:
            self.node = subprocess.Popen(
                ["bash", "-c", f"exec {command}"], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        wait_for(lambda: self._status("health/ready") == 200, "the node")
        return True

    def _status(self, path: str) -> int:
        assert self.node is not None
        assert self.node.poll() is None, (self.folder / "node.log").read_text("utf-8")
        try:
            return httpx2.get(f"http://127.0.0.1:{self.port}/{path}", timeout=5).status_code
        except httpx2.HTTPError:
            return 0

    def _ask(self, path: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = httpx2.get(f"{self.archive.url}{path}", auth=(USER, PASSWORD), timeout=30).json()
        return found

    def images_complete(self) -> None:
        def stable() -> bool:
            series = self._ask("/series?expand")
            return bool(series) and all(one["IsStable"] for one in series)

        wait_for(stable, "the series to be stable")

    def demo_folder(self) -> None:
        """The settings of this node where the demo's would be."""
        (self.folder / "var" / "demo").mkdir(parents=True)
        (self.folder / "var" / "demo" / "config").symlink_to(self.folder / "mine")

    def refused_round(self) -> None:
        """A drawing of something that is no label of the task."""
        for step in STEPS:
            if step.command.startswith(("python docs/examples/draw.py", "/usr/bin/storescu -R -aec ORTHANC 127")):
                wrong = step.command.replace("Prostate", "Liver").replace("drawing.dcm", "wrong.dcm")
                assert self.run(wrong).returncode == 0
        refused = r"^\s*(\d+) .* refused "

        def found() -> re.Match[str] | None:
            return re.search(refused, self.run("apprentice rounds --state refused").stdout, re.MULTILINE)

        self.placeholders["ROUND"] = wait_for(found, "the refused round").group(1)

    def prediction_file(self) -> None:
        query = {"Level": "Instance", "Query": {"SeriesDescription": "prostate prediction*"}}
        found = httpx2.post(f"{self.archive.url}/tools/find", json=query, auth=(USER, PASSWORD), timeout=30).json()
        file = httpx2.get(f"{self.archive.url}/instances/{found[0]}/file", auth=(USER, PASSWORD), timeout=30).content
        (self.folder / "prediction.dcm").write_bytes(file)
        self.placeholders |= {"FILE...": "prediction.dcm", "FOLDER": "series"}

    def token(self) -> None:
        (self.folder / "token").write_text("not-asked-for-on-loopback")


@pytest.fixture
def terminal(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc]) -> Iterator[Terminal]:
    made = Terminal(tmp_path, make_orthanc)
    yield made
    if made.node is not None:
        made.node.terminate()
        made.node.wait(timeout=60)


@pytest.mark.orthanc
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_pages_lead_from_zero_to_an_answer(terminal: Terminal) -> None:
    for step in STEPS:
        terminal.play(step)
    events = [json.loads(line) for line in (terminal.folder / "node.log").read_text("utf-8").splitlines()]
    errors = {event["event"] for event in events if event.get("level") == "error"}
    assert errors == {"not understood"}, "the drawing of no label, and nothing else"


def test_steps_follow_the_page() -> None:
    page = commands_of((ROOT / "docs" / "first-task.md").read_text("utf-8"))
    assert [step.command for step in STEPS if step.command in page] == page


@pytest.mark.parametrize("command", [command for command in NOT_RUN if command.startswith("./run bench ")])
def test_measurements_take_the_options_that_the_pages_give_them(command: str) -> None:
    _, _, name, *words = command.split()
    program = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--help"]
    told = subprocess.run(program, capture_output=True, text=True, check=True, timeout=120).stdout
    assert [word for word in words if word.startswith("--") and word not in told] == []
