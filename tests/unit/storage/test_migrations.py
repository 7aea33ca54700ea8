"""A store that an earlier version wrote is taken over with all that it holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from learner.storage.database import SCHEMA_VERSION, Database
from learner.storage.store import LocalStore

VERSION_1 = """
CREATE TABLE cases (
    case_id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    UNIQUE (task_id, series_uid)) STRICT;
CREATE TABLE rounds (
    round_id INTEGER PRIMARY KEY AUTOINCREMENT, trigger_uid TEXT NOT NULL UNIQUE, series_uid TEXT NOT NULL,
    source_uid TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, case_id INTEGER REFERENCES cases, number INTEGER,
    reason TEXT NOT NULL DEFAULT '', reader TEXT NOT NULL DEFAULT '', checkpoint TEXT NOT NULL DEFAULT '',
    received_at REAL NOT NULL, answered_at REAL, facts TEXT NOT NULL DEFAULT '{}') STRICT;
INSERT INTO cases VALUES (7, 'liver', '1.1', '5.1');
INSERT INTO rounds (round_id, trigger_uid, series_uid, state, case_id, number, received_at)
    VALUES (3, 'a', '9.1', 'answered', 7, 1, 1000.0);
PRAGMA user_version = 1;
"""
"""What the migration from version 1 touches, as that version made it."""


def test_version_1_keeps_its_cases_and_rounds(tmp_path: Path) -> None:
    path = tmp_path / "apprentice.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
    connection.close()
    database = Database(path)
    (row,) = database.rows("SELECT cases.*, rounds.round_id FROM rounds JOIN cases USING (case_id)")
    assert (row["case_id"], row["series_uid"], row["part"], row["round_id"]) == (7, "5.1", "", 3)
    assert [tuple(r) for r in database.rows("PRAGMA user_version")] == [(SCHEMA_VERSION,)]
    assert database.rows("PRAGMA foreign_key_check") == []
    assert [tuple(r) for r in database.rows("PRAGMA foreign_keys")] == [(1,)]
    Database(path)


def test_a_case_takes_the_part_that_its_series_turned_out_to_have(tmp_path: Path) -> None:
    records = LocalStore(tmp_path).records
    opened = records.case("liver", "1.1", "5.1")
    first = records.case("liver", "1.1", "5.1", "EchoTime 10")
    assert first.case_id == opened.case_id
    second = records.case("liver", "1.1", "5.1", "EchoTime 30")
    assert second.case_id != first.case_id
    assert records.case("liver", "1.1", "5.1", "EchoTime 10") == first
