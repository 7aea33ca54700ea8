from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from learner.domain.example import Example
from learner.errors import StoreError
from learner.model.network import SharedNetwork, build_network
from learner.model.plan import plan_for
from learner.model.serving import ServingNetwork, load_network
from learner.model.trainer import OnlineTrainer


def _network(shape: tuple[int, int, int], spacing: tuple[float, float, float], labels: int = 2) -> ServingNetwork:
    plan = plan_for(shape, spacing, labels)
    return ServingNetwork(plan, build_network([plan], seed=3).state_dict(), "fp32")


@pytest.mark.parametrize(
    ("planned", "spacing", "asked", "asked_spacing"),
    [
        ((16, 16, 16), (1.0, 1.0, 1.0), (13, 21, 9), (1.0, 1.0, 1.0)),
        ((16, 16, 16), (1.0, 1.0, 1.0), (20, 30, 40), (1.0, 0.6, 0.6)),
        ((10, 48, 48), (4.0, 1.0, 1.0), (1, 37, 90), (4.0, 1.0, 1.0)),
        ((10, 48, 48), (4.0, 1.0, 1.0), (11, 100, 64), (3.0, 0.5, 0.5)),
    ],
)
def test_probabilities_stand_on_the_source_grid(
    planned: tuple[int, int, int],
    spacing: tuple[float, float, float],
    asked: tuple[int, int, int],
    asked_spacing: tuple[float, float, float],
) -> None:
    image = np.random.default_rng(0).normal(size=asked).astype(np.float32)
    result = _network(planned, spacing).predict(image, asked_spacing)
    assert (result.shape, result.dtype) == ((3, *asked), np.float32)
    np.testing.assert_allclose(result.sum(axis=0), 1, atol=1e-5)
    assert result.min() >= 0


def test_slices_come_back_in_order() -> None:
    network = _network((10, 48, 48), (4.0, 1.0, 1.0))
    image = np.random.default_rng(0).normal(size=(19, 48, 48)).astype(np.float32)
    whole = network.predict(image, (4.0, 1.0, 1.0))
    flipped = network.predict(image[::-1].copy(), (4.0, 1.0, 1.0))
    assert np.abs(whole[:, 9] - whole[:, 10]).max() > 1e-3
    assert not np.allclose(whole, flipped)
    shifted = network.predict(np.concatenate([image[:1], image]), (4.0, 1.0, 1.0))
    np.testing.assert_allclose(shifted[:, 4:], whole[:, 3:], atol=0.02)


@pytest.mark.parametrize(
    ("planned", "spacing", "asked", "windows"),
    [
        ((16, 16, 16), (1.0, 1.0, 1.0), (13, 15, 16), [(16, 16, 16)]),
        ((16, 16, 16), (1.0, 1.0, 1.0), (18, 20, 19), [(20, 20, 20)]),
        ((16, 16, 16), (1.0, 1.0, 1.0), (16, 32, 20), [(16, 32, 20)]),
        ((16, 16, 16), (1.0, 1.0, 1.0), (16, 40, 20), [(16, 16, 16)]),
        ((16, 16, 16), (1.0, 1.0, 1.0), (28, 36, 30), [(16, 16, 16)]),
        ((10, 48, 48), (4.0, 1.0, 1.0), (9, 60, 65), [(64, 72)]),
        ((10, 48, 48), (4.0, 1.0, 1.0), (9, 60, 100), [(48, 48)]),
    ],
)
def test_what_is_not_much_larger_than_the_patch_is_seen_in_one_piece_and_more_by_windows(
    monkeypatch: pytest.MonkeyPatch,
    planned: tuple[int, int, int],
    spacing: tuple[float, float, float],
    asked: tuple[int, int, int],
    windows: list[tuple[int, ...]],
) -> None:
    seen: list[tuple[int, ...]] = []
    forward = SharedNetwork.forward

    def noted(self: SharedNetwork, batch: torch.Tensor, task: int = 0) -> torch.Tensor:
        seen.append(tuple(batch.shape[2:]))
        return forward(self, batch, task)

    network = _network(planned, spacing)
    monkeypatch.setattr(SharedNetwork, "forward", noted)
    result = network.predict(np.random.default_rng(0).normal(size=asked).astype(np.float32), spacing)
    assert sorted(set(seen)) == windows
    assert result.shape == (3, *asked)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(result.sum(axis=0), 1, atol=1e-5)


def test_a_checkpoint_serves_what_its_trainer_serves(
    make_example: Callable[..., Example], make_trainer: Callable[..., OnlineTrainer]
) -> None:
    trainer, example = make_trainer(), make_example()
    trainer.learn(example, 2, lambda: None)
    served = load_network(trainer.save(), "task", 2, threads=torch.get_num_threads())
    np.testing.assert_array_equal(
        served.predict(example.image_DHW, example.spacing_DHW),
        trainer.network().predict(example.image_DHW, example.spacing_DHW),
    )


def test_a_checkpoint_without_a_network_is_refused(make_trainer: Callable[..., OnlineTrainer]) -> None:
    with pytest.raises(StoreError, match="nothing was learned"):
        load_network(make_trainer().save(), "task", 2, threads=1)
