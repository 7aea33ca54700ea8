from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dicom_io.annotation import Plane, SparseAnnotation
from learner.domain.example import Example
from learner.errors import ConfigurationError, LeaseLost, StoreError
from learner.memory.replay import ReplayMemory
from learner.model.optimisation import learning_rate
from learner.model.settings import TrainingSettings
from learner.model.state import load_state
from learner.model.trainer import OnlineTrainer
from learner.propagation import make_propagator

MakeExample = Callable[..., Example]
MakeTrainer = Callable[..., OnlineTrainer]


def _nothing() -> None: ...


def _weights(trainer: OnlineTrainer) -> list[torch.Tensor]:
    state = load_state(trainer.save())
    return [*state.weights.values(), *state.average.values()]


def _same(first: OnlineTrainer, second: OnlineTrainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(second), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "spacing", "least"), [((16, 16, 16), (1.0, 1.0, 1.0), 0.8), ((10, 32, 32), (4.0, 1.0, 1.0), 0.5)]
)
def test_a_stream_teaches_the_network(
    make_example: MakeExample,
    make_trainer: MakeTrainer,
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    least: float,
) -> None:
    trainer = make_trainer()
    reports = [trainer.learn(make_example(seed, shape=shape, spacing=spacing), 20, _nothing) for seed in range(3)]
    assert reports[-1].loss_last < 0.7 * reports[0].loss_first
    assert [report.replayed > 0 for report in reports] == [False, True, True]
    object_slices = tuple(range(2, shape[0] - 2))
    unseen = make_example(99, shape=shape, spacing=spacing, drawn=object_slices)
    truth = unseen.annotation.labels_DHW
    predicted = trainer.network().predict(unseen.image_DHW, spacing).argmax(axis=0)
    for label in (1, 2):
        a, b = predicted == label, truth == label
        assert 2 * (a & b).sum() / (a.sum() + b.sum()) > least


