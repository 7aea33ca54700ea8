"""Time as the use cases see it."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Time, so that tests own it."""

    def now(self) -> float:
        """POSIX time in seconds."""
        ...
