"""One trunk, a head for each task: several tasks in one model, on grids of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from learner.domain.example import Example
from learner.errors import StoreError
from learner.memory.replay import ReplayMemory
from learner.model.batches import Batches
from learner.model.network import build_network, weights_of_task
from learner.model.plan import plan_for
from learner.model.serving import ServingNetwork, load_network
from learner.model.settings import TrainingSettings
from learner.model.state import load_state
from learner.model.trainer import OnlineTrainer

MakeExample = Callable[..., Example]
MakeTrainer = Callable[..., OnlineTrainer]
THICK = {"shape": (10, 32, 32), "spacing": (4.0, 1.0, 1.0)}


def _nothing() -> None: ...


def _inverted(example: Example) -> Example:
    """Of the second task: the object is dark where the first task's is bright."""
    return replace(example, image_DHW=-example.image_DHW)


def _dice(trainer: OnlineTrainer, example: Example) -> float:
    """Of the first label, on a case that is drawn on every slice of the object; the network alone."""
    predicted = trainer.network(example.task_id).predict(example.image_DHW, example.spacing_DHW).argmax(axis=0) == 1
    truth = example.annotation.labels_DHW == 1
    return float(2 * (predicted & truth).sum() / max(1, predicted.sum() + truth.sum()))


def test_a_plan_on_a_trunk_has_its_architecture_and_its_own_grid() -> None:
    thick = plan_for((24, 320, 320), (3.6, 0.6, 0.6), 1)
    near = plan_for((36, 50, 35), (1.0, 1.0, 1.0), 2, trunk=thick)
    assert (near.dimensions, near.filters, near.strides) == (2, thick.filters, thick.strides)
    assert near.working_shape((36, 50, 35), (1.0, 1.0, 1.0)) == (36, 50, 35)
    assert near.patch_DHW == (1, 48, 32)
    tiny = plan_for((4, 6, 7), (1.0, 1.0, 1.0), 1, trunk=thick)
    for plan in (near, tiny):
        network = build_network([thick, plan], seed=0).train()
        batch = torch.zeros(1, plan.image_channels, *plan.patch_DHW[1:])
        assert network(batch, 1).shape == (1, plan.label_count + 1, *plan.patch_DHW[1:])


@pytest.mark.parametrize(("dimensions", "patch"), [(2, (1, 48, 32)), (3, (32, 48, 32)), (None, (32, 48, 32))])
def test_the_dimensions_may_be_chosen(dimensions: int | None, patch: tuple[int, int, int]) -> None:
    plan = plan_for((36, 50, 35), (1.0, 1.0, 1.0), 2, dimensions)
    assert (plan.dimensions, plan.patch_DHW) == (2 if dimensions == 2 else 3, patch)
    assert plan_for((24, 64, 64), (3.6, 0.6, 0.6), 1, 3).dimensions == 3


def test_a_task_served_alone_is_what_it_is_in_the_shared_network() -> None:
    plans = [plan_for((10, 32, 32), (4.0, 1.0, 1.0), 1), plan_for((10, 48, 48), (4.0, 1.0, 1.0), 3)]
    plans[1] = plan_for((10, 48, 48), (4.0, 1.0, 1.0), 3, trunk=plans[0])
    shared = build_network(plans, seed=4).eval()
    image = torch.randn(1, 5, 48, 48, generator=torch.Generator().manual_seed(0))
    alone = build_network([plans[1]], seed=9).eval()
    alone.load_state_dict(weights_of_task(shared.state_dict(), 1))
    with torch.no_grad():
        assert shared(image, 1).std() > 0.1
        torch.testing.assert_close(alone(image), shared(image, 1))
        assert shared(image, 0).shape[1] == 2


