"""The audit record: it only grows, what was changed is found, and what was purged leaves the chain whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from learner.domain.audit import PURGED, Event
from learner.domain.user import Role
from learner.storage.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    made = LocalStore(tmp_path)
    made.audit.record(
        Event.ANSWERED, round_id=1, annotation="1.2.3", reader="Eva", study="1.1", case=4, results={"seg": ["1.9"]}
    )
    made.audit.record(Event.LEARNED, round_id=1, version="liver-1", model="liver", steps=20)
    made.audit.record(Event.ANSWERED, round_id=2, annotation="1.2.4", reader="Eva", study="1.1", made_from=["1.2.3", "1.2.4"])
    return made


def test_entries_come_back_as_they_were_told(store: LocalStore) -> None:
    first, second, third = store.audit.entries()
    assert (first.number, first.event, first.round_id) == (1, Event.ANSWERED, 1)
    assert first.facts == {"annotation": "1.2.3", "reader": "Eva", "study": "1.1", "case": 4, "results": {"seg": ["1.9"]}}
    assert (second.version, second.facts["steps"]) == ("liver-1", 20)
    assert third.facts["made_from"] == ["1.2.3", "1.2.4"]
    assert store.audit.entries(version="liver-1") == (second,)
    assert store.audit.entries(round_id=2) == (third,)
    assert store.audit.entries(events=[Event.LEARNED]) == (second,)
    assert store.audit.entries(after=1, limit=1) == (second,)
    assert store.audit.entries(since=third.at + 1) == ()
    assert store.audit.newest(2) == (third, second)
    assert store.audit.newest(2, before=2) == (first,)


def test_an_entry_stands_or_falls_with_its_transaction(store: LocalStore) -> None:
    def fail() -> None:
        with store.transaction():
            store.audit.record(Event.PAUSED)
            raise ValueError("fails")

    with pytest.raises(ValueError, match="fails"):
        fail()
    assert len(store.audit.entries()) == 3
    assert store.audit.verify().intact


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET facts = '{}' WHERE entry = 1",
        "DELETE FROM audit WHERE entry = 3",
        "UPDATE audit_words SET word = 'Bob' WHERE word = 'Eva'",
    ],
)
def test_the_database_refuses_to_change_it(sql: str, store: LocalStore) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="audit record"):
        store._database.run(sql)


def dropped(store: LocalStore, trigger: str, sql: str) -> None:
    """What somebody who knows SQL does."""
    (kept,) = store._database.rows("SELECT sql FROM sqlite_schema WHERE name = ?", (trigger,))
    store._database.run(f"DROP TRIGGER {trigger}")
    store._database.run(sql)
    store._database.run(kept["sql"])


@pytest.mark.parametrize(
    ("trigger", "sql", "found"),
    [
        ("audit_keeps_facts", "UPDATE audit SET round_id = 7 WHERE entry = 2", "entry 2 is not as it was written"),
        ("audit_keeps_facts", "UPDATE audit SET at = at + 1 WHERE entry = 3", "entry 3 is not as it was written"),
        ("audit_keeps_entries", "DELETE FROM audit WHERE entry = 2", "entries 2 to 2 are gone"),
        ("audit_keeps_entries", "DELETE FROM audit WHERE entry = 3", "entries 3 to 3 are gone"),
        ("audit_keeps_words", "UPDATE audit_words SET word = 'Bob' WHERE word = 'Eva'", "was exchanged"),
        ("audit_keeps_words", "DELETE FROM audit_words WHERE word = 'Eva'", "is gone, and was not purged"),
    ],
)
def test_what_was_changed_all_the_same_is_found(trigger: str, sql: str, found: str, store: LocalStore) -> None:
    assert store.audit.verify().intact
    dropped(store, trigger, sql)
    problems = store.audit.verify().problems
    assert problems
    assert any(found in problem for problem in problems)


def test_a_dropped_trigger_is_found(store: LocalStore) -> None:
    store._database.run("DROP TRIGGER audit_keeps_facts")
    assert "audit_keeps_facts" in store.audit.verify().problems[0]


def test_a_name_can_be_purged_and_the_chain_stays_whole(store: LocalStore) -> None:
    before = store.audit.verify()
    assert store.audit.purge(["Eva", "nobody"]) == 1
    after = store.audit.verify()
    assert (after.intact, after.purged, after.entries) == (True, 1, before.entries + 1)
    assert [entry.facts["reader"] for entry in store.audit.entries(events=[Event.ANSWERED])] == [PURGED, PURGED]
    assert "Eva" not in b"".join(row[0].encode() for row in store._database.rows("SELECT word FROM audit_words")).decode()
    store.audit.record(Event.ANSWERED, round_id=3, reader="Eva")
    assert store.audit.entries(round_id=3)[0].facts["reader"] == "Eva"
    assert store.audit.entries(round_id=1)[0].facts["reader"] == PURGED, "nothing links it to what came before"
    assert store.audit.verify().intact


def test_the_objects_of_rounds_can_be_purged_and_their_readers_stay(store: LocalStore) -> None:
    assert store.audit.purge_rounds([1, 2]) == 4
    first = store.audit.entries(round_id=1)[0]
    assert (first.facts["annotation"], first.facts["study"], first.facts["reader"]) == (PURGED, PURGED, "Eva")
    assert first.facts["results"] == {"seg": [PURGED]}
    assert store.audit.verify().intact


def test_no_word_stands_in_the_entries_themselves(store: LocalStore) -> None:
    told = "".join(row["facts"] for row in store._database.rows("SELECT facts FROM audit"))
    assert not any(word in told for word in ("Eva", "1.2.3", "1.9", "1.1"))


@pytest.mark.parametrize(
    ("change", "event", "facts"),
    [
        (lambda a: a.add_user("eva", Role.READER, by="root"), Event.ACCOUNT_ADDED, {"what": "user", "role": "reader"}),
        (lambda a: a.add_token("eva", Role.READER, by="root"), Event.ACCOUNT_ADDED, {"what": "token", "role": "reader"}),
        (lambda a: a.set_role("old", Role.ADMIN, by="root"), Event.ACCOUNT_CHANGED, {"what": "role", "role": "admin"}),
        (lambda a: a.set_password("old", "twelve green apples", by="root"), Event.ACCOUNT_CHANGED, {"what": "password"}),
        (lambda a: a.remove("old", by="root"), Event.ACCOUNT_REMOVED, {}),
    ],
)
def test_changes_of_accounts_are_recorded(
    change: Callable[[object], object], event: Event, facts: dict[str, object], tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    store.accounts.add_user("old", Role.READER)
    change(store.accounts)
    entry = store.audit.newest(1)[0]
    assert entry.event is event
    assert entry.facts == {"account": "old" if "old" in entry.facts["account"] else "eva", "by": "root", **facts}
    assert "apples" not in str(store.audit.entries())
