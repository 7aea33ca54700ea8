"""Commands about versions of models."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from versions import add_version, verdict

from learner import operations
from learner.domain.gate import Figure
from learner.storage.store import LocalStore

Run = Callable[..., tuple[int, str, str]]


def test_versions_are_listed_with_what_the_gate_said(run: Run, configuration: Path, store: LocalStore) -> None:
    add_version(store, "prostate", steps=40)
    worse = store.checkpoints.add("prostate", b"worse", round_id=1, steps=60, facts={})
    figure = Figure("prostate", "", 1, 2, 7, 0.71, 0.84, 0.04, 0.0)
    store.checkpoints.judge(worse, replace(verdict("prostate", serve=False), slices=7, figures=(figure,), reason="worse"))
    code, out, _ = run("versions", "prostate", "-c", configuration)
    assert code == 0
    newest, serving = [line for line in out.splitlines() if "prostate-" in line]
    for part in ("shadow", "60", "7", "0.710", "0.840", "worse"):
        assert part in newest
    assert "serving" in serving
    versions = json.loads(run("versions", "prostate", "-c", configuration, "--json")[1])
    assert [(one["name"], one["state"]) for one in versions] == [("prostate-2", "shadow"), ("prostate-1", "serving")]
    assert versions[0]["gate"]["figures"][0]["candidate"] == 0.71


def test_a_model_without_versions_is_said(run: Run, configuration: Path, store: LocalStore) -> None:
    code, out, err = run("versions", "prostate", "-c", configuration)
    assert (code, out) == (1, "")
    assert "there is no version of a model prostate yet" in err


def test_a_model_is_rolled_back(run: Run, configuration: Path, store: LocalStore) -> None:
    for _ in range(3):
        add_version(store, "prostate")
    code, out, _ = run("rollback", "prostate", "-c", configuration)
    assert (code, out) == (0, "prostate-2 serves instead of prostate-3; training goes on from prostate-3\n")
    code, out, _ = run("rollback", "prostate", "prostate-1", "--retrain", "-c", configuration)
    assert (code, out) == (0, "prostate-1 serves instead of prostate-2; training goes on from prostate-1\n")
    assert "serving, pinned" in run("versions", "prostate", "-c", configuration)[1]
    with pytest.raises(operations.NothingToRollBack, match="no version served before"):
        run("rollback", "prostate", "-c", configuration)
    with pytest.raises(operations.NoSuchVersion, match="no version 9"):
        run("rollback", "prostate", "9", "-c", configuration)


def test_nothing_is_compared_while_no_case_is_held(run: Run, configuration: Path, store: LocalStore) -> None:
    add_version(store, "prostate")
    add_version(store, "prostate")
    with pytest.raises(operations.NothingHeld, match="no case that is held back"):
        run("compare", "prostate", "1", "2", "-c", configuration)
