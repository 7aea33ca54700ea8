"""The trainer as a child process: lower priority, started again when it dies, gone when its parent is gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import structlog

from learner.app.attempts import backoff_s

_log = structlog.get_logger(__name__)
NICENESS = 10
"""Added to the trainer's niceness: where cores are scarce, answers come first."""
HELD_S = 1.0
"""For so long the child pauses once it is asked to."""
_STOP_S = 20.0
_HEALTHY_S = 60.0
"""A trainer that lived for so long was none that fails at its start: the pause before the next begins small again."""


class TrainerProcess:
    """Starts ``apprentice trainer`` and keeps it alive.

    The parent holds one end of a pipe as the child's standard input: when the parent is gone, however it went, that closes and
    the child stops between two steps.

    Args:
        configuration: the settings file that the child reads.
    """

    def __init__(self, configuration: Path) -> None:
        self._configuration = configuration
        self._process: subprocess.Popen[bytes] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="trainer-supervisor", daemon=True)
        self.restarts = 0

    def start(self) -> None:
        """Starts the child and its supervision."""
        self._thread.start()

    def hold(self) -> None:
        """Asks the child to pause between two steps for a moment, :data:`HELD_S`; more often for longer."""
        process = self._process
        if process is not None and process.stdin is not None:
            with suppress(OSError):  # it has ended, or is so busy that it has read nothing for long
                os.write(process.stdin.fileno(), b".")

    def stop(self) -> None:
        """Asks the child to stop after its step, and kills it if it does not."""
        self._stop.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
        self._thread.join(_STOP_S + 5)

    @property
    def alive(self) -> bool:
        """Whether the child runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Process number of the child, or None before it started."""
        return self._process.pid if self._process is not None else None

    def _supervise(self) -> None:
        failures = 0
        while not self._stop.is_set():
            began = time.monotonic()
            self._process = self._spawn()
            code = self._wait()
            if self._stop.is_set():
                return
            failures = 1 if time.monotonic() - began >= _HEALTHY_S else failures + 1
            self.restarts += 1
            _log.error("trainer ended, starting it again", exit_code=code, restarts=self.restarts)
            self._stop.wait(backoff_s(failures))

    def _spawn(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "learner", "trainer", "--config", str(self._configuration)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        process = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)  # noqa: S603 - ourselves
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return process

    def _wait(self) -> int:
        assert self._process is not None
        while not self._stop.is_set():
            try:
                return self._process.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
        try:
            return self._process.wait(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class Parent:
    """In the child: what the parent wants of it.

    Args:
        stop: set on SIGTERM, SIGINT, and when the parent's end of standard input closes.
    """

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._held_until = 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda _number, _frame: stop.set())
        threading.Thread(target=self._watch, name="parent-watch", daemon=True).start()

    def held(self) -> bool:
        """Whether the next step is to wait."""
        return time.monotonic() < self._held_until

    def _watch(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            self._held_until = time.monotonic() + HELD_S
        self._stop.set()
