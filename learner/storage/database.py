"""One SQLite file, one connection a thread, transactions that nest.

Write-ahead log with ``synchronous=FULL``: what a transaction committed survives a killed process and a lost power supply.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from learner.errors import StoreError
from learner.storage.disk import on_disk

Parameters = Sequence[object] | Mapping[str, object]
_VERSION_1 = """
CREATE TABLE cursor (feed TEXT PRIMARY KEY, position INTEGER NOT NULL) STRICT;
CREATE TABLE series (series_uid TEXT PRIMARY KEY, digest TEXT NOT NULL) STRICT;
CREATE TABLE cases (
    case_id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    UNIQUE (task_id, series_uid)) STRICT;
CREATE TABLE rounds (
    round_id INTEGER PRIMARY KEY AUTOINCREMENT, trigger_uid TEXT NOT NULL UNIQUE, series_uid TEXT NOT NULL,
    source_uid TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, case_id INTEGER REFERENCES cases, number INTEGER,
    reason TEXT NOT NULL DEFAULT '', reader TEXT NOT NULL DEFAULT '', checkpoint TEXT NOT NULL DEFAULT '',
    received_at REAL NOT NULL, answered_at REAL, facts TEXT NOT NULL DEFAULT '{}') STRICT;
CREATE INDEX rounds_case ON rounds (case_id);
CREATE INDEX rounds_source ON rounds (source_uid) WHERE state = 'waiting';
CREATE TABLE results (
    sop_uid TEXT PRIMARY KEY, series_uid TEXT NOT NULL, round_id INTEGER NOT NULL REFERENCES rounds, kind TEXT NOT NULL,
    path TEXT NOT NULL, sent_at REAL, deleted_at REAL) STRICT;
CREATE INDEX results_series ON results (series_uid);
CREATE INDEX results_round ON results (round_id);
CREATE TABLE jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, round_id INTEGER NOT NULL REFERENCES rounds,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0,
    lease TEXT NOT NULL DEFAULT '', expires REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    UNIQUE (kind, round_id)) STRICT;
CREATE INDEX jobs_open ON jobs (kind, state, job_id);
CREATE TABLE checkpoints (
    name TEXT PRIMARY KEY, task_id TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT NOT NULL, path TEXT NOT NULL,
    sha256 TEXT NOT NULL, round_id INTEGER NOT NULL, steps INTEGER NOT NULL, created_at REAL NOT NULL, facts TEXT NOT NULL,
    kept INTEGER NOT NULL DEFAULT 1, UNIQUE (task_id, number)) STRICT;
