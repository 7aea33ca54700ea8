"""``apprentice forget`` and ``apprentice retrain``: beside a running node, and without one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner
from versions import add_version

from learner import operations
from learner.cli import app
from learner.domain.case import RoundState
from learner.ports import Lesson
from learner.storage.store import LocalStore

Run = Callable[..., tuple[int, str, str]]
STUDY = "2.25.1"


def test_without_a_node_the_command_removes_everything_itself(run: Run, configuration: Path, store: LocalStore) -> None:
    add_version(store, "prostate")
    store.close()
    code, out, _ = run("forget", STUDY, "--yes", "-c", configuration)
    assert code == 0
    assert "order 1: 1 rounds of the study are forgotten; nothing of it is left in the store" in out
    assert "versions that learned from a forgotten study: prostate-1" in out
    again = LocalStore(configuration.parent / "data")
    assert again.records.find_round(1).state is RoundState.FORGOTTEN
    assert again.records.find_round(2).state is RoundState.REFUSED
    assert "learned from a forgotten study" in run("versions", "prostate", "-c", configuration)[1]
    listed = run("forget", "-c", configuration)[1]
    assert "purged" in listed
    assert STUDY not in listed


def test_beside_a_running_node_the_order_is_the_node_s_to_do(run: Run, configuration: Path, store: LocalStore) -> None:
    node = LocalStore(configuration.parent / "data")
    node.take()
    out = run("forget", STUDY, "--yes", "--json", "-c", configuration)[1]
    told = json.loads(out[out.index("{") :])  # behind the log
    assert (told["order"], told["rounds"], told["purged_at"]) == (1, [1], None)
    (order,) = node.forgotten.all()
    assert order.study_uid == STUDY
    with pytest.raises(operations.BeingForgotten):
        run("forget", STUDY, "--lift", "-c", configuration)
    node.close()
    assert "the trainer forgets it" not in run("forget", STUDY, "--yes", "-c", configuration)[1]
    assert run("forget", STUDY, "--lift", "-c", configuration)[1] == "the study may be taken in again\n"
    with pytest.raises(operations.NotForgotten):
        run("forget", STUDY, "--lift", "-c", configuration)


@pytest.mark.parametrize(("said", "forgotten"), [("n\n", False), ("y\n", True)])
def test_it_asks_first(configuration: Path, store: LocalStore, said: str, forgotten: bool) -> None:
    result = CliRunner().invoke(app, ["forget", STUDY, "-c", str(configuration)], input=said)
    assert "1 cases and 1 rounds" in result.stderr
    assert (store.records.find_round(1).state is RoundState.FORGOTTEN) == forgotten
    assert (result.exit_code == 0) == forgotten


def test_what_is_no_uid_is_said(run: Run, configuration: Path, store: LocalStore) -> None:
    code, _, err = run("forget", "Smith^John", "--yes", "-c", configuration)
    assert code == 1
    assert "no Study Instance UID" in err
    assert "Smith" not in err


def test_a_model_is_trained_anew_and_marked_versions_are_dropped(run: Run, configuration: Path, store: LocalStore) -> None:
    with pytest.raises(operations.NothingToRetrain, match="no version of a model prostate"):
        run("retrain", "prostate", "-c", configuration)
    add_version(store, "prostate")
    case = store.records.find_round(1).case_id
    assert case is not None
    store.lessons.put(Lesson(case, "prostate", "prostate", "", 1, held=False))
    code, out, _ = run("retrain", "prostate", "-c", configuration)
    assert (code, "is trained anew by the running node" in out) == (0, True)
    with pytest.raises(operations.NothingToDrop, match="no version"):
        run("retrain", "prostate", "--drop-marked", "-c", configuration)
    run("forget", STUDY, "--yes", "-c", configuration)
    assert run("retrain", "prostate", "--drop-marked", "-c", configuration)[1] == "removed: prostate-1\n"
