"""How often somebody may ask, and how often fail to sign in. In memory: a restart forgives."""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

_MOST_CLIENTS = 10_000
"""Clients remembered at the same time; the one not seen for longest is forgotten first."""


class RequestRate:
    """A bucket for each client that fills steadily and holds what a minute brings (token bucket).

    Args:
        per_minute: requests a minute; 0 for no limit.
        clock: seconds that never go back.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, client: str) -> int:
        """Counts a request.

        Returns:
            Seconds to wait before the next one, rounded up; 0 if this one is within the limit.
        """
        if not self._per_minute:
            return 0
        now, rate = self._clock(), self._per_minute / 60
        left, seen = self._buckets.pop(client, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - seen) * rate)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now)
        while len(self._buckets) > _MOST_CLIENTS:
            self._buckets.popitem(last=False)
        return 0 if allowed else math.ceil((1 - left) / rate)


@dataclass(slots=True)
class _Tries:
    count: int = 0
    until: float = 0.0
    last: float = 0.0


class FailedSignIns:
    """Pauses after failed sign-ins: a few are free, then each doubles the pause.

    Counted twice: by name and client, so that nobody guesses a password; and by client, so that nobody tries one password with
    many names. A name alone is never locked, or anybody could lock its owner out.

    Args:
        clock: seconds that never go back.
    """

    _FREE = 5
    _FREE_OF_CLIENT = 30
    _FIRST_PAUSE_S = 15.0
    _LONGEST_PAUSE_S = 15 * 60.0
    _FORGIVEN_AFTER_S = 60 * 60.0

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: OrderedDict[tuple[str, str], _Tries] = OrderedDict()
        self._lock = threading.Lock()

    def attempt(self, name: str, client: str) -> int:
        """Counts a try as failed, before it is made: many at the same time count as many.

        Returns:
            Seconds to wait, rounded up; 0 if it may be made now.
        """
        now = self._clock()
        with self._lock:
            entries = [(self._entry(key, now), free) for key, free in self._keys(name, client)]
            wait = max(entry.until - now for entry, _ in entries)
            if wait > 0:
                return math.ceil(wait)
            for entry, free in entries:
                entry.count += 1
                entry.last = now
                if entry.count >= free:
                    pause = self._FIRST_PAUSE_S * 2.0 ** min(entry.count - free, 10)
                    entry.until = now + min(pause, self._LONGEST_PAUSE_S)
        return 0

    def succeeded(self, name: str, client: str) -> None:
        """The try that was counted was a good one."""
        with self._lock:
            for key, free in self._keys(name, client):
                if (entry := self._tries.get(key)) is not None:
                    entry.count = max(0, entry.count - 1) if key[0] == "" else 0
                    entry.until = 0.0 if entry.count < free else entry.until

    def _keys(self, name: str, client: str) -> tuple[tuple[tuple[str, str], int], ...]:
        return ((name, client), self._FREE), (("", client), self._FREE_OF_CLIENT)

    def _entry(self, key: tuple[str, str], now: float) -> _Tries:
        entry = self._tries.pop(key, None)
        if entry is None or now - max(entry.last, entry.until) > self._FORGIVEN_AFTER_S:
            entry = _Tries(last=now)
        self._tries[key] = entry
        while len(self._tries) > _MOST_CLIENTS:
            self._tries.popitem(last=False)
        return entry