CREATE TABLE tasks (task_id TEXT PRIMARY KEY, definition TEXT NOT NULL) STRICT;
CREATE TABLE flags (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
"""
_VERSION_2 = """
CREATE TABLE cases_2 (
    case_id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    part TEXT NOT NULL DEFAULT '', UNIQUE (task_id, series_uid, part)) STRICT;
INSERT INTO cases_2 (case_id, task_id, study_uid, series_uid) SELECT case_id, task_id, study_uid, series_uid FROM cases;
DROP TABLE cases;
ALTER TABLE cases_2 RENAME TO cases;
CREATE TABLE task_labels (task_id TEXT PRIMARY KEY, labels TEXT NOT NULL) STRICT;
"""
_VERSION_3 = """
ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT '';
UPDATE jobs SET lane = coalesce(
    (SELECT task_id FROM rounds JOIN cases USING (case_id) WHERE rounds.round_id = jobs.round_id), '') WHERE kind = 'learn';
ALTER TABLE checkpoints RENAME COLUMN task_id TO model_id;
ALTER TABLE checkpoints ADD COLUMN state TEXT NOT NULL DEFAULT 'shadow';
ALTER TABLE checkpoints ADD COLUMN tasks TEXT NOT NULL DEFAULT '[]';
ALTER TABLE checkpoints ADD COLUMN gate TEXT NOT NULL DEFAULT '{}';
ALTER TABLE checkpoints ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0;
ALTER TABLE checkpoints ADD COLUMN head INTEGER NOT NULL DEFAULT 0;
UPDATE checkpoints SET state = 'retired', tasks = json_array(model_id);
UPDATE checkpoints SET state = 'serving', head = 1
    WHERE number = (SELECT max(number) FROM checkpoints AS other WHERE other.model_id = checkpoints.model_id AND other.kept);
CREATE UNIQUE INDEX checkpoints_serving ON checkpoints (model_id) WHERE state = 'serving';
CREATE UNIQUE INDEX checkpoints_head ON checkpoints (model_id) WHERE head;
CREATE TABLE lessons (
    place INTEGER PRIMARY KEY, case_id INTEGER NOT NULL UNIQUE REFERENCES cases, model_id TEXT NOT NULL, task_id TEXT NOT NULL,
    site TEXT NOT NULL, round_id INTEGER NOT NULL REFERENCES rounds, held INTEGER NOT NULL) STRICT;
CREATE INDEX lessons_model ON lessons (model_id);
INSERT INTO lessons (case_id, model_id, task_id, site, round_id, held)
    SELECT case_id, task_id, task_id, '', max(round_id), 0 FROM jobs JOIN rounds USING (round_id) JOIN cases USING (case_id)
    WHERE kind = 'learn' AND jobs.state = 'done' GROUP BY case_id ORDER BY min(round_id)
"""
_VERSION_4 = """
CREATE TABLE study_patients (study_uid TEXT PRIMARY KEY, patient_key TEXT NOT NULL) STRICT;
CREATE INDEX study_patients_key ON study_patients (patient_key);
"""
_VERSION_5 = """
CREATE TABLE accounts (
    name TEXT PRIMARY KEY, kind TEXT NOT NULL, role TEXT NOT NULL, secret TEXT NOT NULL, created_at REAL NOT NULL) STRICT;
CREATE UNIQUE INDEX accounts_token ON accounts (secret) WHERE kind = 'token';
CREATE TABLE sessions (
    digest TEXT PRIMARY KEY, name TEXT NOT NULL, opened_at REAL NOT NULL, used_at REAL NOT NULL) STRICT;
CREATE TABLE stored_by (sop_uid TEXT PRIMARY KEY, name TEXT NOT NULL, stored_at REAL NOT NULL) STRICT;
"""
_VERSION_6 = """
CREATE INDEX rounds_state ON rounds (state);
CREATE TABLE revision (place INTEGER PRIMARY KEY CHECK (place = 1), number INTEGER NOT NULL) STRICT;
INSERT INTO revision VALUES (1, 1);
CREATE TRIGGER rounds_added AFTER INSERT ON rounds BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER rounds_changed AFTER UPDATE ON rounds BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER rounds_removed AFTER DELETE ON rounds BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER jobs_changed AFTER UPDATE OF state, reason ON jobs BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER checkpoints_added AFTER INSERT ON checkpoints BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER checkpoints_changed AFTER UPDATE ON checkpoints BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER lessons_added AFTER INSERT ON lessons BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER lessons_changed AFTER UPDATE ON lessons BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER lessons_removed AFTER DELETE ON lessons BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER flags_added AFTER INSERT ON flags BEGIN UPDATE revision SET number = number + 1; END;
CREATE TRIGGER flags_changed AFTER UPDATE ON flags BEGIN UPDATE revision SET number = number + 1; END;
"""
"""A number that rises with everything that a person may want to see; a renewed lease is none of that."""
_VERSION_7 = """
CREATE TABLE forgotten (
    place INTEGER PRIMARY KEY, study_key TEXT NOT NULL UNIQUE, study_uid TEXT NOT NULL, why TEXT NOT NULL,
    asked_by TEXT NOT NULL, asked_at REAL NOT NULL, rounds TEXT NOT NULL, keys TEXT NOT NULL, results TEXT NOT NULL,
    "left" INTEGER NOT NULL DEFAULT 0, purged_at REAL) STRICT;
ALTER TABLE checkpoints ADD COLUMN from_forgotten INTEGER NOT NULL DEFAULT 0;
ALTER TABLE series ADD COLUMN study_uid TEXT NOT NULL DEFAULT '';
UPDATE series SET study_uid = coalesce((SELECT study_uid FROM cases WHERE cases.series_uid = series.series_uid LIMIT 1), '');
CREATE TABLE audit (
    entry INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, event TEXT NOT NULL, round_id INTEGER, version TEXT NOT NULL,
    facts TEXT NOT NULL, digest TEXT NOT NULL) STRICT;
CREATE INDEX audit_round ON audit (round_id);
CREATE INDEX audit_version ON audit (version) WHERE version <> '';
CREATE INDEX audit_event ON audit (event);
CREATE TABLE audit_words (pseudonym TEXT PRIMARY KEY, word TEXT NOT NULL UNIQUE, key TEXT NOT NULL) STRICT;
CREATE TRIGGER audit_keeps_facts BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit record only grows'); END;
CREATE TRIGGER audit_keeps_entries BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit record only grows'); END;
CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit_words
    BEGIN SELECT raise(ABORT, 'words of the audit record are purged, not changed'); END;
CREATE TABLE case_images (case_id INTEGER PRIMARY KEY REFERENCES cases, digest TEXT NOT NULL) STRICT;
CREATE INDEX case_images_digest ON case_images (digest);
"""
_MIGRATIONS = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4, _VERSION_5, _VERSION_6, _VERSION_7)
"""What each version of the schema adds to the one before; never changed once released."""
SCHEMA_VERSION = len(_MIGRATIONS)


class Database:
    """Connections to one SQLite file.

    Args:
        path: the file; made with its schema if it does not exist.

    Raises:
        StoreError: if it cannot be opened or was written by a newer version.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        try:
            self._migrate()
        except (sqlite3.Error, OSError) as error:
            raise StoreError(f"{path} cannot be used ({error}); check the folder's rights and the disk") from error

    def _migrate(self) -> None:
        """Brings the file to this version's schema, all or nothing. Tables that others refer to may be made anew."""
        if 0 < (version := self._version(self._connection())) < SCHEMA_VERSION:
            self._keep_copy(version)
        self._connection().execute("PRAGMA foreign_keys = OFF")
        with self.transaction():
            version = self._version(self._connection())
            if version > SCHEMA_VERSION:
                raise StoreError(f"{self._path} was written by a newer version (schema {version}); install that version again")
            for script in _MIGRATIONS[version:]:
                for statement in _statements(script):
                    self._connection().execute(statement)
            self._connection().execute(f"PRAGMA user_version = {SCHEMA_VERSION:d}")
        self._connection().execute("PRAGMA foreign_keys = ON")

    def _keep_copy(self, version: int) -> None:
        """Keeps the database as it was, beside it, readable by its owner alone; whoever goes back an upgrade needs it."""
        kept = self._path.with_name(f"{self._path.name}.schema-{version}")
        aside = kept.with_name(f"{kept.name}.{os.getpid()}.part")
        os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        try:
            with closing(sqlite3.connect(aside, isolation_level=None)) as copy:
                self._connection().backup(copy)
                copy.execute("PRAGMA journal_mode = DELETE")
                still = self._version(copy) == version  # another process may have moved it on meanwhile
            if still:
                aside.rename(kept)
        finally:
            aside.unlink(missing_ok=True)

    @staticmethod
    def _version(connection: sqlite3.Connection) -> int:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return int(version)

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with on_disk(self._path.parent):
                connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA secure_delete = ON")
            self._local.connection = connection
        return connection

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing for this thread; an inner transaction joins the outer one.

        Raises:
            StoreUnavailable: the disk does not take it; nothing of it happened.
        """
        connection = self._connection()
        if connection.in_transaction:
            yield
            return
        self.run("BEGIN IMMEDIATE")
        try:
            yield
            self.run("COMMIT")
        except BaseException:
            _roll_back(connection)
            raise

    def run(self, sql: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Executes one statement in the current transaction, or on its own.

        Raises:
            StoreUnavailable: the disk does not take it.
        """
        with on_disk(self._path.parent):
            return self._connection().execute(sql, parameters)

    def row(self, sql: str, parameters: Parameters = ()) -> sqlite3.Row | None:
        """The first row, or None.

        Raises:
            StoreUnavailable: the disk does not give it, or does not take what the statement changes.
        """
        with on_disk(self._path.parent):
            found: sqlite3.Row | None = self.run(sql, parameters).fetchone()
        return found

    def rows(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows.

        Raises:
            StoreUnavailable: the disk does not give them.
        """
        with on_disk(self._path.parent):
            return self.run(sql, parameters).fetchall()

    def scrub(self) -> None:
        """Makes what was deleted or overwritten unreadable: free pages and copies from before upgrades go, the log is emptied.

        Raises:
            StoreError: others were reading for so long that the log could not be emptied; nothing is lost, call it again.
        """
        for copy in self._path.parent.glob(f"{self._path.name}.schema-*"):
            copy.unlink(missing_ok=True)
        self.run("PRAGMA temp_store = MEMORY")  # no copy on disk
        self.run("VACUUM")
        self.empty_log()

    def empty_log(self) -> None:
        """Writes the write-ahead log into the file, and empties it.

        Raises:
            StoreError: as ``scrub``.
        """
        row = self.row("PRAGMA wal_checkpoint(TRUNCATE)")
        if row is None or row[0]:
            raise StoreError("the database's write-ahead log is in use and cannot be emptied now; it is tried again")

    def close(self) -> None:
        """Closes this thread's connection."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


def _roll_back(connection: sqlite3.Connection) -> None:
    """Ends a transaction that failed; where the disk is full SQLite may have done so by itself."""
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one; a trigger's body may hold several of its own."""
    statement = ""
    for part in script.split(";"):
        statement += part + ";"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
