"""What a killed process leaves behind is removed; what is recorded stays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from learner.domain.case import RoundEvent
from learner.errors import StoreError
from learner.ports import CaseRecord, ResultRecord
from learner.storage.store import LocalStore
from learner.storage.sweep import FolderLock


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

    assert store.take() == 3
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


def test_two_trainers_do_not_learn_in_one_folder(tmp_path: Path) -> None:
    node, first = FolderLock(tmp_path), FolderLock(tmp_path, "trainer")
    with pytest.raises(StoreError, match="another trainer"):
        FolderLock(tmp_path, "trainer")
    first.release()
    FolderLock(tmp_path, "trainer").release()
    node.release()
