"""Versions: hashed, judged, pruned, rolled back; one serves and one is trained from."""

from __future__ import annotations

from pathlib import Path

import pytest
from versions import add_version, verdict

from learner.domain.checkpoint import CheckpointState
from learner.errors import CorruptFile
from learner.storage.store import LocalStore


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path, keep_checkpoints=2)


def test_versions_are_verified(store: LocalStore, tmp_path: Path) -> None:
    add_version(store, "liver")
    newest = add_version(store, "liver")
    assert (newest.name, newest.parent, newest.steps) == ("liver-2", "liver-1", 20)
    assert store.checkpoints.read(newest) == b"state 2"
    (tmp_path / newest.path).write_bytes(b"state X")
    with pytest.raises(CorruptFile, match="liver-2"):
        store.checkpoints.read(newest)


def test_a_version_is_in_shadow_until_it_passed(store: LocalStore) -> None:
    added = store.checkpoints.add("liver", b"state", round_id=1, steps=5, facts={})
    assert (added.state, added.tasks, store.checkpoints.serving("liver")) == (CheckpointState.SHADOW, (), None)
    assert store.checkpoints.head("liver") == added
    refused = store.checkpoints.judge(added, verdict("liver", serve=False))
    assert (refused.state, refused.gate["reason"]) == (CheckpointState.SHADOW, "as the test wants it")
    passed = store.checkpoints.judge(added, verdict("liver"))
    assert store.checkpoints.serving("liver") == passed
    assert passed.tasks == ("liver",)


def test_one_version_serves_and_the_one_before_is_retired(store: LocalStore) -> None:
    add_version(store, "liver")
    add_version(store, "liver", serve=False)
    add_version(store, "liver")
    add_version(store, "spleen")
    states = [(one.name, str(one.state)) for one in store.checkpoints.versions("liver")]
    assert states == [("liver-3", "serving"), ("liver-2", "shadow"), ("liver-1", "retired")]


def test_files_that_may_be_needed_are_kept(store: LocalStore, tmp_path: Path) -> None:
    add_version(store, "liver")
    add_version(store, "liver")
    add_version(store, "liver")
    for _ in range(4):
        add_version(store, "liver", serve=False)
        store.checkpoints.prune("liver")
    kept = [one.number for one in store.checkpoints.history("liver")]
    assert kept == [7, 6, 3, 2], "the newest two, the one that serves, and the one that served before it"
    assert len(list((tmp_path / "checkpoints" / "liver").iterdir())) == 4
    assert [one.number for one in store.checkpoints.versions("liver")] == [7, 6, 5, 4, 3, 2, 1]
    store.checkpoints.roll_back(store.checkpoints.versions("liver")[4], retrain=True)
    store.checkpoints.prune("liver")
    assert 3 in [one.number for one in store.checkpoints.history("liver")]


def test_rolled_back_the_earlier_version_serves_all_that_the_later_one_did(store: LocalStore) -> None:
    first = add_version(store, "pelvis")
    second = store.checkpoints.add("pelvis", b"state", round_id=1, steps=5, facts={})
    store.checkpoints.judge(second, verdict("pelvis", "spleen"))
    back = store.checkpoints.roll_back(first, retrain=False)
    assert (back.pinned, back.tasks, back.state) == (True, ("pelvis", "spleen"), CheckpointState.SERVING)
    head = store.checkpoints.head("pelvis")
    assert head is not None
    assert (head.name, head.state) == (second.name, CheckpointState.ROLLED_BACK)


def test_a_later_version_that_passes_is_not_pinned_and_its_number_is_new(store: LocalStore) -> None:
    for _ in range(3):
        add_version(store, "liver")
    store.checkpoints.roll_back(store.checkpoints.versions("liver")[2], retrain=True)
    assert [str(one.state) for one in store.checkpoints.versions("liver")] == ["rolled-back", "rolled-back", "serving"]
    newest = add_version(store, "liver")
    assert (newest.name, newest.parent, newest.pinned) == ("liver-4", "liver-1", False)
    before = store.checkpoints.versions("liver")[-1]
    assert (before.state, before.pinned) == (CheckpointState.RETIRED, False)


def test_a_lowered_number_of_versions_holds_from_the_next_start_on(tmp_path: Path) -> None:
    before = LocalStore(tmp_path, keep_checkpoints=6)
    for model in ("liver", "spleen"):
        for number in range(6):
            add_version(before, model, serve=number == 0)
            before.checkpoints.prune(model)
    before.close()
    after = LocalStore(tmp_path, keep_checkpoints=2)
    after.take_training()
    for model in ("liver", "spleen"):
        assert [one.number for one in after.checkpoints.history(model)] == [6, 5, 1], "the newest two, and the one that serves"
        assert len(list((tmp_path / "checkpoints" / model).iterdir())) == 3
    after.close()
