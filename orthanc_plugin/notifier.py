"""A bounded queue of changes, and one daemon thread that tells them to the learner.

Concurrency: Orthanc's dispatcher calls ``note`` and never waits; the lock is only held to look into a dictionary. What is the
same waits once, what does not fit is dropped and counted. While the learner is away the thread tries again, ever more rarely.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

Change = tuple[str, str]
_BATCH = 100


@dataclass
class Counters:
    """What became of the changes since Orthanc started.

    Attributes:
        noted: changes that Orthanc told.
        coalesced: of these, those that already waited.
        dropped: of these, those that found the queue full.
        delivered: changes that the learner was told.
        failures: messages that did not reach it.
        waiting: changes that wait now.
        delivered_at: POSIX time of the last message that reached it; 0 before the first.
        problem: why the last message did not reach it; empty where it did.
    """

    noted: int = 0
    coalesced: int = 0
    dropped: int = 0
    delivered: int = 0
    failures: int = 0
    waiting: int = 0
    delivered_at: float = 0.0
    problem: str = ""


class Notifier:
    """Tells the learner what changed.

    Args:
        deliver: sends some changes, each of a kind and an identifier; raises if it cannot.
        capacity: changes that wait at most.
        log: takes a line when the learner goes away, and when it is back.
        pause: seconds between two messages, so that an arriving series is told some times and not for each slice.
        longest_pause: seconds between two tries, at most, while the learner is away.
    """

    def __init__(
        self,
        deliver: Callable[[list[dict[str, str]]], None],
        *,
        capacity: int,
        log: Callable[[str], None],
        pause: float = 0.25,
        longest_pause: float = 30.0,
    ) -> None:
        self._deliver = deliver
        self._capacity = capacity
        self._log = log
        self._pause = pause
        self._longest_pause = longest_pause
        self._waiting: dict[Change, None] = {}
        self._counters = Counters()
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="apprentice-notifier", daemon=True)

    def start(self) -> None:
        """Starts the thread; it must be a daemon, or Orthanc would never end."""
        self._thread.start()

    def stop(self) -> None:
        """Asks the thread to end; does not wait for it."""
        self._stopped.set()
        with self._changed:
            self._changed.notify()

    def note(self, kind: str, identifier: str) -> bool:
        """Takes a change; returns at once, and says whether it is the first of its kind that waits."""
        change = (kind, identifier)
        with self._changed:
            self._counters.noted += 1
            if change in self._waiting:  # for nearly all instances of an arriving series it ends here, so it is cheap
                self._counters.coalesced += 1
                return False
            if len(self._waiting) >= self._capacity:
                self._counters.dropped += 1
            else:
                self._waiting[change] = None
                self._changed.notify()
            return True

    def counters(self) -> dict[str, Any]:
        """What became of the changes, see :class:`Counters`."""
        with self._changed:
            return asdict(replace(self._counters, waiting=len(self._waiting)))

    def _run(self) -> None:
        away = 0
        while batch := self._take():
            try:
                self._deliver([{"kind": kind, "id": identifier} for kind, identifier in batch])
            except Exception as error:
                if away == 0:
                    self._log(f"the learner cannot be told of changes, it is tried again: {error}")
                away += 1
                self._put_back(batch, str(error))
            else:
                if away:
                    self._log("the learner is told of changes again")
                away = 0
                self._count_delivered(len(batch))
            self._stopped.wait(min(self._pause * 2 ** min(away, 30), self._longest_pause))

    def _take(self) -> list[Change]:
        """Takes out the changes that wait, the oldest first, once there are any; none when it is over.

        A change that comes while its like is on the way waits anew: the learner may have looked already.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped.is_set())
            if self._stopped.is_set():
                return []
            batch = list(self._waiting)[:_BATCH]
            for change in batch:
                del self._waiting[change]
            return batch

    def _put_back(self, batch: list[Change], problem: str) -> None:
        with self._changed:
            self._waiting = dict.fromkeys(batch) | self._waiting
            self._counters.failures += 1
            self._counters.problem = problem

    def _count_delivered(self, count: int) -> None:
        with self._changed:
            self._counters.delivered += count
            self._counters.delivered_at, self._counters.problem = time.time(), ""
