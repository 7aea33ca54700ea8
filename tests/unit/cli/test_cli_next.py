"""Which case to draw next, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from learner.storage.store import LocalStore

Run = Callable[..., tuple[int, str, str]]


def test_the_next_cases_of_a_task(run: Run, configuration: Path, store: LocalStore) -> None:
    code, out, _ = run("next", "prostate", "--config", configuration, "--json")
    assert code == 0
    (found,) = json.loads(out)
    assert found["expected_dice"] == 0.91
    assert found["drawn_slices"] == 2
    code, out, _ = run("next", "prostate", "--config", configuration)
    assert code == 0
    assert "Next cases of prostate" in out


def test_a_task_that_there_is_not_is_refused_with_those_there_are(run: Run, configuration: Path, store: LocalStore) -> None:
    code, _, error = run("next", "liver", "--config", configuration)
    assert code != 0
    assert "there is no task liver" in error
    assert "prostate" in error
