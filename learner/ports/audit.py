"""The record of what happened, which only grows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from learner.domain.audit import Entry, Event, Verification


class Audit(Protocol):
    """An append-only record. Entries of a transaction stand or fall with it."""

    def record(self, event: Event, *, round_id: int | None = None, version: str = "", **facts: object) -> None:
        """Adds an entry.

        Args:
            event: what happened.
            round_id: the round that it is about.
            version: the version of a model that it is about.
            **facts: more of it. No text of an object or a person but in those of :data:`learner.domain.audit.PERSONAL`, and
                never an attribute of a patient.
        """
        ...

    def entries(
        self,
        *,
        events: Collection[Event] = (),
        round_id: int | None = None,
        version: str | None = None,
        since: float = 0.0,
        after: int = 0,
        limit: int = -1,
    ) -> tuple[Entry, ...]:
        """Entries, oldest first.

        Args:
            events: of these alone, or all.
            round_id: about this round alone.
            version: about this version alone.
            since: from this POSIX time on.
            after: numbers above this one.
            limit: at most so many; -1 for all.
        """
        ...

    def newest(self, limit: int, before: int = 2**62) -> tuple[Entry, ...]:
        """Entries with numbers below ``before``, newest first, ``limit`` at most."""
        ...

    def verify(self) -> Verification:
        """Reads the whole record, and says whether it is as it was written."""
        ...

    def purge(self, words: Collection[str]) -> int:
        """Takes names or UIDs out of the record for good; that so many were is recorded. The chain stays whole.

        Returns:
            How many there were.
        """
        ...

    def purge_rounds(self, round_ids: Collection[int]) -> int:
        """Takes out all UIDs of objects that entries about these rounds name; see :meth:`purge`."""
        ...
