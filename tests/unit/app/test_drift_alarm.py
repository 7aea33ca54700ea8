"""The alarm that answers need more correction: by task and site, told once."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from learner.app.drift import drift_of_task, warn_of_drift
from learner.domain.case import RoundEvent
from learner.storage.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def answer(store: LocalStore, name: str, number: int = 1, task: str = "liver", **facts: object) -> list[str]:
    """Records an answered round; the measures of which a warning was given."""
    case = store.records.case(task, "1.1", f"5.{name}")
    round_id = store.records.open_round(f"{task} {name} {number}", "9.1")
    assert round_id is not None
    store.records.note_facts(round_id, annotation_uid="2.1", **facts)
    store.records.apply(round_id, RoundEvent.COMPUTED, case_id=case.case_id, number=number)
    store.records.apply(round_id, RoundEvent.DELIVERED, answered_at=1.0)
    with capture_logs() as told:
        warn_of_drift(store.records, store.records.find_round(round_id))
    return [f"{one['task']} {one['site']} {one['measure']}".replace("  ", " ") for one in told]


def test_the_alarm_is_told_once_and_for_the_site_that_it_is_about(store: LocalStore) -> None:
    warned = []
    for number in range(40):
        warned += answer(store, f"good {number}", foresight=[0.9, 0.8], site="good site")
        bad = 0.9 if number < 15 else 0.6
        warned += answer(store, f"bad {number}", foresight=[bad, None], site="poor site")
        warned += answer(store, f"bad {number}", 2, foresight=[0.1], site="poor site")
    assert warned.count("liver poor sit foresight") == 1
    assert not any("good" in one for one in warned)
    charts = {(one.site, one.measure): one.drift.alarm for one in drift_of_task(store.records, "liver")}
    assert charts["poor site", "foresight"]
    assert not charts["good site", "foresight"]


def test_edited_predictions_tell_by_the_share_that_was_changed(store: LocalStore) -> None:
    warned = []
    for number in range(30):
        changed = 0.02 if number < 15 else 0.3
        warned += answer(store, str(number), 2, edited=True, share_changed=changed)
        warned += answer(store, str(number), 3, edited=False, share_changed=0.9)
    assert warned == ["liver unchanged"]


def test_other_tasks_and_rounds_without_a_network_say_nothing(store: LocalStore) -> None:
    for number in range(30):
        assert answer(store, str(number), foresight=None, estimated_dice=None) == []
        assert answer(store, str(number), task="spleen", foresight=[0.9]) == []
    assert drift_of_task(store.records, "liver") == []
    assert [one.measure for one in drift_of_task(store.records, "spleen")] == ["foresight"]
