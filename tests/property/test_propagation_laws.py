from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.fusion import blend, fuse
from learner.domain.ranking import rank_slices
from learner.propagation import make_propagator, propagators

COMMON = settings(max_examples=20, deadline=None)


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, SparseAnnotation]:
    """A noise image with boxes drawn on some slices of one or two axes, others stated empty; two labels."""
    shape = (draw(st.integers(3, 12)), draw(st.integers(8, 24)), draw(st.integers(8, 24)))
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    labels, known = np.zeros(shape, np.uint8), np.zeros((2, *shape), bool)
    kinds = draw(st.lists(st.sampled_from(["drawn", "absent", "unknown"]), min_size=shape[0], max_size=shape[0]))
    planes = []
    for index, kind in enumerate(kinds):
        if kind == "unknown":
            continue
        known[:, index] = True
        planes.append(Plane(0, index, PlaneKind(kind)))
        if kind == "drawn":
            top, left = (int(rng.integers(0, n - 4)) for n in shape[1:])
            labels[index, top : top + 4, left : left + 2] = 1
            labels[index, top : top + 4, left + 2 : left + 4] = 2
    image = rng.standard_normal(shape).astype(np.float32) * 50 + labels * 30
    return image.astype(np.float32), SparseAnnotation(labels, known, tuple(planes))


@pytest.mark.parametrize("name", list(propagators()))
@COMMON
@given(case=cases())
def test_a_proxy_mask_keeps_what_is_known_and_sums_to_one(name: str, case: tuple[np.ndarray, SparseAnnotation]) -> None:
    image, annotation = case
    proxy = make_propagator(name).propagate(image, (2.0, 1.0, 1.0), annotation)
    known = annotation.known_DHW
    assert (proxy.labels_DHW[known] == annotation.labels_DHW[known]).all()
    assert (proxy.confidence_DHW[known] == 1).all()
    assert np.isfinite(proxy.soft_CDHW).all()
    np.testing.assert_allclose(proxy.soft_CDHW.sum(axis=0), 1, atol=1e-4)
    assert 0 <= proxy.confidence_DHW.min() <= proxy.confidence_DHW.max() <= 1
    planes = annotation.planes
    if planes and planes[0].kind is PlaneKind.ABSENT and annotation.labels_DHW.any():
        assert not proxy.labels_DHW[: planes[0].index].any()


@COMMON
@given(case=cases(), trust=st.floats(0, 1), seed=st.integers(0, 999))
def test_a_fused_answer_keeps_what_is_known_and_sums_to_one(
    case: tuple[np.ndarray, SparseAnnotation], trust: float, seed: int
) -> None:
    image, annotation = case
    proxy = make_propagator("shape-interpolation").propagate(image, (2.0, 1.0, 1.0), annotation)
    network = np.random.default_rng(seed).dirichlet(np.ones(3), image.shape).astype(np.float32)
    answer = fuse(proxy, np.moveaxis(network, -1, 0), annotation, trust)
    known = annotation.known_DHW
    assert (answer.argmax(axis=0)[known] == annotation.labels_DHW[known]).all()
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-4)


@COMMON
@given(
    values=st.tuples(*[st.floats(0, 1, width=32)] * 3),
    trust=st.floats(0, 1),
)
def test_a_blend_lies_between_both_ends(values: tuple[float, float, float], trust: float) -> None:
    proxy, network, confidence = (np.full((1, 1), v, np.float32) for v in values)
    mixed = blend(proxy[None], confidence, network[None], trust).item()
    assert min(values[:2]) - 1e-5 <= mixed <= max(values[:2]) + 1e-5


@COMMON
@given(case=cases(), count=st.integers(1, 12))
def test_guidance_never_names_a_known_slice_nor_one_twice(case: tuple[np.ndarray, SparseAnnotation], count: int) -> None:
    image, annotation = case
    proxy = make_propagator("nearest-copy").propagate(image, (2.0, 1.0, 1.0), annotation)
    guidance = rank_slices(proxy.soft_CDHW, None, annotation, len(image), count)
    indices = [s.index for s in guidance.suggestions]
    assert len(set(indices)) == len(indices) <= count
    assert not set(indices) & set(annotation.planes_of(axis=0))
    assert all(0 <= i < len(image) for i in indices)
    scores = [s.score for s in guidance.suggestions]
    assert scores == sorted(scores, reverse=True)
