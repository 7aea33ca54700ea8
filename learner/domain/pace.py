"""Where a long computation pauses for something more urgent.

Who computes says :func:`give_way` between two pieces of work of a fraction of a second; who has it compute says with
:func:`giving_way` what is done there. Nothing is, by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_pause: ContextVar[Callable[[], None] | None] = ContextVar("pause", default=None)


def give_way() -> None:
    """Lets what is more urgent go first; returns when it has."""
    pause = _pause.get()
    if pause is not None:
        pause()


@contextmanager
def giving_way(pause: Callable[[], None]) -> Iterator[None]:
    """What this thread computes meanwhile calls ``pause`` between its pieces."""
    token = _pause.set(pause)
    try:
        yield
    finally:
        _pause.reset(token)
