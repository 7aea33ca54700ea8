"""Users, tokens, sessions and authors: nothing that opens the node can be read back from the folder, and what ends, ends."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from learner.domain.case import RoundEvent
from learner.domain.user import Role, User, is_name
from learner.errors import StoreUnavailable
from learner.storage.accounts import KEY_FILE, AccountError
from learner.storage.sessions import SessionLimits
from learner.storage.store import LocalStore

PASSWORD = "twelve green apples"
LIMITS = SessionLimits(longest_s=1000.0, idle_s=100.0)


class Clock:
    time = 1_000_000.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> LocalStore:
    store = LocalStore(tmp_path, clock=clock)
    store.accounts._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return store


def test_no_secret_stands_in_the_folder(store: LocalStore, tmp_path: Path) -> None:
    store.accounts.add_user("eva", Role.READER, PASSWORD)
    token = store.accounts.add_token("plugin", Role.READER)
    cookie = store.sessions.open("eva", LIMITS)
    store.close()
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert b"argon2id" in content
    for secret in (PASSWORD, token, token.removeprefix("pa_"), cookie):
        assert secret.encode() not in content
    assert stat.S_IMODE((tmp_path / KEY_FILE).stat().st_mode) == 0o600
    assert not list(tmp_path.glob(".*.part"))


def test_hashes_of_another_node_are_worth_nothing(store: LocalStore, tmp_path: Path) -> None:
    token = store.accounts.add_token("plugin", Role.READER)
    (tmp_path / KEY_FILE).unlink()
    assert LocalStore(tmp_path).accounts.user_of_token(token) is None


def test_passwords_and_tokens_name_their_owners(store: LocalStore) -> None:
    store.accounts.add_user("eva", Role.OPERATOR, PASSWORD)
    token = store.accounts.add_token("plugin", Role.READER)
    assert store.accounts.check_password("eva", PASSWORD)
    assert not store.accounts.check_password("eva", PASSWORD + "x")
    assert not store.accounts.check_password("plugin", token)
    assert not store.accounts.check_password("eva", "")
    assert store.accounts.user_of_token(token) == User("plugin", Role.READER, is_person=False)
    assert store.accounts.user_of_token("") is None
    assert [(a.name, a.kind, a.has_password) for a in store.accounts.all()] == [
        ("eva", "user", True),
        ("plugin", "token", False),
    ]


def test_a_hash_of_older_parameters_is_renewed_when_the_password_is_right(store: LocalStore) -> None:
    store.accounts.add_user("eva", Role.READER, PASSWORD)
    store.accounts._hasher = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
    assert store.accounts.check_password("eva", PASSWORD)
    (row,) = store._database.rows("SELECT secret FROM accounts")
    assert "t=2" in row["secret"]
    assert store.accounts.check_password("eva", PASSWORD)


def test_what_cannot_be_is_refused_with_the_reason(store: LocalStore) -> None:
    accounts = store.accounts
    accounts.add_user("eva", Role.READER, PASSWORD)
    for action, said in (
        (lambda: accounts.add_token("eva", Role.READER), "already"),
        (lambda: accounts.add_user("x" * 65, Role.READER), "no name"),
        (lambda: accounts.add_user("new", Role.READER, "short"), "12 to 1024"),
        (lambda: accounts.set_password("nobody", PASSWORD), "no such account"),
        (lambda: accounts.set_role("nobody", Role.ADMIN), "no such account"),
        (lambda: accounts.remove("nobody"), "no such account"),
    ):
        with pytest.raises(AccountError, match=said):
            action()
    for name in ("", " eva", "eva ", "e\nva", "e\0", "\u202eeva"):
        assert not is_name(name)


def test_a_session_ends_after_its_time_and_without_use(store: LocalStore, clock: Clock) -> None:
    store.accounts.add_user("eva", Role.READER, PASSWORD)
    cookie, began = store.sessions.open("eva", LIMITS), clock.time
    assert store.sessions.user(cookie, LIMITS) == User("eva", Role.READER, is_person=True)
    while clock.time - began < 950:
        clock.time += 90
        assert store.sessions.user(cookie, LIMITS) is not None
    clock.time = began + 1001
    assert store.sessions.user(cookie, LIMITS) is None
    idle = store.sessions.open("eva", LIMITS)
    clock.time += 101
    assert store.sessions.user(idle, LIMITS) is None
    assert len(store._database.rows("SELECT * FROM sessions")) == 1
    store.sessions.open("eva", LIMITS)
    assert len(store._database.rows("SELECT * FROM sessions")) == 1


def test_a_clock_that_is_put_back_lets_no_session_live_for_ever(store: LocalStore, clock: Clock) -> None:
    store.accounts.add_user("eva", Role.READER, PASSWORD)
    cookie = store.sessions.open("eva", LIMITS)
    clock.time -= 50
    assert store.sessions.user(cookie, LIMITS) is not None, "set by a little it goes on"
    clock.time -= 5000
    assert store.sessions.user(cookie, LIMITS) is None


def test_a_disk_that_takes_nothing_signs_nobody_out(store: LocalStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator has to see what is wrong."""
    store.accounts.add_user("eva", Role.READER, PASSWORD)
    cookie = store.sessions.open("eva", LIMITS)
    clock.time += 90

    run = store._database.run

    def full(sql: str, *values: object) -> object:
        if sql.startswith("UPDATE"):
            raise StoreUnavailable("/data: the disk is full")
        return run(sql, *values)

    monkeypatch.setattr(store._database, "run", full)
    assert store.sessions.user(cookie, LIMITS) is not None


def test_use_is_not_written_at_each_request(store: LocalStore, clock: Clock) -> None:
    store.accounts.add_user("eva", Role.READER, PASSWORD)
    cookie = store.sessions.open("eva", LIMITS)
    clock.time += 4
    store.sessions.user(cookie, LIMITS)
    (row,) = store._database.rows("SELECT used_at FROM sessions")
    assert row["used_at"] == clock.time - 4


def test_a_session_of_nobody_opens_nothing(store: LocalStore) -> None:
    assert store.sessions.user(store.sessions.open("nobody", LIMITS), LIMITS) is None
    store.accounts.add_token("plugin", Role.ADMIN)
    assert store.sessions.user(store.sessions.open("plugin", LIMITS), LIMITS) is None


def test_who_stores_first_is_the_author_and_nobody_claims_what_was_taken_in(store: LocalStore) -> None:
    authors = store.authors
    assert authors.claim("1.2", "eva")
    assert not authors.claim("1.2", "adam")
    authors.disclaim(["1.2"], "adam")
    assert authors.author_of("1.2") == "eva"
    authors.disclaim(["1.2"], "eva")
    assert authors.author_of("1.2") == ""
    round_id = store.records.open_round("object", "9.1")
    assert round_id is not None
    store.records.note_facts(round_id, annotation_uid="1.3")
    store.records.apply(round_id, RoundEvent.NOTHING_NEW)
    assert not authors.claim("1.3", "eva")
    assert authors.author_of("1.3") == ""
