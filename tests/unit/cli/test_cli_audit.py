"""``apprentice audit``: tables for people, JSON for scripts, an exit code for what was tampered with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from learner.domain.audit import Event
from learner.operations import NoSuchRound
from learner.storage.store import LocalStore

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def audited(store: LocalStore) -> LocalStore:
    audit = store.audit
    audit.record(Event.STARTED, software="1.0", settings={"answer": {"propagator": "flow"}})
    drawn = {"annotation": "2.25.5", "reader": "Eva^Reader", "station": {"manufacturer": "Maker", "station": "WS 1"}}
    made = {"case": 1, "task": "prostate", "number": 1, "made_from": ["2.25.5"], "said": {"drawn": [[0, 3], [1, 9]]}}
    network = {"checkpoint": "prostate-1", "trust": 0.25, "propagator": "flow", "results": {"prediction": ["2.25.66"]}}
    audit.record(Event.ANSWERED, round_id=1, **drawn, **made, **network)
    audit.record(Event.REACTION, round_id=1, kind="edited", share=0.031, slices=2, reader="Bob", where="3")
    learned = {"model": "prostate", "parent": "", "steps": 20, "sha256": "a" * 64, "job": 4}
    audit.record(Event.LEARNED, round_id=1, version="prostate-1", **learned)
    audit.record(Event.JUDGED, version="prostate-1", model="prostate", serve=True, reason="the first", tasks=["prostate"])
    audit.record(Event.ROLLED_BACK, version="prostate-1", model="prostate", instead_of="prostate-2", by="Admin")
    return store


@pytest.mark.usefixtures("audited")
def test_version_tells_readers_stations_and_the_gates_word(run: Run, configuration: Path) -> None:
    code, shown, _ = run("audit", "version", "prostate", "1", "-c", configuration)
    assert code == 0
    for told in ("prostate-1", "learned", "Eva^Reader", "Maker / WS 1", "serves: the first", "instead of prostate-2 by Admin"):
        assert told in shown
    code, shown, _ = run("audit", "version", "prostate", "1", "-c", configuration, "--json")
    (one,) = json.loads(shown)["lineage"]
    assert (one["round_id"], one["sources"][0]["reader"], one["served"]) == (1, "Eva^Reader", True)


@pytest.mark.usefixtures("audited")
def test_round_tells_why_and_what_became_of_it(run: Run, configuration: Path) -> None:
    code, shown, _ = run("audit", "round", "1", "-c", configuration)
    assert code == 0
    for told in (
        "annotation 2.25.5 by Eva^Reader",
        "slice 4, row 10",
        "prostate-1, share 0.25",
        "edited by 3.1% on 2 slices by Bob",
        "answer.propagator = flow",
        "learned in",
    ):
        assert told in shown, told
    code, shown, _ = run("audit", "round", "1", "-c", configuration, "--json")
    assert json.loads(shown)["made_from"][0]["annotation"] == "2.25.5"
    with pytest.raises(NoSuchRound, match="no round 2"):
        run("audit", "round", "2.25.404", "-c", configuration)


@pytest.mark.usefixtures("audited")
def test_log_lists_oldest_first_and_from_a_time_on(run: Run, configuration: Path) -> None:
    code, shown, _ = run("audit", "log", "-c", configuration, "--json")
    entries = json.loads(shown)
    numbers = [one["number"] for one in entries]
    assert (code, numbers) == (0, sorted(numbers))
    assert entries[-1]["event"] == "rolled back"
    code, shown, _ = run("audit", "log", "--limit", "1", "-c", configuration)
    assert "rolled back" in shown
    assert "judged" not in shown
    code, shown, _ = run("audit", "log", "--since", "2999-01-01", "--json", "-c", configuration)
    assert json.loads(shown) == []


def test_verify_prints_a_hash_and_fails_for_what_was_changed(run: Run, configuration: Path, audited: LocalStore) -> None:
    code, shown, _ = run("audit", "verify", "-c", configuration, "--json")
    told = json.loads(shown)
    assert (code, told["problems"]) == (0, [])
    audited.audit.record(Event.PAUSED)
    code, shown, _ = run("audit", "verify", "--seen", told["head"], "-c", configuration)
    assert code == 0
    code, shown, _ = run("audit", "verify", "--seen", "f" * 64, "-c", configuration)
    assert (code, "written anew" in shown) == (1, True)
    audited._database.run("DROP TRIGGER audit_keeps_facts")
    audited._database.run("UPDATE audit SET facts = replace(facts, '20', '21') WHERE event = 'learned'")
    code, shown, said = run("audit", "verify", "-c", configuration)
    assert code == 1
    assert "is not as it was written" in shown
    assert "compare with a backup" in said
