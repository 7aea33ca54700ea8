"""The trainer is started again: at once after a long life, after growing pauses where it fails at its start."""

from __future__ import annotations

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
