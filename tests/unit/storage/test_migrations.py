"""A store that an earlier version wrote is taken over with all that it holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from learner.app.lineage import Lineage
from learner.domain.audit import Event
from learner.domain.job import JobKind
from learner.storage.database import SCHEMA_VERSION, Database
from learner.storage.store import LocalStore

VERSION_1 = """
CREATE TABLE flags (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE cases (
    case_id INTEGER PRIMARY KEY, task_id TEXT NOT NULL, study_uid TEXT NOT NULL, series_uid TEXT NOT NULL,
    UNIQUE (task_id, series_uid)) STRICT;
CREATE TABLE rounds (
    round_id INTEGER PRIMARY KEY AUTOINCREMENT, trigger_uid TEXT NOT NULL UNIQUE, series_uid TEXT NOT NULL,
    source_uid TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, case_id INTEGER REFERENCES cases, number INTEGER,
    reason TEXT NOT NULL DEFAULT '', reader TEXT NOT NULL DEFAULT '', checkpoint TEXT NOT NULL DEFAULT '',
    received_at REAL NOT NULL, answered_at REAL, facts TEXT NOT NULL DEFAULT '{}') STRICT;
CREATE TABLE series (series_uid TEXT PRIMARY KEY, digest TEXT NOT NULL) STRICT;
INSERT INTO cases VALUES (7, 'liver', '1.1', '5.1');
INSERT INTO series VALUES ('5.1', 'a digest'), ('5.2', 'another');
INSERT INTO rounds (round_id, trigger_uid, series_uid, state, case_id, number, received_at)
    VALUES (3, 'a', '9.1', 'answered', 7, 1, 1000.0);
CREATE TABLE jobs (
    job_id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, round_id INTEGER NOT NULL REFERENCES rounds,
    state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, not_before REAL NOT NULL DEFAULT 0,
    lease TEXT NOT NULL DEFAULT '', expires REAL NOT NULL DEFAULT 0, reason TEXT NOT NULL DEFAULT '',
    UNIQUE (kind, round_id)) STRICT;
INSERT INTO jobs (kind, round_id, state) VALUES ('respond', 3, 'done'), ('learn', 3, 'done');
CREATE TABLE results (
    sop_uid TEXT PRIMARY KEY, series_uid TEXT NOT NULL, round_id INTEGER NOT NULL REFERENCES rounds, kind TEXT NOT NULL,
    path TEXT NOT NULL, sent_at REAL, deleted_at REAL) STRICT;
INSERT INTO results VALUES ('8.1', '8', 3, 'prediction', '', 1001.0, NULL);
CREATE TABLE checkpoints (
    name TEXT PRIMARY KEY, task_id TEXT NOT NULL, number INTEGER NOT NULL, parent TEXT NOT NULL, path TEXT NOT NULL,
    sha256 TEXT NOT NULL, round_id INTEGER NOT NULL, steps INTEGER NOT NULL, created_at REAL NOT NULL, facts TEXT NOT NULL,
    kept INTEGER NOT NULL DEFAULT 1, UNIQUE (task_id, number)) STRICT;
INSERT INTO checkpoints VALUES ('liver-1', 'liver', 1, '', 'x', 'x', 3, 20, 0.0, '{}', 1),
    ('liver-2', 'liver', 2, 'liver-1', 'y', 'y', 3, 40, 0.0, '{}', 1);
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


def test_of_an_older_store_the_newest_version_serves_and_what_was_learned_is_never_held(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "apprentice.sqlite") as connection:
        connection.executescript(VERSION_1)
    connection.close()
    store = LocalStore(tmp_path)
    serving, head = store.checkpoints.serving("liver"), store.checkpoints.head("liver")
    assert serving is not None
    assert serving == head
    assert (serving.name, serving.tasks, serving.model_id) == ("liver-2", ("liver",), "liver")
    assert [str(one.state) for one in store.checkpoints.versions("liver")] == ["serving", "retired"]
    (lesson,) = store.lessons.of_model("liver")
    assert (lesson.case_id, lesson.round_id, lesson.held) == (7, 3, False)
    store.jobs.reopen(JobKind.LEARN, 3)
    job = store.jobs.claim(JobKind.LEARN, 10.0)
    assert job is not None
    assert job.lane == "liver"


def test_a_case_takes_the_part_that_its_series_turned_out_to_have(tmp_path: Path) -> None:
    records = LocalStore(tmp_path).records
    opened = records.case("liver", "1.1", "5.1")
    first = records.case("liver", "1.1", "5.1", "EchoTime 10")
    assert first.case_id == opened.case_id
    second = records.case("liver", "1.1", "5.1", "EchoTime 30")
    assert second.case_id != first.case_id
    assert records.case("liver", "1.1", "5.1", "EchoTime 10") == first


def test_what_was_kept_before_patients_were_linked_stays_and_can_be_linked(tmp_path: Path) -> None:
    path = tmp_path / "apprentice.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
    connection.close()
    store = LocalStore(tmp_path)
    store.records.note_facts(3, annotation_uid="9.9")
    store._database.run("UPDATE rounds SET number = 1 WHERE round_id = 3")
    for study in ("1.1", "1.2"):
        store.records.set_patient(study, "key of a patient")
    assert [r.round_id for r in store.records.drawn_before("liver", "1.2")] == [3]
    assert store.records.drawn_before("liver", "1.1") == ()


def test_the_study_of_series_that_were_taken_in_is_known_where_they_have_a_case(tmp_path: Path) -> None:
    path = tmp_path / "apprentice.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(VERSION_1)
    connection.close()
    store = LocalStore(tmp_path)
    rows = store._database.rows("SELECT series_uid, study_uid, digest FROM series ORDER BY series_uid")
    assert [tuple(row) for row in rows] == [("5.1", "1.1", "a digest"), ("5.2", "", "another")]
    store.records.set_series_digest("5.2", "1.2", "a third")
    assert store.records.series_digest("5.2") == "a third"
    assert [one.from_forgotten for one in store.checkpoints.versions("liver")] == [False, False]
    assert store.forgotten.all() == ()


def test_the_audit_record_begins_with_what_an_older_store_knows(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "apprentice.sqlite") as connection:
        connection.executescript(VERSION_1)
        connection.execute(
            "UPDATE rounds SET number = 1, reader = 'Eva', facts = ?", ('{"annotation_uid": "9.9", "withdrawn": true}',)
        )
    connection.close()
    entries = LocalStore(tmp_path).audit.entries()
    told = [(one.event, one.round_id, one.version) for one in entries]
    learned = [(Event.LEARNED, 3, "liver-1"), (Event.LEARNED, 3, "liver-2")]
    assert told == [(Event.ANSWERED, 3, ""), (Event.WITHDRAWN, 3, ""), *learned]
    assert (entries[0].facts["annotation"], entries[0].facts["results"]) == ("9.9", {"prediction": ["8.1"]})
    assert (entries[0].at, entries[0].facts["reader"], entries[0].facts["study"]) == (1000.0, "Eva", "1.1")
    assert all(one.facts["taken_over"] for one in entries)
    store = LocalStore(tmp_path)
    assert len(store.audit.entries()) == len(entries), "once"
    assert store.audit.verify().intact
    (ancestor, newest) = Lineage(store.audit).version("liver", "2").lineage
    assert (newest.parent, ancestor.sources[0].reader, ancestor.sources[0].withdrawn) == ("liver-1", "Eva", True)
