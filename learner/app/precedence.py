"""The archive goes first: answers and learning wait while images pour into it on a machine without a core to spare.

Priorities of processes do not help there: whatever computes beside an archive slows it, by what the cores share. Waiting is
bounded, because an archive may take in for hours, as in a migration: :attr:`Precedence.holds` for ``longest_s`` at most, then
computing and the archive share the machine until half of that is earned again, a second for each second.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

FLOOD, EBB = 100, 50
"""Entries of the archive's log within half a second with which a flood begins, more than modalities send; and within
:data:`EBB_S` below which it is over: under load the log is read by fits and starts."""
_FLOOD_S, EBB_S = 0.5, 1.5
_LOOK_S = 0.05
_log = structlog.get_logger(__name__)


class Precedence:
    """Whether the archive goes first, by how fast its log grows.

    Concurrency: one thread tells what arrived, others ask and wait.

    Args:
        longest_s: how long others wait at a stretch, in seconds; 0 for never.
        idle_cores: cores that nobody used since it was last asked.
        clock: seconds, monotonic.

    Attributes:
        waited_s: for how long :meth:`give_way` has waited in all, in seconds.
    """

    def __init__(self, longest_s: float, idle_cores: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._longest_s = longest_s
        self._idle_cores = idle_cores
        self._clock = clock
        self._arrivals: deque[tuple[float, int]] = deque()
        self._left_s = longest_s
        self._holding = False
        self._looked_at = clock()
        self._lock = threading.Lock()
        self.waited_s = 0.0

    def arrived(self, entries: int) -> None:
        """The archive's log was read, and has so many more entries."""
        idle = self._idle_cores()
        with self._lock:
            now = self._account()
            self._arrivals.append((now, entries))
            begins = self._entries(now, _FLOOD_S) >= FLOOD and idle < 1.0 and self._left_s >= self._longest_s / 2 > 0
            if begins and not self._holding:
                self._holding = True
                _log.info("the archive goes first")

    @property
    def holds(self) -> bool:
        """Whether others are to wait now."""
        with self._lock:
            now = self._account()
            if self._holding and (self._left_s <= 0 or self._entries(now, EBB_S) < EBB):
                self._holding = False
                _log.info("work goes on beside the archive", seconds_left=round(self._left_s, 1))
            return self._holding

    def give_way(self, stopping: Callable[[], bool], wait: Callable[[float], object]) -> None:
        """Waits while the archive goes first, unless the node stops.

        Args:
            stopping: whether the node is about to stop.
            wait: waits for so many seconds; returns early when the node stops.
        """
        began = self._clock()
        while self.holds and not stopping():
            wait(_LOOK_S)
        self.waited_s += self._clock() - began

    def _entries(self, now: float, seconds: float) -> int:
        """Entries of the last so many seconds."""
        while self._arrivals and self._arrivals[0][0] < now - EBB_S:
            self._arrivals.popleft()
        return sum(entries for at, entries in self._arrivals if at >= now - seconds)

    def _account(self) -> float:
        """Draws on what may still be waited, or earns it again; the time now. Where nobody looks, nobody waits."""
        now = self._clock()
        passed = now - self._looked_at
        spent = min(passed, EBB_S) if self._holding else -passed
        self._left_s = min(self._longest_s, max(0.0, self._left_s - spent))
        self._looked_at = now
        return now
