"""Commands that look at a node and steer it."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest
from versions import add_version

from learner import operations
from learner.cli.look import drawn_share, estimated_dice
from learner.domain.case import RoundState
from learner.domain.job import JobKind
from learner.errors import ConfigurationError
from learner.storage.store import LocalStore

Run = Callable[..., tuple[int, str, str]]


def test_version_is_that_of_the_distribution(run: Run) -> None:
    assert run("version") == (0, version("pacs-apprentice") + "\n", "")


def test_rounds_are_listed_one_a_line_without_colours_where_piped(run: Run, configuration: Path, store: LocalStore) -> None:
    code, out, _ = run("rounds", "--config", configuration)
    assert code == 0
    assert "\x1b" not in out
    refused, answered = [line for line in out.splitlines() if "refused" in line or "answered" in line]
    assert "nothing is drawn in it [yet]" in refused
    for part in ("prostate", "4.0", "2/20 (10%)", "0.91 -"):
        assert part in answered


def test_rounds_as_json_have_the_form_of_the_api(run: Run, configuration: Path, store: LocalStore) -> None:
    code, out, _ = run("rounds", "-c", configuration, "--json")
    assert code == 0
    refused, answered = json.loads(out)
    assert (refused["round_id"], refused["state"], refused["case"]) == (2, "refused", None)
    assert answered["case"]["task_id"] == "prostate"
    assert answered["facts"]["drawn_slices"] == [3, 9]


def test_rounds_are_chosen_by_case_and_state(run: Run, configuration: Path, store: LocalStore) -> None:
    def numbers(*options: object) -> list[int]:
        return [one["round_id"] for one in json.loads(run("rounds", "-c", configuration, "--json", *options)[1])]

    assert numbers("--case", 1) == [1]
    assert numbers("--case", 7) == []
    assert numbers("--state", "refused") == [2]
    assert numbers("--limit", 1) == [2]


def test_tasks_are_listed_with_what_serves_them(run: Run, configuration: Path, store: LocalStore) -> None:
    add_version(store, "prostate", steps=40)
    tasks = {task["task_id"]: task for task in json.loads(run("tasks", "-c", configuration, "--json")[1])}
    assert set(tasks) == {"brain", "hippocampus", "prostate"}
    assert tasks["prostate"]["serving"]["name"] == "prostate-1"
    assert tasks["brain"]["serving"] is None
    text = run("tasks", "-c", configuration)[1]
    assert "prostate-1" in text
    assert "^(?!.*(post|\\+c|gd|contrast)).*t1" in text


def test_a_refused_round_is_retried(run: Run, configuration: Path, store: LocalStore) -> None:
    assert run("retry", 2, "-c", configuration)[0] == 0
    assert store.records.find_round(2).state is RoundState.QUEUED
    assert store.jobs.pending(JobKind.RESPOND) == 1


def test_a_job_that_was_given_up_is_retried(run: Run, configuration: Path, store: LocalStore) -> None:
    assert run("retry", 1, "-c", configuration)[0] == 0
    assert store.jobs.pending(JobKind.LEARN) == 1
    with pytest.raises(operations.NothingToRetry, match="it is answered"):
        run("retry", 1, "-c", configuration)
    with pytest.raises(operations.NoSuchRound, match="no round 9"):
        run("retry", 9, "-c", configuration)


def test_training_is_paused_and_resumed(run: Run, configuration: Path, store: LocalStore) -> None:
    assert run("training", "pause", "-c", configuration)[1] == "training is paused\n"
    assert operations.training_paused(store)
    assert json.loads(run("training", "status", "--json", "-c", configuration)[1]) == {"paused": True}
    assert run("training", "resume", "-c", configuration)[1] == "training is on\n"
    assert not operations.training_paused(store)


def test_looking_makes_no_store(run: Run, configuration: Path, tmp_path: Path) -> None:
    for command in ("rounds", "tasks"):
        with pytest.raises(ConfigurationError, match="holds no node's store yet"):
            run(command, "-c", configuration)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("retry",),
        ("retry", "x"),
        ("retry", "0"),
        ("training", "stop"),
        ("rounds", "--state", "odd"),
        ("rounds", "--odd"),
    ],
)
def test_wrong_usage_is_code_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert "Usage" in err


def test_shares_of_unknown_facts_are_empty() -> None:
    for facts in ({}, {"drawn_slices": None, "slices": 3}, {"drawn_slices": [1], "slices": 0}, {"estimated_dice": None}):
        assert drawn_share(facts) == estimated_dice(facts) == ""
