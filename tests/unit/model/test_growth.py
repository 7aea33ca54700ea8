"""A task gains a label: nothing that was learned is lost, and the label is not taught as absent."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dicom_io.annotation import SparseAnnotation
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask, merge_unknown
from learner.errors import ConfigurationError, LeaseLost
from learner.model.growth import grown
from learner.model.serving import load_network
from learner.model.state import load_state
from learner.model.trainer import OnlineTrainer

MakeExample = Callable[..., Example]
MakeTrainer = Callable[..., OnlineTrainer]
THICK = {"shape": (10, 32, 32), "spacing": (4.0, 1.0, 1.0)}


def _nothing() -> None: ...


def _weights(trainer: OnlineTrainer) -> list[torch.Tensor]:
    state = load_state(trainer.save())
    moments = [value for one in state.moments.values() for value in one.values()]
    return [*state.weights.values(), *state.average.values(), *moments]


def _same(first: OnlineTrainer, second: OnlineTrainer) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_weights(first), _weights(second), strict=True))


def _with_third_label(example: Example) -> Example:
    """The example with its second label drawn as the third; the second is known to be absent."""
    old = example.annotation
    swap = np.array([0, 1, 3], np.uint8)
    annotation = SparseAnnotation(swap[old.labels_DHW], np.stack([*old.known_LDHW, old.known_LDHW[0]]), old.planes)
    soft = example.proxy.soft_CDHW
    soft = np.stack([soft[0], soft[1], np.zeros_like(soft[0]), soft[2]])
    return replace(example, annotation=annotation, proxy=ProxyMask(soft, example.proxy.confidence_DHW, "swapped"))


@pytest.mark.parametrize("gained", [1, 2])
@pytest.mark.parametrize("case", [{}, THICK])
def test_answers_hardly_change(
    make_example: MakeExample, make_trainer: MakeTrainer, case: dict[str, object], gained: int
) -> None:
    trainer, example = make_trainer(), make_example(0, **case)
    trainer.learn(example, 40, _nothing)
    before, after = (
        load_network(trainer.save(), "task", 2, threads=1),
        load_network(trainer.save(), "task", 2 + gained, threads=1),
    )
    old = before.predict(example.image_DHW, example.spacing_DHW)
    new = after.predict(example.image_DHW, example.spacing_DHW)
    assert len(new) == 3 + gained
    assert np.abs(new[1:3] - old[1:3]).mean() < 0.02
    assert (new[3:].mean(axis=(1, 2, 3)) < 0.1 * old[0].mean()).all()
    assert (merge_unknown(new, range(3, 3 + gained)).argmax(axis=0) == old.argmax(axis=0)).mean() > 0.98


def test_growing_keeps_what_the_optimizer_knows(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer, other = make_trainer("a"), make_trainer("b", label_count=3)
    trainer.learn(make_example(0), 3, _nothing)
    other.learn(_with_third_label(make_example(0)), 1, _nothing)
    old, fresh = load_state(trainer.save()), load_state(other.save())
    state = grown(old, {"task": 3})
    assert [v.shape for v in state.weights.values()] == [v.shape for v in fresh.weights.values()]
    for index, moments in state.moments.items():
        assert moments["step"] == 3
        for name in ("exp_avg", "exp_avg_sq"):
            assert moments[name].shape == fresh.moments[index][name].shape
            assert moments[name].abs().sum() == pytest.approx(float(old.moments[index][name].abs().sum()))


def test_growing_leaves_the_trunk_and_old_labels_as_they_are(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.learn(make_example(0), 2, _nothing)
    old = load_state(trainer.save())
    new = grown(old, {"task": 3})
    for before, after in ((old.weights, new.weights), (old.average, new.average)):
        assert set(before) == set(after)
        assert all(torch.equal(after[name], before[name]) for name in before if not name.startswith("heads."))
        assert torch.equal(after["heads.0.weight"][:3], before["heads.0.weight"])
        assert torch.equal(after["heads.0.bias"][1:3], before["heads.0.bias"][1:])
        assert after["heads.0.bias"][0] < before["heads.0.bias"][0], "the background gives to the new label"


def test_a_restored_and_grown_trainer_goes_on_the_same_every_time(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer("a")
    trainer.learn(make_example(0), 3, _nothing)
    state = trainer.save()
    first, second = make_trainer("a", label_count=3, seed=5), make_trainer("a", label_count=3, seed=6)
    for each in (first, second):
        each.restore(state)
        report = each.learn(_with_third_label(make_example(1)), 6, _nothing)
        assert report.replayed > 0, "the case of two labels is among the replayed ones"
        each.learn(make_example(2), 2, _nothing)
    assert _same(first, second)
    assert first.steps == 11


def test_a_trainer_grows_with_the_examples_that_it_gets(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer, restored = make_trainer("a"), make_trainer("a", label_count=3)
    trainer.learn(make_example(0), 2, _nothing)
    restored.restore(trainer.save())
    for each in (trainer, restored):
        each.learn(_with_third_label(make_example(1)), 2, _nothing)
        state = load_state(each.save())
        assert (state.labels["task"], state.plans["task"].label_count) == (3, 3)


def test_a_broken_off_job_leaves_the_smaller_model(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.learn(make_example(0), 2, _nothing)
    before = trainer.save()
    with pytest.raises(LeaseLost):
        trainer.learn(_with_third_label(make_example(1)), 2, lambda: (_ for _ in ()).throw(LeaseLost("taken over")))
    assert trainer.save() == before


def _of_first_label(example: Example) -> Example:
    """The example as of a task that has the first label only; what is the second shows as nothing."""
    old, soft = example.annotation, example.proxy.soft_CDHW
    annotation = SparseAnnotation(np.where(old.labels_DHW == 1, 1, 0).astype(np.uint8), old.known_LDHW[:1].copy(), old.planes)
    proxy = ProxyMask(np.stack([soft[0] + soft[2], soft[1]]), example.proxy.confidence_DHW, "first")
    return replace(example, annotation=annotation, proxy=proxy)


def _as_if_absent(example: Example) -> Example:
    """The example as if somebody had said that the second label is nowhere on the drawn slices."""
    wider = example.with_label_count(2)
    known = np.stack([wider.annotation.known_LDHW[0]] * 2)
    return replace(wider, annotation=SparseAnnotation(wider.annotation.labels_DHW, known, wider.annotation.planes))


@pytest.mark.slow
def test_a_gained_label_is_learned_while_old_cases_are_replayed(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    unseen = make_example(9, drawn=tuple(range(2, 14)))
    truth = unseen.annotation.labels_DHW
    found = []
    for folder, as_known in (("unknown", Example.with_label_count), ("absent", lambda example, _: _as_if_absent(example))):
        trainer = make_trainer(folder, label_count=1)
        for seed in range(2):
            trainer.learn(as_known(_of_first_label(make_example(seed)), 1 if folder == "unknown" else 2), 20, _nothing)
        for seed in range(2, 4):
            trainer.learn(make_example(seed), 25, _nothing)
        soft = trainer.network().predict(unseen.image_DHW, unseen.spacing_DHW)
        found.append(float(soft[2][truth == 2].mean()))
    assert found[0] > found[1] + 0.1, "old cases do not teach that the label is absent"


def test_a_state_that_has_learned_nothing_grows_too(make_trainer: MakeTrainer) -> None:
    larger = make_trainer("b", label_count=4)
    larger.restore(make_trainer("a").save())
    assert (larger.plans, load_state(larger.save()).labels) == ({}, {"task": 4})


def test_labels_are_never_taken_away(make_example: MakeExample, make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.learn(make_example(0), 1, _nothing)
    with pytest.raises(ConfigurationError, match="2 labels, the task has 1"):
        grown(load_state(trainer.save()), {"task": 1})
    with pytest.raises(ConfigurationError, match="2 labels, the task has 1"):
        load_network(trainer.save(), "task", 1, threads=1)
    with pytest.raises(ValueError, match="2 labels for a task of 1"):
        make_example(0).with_label_count(1)
