"""How long records are kept: what the settings say, done a little at a time by the thread that answers, told in the log.

What is removed is marked first; the file goes after that, at the latest when the node starts again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import structlog

from learner.domain.case import PRUNED
from learner.errors import CorruptFile
from learner.ports import Clock, Store

SLIMMED = "slimmed"
"""Fact of a round of whose record the drawing and the answer's labels alone are kept."""
_EVERY_S = 3600.0
_AT_ONCE = 20
_DAY_S = 86400.0
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """After how many days what is removed; 0 for never.

    Attributes:
        superseded_days: pictures and probabilities of rounds that a later one of their case replaced.
        rounds_days: whole records of cases on which nothing happened since.
        held_days: drawings that are held back from training to judge versions by.
    """

    superseded_days: int = 0
    rounds_days: int = 0
    held_days: int = 0


class Retention:
    """Removes what was kept long enough; for the thread that answers.

    Args:
        store: records and files.
        settings: how long.
        clock: time.
    """

    def __init__(self, store: Store, settings: RetentionSettings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._next = 0.0

    def run_once(self) -> bool:
        """Does a part of what is due, if it is time to look.

        Returns:
            Whether there may be more.
        """
        if self._clock.now() < self._next:
            return False
        try:
            if self._slim() or self._prune():
                return True
            self._drop_held()
        except Exception:  # answers go on; the fault is logged whole
            _log.exception("what was kept long enough cannot be removed yet")
        self._next = self._clock.now() + _EVERY_S
        return False

    def _before(self, days: int) -> float:
        return self._clock.now() - days * _DAY_S

    def _slim(self) -> bool:
        """Of superseded rounds, keeps what later rounds of the case need."""
        days = self._settings.superseded_days
        rounds = self._store.records.superseded_rounds(self._before(days), _AT_ONCE) if days else ()
        for round_id in rounds:
            try:
                record = self._store.files.get_record(round_id)
            except CorruptFile as error:
                _log.warning("record of a round cannot be read", round=round_id, reason=str(error))
            else:
                self._store.files.put_record(round_id, replace(record, back_end_CDHW=None, evidence=None, pictures=()))
            self._store.records.note_facts(round_id, **{SLIMMED: True, "pictures": None})
        if rounds:
            _log.info("pictures and probabilities of superseded rounds removed", rounds=len(rounds), older_than_days=days)
        return bool(rounds)

    def _prune(self) -> bool:
        """Removes the records of cases on which nothing happened for long."""
        days = self._settings.rounds_days
        rounds = self._store.records.settled_rounds(self._before(days), _AT_ONCE) if days else ()
        with self._store.transaction():
            for round_id in rounds:
                self._store.records.note_facts(round_id, **{PRUNED: True, "pictures": None})
        if rounds:
            self._store.remove_leftovers()
            _log.info("records of rounds removed", rounds=len(rounds), older_than_days=days)
        return bool(rounds)

    def _drop_held(self) -> None:
        """Lets go of drawings that were held back for long: nothing is judged by them any more, nothing learns from them."""
        days = self._settings.held_days
        dropped = self._store.lessons.release_older(self._before(days)) if days else 0
        if dropped:
            self._store.remove_leftovers()
            _log.info("held drawings removed", cases=dropped, older_than_days=days)
