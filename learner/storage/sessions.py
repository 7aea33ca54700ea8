"""Who is signed in, in SQLite: a session ends by itself, by signing out, and with its user."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from learner.domain.user import Role, User
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

    def open(self, name: str, limits: SessionLimits, role: Role | None = None) -> str:
        """Begins a session; those that are over are removed.

        Args:
            name: of the user.
            limits: how long sessions last.
            role: where a single sign-on decides it; otherwise it is that of the user's account, at each request.

        Returns:
            What the cookie holds.
        """
        secret, now = secrets.token_urlsafe(32), self._clock.now()
        over = (now - limits.longest_s, now - limits.idle_s)
        with self._db.transaction():
            self._db.run("DELETE FROM sessions WHERE opened_at < ? OR used_at < ?", over)
            row = (self._digest(secret), name, role or "", now, now)
            self._db.run("INSERT INTO sessions VALUES (?, ?, ?, ?, ?)", row)
        return secret

    def user(self, secret: str, limits: SessionLimits) -> User | None:
        """Who is signed in with that secret, or None if it is none or the session is over."""
        digest, now = self._digest(secret), self._clock.now()
        row = self._db.row(
            "SELECT sessions.*, coalesce(accounts.role, '') AS given FROM sessions "
            "LEFT JOIN accounts ON accounts.name = sessions.name AND accounts.kind = 'user' WHERE digest = ?",
            (digest,),
        )
        if row is None or now - row["opened_at"] > limits.longest_s or now - row["used_at"] > limits.idle_s:
            return None
        role = row["given"] or row["role"]
        if not role:
            return None
        if abs(now - row["used_at"]) > limits.idle_s / _NOTED_EVERY:
            self._db.run("UPDATE sessions SET used_at = ? WHERE digest = ?", (now, digest))
        return User(row["name"], Role(role), is_person=True)

    def close(self, secret: str) -> None:
        """Ends a session; one that is none is no error."""
        self._db.run("DELETE FROM sessions WHERE digest = ?", (self._digest(secret),))
