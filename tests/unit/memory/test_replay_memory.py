from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_disk import read_only, small_disk

from dicom_io.annotation import SparseAnnotation
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.errors import StoreError, StoreUnavailable
from learner.memory.replay import ReplayMemory

MakeExample = Callable[..., Example]
PLENTY = 2**24


def _remember(memory: ReplayMemory, example: Example) -> bool:
    return memory.admit(memory.store(example))


def test_a_later_round_replaces_the_earlier(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    _remember(memory, make_example("a", seed=0))
    memory.note_loss("a", 0.5)
    _remember(memory, make_example("b", seed=1))
    _remember(memory, make_example("a", seed=2))
    assert [(entry.key, entry.loss) for entry in memory.entries] == [("a", 0.5), ("b", -1.0)]
    assert memory.collect_garbage() == 1
    assert {path.name for path in tmp_path.iterdir()} == {entry.file for entry in memory.entries}


def test_storing_alone_remembers_nothing(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    entry = memory.store(make_example())
    assert len(memory) == 0
    assert memory.load(entry) is not None


def test_the_largest_group_gives_way(make_example: MakeExample, tmp_path: Path) -> None:
    size = ReplayMemory(tmp_path, PLENTY).store(make_example("probe_0")).size
    memory = ReplayMemory(tmp_path, 4 * size + size // 2)
    assert _remember(memory, make_example("rare_0", task="rare"))
    for number in range(9):
        _remember(memory, make_example(f"case_{number}", seed=number))
    assert Counter(entry.group for entry in memory.entries) == {"rare": 1, "task": 3}
    assert memory.used_bytes <= 4 * size + size // 2


def test_an_example_larger_than_the_memory_is_not_kept(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, 100)
    assert not _remember(memory, make_example())
    assert len(memory) == 0


def test_drawing_is_balanced_over_tasks(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for number in range(9):
        _remember(memory, make_example(f"many{number}", seed=number))
    _remember(memory, make_example("rare", task="rare"))
    drawn = Counter(entry.group for entry in memory.draw(2000, np.random.default_rng(0)))
    assert drawn["rare"] == pytest.approx(1000, abs=120)


def test_pure_and_difficult_cases_are_drawn_more_often(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for key, confidence, loss in [("pure", 0.8, 1.0), ("impure", 0.2, 1.0), ("hard", 0.8, 2.0)]:
        _remember(memory, make_example(key, confidence=confidence))
        memory.note_loss(key, loss)
    drawn = Counter(entry.key for entry in memory.draw(3000, np.random.default_rng(0)))
    assert drawn["pure"] / drawn["impure"] == pytest.approx(4, rel=0.25)
    assert drawn["hard"] / drawn["pure"] == pytest.approx(2, rel=0.25)


def test_the_present_case_is_not_drawn(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    _remember(memory, make_example("a"))
    assert memory.draw(3, np.random.default_rng(0), exclude="a") == ()
    _remember(memory, make_example("b"))
    assert {entry.key for entry in memory.draw(20, np.random.default_rng(0), exclude="a")} == {"b"}


def test_the_index_is_plain_data_and_brings_the_memory_back(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for key in "ab":
        _remember(memory, make_example(key, seed=ord(key)))
    memory.note_loss("a", 0.25)
    again = ReplayMemory(tmp_path, PLENTY)
    again.restore_index(json.loads(json.dumps(memory.index())))
    assert again.entries == memory.entries
    draws = [[entry.key for entry in each.draw(20, np.random.default_rng(3))] for each in (memory, again)]
    assert draws[0] == draws[1]


def test_an_index_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="index"):
        ReplayMemory(tmp_path, PLENTY).restore_index([{"key": "a"}])


def test_a_damaged_file_is_dropped_with_a_warning(
    make_example: MakeExample, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for key in "ab":
        _remember(memory, make_example(key, seed=ord(key)))
    victim = memory.entries[0]
    (tmp_path / victim.file).write_bytes(b"damaged")
    assert memory.load(victim) is None
    assert [entry.key for entry in memory.entries] == ["b"]
    assert memory.load(memory.entries[0]) is not None


def test_garbage_spares_what_other_checkpoints_name(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    _remember(memory, make_example("a", seed=1))
    earlier = memory.index()
    _remember(memory, make_example("a", seed=2))
    (tmp_path / "left.part").write_bytes(b"half")
    assert memory.collect_garbage(keep=[earlier]) == 1
    assert len(list(tmp_path.iterdir())) == 2
    assert memory.collect_garbage() == 1


def test_forgetting_removes_cases_for_good(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for key in "abc":
        _remember(memory, make_example(key, seed=ord(key)))
    assert memory.forget(["a", "c", "never"]) == 2
    memory.collect_garbage()
    assert len(list(tmp_path.iterdir())) == len(memory) == 1


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_losses_that_are_not_finite_are_ignored(make_example: MakeExample, tmp_path: Path, loss: float) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    _remember(memory, make_example("a"))
    memory.note_loss("a", 1.0)
    memory.note_loss("a", loss)
    memory.note_loss("unknown", 1.0)
    assert [entry.loss for entry in memory.entries] == [1.0]


def test_strokes_alone_are_no_pure_proxy(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    example = make_example("planes", confidence=0.1)
    old = example.annotation
    confidence = np.where(old.labels_DHW > 0, np.float32(1), np.float32(0))
    labels, known = old.labels_DHW.copy(), np.stack([old.labels_DHW > 0] * 2)
    soft = np.stack([labels == number for number in range(3)]).astype(np.float32)
    strokes = replace(
        example, key="strokes", annotation=SparseAnnotation(labels, known), proxy=ProxyMask(soft, confidence, "method")
    )
    assert memory.store(strokes).purity < memory.store(example).purity


def test_drawing_is_balanced_over_sites_then_readers(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for number in range(8):
        _remember(memory, replace(make_example(f"many{number}", seed=number), site="large", reader="busy"))
    _remember(memory, replace(make_example("rare", seed=9), site="large", reader="rare"))
    _remember(memory, replace(make_example("small", seed=10), site="small", reader="busy"))
    drawn = Counter((entry.site, entry.reader) for entry in memory.draw(2000, np.random.default_rng(0)))
    assert drawn["small", "busy"] == pytest.approx(1000, abs=120)
    assert drawn["large", "rare"] == pytest.approx(500, abs=100)


def test_one_task_can_be_asked_for(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for key, task in (("a", "one"), ("b", "two")):
        _remember(memory, make_example(key, task=task))
    assert memory.tasks() == ("one", "two")
    assert {entry.key for entry in memory.draw(20, np.random.default_rng(0), task="two")} == {"b"}
    assert memory.draw(3, np.random.default_rng(0), task="three") == ()


def test_of_two_cases_that_are_alike_one_goes(make_example: MakeExample, tmp_path: Path) -> None:
    size = ReplayMemory(tmp_path, PLENTY).store(make_example("probe")).size
    memory = ReplayMemory(tmp_path, 6 * size + size // 2, redundant_share=1.0)
    for number in range(5):
        _remember(memory, replace(make_example(f"k{number}", seed=number), spacing_DHW=(1.0 + number, 1.0, 1.0)))
    twins = {"first", "second"}
    for key in sorted(twins):
        _remember(memory, replace(make_example(key, seed=20), spacing_DHW=(9.0, 2.0, 2.0)))
    kept = {entry.key for entry in memory.entries}
    assert len(kept) == 6
    assert len(kept & twins) == 1


def test_an_index_from_before_there_were_sites_is_read(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    _remember(memory, make_example("a"))
    index = [
        {name: value for name, value in item.items() if name not in {"site", "reader", "descriptor"}} for item in memory.index()
    ]
    memory.restore_index(index)
    (entry,) = memory.entries
    assert (entry.site, entry.reader, entry.descriptor) == ("", "", ())
    assert memory.load(entry) is not None


def test_what_is_remembered_is_told_by_task_and_site(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    given = [("a", "liver", "x", "r"), ("b", "liver", "x", "s"), ("c", "liver", "", ""), ("d", "spleen", "x", "r")]
    for key, task, site, reader in given:
        _remember(memory, replace(make_example(key, task=task), site=site, reader=reader))
    told = [(one.task_id, one.site, one.cases, one.readers) for one in memory.content()]
    assert told == [("liver", "", 1, 0), ("liver", "x", 2, 2), ("spleen", "x", 1, 1)]
    assert sum(one.size for one in memory.content()) == memory.used_bytes


def _on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())


def test_the_quota_is_kept_at_every_moment(make_example: MakeExample, tmp_path: Path) -> None:
    """Each of several models has its own; beside it lie at most the case in hand and the one before, until the job is done."""
    size = ReplayMemory(tmp_path / "probe", PLENTY).store(make_example("probe")).size
    quota = 3 * size + size // 2
    memories = {name: ReplayMemory(tmp_path / name, quota) for name in ("liver", "spleen")}
    for number in range(8):
        for name, memory in memories.items():
            before = memory.index()
            entry = memory.store(make_example(f"case_{number}", seed=number))
            assert _on_disk(tmp_path / name) <= quota + 2 * size
            memory.admit(entry)
            memory.collect_garbage(keep=[before])
            assert memory.used_bytes <= quota
            assert _on_disk(tmp_path / name) <= quota + size


def test_a_lowered_quota_holds_as_soon_as_the_memory_is_read(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, PLENTY)
    for number in range(6):
        _remember(memory, make_example(f"case_{number}", seed=number))
    size, index = memory.entries[0].size, memory.index()
    lowered = ReplayMemory(tmp_path, 2 * size + size // 2)
    lowered.restore_index(index)
    assert len(lowered) == 2
    lowered.collect_garbage()
    assert _on_disk(tmp_path) <= 2 * size + size // 2
    same = ReplayMemory(tmp_path, 2 * size + size // 2)
    same.restore_index(index)
    assert same.entries == lowered.entries, "a job that is done again decides the same"


def test_a_disk_that_is_full_or_read_only_is_told_from_a_damaged_file(make_example: MakeExample, tmp_path: Path) -> None:
    with small_disk(tmp_path / "replay", "1m") as disk:
        memory = ReplayMemory(disk.folder, PLENTY)
        _remember(memory, make_example("a"))
        disk.fill()
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                memory.store(make_example("b", seed=1))
        disk.empty()
        with read_only(disk.folder), pytest.raises(StoreUnavailable, match="the disk is read-only"):
            memory.store(make_example("b", seed=1))
        assert _remember(memory, make_example("b", seed=1))
        assert [memory.load(entry) is not None for entry in memory.entries] == [True, True]
        assert len(list(disk.folder.iterdir())) == 2, "nothing half written is left"
