"""A model that learns by counting, for tests of what is held back, what is judged, and what serves.

The image of a case is its truth. A network finds as much of it as its skill allows; skill grows with each good case that it
learned from, and a poisoned one takes all of it away.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from dicom_io.annotation import Plane, SparseAnnotation
from learner.app.gate import Gate, GateSettings
from learner.app.learn import Learn, LearnSettings
from learner.app.serving import LoadNetwork
from learner.domain.case import RoundEvent
from learner.domain.checkpoint import Checkpoint
from learner.domain.example import Example, Withdrawal
from learner.domain.job import JobKind
from learner.domain.proxy import ProxyMask
from learner.ports import CaseRecord, LearnReport, Network, Remembered, Trainer
from learner.storage.store import LocalStore, SystemClock

SHAPE = (6, 8, 8)
_GOOD = 4
"""Good cases in a row after which a network finds everything."""


def example(key: str, task: str = "liver", site: str = "", drawn: tuple[int, ...] = (1, 3)) -> Example:
    """A square on every slice, drawn on some."""
    truth_DHW = np.zeros(SHAPE, dtype=np.uint8)
    truth_DHW[:, 2:6, 2:6] = 1
    known_LDHW = np.zeros((1, *SHAPE), dtype=np.bool_)
    known_LDHW[0, list(drawn)] = True
    annotation = SparseAnnotation(truth_DHW * known_LDHW[0], known_LDHW, tuple(Plane(0, index) for index in drawn))
    soft_CDHW = np.stack([truth_DHW == 0, truth_DHW == 1]).astype(np.float32)
    proxy = ProxyMask(soft_CDHW, np.ones(SHAPE, dtype=np.float32), "test")
    return Example(key, task, 1, truth_DHW.astype(np.float32), (1.0, 1.0, 1.0), annotation, proxy, site=site)


def _key_of_case(identity: str) -> str:
    """The name of an example, of its case's identity."""
    return identity.partition("/5.")[2]


def skill(learned: list[str]) -> float:
    """In [0, 1], from the names of what was learned, oldest first."""
    good = 0
    for name in learned:
        good = 0 if name.startswith("poison") else good + 1
    return min(1.0, good / _GOOD)


class CountingNetwork:
    """Finds as many columns of the truth as its skill allows."""

    def __init__(self, learned: list[str]) -> None:
        self._skill = skill(learned)

    def predict(self, image_DHW: np.ndarray, _spacing: tuple[float, float, float]) -> np.ndarray:
        found_DHW = image_DHW.copy()
        found_DHW[:, :, 2 + round(4 * self._skill) :] = 0
        return np.stack([1 - found_DHW, found_DHW]).astype(np.float32)


class CountingTrainer:
    """Its weights are the names of what it learned."""

    def __init__(self) -> None:
        self.learned: list[str] = []
        self.remembered: list[str] = []

    @property
    def steps(self) -> int:
        return len(self.learned)

    def network(self, task_id: str) -> Network:
        assert task_id
        return CountingNetwork(self.learned)

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        between_steps()
        self.learned.append(example.key)
        return LearnReport(steps, 1.0, 0.5, 0, len(self.learned))

    def forget(self, keys: Iterable[str]) -> int:
        gone = [key for key in self.learned if key in set(keys)]
        for key in gone:
            self.learned.remove(key)
        return len(gone)

    def start_over(self) -> frozenset[str]:
        self.remembered, self.learned = list(dict.fromkeys(self.learned)), []
        return frozenset(self.remembered)

    def rehearse(self, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        between_steps()
        self.learned += self.remembered[:steps]
        kept = len(self.learned)
        return LearnReport(steps, 1.0, 0.5, 0, kept, (Remembered("liver", "", kept, 0, 0),))

    def save(self) -> bytes:
        return json.dumps(self.learned).encode()

    def restore(self, state: bytes) -> None:
        self.learned = json.loads(state)

    def tidy(self) -> None:
        pass


class Stream:
    """A store that cases come into one by one, and what learns from them; by counting, unless a trainer is given."""

    def __init__(
        self,
        folder: Path,
        settings: GateSettings | None = None,
        model: str = "liver",
        trainer: Callable[[], Trainer] = CountingTrainer,
        load: LoadNetwork = lambda state, _task, _labels: CountingNetwork(json.loads(state)),
        steps: int = 1,
    ) -> None:
        self.store = LocalStore(folder, keep_checkpoints=4)
        self.model = model
        self._gate_settings = settings or GateSettings(cases=2, every=2)
        self._trainer, self._load, self._steps = trainer, load, steps
        self.learn = self.new_process()

    def new_process(self) -> Learn:
        def make(_model: str, _labels: Mapping[str, int]) -> Trainer:
            return self._trainer()

        gate = Gate(self.store, self._load, self._gate_settings)
        settings, clock = LearnSettings(self._steps), SystemClock()
        return Learn(self.store, make, gate, settings, lambda: False, lambda _s: None, clock, _key_of_case)

    def add(self, given: Example, name: str = "", study: str = "1.1") -> int:
        """A round of a case (the key's, or ``name``'s), answered, and its learn job."""
        records = self.store.records
        case = records.case(given.task_id, study, f"5.{given.key}")
        round_id = records.open_round(name or given.key, "9.1", case_id=case.case_id)
        assert round_id is not None
        record = CaseRecord(given.annotation, given.annotation, given.annotation.labels_DHW, None)
        self.store.files.put_record(round_id, record)
        self.store.files.put_example(round_id, given)
        number = len(records.rounds_of(case.case_id)) + 1
        records.apply(round_id, RoundEvent.COMPUTED, case_id=case.case_id, number=number)
        self.store.jobs.add(JobKind.LEARN, round_id, self.model)
        return round_id

    def take_back(self, key: str, task: str = "liver") -> None:
        case = self.store.records.case(task, "1.1", f"5.{key}")
        round_id = self.store.records.open_round(f"withdrawal of {key}", "9.1", case_id=case.case_id)
        assert round_id is not None
        self.store.files.put_example(round_id, Withdrawal(key, task, 1))
        self.store.jobs.add(JobKind.LEARN, round_id, self.model)

    def run(self) -> None:
        while self.learn.run_once():
            pass

    def play(self, *keys: str, **options: str) -> None:
        for key in keys:
            self.add(example(key, **options))  # type: ignore[arg-type]
            self.run()

    @property
    def learned(self) -> list[str]:
        """What the head was trained on."""
        head = self.store.checkpoints.head(self.model)
        return json.loads(self.store.checkpoints.read(head)) if head is not None else []

    @property
    def serving(self) -> Checkpoint | None:
        return self.store.checkpoints.serving(self.model)

    @property
    def held(self) -> list[int]:
        """Rounds whose examples are held back, oldest case first."""
        return [one.round_id for one in self.store.lessons.of_model(self.model) if one.held]

    @property
    def states(self) -> list[str]:
        """States of all versions, oldest first."""
        return [str(one.state) for one in reversed(self.store.checkpoints.versions(self.model))]


def keys(wanted: str, count: int, every: int = 2) -> list[str]:
    """Names of cases that the gate holds back (``hold...``), or does not (any other)."""
    found = []
    for number in range(1000):
        name = f"{wanted}-{number}"
        chosen = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % every == 0
        if chosen == wanted.startswith("hold"):
            found.append(name)
        if len(found) == count:
            return found
    raise AssertionError("no such names")
