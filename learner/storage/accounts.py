"""Users and tokens, in SQLite. Passwords as Argon2id hashes, tokens and sessions as keyed hashes: neither can be read back."""

from __future__ import annotations

import hashlib
import os
import secrets
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from learner.domain.audit import Event
from learner.domain.user import Role, User, is_name
from learner.errors import ApprenticeError
from learner.ports import Clock
from learner.storage.audit import SqliteAudit
from learner.storage.database import Database

KEY_FILE = "access-key"
SHORTEST_PASSWORD = 12
LONGEST_PASSWORD = 1024
_ISSUER = "the issuer"
_TOKEN_PREFIX = "pa_"  # noqa: S105 - lets scanners of secrets recognise one


class AccountError(ApprenticeError):
    """There is such an account already, or none; or a name or a password cannot be used."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a token, without its secret.

    Attributes:
        name: unique among users and tokens.
        kind: ``user``, ``token``, or ``external`` for whom an issuer signs in.
        role: what it may do.
        has_password: whether it can sign in with a password; others come through a proxy or a single sign-on.
        created_at: POSIX time.
    """

    name: str
    kind: str
    role: Role
    has_password: bool
    created_at: float


class KeyedHash:
    """Hash of a secret of high entropy, keyed by a file that the node's user alone can read.

    Args:
        folder: the data folder; the key is made at first use.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / KEY_FILE
        self._key = b""

    def __call__(self, secret: str) -> str:
        """64 hexadecimal digits."""
        return hashlib.blake2b(secret.encode(), key=self._read(), digest_size=32).hexdigest()

    def _read(self) -> bytes:
        if not self._key:
            aside = self._path.with_name(f".{KEY_FILE}.{secrets.token_hex(8)}.part")
            if not self._path.exists():
                descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(secrets.token_bytes(32))
                    file.flush()
                    os.fsync(file.fileno())
                try:
                    os.link(aside, self._path)  # fails where another process was first
                except FileExistsError:
                    pass
                finally:
                    aside.unlink()
            self._key = self._path.read_bytes()
        return self._key


class SqliteAccounts:
    """Users and tokens.

    Args:
        database: with the table ``accounts``.
        clock: time.
        digest: keyed hash of tokens.
        audit: where changes are recorded; ``by`` says who makes them.
    """

    def __init__(self, database: Database, clock: Clock, digest: KeyedHash, audit: SqliteAudit) -> None:
        self._db = database
        self._clock = clock
        self._digest = digest
        self._audit = audit
        self._hasher = PasswordHasher()
        self._nobodys = ""

    def exist(self) -> bool:
        """Whether there is any account."""
        return self._db.row("SELECT 1 FROM accounts LIMIT 1") is not None

    def users_exist(self) -> bool:
        """Whether there is any user."""
        return self._db.row("SELECT 1 FROM accounts WHERE kind = 'user' LIMIT 1") is not None

    def all(self) -> tuple[Account, ...]:
        """Accounts by name."""
        return tuple(_account(row) for row in self._db.rows("SELECT * FROM accounts ORDER BY name"))

    def find(self, name: str) -> Account | None:
        """The account of that name."""
        row = self._db.row("SELECT * FROM accounts WHERE name = ?", (name,))
        return _account(row) if row is not None else None

    def add_user(self, name: str, role: Role, password: str = "", *, by: str = "") -> None:
        """A new user; without a password one who comes through a proxy or a single sign-on.

        Raises:
            AccountError: name or password cannot be used.
        """
        self._add(name, "user", role, self._hashed(password) if password else "", by)

    def add_token(self, name: str, role: Role, *, by: str = "") -> str:
        """A new token for a machine.

        Returns:
            The token, which is nowhere to be read again.

        Raises:
            AccountError: the name cannot be used.
        """
        token = _TOKEN_PREFIX + secrets.token_urlsafe(32)
        self._add(name, "token", role, self._digest(token), by)
        return token

    def admit_external(self, name: str, subject: str, role: Role) -> None:
        """Somebody whom an issuer signed in, with the role that it gives them now.

        Args:
            name: what they are called here.
            subject: who they are to the issuer, for good, its name included.
            role: what they may do.

        Raises:
            AccountError: the name cannot be used, or is somebody else's: a user's, a token's, or another subject's.
        """
        with self._db.transaction():
            row = self._db.row("SELECT kind, secret, role FROM accounts WHERE name = ?", (name,))
            if row is None:
                self._add(name, "external", role, self._digest(subject), by=_ISSUER)
            elif (row["kind"], row["secret"]) != ("external", self._digest(subject)):
                raise AccountError(f"the name {name!r} is another account's here")
            elif row["role"] != role:
                self.set_role(name, role, by=_ISSUER)

    def dismiss_external(self, subject: str) -> None:
        """Somebody to whom an issuer gives no role any more, if they were here; their sessions end."""
        with self._db.transaction():
            row = self._db.row("SELECT name FROM accounts WHERE kind = 'external' AND secret = ?", (self._digest(subject),))
            if row is not None:
                self.remove(row["name"], by=_ISSUER)

    def set_password(self, name: str, password: str, *, by: str = "") -> None:
        """Another password; the user's sessions end.

        Raises:
            AccountError: there is no such user, or the password cannot be used.
        """
        secret = self._hashed(password)
        with self._db.transaction():
            self._change("UPDATE accounts SET secret = ? WHERE name = ? AND kind = 'user'", secret, name)
            self._db.run("DELETE FROM sessions WHERE name = ?", (name,))
            self._audit.record(Event.ACCOUNT_CHANGED, account=name, what="password", by=by)

    def set_role(self, name: str, role: Role, *, by: str = "") -> None:
        """Another role, from the next request on.

        Raises:
            AccountError: there is no such account.
        """
        with self._db.transaction():
            self._change("UPDATE accounts SET role = ? WHERE name = ?", role, name)
            self._audit.record(Event.ACCOUNT_CHANGED, account=name, what="role", role=role, by=by)

    def remove(self, name: str, *, by: str = "") -> None:
        """Removes an account and ends its sessions. What its user stored stays theirs.

        Raises:
            AccountError: there is no such account.
        """
        with self._db.transaction():
            self._db.run("DELETE FROM sessions WHERE name = ?", (name,))
            self._change("DELETE FROM accounts WHERE name = ?", name)
            self._audit.record(Event.ACCOUNT_REMOVED, account=name, by=by)

    def check_password(self, name: str, password: str) -> bool:
        """Whether it is that user's password. Takes as long where there is no such user; uses 64 MiB for a moment."""
        row = self._db.row("SELECT secret FROM accounts WHERE name = ? AND kind = 'user' AND secret != ''", (name,))
        known = str(row["secret"]) if row is not None else self._of_nobody()
        try:
            self._hasher.verify(known, password[:LONGEST_PASSWORD])
        except (VerificationError, InvalidHashError):
            return False
        if row is not None and self._hasher.check_needs_rehash(known):
            self._db.run("UPDATE accounts SET secret = ? WHERE name = ?", (self._hasher.hash(password), name))
        return row is not None

    def user_of_token(self, token: str) -> User | None:
        """Whose token it is."""
        row = self._db.row("SELECT name, role FROM accounts WHERE kind = 'token' AND secret = ?", (self._digest(token),))
        return User(row["name"], Role(row["role"])) if row is not None else None

    def _of_nobody(self) -> str:
        """The hash of a password that nobody has."""
        if not self._nobodys:
            self._nobodys = self._hasher.hash(secrets.token_urlsafe(32))
        return self._nobodys

    def _hashed(self, password: str) -> str:
        if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
            raise AccountError(f"a password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; take several words")
        return self._hasher.hash(password)

    def _add(self, name: str, kind: str, role: Role, secret: str, by: str) -> None:
        if not is_name(name):
            raise AccountError(f"{name!r} is no name; it has 1 to 64 printable characters, and no space at either end")
        try:
            with self._db.transaction():
                self._db.run("INSERT INTO accounts VALUES (?, ?, ?, ?, ?)", (name, kind, role, secret, self._clock.now()))
                self._audit.record(Event.ACCOUNT_ADDED, account=name, what=kind, role=role, by=by)
        except sqlite3.IntegrityError:
            raise AccountError(f"there is an account {name!r} already; `apprentice access list` shows them") from None

    def _change(self, sql: str, *parameters: str) -> None:
        if self._db.run(sql, parameters).rowcount == 0:
            raise AccountError(f"there is no such account as {parameters[-1]!r}; `apprentice access list` shows them")


def _account(row: sqlite3.Row) -> Account:
    has_password = row["kind"] == "user" and bool(row["secret"])
    return Account(row["name"], row["kind"], Role(row["role"]), has_password, row["created_at"])
