"""A loop around a use case: works while there is work, sleeps until it is woken, survives what goes wrong."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from learner.app.attempts import backoff_s

_log = structlog.get_logger(__name__)


class Worker:
    """Runs ``step`` in a thread of its own until stopped.

    Args:
        name: of the thread, for the log.
        step: does one piece of work and says whether there was any.
        idle_s: longest sleep between two looks for work.
        expected: errors that are somebody else's failure (an archive that is down, a full disk); logged in one line.

    Attributes:
        last_error: why the last step failed, empty if it did not.
        failure: the same as an error, or None.
    """

    def __init__(self, name: str, step: Callable[[], bool], idle_s: float, expected: tuple[type[Exception], ...] = ()) -> None:
        self.name = name
        self._step = step
        self._idle_s = idle_s
        self._expected = expected
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.last_error = ""
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begins."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to do."""
        self._wake.set()

    def stop(self, timeout_s: float = 30.0) -> None:
        """Ends after the piece of work in hand; waits for that."""
        self._stop.set()
        self._wake.set()
        self._thread.join(timeout_s)

    @property
    def stopping(self) -> bool:
        """Whether the worker was told to stop."""
        return self._stop.is_set()

    def wait(self, seconds: float) -> None:
        """Waits; returns early when the worker is told to stop."""
        self._stop.wait(seconds)

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            self._wake.clear()
            try:
                worked = self._step()
            except self._expected as error:
                failures += 1
                self._fail(error, str(error), failures)
            except Exception as error:  # the loop outlives every fault; the fault is logged whole
                failures += 1
                _log.exception("worker failed", worker=self.name)
                self._fail(error, f"{type(error).__name__}: see the log", failures, logged=True)
            else:
                failures, self.last_error, self.failure = 0, "", None
                if not worked:
                    self._wake.wait(self._idle_s)

    def _fail(self, error: Exception, reason: str, failures: int, *, logged: bool = False) -> None:
        if not logged and reason != self.last_error:
            _log.warning("worker waits", worker=self.name, reason=reason)
        self.last_error, self.failure = reason, error
        self._stop.wait(backoff_s(failures))
