"""Checkpoints and replay memories that earlier versions wrote: they serve as they did, and training goes on from them."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from learner.domain.example import Example
from learner.memory.replay import ReplayMemory
from learner.model.serving import load_network
from learner.model.settings import TrainingSettings
from learner.model.state import load_state
from learner.model.trainer import OnlineTrainer

EARLIER = Path(__file__).resolve().parents[2] / "data" / "earlier"
FORMATS = sorted(path.name.removesuffix(".tar.xz") for path in EARLIER.glob("format-*.tar.xz"))
STEPS = 60


@dataclass(frozen=True)
class Old:
    """What an earlier version left behind: the head, its replay memory, and what its network made of an image."""

    state: bytes
    replay: Path
    image_DHW: np.ndarray
    probabilities_CDHW: np.ndarray


@pytest.fixture(params=FORMATS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    with tarfile.open(EARLIER / f"{request.param}.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / request.param
    with np.load(folder / "predicted.npz") as predicted:
        image, probabilities = (predicted[name].astype(np.float32) for name in ("image", "probabilities"))
    return Old((folder / "head.pt").read_bytes(), folder / "replay", image, probabilities)


def test_there_is_one_of_each_format() -> None:
    assert FORMATS == ["format-1", "format-2"]


def test_it_serves_as_it_did(old: Old) -> None:
    made = load_network(old.state, "task", 2, threads=1).predict(old.image_DHW, (1.0, 1.0, 1.0))
    assert np.abs(made - old.probabilities_CDHW).max() < 0.01
    assert (made.argmax(axis=0) == old.probabilities_CDHW.argmax(axis=0)).mean() > 0.999


def test_training_goes_on_from_it_with_what_it_remembers(
    old: Old, make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    memory = ReplayMemory(old.replay, 2**24)
    trainer = OnlineTrainer({"task": 2}, settings, memory, seed=0)
    trainer.restore(old.state)
    assert (trainer.steps, [entry.key for entry in memory.entries]) == (STEPS, ["case0", "case1"])
    report = trainer.learn(make_example(7), 3, lambda: None)
    assert (report.steps, trainer.skipped, len(memory)) == (3, 0, 3)
    assert report.replayed > 0
    trainer.tidy()
    again = load_state(trainer.save())
    assert (again.steps, [entry["key"] for entry in again.replay]) == (STEPS + 3, ["case0", "case1", "case7"])
