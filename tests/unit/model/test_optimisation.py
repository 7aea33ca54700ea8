"""One step: the device and its memory, and what targets are blended with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from learner.domain.example import Example
from learner.memory.replay import ReplayMemory
from learner.model.batches import Batch, Batches
from learner.model.network import SharedNetwork, build_network, choose_device
from learner.model.optimisation import Optimisation
from learner.model.plan import plan_for
from learner.model.serving import ServingNetwork
from learner.model.settings import TrainingSettings
from learner.model.trainer import OnlineTrainer

MakeExample = Callable[..., Example]


@pytest.fixture
def make_batch(make_example: MakeExample, tmp_path: Path) -> Callable[[TrainingSettings], tuple[Batch, Optimisation]]:
    """A batch with one new and some replayed items, and a network for it."""

    def make(settings: TrainingSettings) -> tuple[Batch, Optimisation]:
        memory = ReplayMemory(tmp_path, 2**24)
        trainer = OnlineTrainer({}, settings, memory)
        for seed in range(2):
            trainer.remember(make_example(seed))
        batches = Batches(memory, settings)
        batches.plan(trainer.plans)
        batch = batches.draw(memory.entries[0], np.random.default_rng(2))
        assert batch is not None
        assert {source is None for source in batch.sources} == {True, False}
        return batch, Optimisation(trainer.plans, settings, 0)

    return make


def _short_of_memory(monkeypatch: pytest.MonkeyPatch, fits: int) -> list[tuple[int, str]]:
    """Makes the network raise on anything but the plain CPU if there are more items than ``fits``; tells what was tried."""
    forward, tried = SharedNetwork.forward, []

    def checked(self: SharedNetwork, batch: torch.Tensor, task: int = 0) -> torch.Tensor:
        tried.append((len(batch), str(chosen[-1]())))
        if len(batch) > fits and tried[-1][1] != "cpu":
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, batch, task)

    chosen: list[Callable[[], torch.device]] = [lambda: torch.device("cpu")]
    monkeypatch.setattr(SharedNetwork, "forward", checked)
    monkeypatch.setattr("learner.model.optimisation.choose_device", lambda _: torch.device("cpu", 0))
    tried.append(chosen)  # type: ignore[arg-type]  # the test fills in whose device is meant
    return tried


@pytest.mark.parametrize(("fits", "ends"), [(2, "cpu:0"), (0, "cpu")])
def test_out_of_memory_halves_the_batch_and_then_goes_to_the_cpu(
    make_batch: Callable[..., tuple[Batch, Optimisation]],
    settings: TrainingSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fits: int,
    ends: str,
) -> None:
    tried = _short_of_memory(monkeypatch, fits)
    chosen = tried.pop()
    batch, optimisation = make_batch(settings)
    chosen.append(lambda: optimisation.device)
    before = optimisation.moments()
    each, moved = optimisation.step(batch, 0, np.random.default_rng(0))
    assert moved
    assert before != optimisation.moments()
    assert len(each) == (2 if fits else len(batch.items))
    assert str(optimisation.device) == ends
    assert [number for number, _ in tried] == ([4, 2] if fits else [4, 2, 4])
    warnings = capsys.readouterr().out
    assert "half the batch" in warnings
    assert ("on the CPU" in warnings) == (fits == 0)


def test_a_cpu_without_memory_is_an_error(
    make_batch: Callable[..., tuple[Batch, Optimisation]], settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, optimisation = make_batch(settings)

    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(SharedNetwork, "forward", fail)
    with pytest.raises(torch.OutOfMemoryError):
        optimisation.step(batch, 0, np.random.default_rng(0))


def test_predicting_goes_to_the_cpu_when_memory_runs_out(
    make_example: MakeExample, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, example = plan_for((16, 16, 16), (1.0, 1.0, 1.0), 2), make_example()
    weights = build_network([plan], 0).state_dict()
    expected = ServingNetwork(plan, weights).predict(example.image_DHW, example.spacing_DHW)
    network = ServingNetwork(plan, weights, device=torch.device("cpu", 0))
    forward = SharedNetwork.forward

    def checked(self: SharedNetwork, batch: torch.Tensor, task: int = 0) -> torch.Tensor:
        if network._device != torch.device("cpu"):
            raise torch.OutOfMemoryError("out of memory")
        return forward(self, batch, task)

    monkeypatch.setattr(SharedNetwork, "forward", checked)
    np.testing.assert_array_equal(network.predict(example.image_DHW, example.spacing_DHW), expected)
    assert "on the CPU" in capsys.readouterr().out


def test_the_device_is_chosen_by_name_or_by_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for available in (True, False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert choose_device("auto").type == ("cuda" if available else "cpu")
        assert choose_device("cpu").type == "cpu"
        assert choose_device("cuda").type == "cuda"


@pytest.mark.parametrize(("change", "rows"), [({}, "all"), ({"refresh": False}, "new"), ({"temporal_smoothing": 0.0}, "none")])
def test_which_targets_the_earlier_model_blends_into(
    make_batch: Callable[..., tuple[Batch, Optimisation]],
    settings: TrainingSettings,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, object],
    rows: str,
) -> None:
    batch, optimisation = make_batch(replace(settings, **change))
    asked, foreseen = [], Optimisation._foreseen
    monkeypatch.setattr(
        Optimisation, "_foreseen", lambda self, image, task: (asked.append(len(image)), foreseen(self, image, task))[1]
    )
    optimisation.step(batch, 400, np.random.default_rng(0))
    new = sum(source is None for source in batch.sources)
    assert asked == {"all": [len(batch.items)], "new": [new], "none": []}[rows]


def test_items_that_are_known_all_over_need_no_earlier_model(
    make_batch: Callable[..., tuple[Batch, Optimisation]], settings: TrainingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch, optimisation = make_batch(settings)
    batch.items[:, -1] = 1.0
    monkeypatch.setattr(Optimisation, "_foreseen", lambda *_: pytest.fail("not needed"))
    optimisation.step(batch, 400, np.random.default_rng(0))


def test_logit_replay_stores_what_was_foreseen_and_trains_towards_it(
    make_example: MakeExample, settings: TrainingSettings, tmp_path: Path
) -> None:
    settings = replace(settings, logit_replay=1.0, temporal_smoothing=0.0)
    memory = ReplayMemory(tmp_path, 2**24)
    trainer = OnlineTrainer({}, settings, memory)
    example = make_example(0)
    trainer.learn(example, 2, lambda: None)
    stored = memory.load(memory.entries[0])
    assert stored is not None
    expected = trainer.network().predict(stored.example().image_DHW, example.spacing_DHW)[1:]
    np.testing.assert_allclose(stored.recalled_LDHW / 255, expected, atol=0.05)
    batches = Batches(memory, settings)
    batches.plan(trainer.plans)
    batch = batches.draw(None, np.random.default_rng(0))
    assert batch is not None
    assert batch.items.shape[1] == 1 + 3 + 3 + 2, "image, target, recalled, weight, confidence"
    np.testing.assert_allclose(batch.items[:, 4:7].sum(axis=1), 1, atol=1e-5)
    assert trainer.learn(make_example(1), 2, lambda: None).replayed > 0
    trainer.learn(make_example(2).with_label_count(3), 2, lambda: None)
    assert trainer.skipped == 0


def test_without_logit_replay_nothing_is_recalled(make_example: MakeExample, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, 2**24)
    OnlineTrainer({}, TrainingSettings(first_case_steps=0), memory).learn(make_example(0), 1, lambda: None)
    stored = memory.load(memory.entries[0])
    assert stored is not None
    assert stored.recalled_LDHW is None
