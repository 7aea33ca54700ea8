"""Databases that each earlier version's own code made, filled, are brought to the present schema; a copy of each is kept."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from learner.domain.job import JobKind
from learner.errors import StoreError
from learner.storage.database import SCHEMA_VERSION, Database
from learner.storage.store import LocalStore

EARLIER = Path(__file__).resolve().parents[2] / "data" / "earlier"
VERSIONS = range(1, SCHEMA_VERSION)
RENAMED = {("checkpoints", "task_id"): "model_id"}
DECIDED_ANEW = {("checkpoints", "state"), ("checkpoints", "tasks"), ("checkpoints", "head"), ("jobs", "lease")}
Rows = dict[str, list[dict[str, object]]]
MakeStore = Callable[[int], Path]


@pytest.fixture
def make(tmp_path: Path) -> MakeStore:
    """The database of a version, in a data folder of its own."""

    def make_(version: int) -> Path:
        path = tmp_path / f"data-{version}" / "apprentice.sqlite"
        path.parent.mkdir()
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((EARLIER / f"schema-{version}.sql").read_text(encoding="utf-8"))
        return path

    return make_


def version_of(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA user_version").fetchone()[0])


def rows_of(path: Path) -> Rows:
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: [dict(row) for row in connection.execute(f"SELECT * FROM {name} ORDER BY rowid")] for name in names}


def shape_of(path: Path) -> dict[str, object]:
    """What tables, columns, indices, references and triggers there are; their order and wording do not matter."""
    with closing(sqlite3.connect(path)) as connection:

        def all_of(pragma: str) -> list[tuple[object, ...]]:
            return sorted((row[1:] for row in connection.execute(f"PRAGMA {pragma}")), key=repr)

        names = sorted(row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'"))
        triggers = sorted(connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"))
        columns = {name: all_of(f"table_xinfo({name})") for name in names}
        rest = {name: (all_of(f"index_list({name})"), all_of(f"foreign_key_list({name})")) for name in names}
        return {"columns": columns, "rest": rest, "triggers": triggers}


@pytest.mark.parametrize("version", VERSIONS)
def test_nothing_of_an_earlier_store_is_lost(make: MakeStore, version: int) -> None:
    path = make(version)
    before = rows_of(path)
    assert len(before["rounds"]) == 5
    Database(path).close()
    after = rows_of(path)
    assert version_of(path) == SCHEMA_VERSION
    for table, rows in before.items():
        for old, new in zip(rows, after[table], strict=True):
            for column, value in old.items():
                if version >= 3 or (table, column) not in DECIDED_ANEW:
                    assert new[RENAMED.get((table, column), column) if version < 3 else column] == value, (table, column)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.parametrize("version", VERSIONS)
def test_an_earlier_store_becomes_what_a_new_one_is(make: MakeStore, tmp_path: Path, version: int) -> None:
    path, new = make(version), tmp_path / "new.sqlite"
    Database(path).close()
    Database(new).close()
    migrated, fresh = shape_of(path), shape_of(new)
    assert migrated["triggers"] == fresh["triggers"]
    assert migrated["rest"] == fresh["rest"]
    assert migrated["columns"] == fresh["columns"]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_works_on_with_an_earlier_store(make: MakeStore, version: int) -> None:
    path = make(version)
    (path.parent / "checkpoints" / "liver").mkdir(parents=True)
    (path.parent / "checkpoints" / "liver" / "000002-y.pt").write_bytes(b"weights")
    store = LocalStore(path.parent)
    assert store.take() == 0
    serving = store.checkpoints.serving("liver")
    assert serving is not None
    assert (serving.name, serving.tasks) == ("liver-2", ("liver",))
    job = store.jobs.claim(JobKind.RESPOND, 60.0)
    assert job is not None
    assert job.round_id == 9
    assert [r.number for r in store.records.rounds_of(7)] == [1]
    assert store.records.cursor("changes") == 41
    assert store.records.flag("training_paused") == "yes"
    assert [one.case_id for one in store.lessons.of_model("liver")] == [7]
    assert store.records.open_round("a", "9.1") is None, "what was answered is not answered again"
    store.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_the_database_as_it_was_is_kept(make: MakeStore, version: int) -> None:
    path = make(version)
    before = rows_of(path)
    for _ in range(2):
        Database(path).close()
    kept = path.with_name(f"apprentice.sqlite.schema-{version}")
    assert (version_of(kept), rows_of(kept)) == (version, before)
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert {one.name for one in path.parent.iterdir()} == {path.name, kept.name}


def test_a_new_or_present_store_has_no_copy(tmp_path: Path) -> None:
    for _ in range(2):
        Database(tmp_path / "apprentice.sqlite").close()
    assert [one.name for one in tmp_path.iterdir()] == ["apprentice.sqlite"]


def test_a_later_store_is_left_as_it_is(make: MakeStore) -> None:
    path = make(1)
    Database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreError, match=rf"newer version \(schema {SCHEMA_VERSION + 1}\)"):
        Database(path)
    assert version_of(path) == SCHEMA_VERSION + 1


def test_a_migration_that_fails_changes_nothing(make: MakeStore) -> None:
    path = make(1)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE checkpoints")
    before = rows_of(path)
    with pytest.raises(StoreError, match="no such table: checkpoints"):
        Database(path)
    assert (version_of(path), rows_of(path)) == (1, before)


def test_without_a_copy_there_is_no_migration(make: MakeStore) -> None:
    path = make(1)
    path.with_name("apprentice.sqlite.schema-1").mkdir()
    with pytest.raises(StoreError, match="cannot be used"):
        Database(path)
    assert version_of(path) == 1
    assert not list(path.parent.glob("*.part"))
