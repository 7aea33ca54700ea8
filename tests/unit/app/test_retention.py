"""What is kept for so many days goes after that, a little at a time, and a case goes on with what is left."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learning_fakes import Stream, example, keys

from learner.app.gate import GateSettings
from learner.app.retention import Retention, RetentionSettings
from learner.domain.case import RoundEvent
from learner.domain.job import JobKind
from learner.domain.pooling import Evidence
from learner.errors import CorruptFile
from learner.storage.store import LocalStore

DAY_S = 86400.0


class Hands:
    """A clock that tests set."""

    time = 100 * DAY_S

    def now(self) -> float:
        return self.time


EVIDENCE = Evidence(
    np.ones(2, np.uint8),
    np.ones((2, 2), np.float16),
    np.ones(2, np.float16),
    np.ones((2, 2), np.float16),
    np.ones(2, np.uint16),
)


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    """Two rounds of case ``a``, 40 and 30 days ago, one of ``b`` yesterday; all with pictures told and evidence kept."""
    made = Stream(tmp_path, GateSettings(cases=0))
    for name, case, day in (("a1", "a", 60), ("a2", "a", 70), ("b1", "b", 99)):
        number = made.add(example(case), name=name, study=f"1.{case}")
        record = made.store.files.get_record(number)
        soft_CDHW = np.full((2, 6, 8, 8), 0.5, np.float16)
        made.store.files.put_record(number, replace(record, back_end_CDHW=soft_CDHW, evidence=EVIDENCE))
        made.store.records.note_facts(number, pictures=[{"kind": "answer"}])
        made.store.records.apply(number, RoundEvent.DELIVERED, answered_at=day * DAY_S)
        made.store._database.run("UPDATE rounds SET received_at = ? WHERE round_id = ?", (day * DAY_S, number))
    made.run()
    return made


def run(store: LocalStore, **days: int) -> None:
    retention = Retention(store, RetentionSettings(**days), Hands())
    while retention.run_once():
        pass


def test_nothing_goes_by_default(stream: Stream) -> None:
    run(stream.store)
    assert all(stream.store.files.get_record(number).back_end_CDHW is not None for number in (1, 2, 3))


def test_of_superseded_rounds_the_drawing_and_the_labels_stay(stream: Stream) -> None:
    run(stream.store, superseded_days=35)
    first, second = (stream.store.files.get_record(number) for number in (1, 2))
    assert (first.back_end_CDHW, first.evidence) == (None, None)
    assert first.drawing is not None
    assert first.labels_DHW.any()
    assert (second.back_end_CDHW is None, second.evidence is None) == (False, False)
    assert "pictures" not in stream.store.records.find_round(1).facts
    size = (stream.store.folder / "rounds" / "00000001.npz").stat().st_mtime_ns
    run(stream.store, superseded_days=35)
    assert (stream.store.folder / "rounds" / "00000001.npz").stat().st_mtime_ns == size


def test_records_of_a_case_go_together_once_nothing_happened_for_long(stream: Stream) -> None:
    run(stream.store, rounds_days=35)
    assert len(list((stream.store.folder / "rounds").iterdir())) == 3
    run(stream.store, rounds_days=20)
    assert [path.name for path in (stream.store.folder / "rounds").iterdir()] == ["00000003.npz"]
    with pytest.raises(CorruptFile):
        stream.store.files.get_record(2)
    assert stream.store.records.latest_rounds("liver", 5, but_of=-1) == (3,)
    stream.add(example("a", drawn=(5,)), name="a3", study="1.a")  # a later drawing is learned from all the same
    stream.run()
    assert stream.store.queries.jobs("parked") == []


def test_a_prune_that_is_killed_before_the_file_goes_is_finished_at_the_next_start(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(stream.store, "remove_leftovers", dies)
    with pytest.raises(KeyboardInterrupt):
        run(stream.store, rounds_days=20)
    again = LocalStore(stream.store.folder)
    again.take()
    assert [path.name for path in (again.folder / "rounds").iterdir()] == ["00000003.npz"]
    again.close()


def test_held_drawings_are_let_go(tmp_path: Path) -> None:
    stream = Stream(tmp_path, GateSettings(cases=2, every=2))
    for name in (*keys("good", 1), *keys("hold", 2)):
        stream.add(example(name), study=f"1.{name}")
        stream.run()
    first, second = stream.held
    stream.store._database.run("UPDATE rounds SET received_at = ? WHERE round_id = ?", (99 * DAY_S, second))
    stream.store._database.run("UPDATE rounds SET received_at = ? WHERE round_id = ?", (60 * DAY_S, first))
    run(stream.store, held_days=30)
    assert stream.held == [second]
    assert [path.name for path in (tmp_path / "examples").iterdir()] == [f"{second:08d}.npz"]


def test_a_held_drawing_that_is_let_go_while_it_is_to_be_learned_from_is_not_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job that would have learned from it begins anew."""
    stream = Stream(tmp_path, GateSettings(cases=1, every=2))
    stream.play(*keys("good", 1), *keys("hold", 1))
    original = stream.learn._gate.place

    def place(*args: object) -> object:
        placement = original(*args)  # type: ignore[arg-type]
        monkeypatch.undo()
        stream.store._database.run("UPDATE rounds SET received_at = 0")
        run(stream.store, held_days=1)
        return placement

    monkeypatch.setattr(stream.learn._gate, "place", place)
    stream.add(example(keys("hold", 2)[1]))
    stream.run()
    assert stream.store.queries.jobs("parked", "ready") == []
    assert len(stream.held) == 1
    assert stream.store.jobs.pending(JobKind.LEARN) == 0
