"""The audit record in SQLite: entries that the database refuses to change, and beside them the words that may be purged.

An entry names people, machines and objects by pseudonyms: keyed hashes (BLAKE2b), the key of each kept beside its word. A word
that is purged goes with its key, and nothing tells any more whose pseudonym it was; the chain of hashes stays whole.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from collections.abc import Collection, Iterator, Sequence

from learner.domain.audit import FIRST, OBJECTS, PURGED, Entry, Event, Verification, chained, with_words, words_of
from learner.ports import Clock
from learner.storage.database import Database

_MANY = 100
_GUARDS = ("audit_keeps_entries", "audit_keeps_facts", "audit_keeps_words")


class SqliteAudit:
    """:class:`learner.ports.Audit` on tables.

    Args:
        database: with the tables ``audit`` and ``audit_words``.
        clock: time.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._db = database
        self._clock = clock

    def record(self, event: Event, *, round_id: int | None = None, version: str = "", **facts: object) -> None:
        """See :meth:`learner.ports.Audit.record`."""
        self.record_at(self._clock.now(), event, round_id=round_id, version=version, facts=facts)

    def record_at(
        self, at: float, event: Event, *, round_id: int | None = None, version: str = "", facts: dict[str, object]
    ) -> None:
        """Adds an entry about something that happened at another time; see :meth:`record`."""
        with self._db.transaction():
            last = self._db.row("SELECT entry, digest FROM audit ORDER BY entry DESC LIMIT 1")
            number, before = (int(last["entry"]) + 1, str(last["digest"])) if last else (1, FIRST)
            told = json.dumps(with_words(facts, self._pseudonym), allow_nan=False)
            digest = chained(before, number, at, event, round_id, version, told)
            self._db.run("INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?)", (number, at, event, round_id, version, told, digest))

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
        """See :meth:`learner.ports.Audit.entries`."""
        marks = ", ".join("?" for _ in events)
        asked: list[tuple[str, tuple[object, ...]]] = [("at >= ?", (since,)), ("entry > ?", (after,))]
        if events:
            asked.append((f"event IN ({marks})", tuple(events)))
        if round_id is not None:
            asked.append(("round_id = ?", (round_id,)))
        if version is not None:
            asked.append(("version = ?", (version,)))
        conditions = " AND ".join(condition for condition, _ in asked)
        values = [value for _, some in asked for value in some]
        sql = f"SELECT * FROM audit WHERE {conditions} ORDER BY entry LIMIT ?"  # noqa: S608 - our own literals
        return self._told(self._db.rows(sql, (*values, limit)))

    def newest(self, limit: int, before: int = 2**62) -> tuple[Entry, ...]:
        """See :meth:`learner.ports.Audit.newest`."""
        rows = self._db.rows("SELECT * FROM audit WHERE entry < ? ORDER BY entry DESC LIMIT ?", (before, limit))
        return self._told(rows)

    def verify(self) -> Verification:
        """See :meth:`learner.ports.Audit.verify`. Nobody waits for it: what is added meanwhile is not looked at, or is."""
        last = self._db.row("SELECT entry, digest FROM audit ORDER BY entry DESC LIMIT 1")
        number, head = (int(last["entry"]), str(last["digest"])) if last else (0, FIRST)
        problems = [*self._broken_links(number), *self._broken_words(), *self._missing_guards()]
        return Verification(number, head, len(self._purged()), tuple(problems))

    def purge(self, words: Collection[str]) -> int:
        """See :meth:`learner.ports.Audit.purge`."""
        with self._db.transaction():
            pseudonyms = [found for word in sorted(words) if (found := self._known(word))]
            for pseudonym in pseudonyms:
                self._db.run("DELETE FROM audit_words WHERE pseudonym = ?", (pseudonym,))
            if pseudonyms:
                self.record(Event.PURGE, pseudonyms=pseudonyms)
        return len(pseudonyms)

    def purge_rounds(self, round_ids: Collection[int]) -> int:
        """See :meth:`learner.ports.Audit.purge_rounds`."""
        with self._db.transaction():
            entries = [entry for round_id in round_ids for entry in self.entries(round_id=round_id)]
            return self.purge(set().union(*(words_of(entry.facts, OBJECTS) for entry in entries)))

    def _pseudonym(self, word: str) -> str:
        """What stands for a word, which is remembered."""
        known = self._known(word)
        if known:
            return known
        key = secrets.token_hex(16)
        made = _keyed(key, word)
        self._db.run("INSERT INTO audit_words VALUES (?, ?, ?)", (made, word, key))
        return made

    def _known(self, word: str) -> str:
        row = self._db.row("SELECT pseudonym FROM audit_words WHERE word = ?", (word,))
        return str(row["pseudonym"]) if row else ""

    def _told(self, rows: Sequence[sqlite3.Row]) -> tuple[Entry, ...]:
        """The entries of rows, in words again; all words are read at once where there are many rows."""
        words: dict[str, str] = {}
        if len(rows) > _MANY:
            words = {row["pseudonym"]: row["word"] for row in self._db.run("SELECT pseudonym, word FROM audit_words")}

        def word(pseudonym: str) -> str:
            if pseudonym not in words:
                row = self._db.row("SELECT word FROM audit_words WHERE pseudonym = ?", (pseudonym,))
                words[pseudonym] = str(row["word"]) if row else PURGED
            return words[pseudonym]

        def entry(row: sqlite3.Row) -> Entry:
            facts = with_words(json.loads(row["facts"]), word)
            return Entry(row["entry"], row["at"], Event(row["event"]), row["round_id"], row["version"], facts, row["digest"])

        return tuple(map(entry, rows))

    def _broken_links(self, last: int) -> Iterator[str]:
        """Where one of the entries up to ``last`` is not the one that was written, or one is gone."""
        row = self._db.row("SELECT seq FROM sqlite_sequence WHERE name = 'audit'")
        written = int(row["seq"]) if row is not None else 0
        before, expected = FIRST, 1
        for row in self._db.run("SELECT * FROM audit ORDER BY entry"):
            if row["entry"] != expected:
                yield f"entries {expected} to {row['entry'] - 1} are gone"
            told = (row["entry"], row["at"], row["event"], row["round_id"], row["version"], row["facts"])
            if chained(before, *told) != row["digest"]:
                yield f"entry {row['entry']} is not as it was written, or follows another than it did"
            before, expected = row["digest"], row["entry"] + 1
        if max(written, last) >= expected:
            yield f"entries {expected} to {max(written, last)} are gone"

    def _broken_words(self) -> Iterator[str]:
        """Words that were exchanged, or are gone though nobody purged them."""
        used: dict[str, int] = {}
        for row in self._db.run("SELECT entry, facts FROM audit ORDER BY entry"):
            used.update(dict.fromkeys(words_of(json.loads(row["facts"])), row["entry"]))
        known = set()
        for row in self._db.run("SELECT * FROM audit_words"):
            known.add(row["pseudonym"])
            if _keyed(row["key"], row["word"]) != row["pseudonym"]:
                yield f"the word behind {row['pseudonym']} was exchanged"
        for pseudonym in sorted(used.keys() - known - self._purged()):
            yield f"the word behind {pseudonym} is gone, and was not purged; entry {used[pseudonym]} names it"

    def _purged(self) -> set[str]:
        rows = self._db.rows("SELECT facts FROM audit WHERE event = ?", (Event.PURGE,))
        return {pseudonym for row in rows for pseudonym in json.loads(row["facts"])["pseudonyms"]}

    def _missing_guards(self) -> Iterator[str]:
        rows = self._db.rows("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND name LIKE 'audit_keeps_%'")
        for name in sorted(set(_GUARDS) - {row["name"] for row in rows}):
            yield f"the trigger {name}, which keeps the record from being changed, is gone"


def _keyed(key: str, word: str) -> str:
    return "~" + hashlib.blake2b(word.encode(), key=bytes.fromhex(key), digest_size=16).hexdigest()
