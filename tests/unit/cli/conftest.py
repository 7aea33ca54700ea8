"""A site's files: settings, tasks, and a store in which something happened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from learner.cli import app
from learner.domain.case import RoundEvent
from learner.domain.job import JobKind
from learner.storage.store import LocalStore

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def configuration(tmp_path: Path) -> Path:
    """Settings of a node whose archive nobody answers for."""
    (tmp_path / "tasks").mkdir()
    for task in (ROOT / "config" / "tasks").glob("*.toml"):
        (tmp_path / "tasks" / task.name).write_text(task.read_text(encoding="utf-8"), encoding="utf-8")
    path = tmp_path / "apprentice.toml"
    path.write_text('[node]\ndata = "data"\n[pacs]\nurl = "http://127.0.0.1:9"\n[api]\nport = 9\n', encoding="utf-8")
    return path


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Round 1 was answered, round 2 refused; the learn job of round 1 was given up."""
    store = LocalStore(tmp_path / "data")
    case = store.records.case("prostate", "2.25.1", "2.25.2").case_id
    answered, refused = store.records.open_round("object-a", "2.25.3"), store.records.open_round("object-b", "2.25.4")
    assert (answered, refused) == (1, 2)
    store.records.note_facts(1, slices=20, drawn_slices=[3, 9], estimated_dice=[0.91, None])
    store.records.apply(1, RoundEvent.COMPUTED, case_id=case, number=1)
    store.records.apply(1, RoundEvent.DELIVERED, answered_at=store.records.find_round(1).received_at + 4.0)
    store.jobs.add(JobKind.LEARN, 1)
    learn = store.jobs.claim(JobKind.LEARN, 60.0)
    assert learn is not None
    store.jobs.park(learn, "its example does not have its hash")
    store.records.apply(2, RoundEvent.NOT_UNDERSTOOD, reason="nothing is drawn in it [yet]")
    store.jobs.add(JobKind.RESPOND, 2)
    return store


@pytest.fixture
def run() -> Run:
    """Runs the command in this process: exit code, standard output, standard error."""

    def run_(*arguments: object) -> tuple[int, str, str]:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    return run_
