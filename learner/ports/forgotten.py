"""Studies that were forgotten, as the use cases see them; they share the transactions of their store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class ForgottenStudy:
    """A study that is forgotten, or about to be.

    Attributes:
        place: number of the order.
        study_key: keyed hash of its Study Instance UID: by it the study is known when it is met again.
        study_uid: its Study Instance UID while files of it may be left; empty after that.
        why: ``asked``, or ``deleted in the archive``.
        asked_by: who asked; empty where that is not known.
        asked_at: POSIX time.
        rounds: numbers of its rounds.
        keys: keyed hashes of its cases while a trainer may have them; none after that.
        results: series of results that are still to be deleted in the archive.
        left: how many series of results the archive would not delete.
        purged_at: POSIX time from which on nothing of it is in the store, or None.
    """

    place: int
    study_key: str
    study_uid: str
    why: str
    asked_by: str
    asked_at: float
    rounds: tuple[int, ...]
    keys: tuple[str, ...]
    results: tuple[str, ...]
    left: int
    purged_at: float | None


class Forgotten(Protocol):
    """The list of forgotten studies, and what it takes to forget one.

    An order reduces the records, marks versions and gives the trainers their jobs, all in one transaction; files, and what is
    left in freed pages of the database, are for :mod:`learner.app.forgetting`, which may be killed at any moment.
    """

    def order(
        self, study_uid: str, study_key: str, key: Callable[[str], str], *, why: str, asked_by: str = "", results: bool = True
    ) -> ForgottenStudy:
        """Orders that a study be forgotten; a study of which nothing is known is never taken in either.

        Args:
            study_uid: its Study Instance UID.
            study_key: the keyed hash by which it is known.
            key: the keyed hash of a text.
            why: see :class:`ForgottenStudy`.
            asked_by: who asked.
            results: whether its results in the archive are to be deleted.
        """
        ...

    def has(self, study_key: str) -> bool:
        """Whether the study of that key is forgotten."""
        ...

    def all(self) -> tuple[ForgottenStudy, ...]:
        """All orders, newest first."""
        ...

    def unfinished(self) -> tuple[ForgottenStudy, ...]:
        """Orders of which something is left to do, oldest first."""
        ...

    def reduce(self, study: ForgottenStudy) -> None:
        """Takes away what work in hand recorded of the study after the order."""
        ...

    def note_purged(self, study: ForgottenStudy) -> None:
        """Nothing of the study is left in files; its UID goes, too."""
        ...

    def note_result(self, study: ForgottenStudy, series_instance_uid: str, *, deleted: bool) -> None:
        """A series of results is deleted in the archive, or is not and never will be."""
        ...

    def keys(self) -> frozenset[str]:
        """Keyed hashes of cases that trainers are to forget."""
        ...

    def settle(self) -> bool:
        """Drops the keyed hashes of studies whose trainers have forgotten them; says whether there were any."""
        ...

    def lift(self, study_key: str) -> bool:
        """Lets a study be taken in again of which nothing is left to do; says whether there was one."""
        ...
