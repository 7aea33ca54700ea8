"""The audit record: what happened, by whom, and what it led to; an entry is chained to the one before by its hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

FIRST = "0" * 64
"""What the first entry is chained to."""
PURGED = "(purged)"
"""Stands for what was taken out of the record at somebody's request."""
PERSONAL = frozenset(
    {"by", "account", "client", "reader", "station", "annotation", "study", "series", "results", "made_from", "prior_study"}
)
"""Facts that name a person, a machine or an object. The chain holds pseudonyms of them, so that they can be purged."""
PEOPLE = frozenset({"by", "account", "client", "reader"})
"""Those of them that name people, or where they sit."""
OBJECTS = frozenset({"annotation", "study", "series", "results", "made_from", "prior_study"})
"""Those of them that name objects: what is purged with a study. People and machines have other studies."""


class Event(StrEnum):
    """What an entry says has happened."""

    STARTED = "node started"
    ANSWERED = "answered"
    UNCHANGED = "nothing new"
    REFUSED = "refused"
    GONE = "deleted before it was answered"
    DELIVERED = "delivered"
    REACTION = "reaction"
    ACCEPTED = "accepted"
    WITHDRAWN = "withdrawn"
    RETRIED = "retried"
    HELD_BACK = "held back"
    BEGUN = "begun from a bundle"
    LEARNED = "learned"
    FORGOTTEN = "forgotten"
    TRAINED_ANEW = "trained anew"
    JUDGED = "judged"
    ROLLED_BACK = "rolled back"
    RETRAINING_ORDERED = "training anew ordered"
    VERSIONS_DROPPED = "versions dropped"
    STUDY_FORGOTTEN = "study forgotten"
    STUDY_LIFTED = "study may be taken in again"
    PAUSED = "training paused"
    RESUMED = "training resumed"
    ACCOUNT_ADDED = "account added"
    ACCOUNT_CHANGED = "account changed"
    ACCOUNT_REMOVED = "account removed"
    SIGNED_IN = "signed in"
    SIGN_IN_FAILED = "sign-in failed"
    SIGNED_OUT = "signed out"
    PURGE = "purged"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes:
        number: 1, 2, ... without gaps.
        at: POSIX time.
        event: what happened.
        round_id: the round that it is about, or None.
        version: name of the version of a model that it is about, or an empty string.
        facts: more of it; personal ones in words again, or ``PURGED``.
        digest: hash of the entry and of all before it.
    """

    number: int
    at: float
    event: Event
    round_id: int | None
    version: str
    facts: dict[str, Any]
    digest: str


def nameless(entry: Entry) -> Entry:
    """The entry without the names of people."""
    return replace(entry, facts=with_words(entry.facts, lambda _name: "", PEOPLE))


@dataclass(frozen=True, slots=True)
class Verification:
    """Whether the record is as it was written.

    Attributes:
        entries: how many there are.
        head: hash of the last one. Who keeps it elsewhere can tell later that nothing up to there was rewritten.
        purged: words that were taken out at somebody's request.
        problems: what is not as it was written, one sentence each.
    """

    entries: int
    head: str
    purged: int
    problems: tuple[str, ...] = field(default=())

    @property
    def intact(self) -> bool:
        """Whether nothing was found."""
        return not self.problems


def chained(before: str, number: int, at: float, event: str, round_id: int | None, version: str, facts: str) -> str:
    """SHA-256 of an entry and the hash ``before`` it, as 64 hexadecimal digits; ``facts`` as they are stored."""
    content = json.dumps([before, number, at, event, round_id, version, facts], separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()


def with_words(facts: Mapping[str, Any], change: Callable[[str], str], names: frozenset[str] = PERSONAL) -> dict[str, Any]:
    """The facts with each text of the facts ``names`` replaced."""
    return {name: _each(value, change) if name in names else value for name, value in facts.items()}


def words_of(facts: Mapping[str, Any], names: frozenset[str] = PERSONAL) -> set[str]:
    """The texts of the facts ``names``."""
    found: set[str] = set()

    def keep(text: str) -> str:
        found.add(text)
        return text

    for name in names & facts.keys():
        _each(facts[name], keep)
    return found


def _each(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value) if value else value
    if isinstance(value, Mapping):
        return {name: _each(one, change) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_each(one, change) for one in value]
    return value