def test_a_task_that_joins_leaves_the_others_answers_as_they_were(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer, first = make_trainer(), make_example(0, **THICK)
    trainer.learn(first, 3, _nothing)
    before = trainer.network("task").predict(first.image_DHW, first.spacing_DHW)
    trainer.learn(make_example(1, task="other"), 0, _nothing)
    np.testing.assert_array_equal(trainer.network("task").predict(first.image_DHW, first.spacing_DHW), before)
    assert [plan.patch_DHW for plan in trainer.plans.values()] == [(1, 32, 32), (1, 16, 16)]
    with pytest.raises(StoreError, match="nothing was learned of task ''"):
        trainer.network()
    with pytest.raises(StoreError, match="'third'"):
        load_network(trainer.save(), "third", 1, threads=1)


def test_two_tasks_go_on_the_same_from_a_saved_state(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("a")
    trainer.learn(make_example(0, **THICK), 2, _nothing)
    trainer.learn(make_example(1, task="other"), 2, _nothing)
    restored = make_trainer("a", seed=5)
    restored.restore(trainer.save())
    for each in (trainer, restored):
        each.learn(make_example(2, task="third"), 4, _nothing)
        each.learn(make_example(3, **THICK), 2, _nothing)
    assert trainer.save() == restored.save()
    assert list(load_state(trainer.save()).plans) == ["task", "other", "third"]
    example = make_example(1, task="other")
    served = load_network(trainer.save(), "other", 3, threads=1)
    assert served.predict(example.image_DHW, example.spacing_DHW).shape == (4, 16, 16, 16)


def test_a_task_gains_a_label_beside_another_one(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.learn(make_example(0), 2, _nothing)
    trainer.learn(make_example(1, task="other"), 2, _nothing)
    old = load_state(trainer.save())
    trainer.learn(make_example(2, task="other").with_label_count(3), 0, _nothing)
    new = load_state(trainer.save())
    assert {task: plan.label_count for task, plan in new.plans.items()} == {"task": 2, "other": 3}
    assert all(
        torch.equal(new.weights[name], old.weights[name])
        for name in new.weights
        if not name.endswith("1.bias") and new.weights[name].shape == old.weights[name].shape
    )
    assert len(new.weights["heads.1.bias"]) == 4


def test_batches_are_of_one_task_and_replay_is_balanced_over_tasks(
    make_example: MakeExample, settings: TrainingSettings, tmp_path: Path
) -> None:
    memory = ReplayMemory(tmp_path, 2**24)
    trainer = OnlineTrainer({}, settings, memory)
    for number, task in enumerate(["a", "a", "a", "a", "b", "c"]):
        trainer.remember(make_example(number, task=task))
    batches, rng = Batches(memory, settings), np.random.default_rng(0)
    batches.plan(trainer.plans)
    new, seen = memory.entries[0], Counter()
    for _ in range(400):
        batch = batches.draw(new, rng)
        assert {source.group for source in batch.sources if source} <= {batch.task_id}
        assert batch.task_id == "a" or None not in batch.sources
        seen.update("new" if source is None else source.group for source in batch.sources)
    share = {name: count / seen.total() for name, count in seen.items()}
    assert share["new"] == pytest.approx(0.4, abs=0.06)
    assert all(share[task] == pytest.approx(0.2, abs=0.06) for task in "abc")


@pytest.mark.slow
def test_two_tasks_are_learned_and_replay_keeps_the_first(
    make_example: MakeExample, settings: TrainingSettings, tmp_path: Path
) -> None:
    drawn = tuple(range(3, 13))
    first, second = make_example(90, drawn=drawn, task="a"), _inverted(make_example(91, drawn=drawn, task="b"))
    after, forgotten = {}, {}
    for name, share in (("replay", 0.6), ("none", 0.0)):
        trainer = OnlineTrainer({}, replace(settings, replay_share=share), ReplayMemory(tmp_path / name, 2**24))
        trainer.learn(make_example(0, task="a"), 35, _nothing)
        before = _dice(trainer, first)
        assert before > 0.6
        trainer.learn(_inverted(make_example(1, task="b")), 45, _nothing)
        after[name], forgotten[name] = (_dice(trainer, first), _dice(trainer, second)), before - _dice(trainer, first)
    assert min(after["replay"]) > 0.6, "one trunk serves both"
    assert forgotten["replay"] < forgotten["none"] - 0.05


def test_learning_from_memory_alone(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainers = [make_trainer(folder) for folder in "ab"]
    for trainer in trainers:
        assert trainer.rehearse(3, _nothing).steps == 0, "nothing is remembered"
        for seed in range(2):
            trainer.remember(make_example(seed))
            trainer.remember(make_example(seed + 2, task="other"))
        assert trainer.steps == 0
        report = trainer.rehearse(4, _nothing)
        assert (report.steps, trainer.steps, report.remembered) == (4, 4, 4)
        assert report.replayed == 4 * 4, "every item of every batch"
    assert trainers[0].save() == trainers[1].save()


def test_a_broken_off_rehearsal_changes_nothing(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.remember(make_example(0))
    before, calls = trainer.save(), iter([None])
    with pytest.raises(StopIteration):
        trainer.rehearse(3, lambda: next(calls))
    assert trainer.save() == before


def test_serving_takes_the_weights_of_its_task_only(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.learn(make_example(0), 1, _nothing)
    trainer.learn(make_example(1, task="other").with_label_count(3), 1, _nothing)
    state, example = load_state(trainer.save()), make_example(0)
    for number, (task_id, plan) in enumerate(state.plans.items()):
        direct = ServingNetwork(plan, weights_of_task(state.average, number))
        loaded = load_network(trainer.save(), task_id, plan.label_count, threads=1)
        results = [each.predict(example.image_DHW, example.spacing_DHW) for each in (direct, loaded, trainer.network(task_id))]
        np.testing.assert_array_equal(results[0], results[1])
        np.testing.assert_array_equal(results[0], results[2])
