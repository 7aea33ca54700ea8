"""Learn jobs: preempted between steps, done exactly once, the same weights however often they were begun."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from dicom_io.annotation import Plane, SparseAnnotation
from learner.app.gate import Gate, GateSettings
from learner.app.learn import IDLE_TURN, PAUSED, Learn, LearnSettings
from learner.domain.example import Example, Withdrawal
from learner.domain.job import JobKind
from learner.domain.proxy import ProxyMask
from learner.ports import LearnReport, Network, Trainer
from learner.storage.store import LocalStore, SystemClock


class Blind:
    """A network that finds nothing, so that it never serves."""

    def predict(self, image_DHW: np.ndarray, _spacing: tuple[float, float, float]) -> np.ndarray:
        return np.stack([np.ones_like(image_DHW), np.zeros_like(image_DHW)])


class CountingTrainer:
    """A trainer whose weights are the list of what it learned, so that a repeated or lost job shows."""

    tidied: ClassVar[list[int]] = []

    def __init__(self) -> None:
        self.weights: list[str] = []

    @property
    def steps(self) -> int:
        return len(self.weights)

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        for number in range(steps):
            between_steps()
            self.weights.append(f"{example.key}.{number}")
        return LearnReport(steps, 1.0, 0.5, 0, 1)

    def rehearse(self, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        for _ in range(steps):
            between_steps()
            self.weights.append("rehearsed")
        return LearnReport(steps, 1.0, 0.5, 0, 1)

    def network(self, task_id: str) -> Network:
        assert task_id == "liver"
        return Blind()

    def forget(self, keys: list[str]) -> int:
        self.weights.append(f"without {keys[0]}")
        return 1

    def save(self) -> bytes:
        return json.dumps(self.weights).encode()

    def restore(self, state: bytes) -> None:
        self.weights = json.loads(state)

    def tidy(self) -> None:
        self.tidied.append(len(self.weights))


class Machine:
    """A store with learn jobs, and the hooks of a process."""

    def __init__(self, folder: Path) -> None:
        self.store = LocalStore(folder)
        self.stop = False
        self.waits = 0
        self.held = False
        self.shortage = ""
        self.idle_steps = 0

    def learn(self) -> Learn:
        def make(_model: str, _labels: Mapping[str, int]) -> Trainer:
            return CountingTrainer()

        gate = Gate(self.store, lambda *_: pytest.fail("nothing serves"), GateSettings(cases=0))
        settings = LearnSettings(steps=3, idle_steps=self.idle_steps, yield_s=1.0)
        return Learn(
            self.store,
            make,
            gate,
            settings,
            lambda: self.stop,
            self._wait,
            SystemClock(),
            str,
            lambda: self.shortage,
            lambda: self.held,
        )

    def add(self, key: str) -> int:
        case = self.store.records.case("liver", "1.1", f"5.{key}")
        round_id = self.store.records.open_round(key, "9.1", case_id=case.case_id)
        assert round_id is not None
        self.store.files.put_example(round_id, example(key))
        self.store.jobs.add(JobKind.LEARN, round_id)
        return round_id

    def take_back(self, key: str) -> int:
        """What was drawn on the case of ``key`` is withdrawn."""
        case = self.store.records.case("liver", "1.1", f"5.{key}")
        round_id = self.store.records.open_round(f"withdrawal of {key}", "9.1", case_id=case.case_id)
        assert round_id is not None
        self.store.files.put_example(round_id, Withdrawal(key, "liver", 1))
        self.store.jobs.add(JobKind.LEARN, round_id)
        return round_id

    def weights(self) -> list[str]:
        checkpoint = self.store.checkpoints.head("liver")
        return json.loads(self.store.checkpoints.read(checkpoint)) if checkpoint else []

    def due(self) -> None:
        self.store._database.run("UPDATE jobs SET not_before = 0")

    def _wait(self, _seconds: float) -> None:
        self.waits += 1


def example(key: str) -> Example:
    labels_DHW = np.zeros((3, 4, 4), dtype=np.uint8)
    known_LDHW = np.zeros((1, 3, 4, 4), dtype=bool)
    labels_DHW[1, 1:3, 1:3] = 1
    known_LDHW[0, 1] = True
    soft_CDHW = np.stack([labels_DHW == 0, labels_DHW == 1]).astype(np.float32)
    proxy = ProxyMask(soft_CDHW, np.ones((3, 4, 4), dtype=np.float32), "test")
    image_DHW = np.zeros((3, 4, 4), dtype=np.float32)
    return Example(key, "liver", 1, image_DHW, (1.0, 1.0, 1.0), SparseAnnotation(labels_DHW, known_LDHW, (Plane(0, 1),)), proxy)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_each_job_makes_one_checkpoint_and_leaves_no_example(machine: Machine) -> None:
    machine.add("a")
    machine.add("b")
    learn = machine.learn()
    assert [learn.run_once(), learn.run_once(), learn.run_once()] == [True, True, False]
    assert machine.weights() == ["a.0", "a.1", "a.2", "b.0", "b.1", "b.2"]
    assert [c.number for c in machine.store.checkpoints.history("liver")] == [2, 1]
    assert list((machine.store.folder / "examples").iterdir()) == []


def test_it_goes_on_with_what_is_remembered_while_nothing_waits(machine: Machine) -> None:
    machine.idle_steps = 12
    machine.add("a")
    machine.add("b")
    learn = machine.learn()
    learn.run_once()
    assert machine.weights() == ["a.0", "a.1", "a.2"], "the second drawing waits"
    learn.run_once()
    assert machine.weights()[3:] == ["b.0", "b.1", "b.2", *["rehearsed"] * 12]
    assert [c.facts["rehearsed"] for c in machine.store.checkpoints.history("liver")] == [12, 0]


def test_it_stops_when_a_reader_draws_meanwhile(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.idle_steps = 40
    machine.add("a")
    rehearse = CountingTrainer.rehearse

    def and_a_reader_draws(trainer: CountingTrainer, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        report = rehearse(trainer, steps, between_steps)
        round_id = machine.store.records.open_round("annotation", "9.2")
        assert round_id is not None
        machine.store.jobs.add(JobKind.RESPOND, round_id)
        return report

    monkeypatch.setattr(CountingTrainer, "rehearse", and_a_reader_draws)
    machine.learn().run_once()
    assert machine.weights().count("rehearsed") == IDLE_TURN
    assert machine.waits == 0, "no step was made while the reader waited"


def test_the_replay_memory_is_tidied_only_once_the_checkpoint_stands(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    CountingTrainer.tidied.clear()
    machine.add("a")
    learn = machine.learn()
    with monkeypatch.context() as patch:
        patch.setattr(machine.store.checkpoints, "add", lambda *_args, **_named: (_ for _ in ()).throw(OSError("disk full")))
        learn.run_once()
    assert CountingTrainer.tidied == []
    machine.due()
    learn.run_once()
    assert CountingTrainer.tidied == [3]


def test_a_restarted_trainer_goes_on_from_the_checkpoint(machine: Machine) -> None:
    machine.add("a")
    machine.learn().run_once()
    machine.add("b")
    machine.learn().run_once()
    assert machine.weights() == ["a.0", "a.1", "a.2", "b.0", "b.1", "b.2"]


def test_a_stopping_node_interrupts_a_job_and_the_job_begins_anew(machine: Machine) -> None:
    machine.add("a")
    learn = machine.learn()
    machine.stop = True
    assert learn.run_once()
    assert machine.weights() == []
    machine.stop = False
    learn.run_once()
    assert machine.weights() == ["a.0", "a.1", "a.2"]


def test_a_half_trained_network_is_thrown_away_after_a_fault(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.add("a")
    learn = machine.learn()
    with monkeypatch.context() as patch:
        patch.setattr(CountingTrainer, "save", lambda _self: (_ for _ in ()).throw(MemoryError()))
        learn.run_once()
    (waiting,) = machine.store.queries.jobs("ready")
    assert "MemoryError" in waiting.reason
    machine.due()
    learn.run_once()
    assert machine.weights() == ["a.0", "a.1", "a.2"]


def test_a_job_that_always_fails_is_parked_after_its_last_attempt(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.add("a")
    learn = machine.learn()
    monkeypatch.setattr(CountingTrainer, "save", lambda _self: (_ for _ in ()).throw(MemoryError()))
    for _attempt in range(5):
        machine.due()
        assert learn.run_once()
    (parked,) = machine.store.queries.jobs("parked")
    assert parked.attempts == 5


def test_readers_go_first(machine: Machine) -> None:
    machine.add("a")
    round_id = machine.store.records.open_round("annotation", "9.2")
    assert round_id is not None
    machine.store.jobs.add(JobKind.RESPOND, round_id)
    machine.learn().run_once()
    assert machine.waits == 3 * 20, "each of three steps waited its longest, a second in steps of 50 ms"
    assert machine.weights() == ["a.0", "a.1", "a.2"]


def test_the_archive_goes_first(machine: Machine) -> None:
    machine.add("a")
    machine.held = True
    machine.learn().run_once()
    assert machine.waits == 3 * 20
    assert machine.weights() == ["a.0", "a.1", "a.2"]


def test_paused_training_stands_still(machine: Machine) -> None:
    machine.add("a")
    machine.store.records.set_flag(PAUSED, "yes")
    assert not machine.learn().run_once()
    machine.store.records.set_flag(PAUSED, "no")
    assert machine.learn().run_once()


def test_too_little_space_stops_learning_is_said_once_and_ends_by_itself(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.add("a")
    learn = machine.learn()
    machine.shortage = "/data: 3 MiB are free, and node.min_free_mb keeps 1024 for answers"
    assert [learn.run_once() for _ in range(3)] == [False, False, False]
    assert capsys.readouterr().out.count("learning waits") == 1
    machine.shortage = ""
    assert learn.run_once()
    assert "learning goes on" in capsys.readouterr().out
    assert machine.weights() == ["a.0", "a.1", "a.2"]


def test_series_that_nobody_drew_on_hold_no_training_up(machine: Machine) -> None:
    machine.add("a")
    case = machine.store.records.case("liver", "1.1", "5.new")
    round_id = machine.store.records.open_round("images", "5.new", case_id=case.case_id, number=0)
    assert round_id is not None
    machine.store.jobs.add(JobKind.RESPOND, round_id)
    machine.learn().run_once()
    assert machine.waits == 0


def test_an_unreadable_checkpoint_gives_way_to_the_one_before(machine: Machine) -> None:
    for key in "ab":
        machine.add(key)
        machine.learn().run_once()
    newest = machine.store.checkpoints.head("liver")
    assert newest is not None
    (machine.store.folder / newest.path).write_bytes(b"damaged")
    machine.add("c")
    machine.learn().run_once()
    assert machine.weights() == ["a.0", "a.1", "a.2", "c.0", "c.1", "c.2"]


def test_a_damaged_example_parks_its_job_and_the_next_is_done(machine: Machine) -> None:
    round_id = machine.add("a")
    machine.add("b")
    (machine.store.folder / "examples" / f"{round_id:08d}.npz").write_bytes(b"damaged")
    learn = machine.learn()
    assert learn.run_once()
    assert learn.run_once()
    assert machine.weights() == ["b.0", "b.1", "b.2"]
    (parked,) = machine.store.queries.jobs("parked")
    assert "damaged" in parked.reason


def test_what_was_taken_back_is_forgotten_in_a_version_of_its_own(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.add("a")
    machine.take_back("a")
    learn = machine.learn()
    while learn.run_once():
        pass
    assert machine.weights() == ["a.0", "a.1", "a.2", "without a"]
    assert [c.facts.get("forgotten") for c in machine.store.checkpoints.history("liver")] == [1, None]


def test_nothing_is_to_be_forgotten_before_anything_was_learned(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    round_id = machine.take_back("a")
    assert machine.learn().run_once()
    assert machine.store.checkpoints.head("liver") is None
    assert [job.state for job in machine.store.queries.jobs_of(round_id)] == ["done"]


def test_a_trainer_that_lost_its_job_leaves_no_file_of_a_version(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node was killed, and its trainer wakes up in the middle of a step when another one has the job."""
    machine.add("a")
    learn = machine.learn()
    with monkeypatch.context() as patch:
        patch.setattr(CountingTrainer, "save", lambda self: machine.store.jobs.release_all(JobKind.LEARN) or b"[]")
        assert learn.run_once()
    assert not list(machine.store.folder.glob("checkpoints/**/*.pt"))
    assert machine.learn().run_once()
    assert machine.weights() == ["a.0", "a.1", "a.2"]


def test_a_job_that_ends_the_trainer_each_time_is_parked_and_the_next_is_done(machine: Machine) -> None:
    machine.add("a")
    for _death in range(5):
        assert machine.store.jobs.claim(JobKind.LEARN, 120.0) is not None
        machine.store.jobs.release_all(JobKind.LEARN)
    machine.add("b")
    learn = machine.learn()
    assert [learn.run_once(), learn.run_once(), learn.run_once()] == [True, True, False]
    assert machine.weights() == ["b.0", "b.1", "b.2"]
    (parked,) = machine.store.queries.jobs("parked")
    assert "ended 5 times" in parked.reason
