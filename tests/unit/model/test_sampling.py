from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.model.augment import augment
from learner.model.plan import Plan, plan_for
from learner.model.prepare import working_example
from learner.model.sampling import CaseCache, PreparedCase, Sampler, prepare_case
from learner.model.settings import TrainingSettings

THICK = {"shape": (10, 48, 48), "spacing": (4.0, 1.0, 1.0)}


def _case(example: Example, settings: TrainingSettings) -> tuple[Plan, PreparedCase]:
    shape = example.image_DHW.shape
    plan = plan_for((shape[0], shape[1], shape[2]), example.spacing_DHW, 2)
    return plan, prepare_case(working_example(plan, example), plan, settings)


def test_the_left_out_slice_is_unknown_to_the_propagator_and_known_to_the_loss(
    make_example: Callable[..., Example], settings: TrainingSettings, propagator: object
) -> None:
    settings = replace(settings, condition_drop=0.0, leave_one_out=1.0)
    plan, case = _case(make_example(), settings)
    sampler = Sampler(plan, settings, propagator)
    rng = np.random.default_rng(0)
    items = [sampler.item(case, rng) for _ in range(20)]
    drawn = set(case.example.annotation.planes_of(PlaneKind.DRAWN))
    missing = [drawn - set(asked.planes_of(PlaneKind.DRAWN)) for asked in propagator.asked]
    assert sorted(next(iter(one)) for one in missing) == sorted(drawn), "each drawn slice is left out once, then remembered"
    assert all(len(one) == 1 for one in missing)
    assert all(
        asked.planes_of(PlaneKind.ABSENT) == case.example.annotation.planes_of(PlaneKind.ABSENT) for asked in propagator.asked
    )
    drawn_weight = 1 + settings.drawn_weight
    planes = len(case.example.annotation.planes)
    assert all((item[-2] == drawn_weight).any(axis=(1, 2)).sum() == planes for item in items)


def test_a_single_drawn_slice_is_never_left_out(
    make_example: Callable[..., Example], settings: TrainingSettings, propagator: object
) -> None:
    settings = replace(settings, condition_drop=0.0, leave_one_out=1.0)
    plan, case = _case(make_example(drawn=(8,)), settings)
    item = Sampler(plan, settings, propagator).item(case, np.random.default_rng(0))
    assert propagator.asked == []
    np.testing.assert_array_equal(item[1:4].argmax(axis=0), case.example.proxy.labels_DHW)


def test_a_hidden_proxy_is_all_zeros(
    make_example: Callable[..., Example], settings: TrainingSettings, propagator: object
) -> None:
    plan, case = _case(make_example(), settings)
    item = Sampler(plan, replace(settings, condition_drop=1.0), propagator).item(case, np.random.default_rng(0))
    assert not item[1 : 1 + plan.condition_channels].any()
    assert item[0].std() > 0.5


def test_slices_of_a_thick_volume_come_with_their_neighbours(
    make_example: Callable[..., Example], settings: TrainingSettings, propagator: object
) -> None:
    settings = replace(settings, condition_drop=1.0)
    plan, case = _case(make_example(**THICK), settings)
    assert (plan.dimensions, plan.patch_DHW) == (2, (1, 48, 48))
    rng = np.random.default_rng(0)
    image = case.example.image_DHW
    for _ in range(10):
        item = Sampler(plan, settings, propagator).item(case, rng)
        middle = next(i for i in range(10) if np.array_equal(image[i], item[2, 0]))
        for offset in range(-2, 3):
            np.testing.assert_array_equal(item[2 + offset, 0], image[np.clip(middle + offset, 0, 9)])


def test_beyond_the_edge_nothing_weighs(
    make_example: Callable[..., Example], settings: TrainingSettings, propagator: object
) -> None:
    plan, case = _case(make_example(shape=(13, 15, 16)), settings)
    assert plan.patch_DHW == (14, 16, 16)
    item = Sampler(plan, settings, propagator).item(case, np.random.default_rng(0))
    assert (item[-2] > 0).sum() == (case.weight_DHW > 0).sum()


def test_accepted_slices_weigh_less_than_drawn_ones(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    example = make_example()
    first, *rest = example.annotation.planes_of(PlaneKind.DRAWN)
    planes = tuple(
        Plane(p.axis, p.index, PlaneKind.CONFIRMED if p.index == first else p.kind) for p in example.annotation.planes
    )
    old = example.annotation
    example = replace(example, annotation=SparseAnnotation(old.labels_DHW.copy(), old.known_LDHW.copy(), planes))
    _, case = _case(example, settings)
    assert case.weight_DHW[first].mean() == pytest.approx(0.5 * case.weight_DHW[rest[0]].mean())


def test_the_cache_forgets_what_was_not_used_for_longest(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    cases = [_case(make_example(seed), settings)[1] for seed in range(3)]
    cache = CaseCache(int(2.5 * cases[0].nbytes))
    cache.put("a", cases[0])
    cache.put("b", cases[1])
    assert cache.get("a") is cases[0]
    cache.put("c", cases[2])
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (cases[0], None, cases[2])


@pytest.mark.parametrize("shape", [{"shape": (16, 16, 16)}, THICK])
def test_augmentation_moves_image_and_target_together(
    make_example: Callable[..., Example], settings: TrainingSettings, propagator: object, shape: dict[str, object]
) -> None:
    settings = replace(settings, condition_drop=1.0, rotation_degrees=25.0, scaling=0.2, mirror_axes=(1, 2))
    plan, case = _case(make_example(**shape), settings)
    rng = np.random.default_rng(1)
    sampler = Sampler(plan, settings, propagator)
    items = np.stack([sampler.item(case, rng) for _ in range(8)])
    inputs = plan.image_channels + plan.condition_channels
    middle = plan.context // 2
    for item in items:
        item[: plan.image_channels] = item[inputs + 1]
    moved = augment(torch.from_numpy(items.copy()), plan, settings, rng).numpy()
    assert not np.array_equal(moved[:, inputs + 1], items[:, inputs + 1])
    for before, after in zip(items, moved, strict=True):
        if before[inputs + 1].sum() > 30:
            correlation = np.corrcoef(after[middle].ravel(), after[inputs + 1].ravel())[0, 1]
            assert correlation > 0.85


def test_augmentation_repeats_with_the_same_generator(
    make_example: Callable[..., Example], settings: TrainingSettings, propagator: object
) -> None:
    plan, case = _case(make_example(), settings)
    item = torch.from_numpy(Sampler(plan, settings, propagator).item(case, np.random.default_rng(0)))[None]
    results = [augment(item.clone(), plan, settings, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
