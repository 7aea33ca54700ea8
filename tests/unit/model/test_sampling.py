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
from learner.ports import Propagator
from learner.propagation import ShapeInterpolation

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


def _redrawn(example: Example, annotation: SparseAnnotation, propagator: Propagator) -> Example:
    proxy = propagator.propagate(example.image_DHW, example.spacing_DHW, annotation)
    return replace(example, annotation=annotation, proxy=proxy)


def _sagittal(example: Example, *columns: int, kind: PlaneKind = PlaneKind.DRAWN) -> SparseAnnotation:
    """The example's truth on slices of another direction; its image shows it."""
    truth = np.where(example.image_DHW > 280, 1, np.where(example.image_DHW > 190, 2, 0)).astype(np.uint8)
    known = np.zeros(truth.shape, dtype=bool)
    known[:, :, list(columns)] = True
    planes = tuple(Plane(2, column, kind) for column in columns)
    return SparseAnnotation(np.where(known, truth, 0).astype(np.uint8), np.stack([known] * 2), planes)


def test_planes_of_another_axis_are_left_out_in_turns(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    settings = replace(settings, condition_drop=0.0, leave_one_out=1.0)
    example = make_example()
    plan, case = _case(_redrawn(example, _sagittal(example, 6, 8, 10), ShapeInterpolation()), settings)
    assert case.left_out == (Plane(2, 6), Plane(2, 8), Plane(2, 10))
    sampler, rng = Sampler(plan, settings, ShapeInterpolation()), np.random.default_rng(0)
    items = [sampler.item(case, rng) for _ in range(12)]
    assert set(case.conditions) == set(case.left_out)
    for plane, condition in case.conditions.items():
        assert not (condition[-1][plane.where] == 255).all(), "the left-out plane is not known to the network"
    assert all(((item[-2] == 1 + settings.drawn_weight).all(axis=(0, 1))).sum() == 3 for item in items)


@pytest.mark.parametrize("axis", range(3))
def test_accepted_planes_of_any_axis_weigh_less_except_where_a_drawn_one_crosses(
    make_example: Callable[..., Example], settings: TrainingSettings, axis: int
) -> None:
    example = make_example()
    accepted, drawn = Plane(axis, 8, PlaneKind.CONFIRMED), Plane((axis + 1) % 3, 7)
    known = np.zeros(example.image_DHW.shape, dtype=bool)
    known[accepted.where], known[drawn.where] = True, True
    annotation = SparseAnnotation(np.zeros(known.shape, np.uint8), np.stack([known] * 2), tuple(sorted((accepted, drawn))))
    _, case = _case(replace(example, annotation=annotation), replace(settings, confirmed_weight=0.25))
    assert (case.weight_DHW[drawn.where] == 1 + settings.drawn_weight).all()
    crossing = known.copy()
    crossing[drawn.where] = False
    assert (case.weight_DHW[crossing] == 0.25 * (1 + settings.drawn_weight)).all()
    assert case.left_out == ()


def test_known_voxels_weigh_as_far_as_readers_agree(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    example = make_example()
    agreement = np.where(np.arange(16) < 8, np.float32(0.5), np.float32(1)) * np.ones((16, 16, 1), np.float32)
    _, alone = _case(example, settings)
    _, case = _case(replace(example, agreement_DHW=agreement), settings)
    known = example.annotation.known_DHW
    np.testing.assert_allclose(case.weight_DHW[known], (alone.weight_DHW * agreement)[known])
    np.testing.assert_array_equal(case.weight_DHW[~known], alone.weight_DHW[~known])


def test_a_label_that_nobody_looked_for_is_no_negative(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    example = make_example()
    old = example.annotation
    known = np.stack([old.known_LDHW[0], np.zeros_like(old.known_LDHW[0])])
    annotation = SparseAnnotation(np.where(old.labels_DHW == 1, 1, 0).astype(np.uint8), known, old.planes)
    _, case = _case(_redrawn(example, annotation, ShapeInterpolation()), settings)
    assert case.unknown_labels == (2,)
    assert case.target_CDHW[[0, 2]][:, annotation.labels_DHW == 0].max() < 1e-6, "background, and the label, are left open"
    drawn = annotation.labels_DHW == 1
    assert (case.target_CDHW[1][drawn] == 1).all()
    assert (case.weight_DHW[list(annotation.planes_of())] == 1 + settings.drawn_weight).all()


def test_strokes_alone_are_all_the_truth(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    example = make_example()
    labels, known = np.zeros((16, 16, 16), np.uint8), np.zeros((2, 16, 16, 16), bool)
    labels[8, 6, 5:11], labels[7, 11, 5:11] = 1, 2
    known[:, 8, 6, 5:11], known[:, 7, 11, 5:11], known[:, 8, 0, :] = True, True, True
    annotation = SparseAnnotation(labels, known)
    plan, case = _case(_redrawn(example, annotation, ShapeInterpolation()), settings)
    assert (case.weight_DHW > 0).sum() == known[0].sum()
    np.testing.assert_array_equal(case.target_CDHW[:, known[0]].argmax(axis=0), labels[known[0]])
    np.testing.assert_allclose(case.target_CDHW[:, known[0]].sum(axis=0), 1)
    assert (case.known_slices, case.left_out) == ((), ())
    Sampler(plan, settings, ShapeInterpolation()).item(case, np.random.default_rng(0))
