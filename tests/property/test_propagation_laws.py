from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.fusion import fuse
from learner.domain.guidance import Situation
from learner.domain.planes import without_planes
from learner.domain.pooling import PoolWeights
from learner.guidance import guidance_rules, make_guidance_rule
from learner.propagation import make_propagator, propagators

COMMON = settings(max_examples=20, deadline=None)


# antspyx, which syn needs, is not installed beside the project's packages
NAMES = [name for name in propagators() if name != "syn"]
SPACING = (2.0, 1.0, 1.5)
KINDS = ["drawn", "absent", "unknown"]


def drawn_boxes(shape: tuple[int, int, int], axes: dict[int, list[str]], seed: int) -> tuple[np.ndarray, SparseAnnotation]:
    """A noise image and an annotation: on the planes of some axes two boxes that touch, of one label each, or nothing.

    Planes of two axes agree where they cross, as drawings of one structure do.
    """
    rng = np.random.default_rng(seed)
    truth, known = np.zeros(shape, np.uint8), np.zeros((2, *shape), bool)
    along = min(axes)
    for index, kind in enumerate(axes[along]):
        if kind == "drawn":
            box = np.moveaxis(truth, along, 0)[index]
            top, left = (int(rng.integers(0, n - 4)) for n in box.shape)
            box[top : top + 4, left : left + 2] = 1
            box[top : top + 4, left + 2 : left + 4] = 2
    labels, planes = np.zeros_like(truth), []
    for axis, kinds in axes.items():
        for index, kind in enumerate(kinds):
            plane = Plane(axis, index, PlaneKind.DRAWN)
            if kind == "absent" and not truth[plane.where].any():
                plane = Plane(axis, index, PlaneKind.ABSENT)
            elif kind != "drawn":
                continue
            labels[plane.where] = truth[plane.where]
            known[(slice(None), *plane.where)] = True
            planes.append(plane)
    image = rng.standard_normal(shape).astype(np.float32) * 50 + truth * 30
    return image.astype(np.float32), SparseAnnotation(labels, known, tuple(sorted(planes)))


@st.composite
def cases(draw: st.DrawFn, axes: tuple[int, ...] = (0,)) -> tuple[np.ndarray, SparseAnnotation]:
    """Any subset of the planes of some axes, drawn or stated empty."""
    shape = (draw(st.integers(6, 12)), draw(st.integers(8, 24)), draw(st.integers(8, 24)))
    chosen = {axis: draw(st.lists(st.sampled_from(KINDS), min_size=shape[axis], max_size=shape[axis])) for axis in axes}
    return drawn_boxes(shape, chosen, draw(st.integers(0, 2**20)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2)], ids=str)
@settings(max_examples=5, deadline=None)
@given(data=st.data())
def test_a_proxy_mask_keeps_what_is_known_and_sums_to_one(name: str, axes: tuple[int, ...], data: st.DataObject) -> None:
    image, annotation = data.draw(cases(axes))
    proxy = make_propagator(name).propagate(image, SPACING, annotation)
    known = annotation.known_DHW
    assert (proxy.labels_DHW[known] == annotation.labels_DHW[known]).all()
    assert (proxy.confidence_DHW[known] == 1).all()
    assert np.isfinite(proxy.soft_CDHW).all()
    np.testing.assert_allclose(proxy.soft_CDHW.sum(axis=0), 1, atol=1e-4)
    assert 0 <= proxy.confidence_DHW.min() <= proxy.confidence_DHW.max() <= 1
    if len(axes) == 1:
        assert not beyond_stated_extents(proxy.labels_DHW, annotation, axes[0]).any()


def beyond_stated_extents(labels_DHW: np.ndarray, annotation: SparseAnnotation, axis: int) -> np.ndarray:
    """What lies outside the outermost known planes of an axis, on the sides where these are empty."""
    planes, stack = annotation.planes, np.moveaxis(labels_DHW, axis, 0)
    outside = np.zeros(len(stack), bool)
    if planes and planes[0].kind is PlaneKind.ABSENT:
        outside[: planes[0].index] = True
    if planes and planes[-1].kind is PlaneKind.ABSENT:
        outside[planes[-1].index :] = True
    return stack[outside]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=5, deadline=None)
@given(case=cases())
def test_labels_that_touch_on_every_drawn_slice_leave_no_gap_between_them(
    name: str, case: tuple[np.ndarray, SparseAnnotation]
) -> None:
    image, annotation = case
    proxy = make_propagator(name).propagate(image, SPACING, annotation)
    one = SparseAnnotation((annotation.labels_DHW > 0).astype(np.uint8), annotation.known_LDHW[:1], annotation.planes)
    whole = make_propagator(name).propagate(image, SPACING, one)
    differ = (proxy.labels_DHW > 0) != (whole.labels_DHW > 0)
    # the object is the same whether it has one label or two, but for voxels on its very contour
    assert (np.abs(whole.soft_CDHW[1][differ] - 0.5) < 0.02).all()


@pytest.mark.parametrize("name", ["chained-flow", "torch-flow", "demons"])
@settings(max_examples=5, deadline=None)
@given(case=cases(), order=st.randoms(use_true_random=False))
def test_slices_added_one_by_one_give_what_all_of_them_give_at_once(
    name: str, case: tuple[np.ndarray, SparseAnnotation], order: random.Random
) -> None:
    image, annotation = case
    kept, hidden = make_propagator(name), list(annotation.planes)
    order.shuffle(hidden)
    while True:
        shown = without_planes(annotation, hidden)
        remembering = kept.propagate(image, SPACING, shown)
        fresh = make_propagator(name).propagate(image, SPACING, shown)
        np.testing.assert_array_equal(remembering.soft_CDHW, fresh.soft_CDHW)
        np.testing.assert_array_equal(remembering.confidence_DHW, fresh.confidence_DHW)
        if not hidden:
            break
        del hidden[: 1 + len(hidden) // 3]


@COMMON
@given(case=cases(), front=st.floats(0, 3), back=st.floats(0, 3), seed=st.integers(0, 999))
def test_a_fused_answer_keeps_what_is_known_and_sums_to_one(
    case: tuple[np.ndarray, SparseAnnotation], front: float, back: float, seed: int
) -> None:
    image, annotation = case
    proxy = make_propagator("shape-interpolation").propagate(image, (2.0, 1.0, 1.0), annotation)
    network = np.random.default_rng(seed).dirichlet(np.ones(3), image.shape).astype(np.float32)
    answer = fuse(proxy, np.moveaxis(network, -1, 0), annotation, PoolWeights(front, back), (2.0, 1.0, 1.0))
    known = annotation.known_DHW
    assert (answer.argmax(axis=0)[known] == annotation.labels_DHW[known]).all()
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-4)


@COMMON
@given(case=cases(), count=st.integers(1, 12))
def test_guidance_never_names_a_known_slice_nor_one_twice(case: tuple[np.ndarray, SparseAnnotation], count: int) -> None:
    image, annotation = case
    proxy = make_propagator("nearest-copy").propagate(image, (2.0, 1.0, 1.0), annotation)
    for name in guidance_rules():
        guidance = make_guidance_rule(name).rank(Situation(len(image), SPACING, proxy.soft_CDHW, None, annotation), count)
        indices = [s.index for s in guidance.suggestions]
        assert len(set(indices)) == len(indices) <= count
        assert not set(indices) & set(annotation.planes_of(axis=0))
        assert all(0 <= i < len(image) for i in indices)
        scores = [s.score for s in guidance.suggestions]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
