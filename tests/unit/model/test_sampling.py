from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.memory.files import StoredExample, encode
from learner.model.augment import augment
from learner.model.plan import Plan, plan_for
from learner.model.prepare import working_example
from learner.model.prepared import CaseCache, PreparedCase, prepare_case
from learner.model.sampling import Sampler, spatial_smoothing
from learner.model.settings import TrainingSettings
from learner.propagation import make_propagator

THICK = {"shape": (10, 48, 48), "spacing": (4.0, 1.0, 1.0)}


def _case(example: Example) -> tuple[Plan, PreparedCase]:
    shape = example.image_DHW.shape
    plan = plan_for((shape[0], shape[1], shape[2]), example.spacing_DHW, 2)
    content = encode(working_example(plan, example))
    return plan, prepare_case(StoredExample(io.BytesIO(content), content), 2)


def _whole(case: PreparedCase, plan: Plan, settings: TrainingSettings) -> tuple[np.ndarray, np.ndarray]:
    """Target and weight of all voxels of a case that is no larger than the patch."""
    sampler = Sampler(replace(plan, patch_DHW=case.shape_DHW), settings)
    item = sampler.item(case, np.random.default_rng(0))
    return item[-2 - plan.label_count - 1 : -2], item[-2]


def test_an_item_is_image_target_weight_and_confidence(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    plan, case = _case(make_example())
    assert plan.patch_DHW == case.shape_DHW
    item, example = Sampler(plan, settings).item(case, np.random.default_rng(0)), case.example()
    assert item.shape == (1 + 3 + 2, *plan.patch_DHW)
    np.testing.assert_array_equal(item[0], example.image_DHW)
    known = example.annotation.known_DHW
    np.testing.assert_array_equal(item[1:4].argmax(axis=0)[known], example.annotation.labels_DHW[known])
    np.testing.assert_array_equal(item[4][known], 1 + settings.drawn_weight)
    np.testing.assert_array_equal(item[4][~known], example.proxy.confidence_DHW[~known])
    np.testing.assert_array_equal(item[5], example.proxy.confidence_DHW)


def test_slices_of_a_thick_volume_come_with_their_neighbours(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    plan, case = _case(make_example(**THICK))
    assert (plan.dimensions, plan.patch_DHW) == (2, (1, 48, 48))
    rng = np.random.default_rng(0)
    image = case.example().image_DHW
    for _ in range(10):
        item = Sampler(plan, settings).item(case, rng)
        middle = next(i for i in range(10) if np.array_equal(image[i], item[2, 0]))
        for offset in range(-2, 3):
            np.testing.assert_array_equal(item[2 + offset, 0], image[np.clip(middle + offset, 0, 9)])


def test_beyond_the_edge_nothing_weighs(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    plan, case = _case(make_example(shape=(13, 15, 16)))
    plan = replace(plan, patch_DHW=(16, 16, 16))  # of a task whose first volume was larger
    item = Sampler(plan, settings).item(case, np.random.default_rng(0))
    assert (item[-2] > 0).sum() == 13 * 15 * 16


def test_accepted_slices_weigh_less_than_drawn_ones(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    example = make_example()
    first, *rest = example.annotation.planes_of(PlaneKind.DRAWN)
    planes = tuple(
        Plane(p.axis, p.index, PlaneKind.CONFIRMED if p.index == first else p.kind) for p in example.annotation.planes
    )
    old = example.annotation
    example = replace(example, annotation=SparseAnnotation(old.labels_DHW.copy(), old.known_LDHW.copy(), planes))
    plan, case = _case(example)
    _, weight = _whole(case, plan, settings)
    assert weight[first].mean() == pytest.approx(0.5 * weight[rest[0]].mean())


def test_the_cache_forgets_what_was_not_used_for_longest(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    cases = [_case(make_example(seed))[1] for seed in range(3)]
    cache = CaseCache(int(2.5 * cases[0].nbytes))
    cache.put("a", cases[0])
    cache.put("b", cases[1])
    assert cache.get("a") is cases[0]
    cache.put("c", cases[2])
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == (cases[0], None, cases[2])


@pytest.mark.parametrize("shape", [{"shape": (16, 16, 16)}, THICK])
def test_augmentation_moves_image_and_target_together(
    make_example: Callable[..., Example], settings: TrainingSettings, shape: dict[str, object]
) -> None:
    settings = replace(settings, rotation_degrees=25.0, scaling=0.2, mirror_axes=(1, 2))
    plan, case = _case(make_example(**shape))
    rng = np.random.default_rng(1)
    sampler = Sampler(plan, settings)
    items = np.stack([sampler.item(case, rng) for _ in range(8)])
    inputs = plan.image_channels
    middle = plan.context // 2
    for item in items:
        item[: plan.image_channels] = item[inputs + 1]
    moved = augment(torch.from_numpy(items.copy()), plan, settings, rng).numpy()
    assert not np.array_equal(moved[:, inputs + 1], items[:, inputs + 1])
    for before, after in zip(items, moved, strict=True):
        if before[inputs + 1].sum() > 30:
            correlation = np.corrcoef(after[middle].ravel(), after[inputs + 1].ravel())[0, 1]
            assert correlation > 0.85


def test_augmentation_repeats_with_the_same_generator(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    plan, case = _case(make_example())
    item = torch.from_numpy(Sampler(plan, settings).item(case, np.random.default_rng(0)))[None]
    results = [augment(item.clone(), plan, settings, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def _redrawn(example: Example, annotation: SparseAnnotation) -> Example:
    proxy = make_propagator("shape-interpolation").propagate(example.image_DHW, example.spacing_DHW, annotation)
    return replace(example, annotation=annotation, proxy=proxy)


@pytest.mark.parametrize("axis", range(3))
def test_accepted_planes_of_any_axis_weigh_less_except_where_a_drawn_one_crosses(
    make_example: Callable[..., Example], settings: TrainingSettings, axis: int
) -> None:
    example = make_example()
    accepted, drawn = Plane(axis, 8, PlaneKind.CONFIRMED), Plane((axis + 1) % 3, 7)
    known = np.zeros(example.image_DHW.shape, dtype=bool)
    known[accepted.where], known[drawn.where] = True, True
    annotation = SparseAnnotation(np.zeros(known.shape, np.uint8), np.stack([known] * 2), tuple(sorted((accepted, drawn))))
    plan, case = _case(replace(example, annotation=annotation))
    _, weight = _whole(case, plan, replace(settings, confirmed_weight=0.25))
    assert (weight[drawn.where] == 1 + settings.drawn_weight).all()
    crossing = known.copy()
    crossing[drawn.where] = False
    assert (weight[crossing] == 0.25 * (1 + settings.drawn_weight)).all()


def test_known_voxels_weigh_as_far_as_readers_agree(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    example = make_example()
    agreement = np.where(np.arange(16) < 8, np.float32(0.5), np.float32(1)) * np.ones((16, 16, 1), np.float32)
    plan, case = _case(example)
    _, alone = _whole(case, plan, settings)
    _, weight = _whole(_case(replace(example, agreement_DHW=agreement))[1], plan, settings)
    known = example.annotation.known_DHW
    np.testing.assert_allclose(weight[known], (alone * agreement)[known], atol=4 / 255)
    np.testing.assert_array_equal(weight[~known], alone[~known])


def test_a_label_that_nobody_looked_for_is_no_negative(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    example = make_example()
    old = example.annotation
    known = np.stack([old.known_LDHW[0], np.zeros_like(old.known_LDHW[0])])
    annotation = SparseAnnotation(np.where(old.labels_DHW == 1, 1, 0).astype(np.uint8), known, old.planes)
    plan, case = _case(_redrawn(example, annotation))
    target, weight = _whole(case, plan, settings)
    assert case.unknown_labels == (2,)
    assert target[[0, 2]][:, annotation.labels_DHW == 0].max() < 1e-6, "background, and the label, are left open"
    drawn = annotation.labels_DHW == 1
    assert (target[1][drawn] == 1).all()
    assert (weight[list(annotation.planes_of())] == 1 + settings.drawn_weight).all()


def test_strokes_alone_are_all_the_truth(make_example: Callable[..., Example], settings: TrainingSettings) -> None:
    example = make_example()
    labels, known = np.zeros((16, 16, 16), np.uint8), np.zeros((2, 16, 16, 16), bool)
    labels[8, 6, 5:11], labels[7, 11, 5:11] = 1, 2
    known[:, 8, 6, 5:11], known[:, 7, 11, 5:11], known[:, 8, 0, :] = True, True, True
    annotation = SparseAnnotation(labels, known)
    plan, case = _case(_redrawn(example, annotation))
    target, weight = _whole(case, plan, settings)
    assert (weight > 0).sum() == known[0].sum()
    np.testing.assert_array_equal(target[:, known[0]].argmax(axis=0), labels[known[0]])
    np.testing.assert_allclose(target[:, known[0]].sum(axis=0), 1)
    assert case.known_slices == ()
    Sampler(plan, settings).item(case, np.random.default_rng(0))


def test_undrawn_voxels_weigh_alike_without_confidence_weighting(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    plan, case = _case(make_example())
    unknown = ~case.example().annotation.known_DHW
    assert len(np.unique(_whole(case, plan, settings)[1][unknown])) > 1
    assert set(_whole(case, plan, replace(settings, confidence_weighting=False))[1][unknown]) == {1.0}


def _blurred(soft: np.ndarray, *, through_plane: bool) -> np.ndarray:
    """The smoothing with the paper's kernel written out."""
    line = np.exp(-0.5 * np.array([-1.0, 0.0, 1.0]) ** 2)
    kernel = np.einsum("i,j,k->ijk", line if through_plane else np.array([0.0, 1.0, 0.0]), line, line)
    kernel[1, 1, 1] = kernel.sum() - kernel[1, 1, 1]
    return ndimage.convolve(soft, (kernel / kernel.sum())[None], mode="nearest")


@pytest.mark.parametrize("through_plane", [True, False])
def test_spatial_smoothing_is_that_of_the_papers_kernel(through_plane: bool) -> None:
    soft = np.random.default_rng(4).dirichlet([1, 1, 1], size=(5, 6, 7)).transpose(3, 0, 1, 2).astype(np.float32)
    margin = [(0, 0), (1, 1) if through_plane else (0, 0), (1, 1), (1, 1)]
    around = np.pad(soft, margin, mode="edge")
    smooth = spatial_smoothing(around, 1.0, through_plane=through_plane)
    np.testing.assert_allclose(smooth, _blurred(soft, through_plane=through_plane), atol=1e-6)
    np.testing.assert_allclose(smooth.sum(axis=0), 1, atol=1e-6)
    np.testing.assert_array_equal(spatial_smoothing(around, 0.0, through_plane=through_plane), soft)


def test_svls_kernel_gives_the_centre_half_of_the_weight() -> None:
    soft = np.zeros((1, 7, 7, 7), np.float32)
    soft[0, 3, 3, 3] = 1
    assert spatial_smoothing(soft, 1.0, through_plane=True)[0, 2, 2, 2] == pytest.approx(0.5)


@pytest.mark.parametrize("case", [{}, THICK])
def test_targets_are_smoothed_as_on_the_whole_volume_but_not_where_something_was_drawn(
    make_example: Callable[..., Example], settings: TrainingSettings, case: dict[str, object]
) -> None:
    plan, prepared = _case(make_example(**case))
    soft = prepared.example().proxy.soft_CDHW
    sampler = Sampler(plan, replace(settings, spatial_smoothing=1.0))
    depth, rows, columns = prepared.shape_DHW
    target = sampler._target(prepared, (slice(0, depth), slice(0, rows), slice(0, columns)), prepared.marks_DHW)
    expected = _blurred(soft, through_plane=plan.dimensions == 3)
    known = prepared.example().annotation.known_DHW
    np.testing.assert_allclose(target, np.where(known, soft, expected), atol=1e-5)


def test_a_case_takes_little_memory_and_sampling_adds_none(
    make_example: Callable[..., Example], settings: TrainingSettings
) -> None:
    plan, case = _case(make_example())
    voxels, before = case.marks_DHW.size, case.nbytes
    assert before - case.stored.nbytes <= voxels + 2 * 6 * 2 * 4096
    rng = np.random.default_rng(0)
    for _ in range(5):
        Sampler(plan, settings).item(case, rng)
    kept = [value for value in vars(case).values() if isinstance(value, np.ndarray)]
    assert case.nbytes == before == case.stored.nbytes + sum(array.nbytes for array in (*kept, *case.positions))
