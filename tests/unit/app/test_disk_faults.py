"""A disk that is full or read-only, for real: the job waits without using up attempts, and goes on by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from answering_story import arrived, check, processes
from learning_fakes import Stream, example, keys
from small_disk import SmallDisk, read_only, small_disk

from learner.errors import StoreUnavailable
from learner.storage.store import LocalStore

_CALLS = (
    *("records.set_cursor", "records.open_round", "records.apply", "records.mark_sent", "jobs.claim", "jobs.finish"),
    *("files.put_record", "files.put_example", "files.put_outgoing"),
)


class FullFrom:
    """Fills the disk before the first call of a name, for so long."""

    def __init__(self, disk: SmallDisk, name: str) -> None:
        self._disk, self._name = disk, name
        self.is_full = False

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            if name == self._name:
                self._name, self.is_full = "", True
                self._disk.fill()
            return call(*args, **kwargs)

        return wrapped


def test_a_disk_that_fills_up_anywhere_loses_nothing(tmp_path: Path) -> None:
    """Whatever was about to be written: it is said, no attempt is used up, and with space again each drawing has one answer."""
    told: dict[str, str] = {}
    for name in _CALLS:
        with small_disk(tmp_path / name) as disk:
            store = LocalStore(disk.folder)
            store.take()
            full, archive = FullFrom(disk, name), arrived()
            intake, respond = processes(store, archive, full.around)
            for _ in range(6):
                try:
                    intake.catch_up()
                    while respond.run_once():
                        pass
                except StoreUnavailable as error:
                    told[name] = str(error).replace(str(disk.folder), "FOLDER")
            assert full.is_full, name
            assert not store.queries.jobs("parked"), name
            disk.empty()
            intake.catch_up()
            while respond.run_once():
                pass
            check(archive, store)
            store.close()
    assert {"files.put_record", "files.put_example", "files.put_outgoing", "jobs.claim"} <= told.keys()
    said = "FOLDER: the disk is full (0 MiB free). Free some space on it; the node goes on by itself then."
    assert set(told.values()) == {said}


@pytest.mark.parametrize("folder", ["rounds", "examples", "outbox"])
def test_a_read_only_folder_keeps_the_answer_for_later(tmp_path: Path, folder: str) -> None:
    store, archive = LocalStore(tmp_path), arrived()
    intake, respond = processes(store, archive, lambda _name, call: call)
    intake.catch_up()
    with read_only(tmp_path / folder):
        for _ in range(6):
            with pytest.raises(StoreUnavailable, match="the disk is read-only"):
                respond.run_once()
            (waiting, _) = store.queries.jobs("ready")
            assert (waiting.attempts, "read-only" in waiting.reason) == (0, True)
        assert store.overview.trouble()[0] == 1
    while respond.run_once():
        pass
    check(archive, store)


def test_learning_waits_for_a_disk_that_can_be_written_and_learns_the_same(tmp_path: Path) -> None:
    stream, (first, second) = Stream(tmp_path), keys("case", 2)
    stream.play(first)
    stream.add(example(second))
    with read_only(tmp_path / "checkpoints" / "liver"):
        for _ in range(6):
            with pytest.raises(StoreUnavailable, match="the disk is read-only"):
                stream.learn.run_once()
            (waiting,) = stream.store.queries.jobs("ready")
            assert (waiting.attempts, "read-only" in waiting.reason) == (0, True)
    stream.run()
    assert stream.learned == [first, second]


def test_a_disk_that_fills_up_while_learning_loses_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data") as disk:
        stream, (first, second) = Stream(disk.folder), keys("case", 2)
        stream.play(first)
        stream.add(example(second))
        disk.fill()
        for _ in range(6):
            with pytest.raises(StoreUnavailable, match="the disk is full"):
                stream.learn.run_once()
        disk.empty()
        stream.run()
        assert stream.learned == [first, second]
        assert not stream.store.queries.jobs("parked")
        stream.store.close()
