"""What a killed process leaves behind is removed; what is recorded stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learner.domain.case import RoundEvent
from learner.domain.example import Withdrawal
from learner.domain.job import JobKind
from learner.errors import FolderInUse, StoreError
from learner.ports import CaseRecord, Lesson, ResultRecord
from learner.storage.store import LocalStore


def test_only_what_is_recorded_stays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    record = CaseRecord(None, None, np.zeros((2, 3, 4), dtype=np.uint8), None)
    round_id = store.records.open_round("a", "9.1")
    assert round_id is not None
    store.files.put_record(round_id, record)
    path = store.files.put_outgoing("2.25.1", b"object")
    store.records.add_results([ResultRecord("2.25.1", "2.25.2", round_id, "prediction", path, sent=False)])
    store.records.apply(round_id, RoundEvent.COMPUTED)
    kept = store.checkpoints.add("liver", b"state", round_id=round_id, steps=1, facts={})

    store.files.put_record(99, record)
    store.files.put_outgoing("2.25.9", b"never recorded")
    (tmp_path / "checkpoints" / "liver" / ".000002.pt.17.part").write_bytes(b"half")
    (tmp_path / "replay" / "liver").mkdir(parents=True)
    (tmp_path / "replay" / "liver" / ".0.npz.17.part").write_bytes(b"half")

    assert store.take() == 2
    assert store.take_training() == 2
    files = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert {path, kept.path, "rounds/00000001.npz"} <= files
    assert not any("99" in name or "2.25.9" in name or "part" in name for name in files)


def test_two_nodes_do_not_share_a_folder(tmp_path: Path) -> None:
    first, second = LocalStore(tmp_path), LocalStore(tmp_path)
    first.take()
    with pytest.raises(StoreError, match="another node"):
        second.take()
    first.close()
    second.take()


def test_two_trainers_do_not_share_a_folder_and_a_node_is_none(tmp_path: Path) -> None:
    node, first, second = LocalStore(tmp_path), LocalStore(tmp_path), LocalStore(tmp_path)
    node.take()
    first.take_training()
    with pytest.raises(FolderInUse):
        second.take_training()
    first.close()
    second.take_training()
    for store in (node, second):
        store.close()


def test_a_trainer_that_begins_removes_the_examples_that_the_one_before_was_done_with(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    case = store.records.case("liver", "1.1", "5.1")
    for trigger, done, held in (("learned", True, False), ("held", True, True), ("to be learned", False, False)):
        round_id = store.records.open_round(trigger, "9.1", case_id=case.case_id)
        assert round_id is not None
        store.files.put_example(round_id, Withdrawal(trigger, "liver", 1))
        store.jobs.add(JobKind.LEARN, round_id)
        if held:
            store.lessons.put(Lesson(case.case_id, "liver", "liver", "", round_id, held=True))
        if done:
            job = store.jobs.claim(JobKind.LEARN, 10)
            assert job is not None
            store.jobs.finish(job)
    store.files.put_example(99, Withdrawal("being answered", "liver", 1))
    assert store.take_training() == 1
    assert sorted(p.name for p in (tmp_path / "examples").iterdir()) == ["00000002.npz", "00000003.npz", "00000099.npz"]
    store.close()
