"""A reader who draws nonsense for several rounds: the gate keeps it from readers, and the audit record names who and which.

Annotations come through the archive and are answered; what learns is a model of two numbers, so that no test waits for one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from node_harness import SEGMENTS, now, phantom
from test_rounds_of_a_case import TASK

from dicom_io.pacs.memory import MemoryArchive
from dicom_io.read_series import read_series
from learner.app.compute import Compute
from learner.app.gate import Gate, GateSettings
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.learn import Learn, LearnSettings
from learner.app.lineage import Lineage
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.cli import run
from learner.demo.reader import Reader
from learner.domain.audit import Event
from learner.domain.case import Round
from learner.domain.contract import ContractNames
from learner.domain.example import Example
from learner.ports import LearnReport, Network
from learner.propagation import make_propagator
from learner.storage.store import LocalStore, SystemClock

SLICES = [3, 6]
EVERY = 2
MODEL = "prostate"


class NearestMean:
    """Calls a voxel by which of two intensities it is nearer to, as the last example had them."""

    def __init__(self, seen: list[list[float]]) -> None:
        self._inside, self._outside = seen[-1]

    def predict(self, image_DHW: np.ndarray, _spacing: tuple[float, float, float]) -> np.ndarray:
        found_DHW = np.abs(image_DHW - self._inside) < np.abs(image_DHW - self._outside)
        return np.stack([~found_DHW, found_DHW]).astype(np.float32) * 0.98 + 0.01


class MeanTrainer:
    """Remembers the mean intensity inside and outside of what was drawn, for each example."""

    def __init__(self) -> None:
        self.seen: list[list[float]] = []

    @property
    def steps(self) -> int:
        return len(self.seen)

    def network(self, task_id: str) -> Network:
        assert task_id
        return NearestMean(self.seen)

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        between_steps()
        known_DHW, drawn_DHW = example.annotation.known_LDHW[0], example.annotation.labels_DHW == 1
        image_DHW = example.image_DHW
        self.seen.append([float(image_DHW[drawn_DHW].mean()), float(image_DHW[known_DHW & ~drawn_DHW].mean())])
        return LearnReport(steps, 1.0, 0.5, 0, len(self.seen))

    def forget(self, key: str) -> None:
        raise AssertionError(f"nobody takes {key} back")

    def save(self) -> bytes:
        return json.dumps(self.seen).encode()

    def restore(self, state: bytes) -> None:
        self.seen = json.loads(state)

    def tidy(self) -> None:
        pass


def load(state: bytes, _task: str, _labels: int) -> Network:
    return NearestMean(json.loads(state))


def is_held(series_uid: str) -> bool:
    """Whether the gate holds such a case back."""
    digest = hashlib.sha256(f"{TASK.task_id}/{series_uid}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % EVERY == 0


class Clinic:
    """Many series of one task, a node that answers, and its trainer."""

    def __init__(self, folder: Path) -> None:
        self.archive, self.store, tasks = MemoryArchive(), LocalStore(folder), TaskBook([TASK])
        self._intake = Intake(self.archive, self.store, tasks)
        choice = TaskChoice(tasks, self.store, from_annotations=False)
        subjects = Subjects(self.archive, self.store, SeriesImages(self.archive, 2**24), choice, ContractNames())
        compute = Compute(subjects, self.store, make_propagator("chained-flow"), ServingNetworks(self.store, load), str)
        self._respond = Respond(self.archive, self.archive, self.store, compute, RespondSettings(), SystemClock())

        def make(_model: str, _labels: Mapping[str, int]) -> MeanTrainer:
            return MeanTrainer()

        gate = Gate(self.store, load, GateSettings(cases=4, every=EVERY))
        self._learn = Learn(self.store, make, gate, LearnSettings(1), lambda: False, lambda _s: None, SystemClock(), str)
        self._series = 0

    def draw(self, name: str, *, nonsense: bool = False) -> Round:
        """A reader draws two slices of a new series; nonsense lies beside the structure, on a series that is learned from."""
        while True:
            self._series += 1
            files, truth_DHW = phantom(slices=10, size=32, seed=self._series)
            if not (nonsense and is_held(read_series(files).volume.series.series_instance_uid)):
                break
        for file in files:
            self.archive.store(file)
        self.archive.settle()
        drawn_DHW = np.zeros_like(truth_DHW)
        drawn_DHW[:, 1:9, 1:9] = 1
        reader = Reader(read_series(files), drawn_DHW if nonsense else truth_DHW, SEGMENTS, name)
        self.archive.store(reader.draw(SLICES, now()))
        self._intake.catch_up()
        while self._respond.run_once():
            pass
        while self._learn.run_once():
            pass
        return self.store.queries.rounds()[0]

    @property
    def serving(self) -> str:
        found = self.store.checkpoints.serving(MODEL)
        return found.name if found is not None else ""

    def was_held(self, round_: Round) -> bool:
        return bool(self.store.audit.entries(events=[Event.HELD_BACK], round_id=round_.round_id))


def test_nonsense_of_several_rounds_serves_nobody_and_is_traced_to_its_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clinic = Clinic(tmp_path / "data")
    good = [clinic.draw("Good^Reader") for _ in range(8)]
    serving = clinic.serving
    assert serving
    assert sum(map(clinic.was_held, good)) >= 2, "there is something to judge by"
    bad = [clinic.draw("Bad^Reader", nonsense=True) for _ in range(3)]
    assert not any(map(clinic.was_held, bad))
    assert clinic.serving == serving
    newest = clinic.store.checkpoints.versions(MODEL)[0]
    assert newest.gate["serve"] is False
    refused = [one for one in clinic.store.audit.entries(events=[Event.JUDGED]) if not one.facts["serve"]]
    assert newest.name in {one.version for one in refused}

    found = Lineage(clinic.store.audit).version(MODEL, newest.name)
    by_bad = {one.round_id for one in found.lineage if {source.reader for source in one.sources} == {"Bad^Reader"}}
    assert by_bad == {one.round_id for one in bad}
    served = Lineage(clinic.store.audit).version(MODEL, serving)
    assert not any(source.reader == "Bad^Reader" for one in served.lineage for source in one.sources)

    (tmp_path / "apprentice.toml").write_text('[node]\ndata = "data"\n', encoding="utf-8")
    assert run(["audit", "version", MODEL, str(newest.number), "-c", str(tmp_path / "apprentice.toml")]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if "Bad^Reader" in line]
    assert len(rows) == len(by_bad)
    assert any("held off" in row for row in rows)