def test_the_same_beginning_gives_the_same_weights(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    first, second, other = make_trainer("a"), make_trainer("b"), make_trainer("c", seed=1)
    for trainer in (first, second, other):
        for seed in range(2):
            trainer.learn(make_example(seed), 3, _nothing)
    assert _same(first, second)
    assert not _same(first, other)


def test_a_restored_trainer_goes_on_as_if_it_had_not_stopped(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("a")
    for seed in range(3):
        trainer.learn(make_example(seed), 3, _nothing)
    state = trainer.save()
    restored = make_trainer("a", seed=77)
    restored.restore(state)
    assert restored.steps == trainer.steps == 9
    for each in (trainer, restored):
        each.learn(make_example(3), 4, _nothing)
        each.learn(make_example(1), 4, _nothing)
    assert _same(trainer, restored)


def test_a_job_done_twice_from_the_same_state_gives_the_same_weights(
    make_example: MakeExample, make_trainer: MakeTrainer
) -> None:
    trainer = make_trainer()
    trainer.learn(make_example(0), 3, _nothing)
    state = trainer.save()
    trainer.learn(make_example(1), 4, _nothing)
    once = _weights(trainer)
    trainer.restore(state)
    trainer.learn(make_example(1), 4, _nothing)
    assert all(torch.equal(a, b) for a, b in zip(once, _weights(trainer), strict=True))


def test_a_broken_off_job_changes_nothing(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer, undisturbed = make_trainer("a"), make_trainer("b")
    for each in (trainer, undisturbed):
        each.learn(make_example(0), 2, _nothing)
    calls = iter([None, None])

    def lose_the_lease() -> None:
        if next(calls, "over") == "over":
            raise LeaseLost("taken over")

    with pytest.raises(LeaseLost):
        trainer.learn(make_example(1), 5, lose_the_lease)
    assert (trainer.steps, _same(trainer, undisturbed)) == (2, True)
    for each in (trainer, undisturbed):
        each.learn(make_example(1), 2, _nothing)
    assert _same(trainer, undisturbed)


def test_a_broken_off_first_job_leaves_no_network(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    with pytest.raises(LeaseLost):
        trainer.learn(make_example(0), 2, lambda: (_ for _ in ()).throw(LeaseLost("taken over")))
    assert not trainer.plans
    with pytest.raises(StoreError, match="nothing was learned"):
        trainer.network()


def test_the_first_job_makes_more_steps(make_example: MakeExample, settings: TrainingSettings, tmp_path: Path) -> None:
    memory = ReplayMemory(tmp_path, 2**24)
    trainer = OnlineTrainer({"task": 2}, replace(settings, first_case_steps=5), memory)
    waited: list[int] = []
    reports = [trainer.learn(make_example(seed), 2, lambda: waited.append(trainer.steps)) for seed in range(2)]
    assert [report.steps for report in reports] == [5, 2]
    assert waited == list(range(7))


def test_a_later_round_replaces_the_earlier_in_memory(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    reports = [trainer.learn(make_example(seed, key=key), 1, _nothing) for seed, key in [(0, "a"), (1, "b"), (2, "a")]]
    assert [report.remembered for report in reports] == [1, 2, 2]


def test_a_lost_replay_file_is_survived(make_example: MakeExample, settings: TrainingSettings, tmp_path: Path) -> None:
    trainer = OnlineTrainer({"task": 2}, settings, ReplayMemory(tmp_path, 2**24))
    trainer.learn(make_example(0), 1, _nothing)
    state = trainer.save()
    for path in tmp_path.iterdir():
        path.unlink()
    fresh = OnlineTrainer({"task": 2}, replace(settings, replay_share=1.0), ReplayMemory(tmp_path, 2**24))
    fresh.restore(state)
    report = fresh.learn(make_example(1), 3, _nothing)
    assert (report.steps, report.replayed, report.remembered) == (3, 0, 1)


def test_a_loss_that_is_not_finite_is_left_out(make_example: MakeExample, settings: TrainingSettings, tmp_path: Path) -> None:
    trainer = OnlineTrainer({"task": 2}, settings, ReplayMemory(tmp_path, 2**24))
    trainer.learn(make_example(0), 1, _nothing)
    before = _weights(trainer)
    state, infinite = trainer.save(), replace(settings, dice_weight=float("inf"))
    trainer = OnlineTrainer({"task": 2}, infinite, ReplayMemory(tmp_path, 2**24))
    trainer.restore(state)
    trainer.learn(make_example(1), 3, _nothing)
    assert (trainer.steps, trainer.skipped) == (4, 3)
    assert all(torch.equal(a, b) for a, b in zip(before, _weights(trainer), strict=True))
    assert load_state(trainer.save()).skipped == 3


def test_a_model_of_more_labels_than_the_task_is_refused(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer, other = make_trainer("a"), make_trainer("b", label_count=1)
    trainer.learn(make_example(0), 1, _nothing)
    with pytest.raises(ConfigurationError, match="2 labels, the task has 1"):
        other.restore(trainer.save())


@pytest.mark.parametrize("damage", [b"", b"no checkpoint", None])
def test_what_is_no_checkpoint_is_refused(make_example: MakeExample, make_trainer: MakeTrainer, damage: bytes | None) -> None:
    trainer = make_trainer()
    trainer.learn(make_example(0), 1, _nothing)
    state = trainer.save()
    with pytest.raises(StoreError):
        trainer.restore(state[: len(state) // 2] if damage is None else damage)
    assert trainer.steps == 1


def test_a_state_without_an_example_can_be_saved(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("a")
    other = make_trainer("b", seed=5)
    other.restore(trainer.save())
    assert (other.steps, other.plans) == (0, {})


def test_a_snapshot_stays_as_it_is_while_training_goes_on(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    example = make_example(0)
    trainer.learn(example, 2, _nothing)
    snapshot = trainer.network()
    before = snapshot.predict(example.image_DHW, example.spacing_DHW)
    trainer.learn(make_example(1), 4, _nothing)
    np.testing.assert_array_equal(snapshot.predict(example.image_DHW, example.spacing_DHW), before)
    assert not np.array_equal(trainer.network().predict(example.image_DHW, example.spacing_DHW), before)


def test_the_learning_rate_rises_then_falls_to_a_floor(settings: TrainingSettings) -> None:
    rates = [learning_rate(settings, step) for step in (0, settings.warm_up_steps, 1000, 10**6, 10**7)]
    assert rates[0] < rates[2] < rates[1] < settings.learning_rate
    assert rates[3] == rates[4] == settings.learning_rate * settings.learning_rate_floor


def test_the_replay_folder_holds_no_more_than_two_states_need(
    make_example: MakeExample, settings: TrainingSettings, tmp_path: Path
) -> None:
    trainer = OnlineTrainer({"task": 2}, settings, ReplayMemory(tmp_path, 2**24))
    for number in range(4):
        before = trainer.save()
        trainer.learn(make_example(number, key="the same case"), 1, _nothing)
        trainer.tidy()
        assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == min(number + 1, 2)
    after = trainer.save()
    trainer.restore(before)
    trainer.learn(make_example(3, key="the same case"), 1, _nothing)
    assert trainer.save() == after, "the job that is done again finds the files that it needs"


@pytest.mark.parametrize("case", [{}, {"shape": (10, 32, 32), "spacing": (4.0, 1.0, 1.0)}])
def test_strokes_and_planes_of_another_axis_are_learned_from(
    make_example: MakeExample, settings: TrainingSettings, tmp_path: Path, case: dict[str, object]
) -> None:
    trainer = OnlineTrainer({"task": 2}, replace(settings, replay_share=0.5), ReplayMemory(tmp_path, 2**24))
    example = make_example(0, **case)
    shape = example.image_DHW.shape
    strokes, lines = np.zeros(shape, np.uint8), np.zeros((2, *shape), bool)
    middle = shape[1] // 2
    strokes[5, middle - 2, middle - 2 : middle + 2], lines[:, 5, middle - 2, middle - 2 : middle + 2] = 1, True
    sides, columns = np.zeros(shape, np.uint8), np.zeros((2, *shape), bool)
    for column in (middle - 2, middle + 2):
        sides[3:7, middle - 3 : middle, column], columns[0, :, :, column] = 1, True
    planes = (Plane(2, middle - 2), Plane(2, middle + 2))
    for key, annotation in (("a", SparseAnnotation(strokes, lines)), ("b", SparseAnnotation(sides, columns, planes))):
        proxy = make_propagator("shape-interpolation").propagate(example.image_DHW, example.spacing_DHW, annotation)
        report = trainer.learn(replace(example, key=key, annotation=annotation, proxy=proxy), 3, _nothing)
        assert np.isfinite([report.loss_first, report.loss_last]).all()
    assert (trainer.skipped, report.remembered) == (0, 2)


def test_a_forgotten_example_leaves_memory_and_disk(
    make_example: MakeExample, make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer()
    for number, key in enumerate(("first case", "second case")):
        trainer.learn(make_example(number, key=key), 1, _nothing)
    assert len(list(tmp_path.rglob("*.npz"))) == 2
    trainer.forget(["first case"])
    trainer.tidy()
    assert len(list(tmp_path.rglob("*.npz"))) == 1
    again = make_trainer()
    again.restore(trainer.save())
    assert again.learn(make_example(2, key="third case"), 1, _nothing).remembered == 2


def test_files_that_were_removed_are_held_no_longer(
    make_example: MakeExample, settings: TrainingSettings, tmp_path: Path
) -> None:
    trainer = OnlineTrainer({"task": 2}, settings, ReplayMemory(tmp_path, 2**24))
    for number, key in enumerate(("first case", "second case")):
        trainer.learn(make_example(number, key=key), 1, _nothing)
    trainer.tidy()
    assert len(_mapped(tmp_path)) == 2
    trainer.forget(["first case"])
    trainer.tidy()
    gc.collect()
    assert len(_mapped(tmp_path)) == 1


def _mapped(folder: Path) -> set[str]:
    """Files of a folder that this process has mapped into its memory, removed ones included."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    return {line.split(maxsplit=5)[5] for line in lines if str(folder) in line}


def test_a_model_that_starts_over_has_learned_from_what_it_remembers_and_nothing_else(
    make_example: MakeExample, make_trainer: MakeTrainer
) -> None:
    taught, fresh = make_trainer(folder="one"), make_trainer(folder="two")
    for number, key in enumerate(("forgotten", "a", "b")):
        taught.learn(make_example(number, key=key), 2, _nothing)
    assert taught.forget(["forgotten", "never met"]) == 1
    assert taught.start_over() == frozenset({"a", "b"})
    assert taught.steps == 0
    for number, key in ((1, "a"), (2, "b")):
        fresh.remember(make_example(number, key=key))
    assert list(taught.plans) == list(fresh.plans)
    untrained = [load_state(trainer.save()) for trainer in (taught, fresh)]
    assert all(torch.equal(untrained[0].weights[name], untrained[1].weights[name]) for name in untrained[1].weights)
    report = taught.rehearse(4, _nothing)
    assert (report.steps, taught.steps, report.remembered) == (4, 4, 2)
    taught.tidy()
    assert b"forgotten" not in taught.save()
    empty = make_trainer(folder="three")
    assert empty.start_over() == frozenset()
