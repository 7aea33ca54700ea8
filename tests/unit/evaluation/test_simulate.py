"""The whole loop on generated cases, with a network of one number: where it expects the object's intensity."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.errors import ConfigurationError
from learner.evaluation import Progress, SimulationReport, SimulationSettings, simulate
from learner.ports import LearnReport
from learner.propagation import make_propagator

CASE_FIELDS = [
    "case",
    "drawn_slices",
    "object_slices",
    "contour_share",
    "extent_marks",
    "rounds",
    "network_dice_before",
    "proxy_dice",
    "answer_dice",
    "seconds_per_answer",
]


class IntensityNetwork:
    """The class whose mean intensity is nearest."""

    def __init__(self, means: list[float]) -> None:
        self.means = means

    def predict(self, image_DHW: np.ndarray, spacing_DHW: tuple[float, float, float]) -> np.ndarray:
        scores = np.stack([-np.square((image_DHW - mean) / 15) for mean in self.means])
        weights = np.exp(scores - scores.max(axis=0))
        return (weights / weights.sum(axis=0)).astype(np.float32)


class IntensityTrainer:
    """Learns mean intensities from drawn slices and nothing else."""

    def __init__(self, label_count: int, seed: int) -> None:
        self.label_count, self.steps = label_count, 0
        self.examples: list[Example] = []
        self.voxels: list[tuple[np.ndarray, np.ndarray]] = []

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        between_steps()
        self.examples.append(example)
        known = example.annotation.known_DHW
        self.voxels.append((example.image_DHW[known], example.annotation.labels_DHW[known]))
        self.steps += steps
        return LearnReport(steps, 1.0, 0.5, 0, len(self.examples))

    def network(self) -> IntensityNetwork:
        values = np.concatenate([v for v, _ in self.voxels])
        labels = np.concatenate([n for _, n in self.voxels])
        return IntensityNetwork([values[labels == n].mean() for n in range(self.label_count + 1)])


Played = tuple[SimulationReport, IntensityTrainer, list[Progress]]


@pytest.fixture
def settings(blob_folders: Path) -> SimulationSettings:
    return SimulationSettings(blob_folders / "images", blob_folders / "labels", stream=4, test=2, slices=4, seed=1)


@pytest.fixture
def played(settings: SimulationSettings) -> Played:
    trainers: list[IntensityTrainer] = []
    seen: list[Progress] = []

    def make(label_count: int, seed: int) -> IntensityTrainer:
        trainers.append(IntensityTrainer(label_count, seed))
        return trainers[0]

    report = simulate(settings, make, make_propagator(), seen.append)
    return report, trainers[0], seen


def test_the_loop_answers_learns_and_tests(played: Played) -> None:
    report, trainer, seen = played
    assert [case.case for case in report.cases] == ["blob0", "blob1", "blob2", "blob3"]
    assert [p.done for p in seen] == [1, 2, 3, 4, 5, 6]
    assert len(trainer.examples) == 4
    assert report.cases[0].network_dice_before is None
    for case, example in zip(report.cases, trainer.examples, strict=True):
        assert case.drawn_slices == 4
        assert case.extent_marks == 2
        assert case.rounds == 2
        assert 0.3 < case.contour_share < 0.7
        assert len(example.annotation.planes_of(axis=0)) == 6
        assert case.seconds_per_answer > 0
        assert min(case.answer_dice.values()) > 0.85
    assert min(report.cases[3].network_dice_before.values()) > 0.7
    assert min(report.network_test.values()) > 0.7
    assert report.settings["label_count"] == 2


def test_the_report_keeps_its_form(played: Played, tmp_path: Path) -> None:
    report, _, _ = played
    path, table = report.write(tmp_path / "deep" / "report.json")
    document = json.loads(path.read_text())
    assert list(document) == ["cases", "network_test", "settings"]
    assert all(list(case) == CASE_FIELDS for case in document["cases"])
    assert list(document["network_test"]) == ["dice"]
    assert set(document["network_test"]["dice"]) == set(document["cases"][0]["answer_dice"]) == {"1", "2"}
    assert document["cases"][0]["network_dice_before"] is None
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert float(rows[3]["answer_dice_2"]) == document["cases"][3]["answer_dice"]["2"]
    assert rows[0]["network_dice_before_1"] == ""


def test_the_same_seed_gives_the_same_figures(settings: SimulationSettings, played: Played) -> None:
    again = simulate(settings, IntensityTrainer, make_propagator(), lambda _: None)
    untimed = [[replace(case, seconds_per_answer=0.0) for case in report.cases] for report in (played[0], again)]
    assert untimed[0] == untimed[1]


def test_more_cases_than_there_are_are_refused(settings: SimulationSettings) -> None:
    with pytest.raises(ConfigurationError, match="holds 6 cases"):
        simulate(replace(settings, stream=5), IntensityTrainer, make_propagator(), lambda _: None)


def test_settings_without_sense_are_refused(settings: SimulationSettings) -> None:
    for wrong in ({"stream": 0}, {"slices": 0}, {"axis": 3}, {"rounds": 0}):
        with pytest.raises(ConfigurationError):
            replace(settings, **wrong)
