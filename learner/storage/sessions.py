"""Who is signed in, in SQLite: a session ends by itself, by signing out, and with its user."""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass

from learner.domain.user import Role, User
from learner.errors import StoreUnavailable
from learner.ports import Clock
from learner.storage.accounts import KeyedHash
from learner.storage.database import Database

_NOTED_EVERY = 20
"""A session's last use is written when a twentieth of the longest pause is over, not at each request."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lasts.

    Attributes:
        longest_s: from signing in, in seconds.
        idle_s: without any request, in seconds.
    """

    longest_s: float = 12 * 3600.0
    idle_s: float = 2 * 3600.0


class SqliteSessions:
    """Sessions; of a cookie's secret its keyed hash alone is kept.

    Args:
        database: with the tables ``sessions`` and ``accounts``.
        clock: time.
        digest: keyed hash of secrets.
    """

    def __init__(self, database: Database, clock: Clock, digest: KeyedHash) -> None:
        self._db = database
        self._clock = clock
        self._digest = digest

    def open(self, name: str, limits: SessionLimits) -> str:
        """Begins a session; those that are over are removed.

        Args:
            name: of the user.
            limits: how long sessions last.

        Returns:
            What the cookie holds.
        """
        secret, now = secrets.token_urlsafe(32), self._clock.now()
        over = (now - limits.longest_s, now - limits.idle_s)
        with self._db.transaction():
            self._db.run("DELETE FROM sessions WHERE opened_at < ? OR used_at < ?", over)
            self._db.run("INSERT INTO sessions VALUES (?, ?, ?, ?)", (self._digest(secret), name, now, now))
        return secret

    def user(self, secret: str, limits: SessionLimits) -> User | None:
        """Who is signed in with that secret, with the role that their account has now; None if it is none or over.

        A clock that was put back by more than a session may last ends it, too. A full disk signs nobody out.
        """
        digest, now = self._digest(secret), self._clock.now()
        row = self._db.row(
            "SELECT sessions.*, accounts.role FROM sessions JOIN accounts USING (name) WHERE digest = ? AND kind <> 'token'",
            (digest,),
        )
        if row is None or abs(now - row["opened_at"]) > limits.longest_s or abs(now - row["used_at"]) > limits.idle_s:
            return None
        if abs(now - row["used_at"]) > limits.idle_s / _NOTED_EVERY:
            with suppress(StoreUnavailable):
                self._db.run("UPDATE sessions SET used_at = ? WHERE digest = ?", (now, digest))
        return User(row["name"], Role(row["role"]), is_person=True)

    def close(self, secret: str) -> None:
        """Ends a session; one that is none is no error."""
        self._db.run("DELETE FROM sessions WHERE digest = ?", (self._digest(secret),))
