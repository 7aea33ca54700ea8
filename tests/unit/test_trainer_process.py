"""The trainer is started again, after growing pauses where it fails at its start; it waits when it is asked to."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from learner import trainer_process
from learner.trainer_process import TrainerProcess


@pytest.mark.parametrize(("healthy_s", "expected"), [(0.0, [1, 1, 1]), (1000.0, [1, 2, 3])])
def test_pauses_grow_only_while_the_trainer_lives_short(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, healthy_s: float, expected: list[int]
) -> None:
    failures: list[int] = []
    enough = threading.Event()

    def pause(count: int) -> float:
        failures.append(count)
        if len(failures) == 3:
            enough.set()
        return 0.0

    ended = [sys.executable, "-c", ""]
    monkeypatch.setattr(trainer_process, "_HEALTHY_S", healthy_s)
    monkeypatch.setattr(trainer_process, "backoff_s", pause)
    monkeypatch.setattr(TrainerProcess, "_spawn", lambda _self: subprocess.Popen(ended, stdin=subprocess.DEVNULL))
    process = TrainerProcess(tmp_path / "apprentice.toml")
    process.start()
    assert enough.wait(60)
    process.stop()
    assert failures[:3] == expected


_CHILD = """
import threading
from learner.trainer_process import Parent
stop = threading.Event()
parent = Parent(stop)
print("begun", flush=True)
for expected in (True, False):
    while parent.held() is not expected:
        stop.wait(0.01)
    print("held" if expected else "free", flush=True)
stop.wait()
print("over", flush=True)
"""


def test_the_trainer_waits_for_a_moment_when_its_parent_asks_and_ends_with_it(tmp_path: Path) -> None:
    process = TrainerProcess(tmp_path / "apprentice.toml")
    process.hold()  # nobody is there yet
    command = [sys.executable, "-c", _CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        process._process = child
        said = io.BufferedReader(child.stdout)  # type: ignore[type-var]  # a raw stream
        assert said.readline() == b"begun\n"
        process.hold()
        assert [said.readline() for _ in range(2)] == [b"held\n", b"free\n"]
        child.stdin.close()
        assert said.readline() == b"over\n"


def test_a_trainer_that_has_ended_is_not_asked_to_wait(tmp_path: Path) -> None:
    process = TrainerProcess(tmp_path / "apprentice.toml")
    with subprocess.Popen([sys.executable, "-c", ""], stdin=subprocess.PIPE) as child:
        child.wait(60)
        process._process = child
        process.hold()
