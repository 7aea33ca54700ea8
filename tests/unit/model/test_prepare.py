from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.model.plan import plan_for
from learner.model.prepare import normalise, resample, without_plane, working_annotation, working_example


def test_normalisation_does_not_see_scale_or_offset() -> None:
    image = np.random.default_rng(0).gamma(2.0, size=(8, 16, 16)).astype(np.float32)
    np.testing.assert_allclose(normalise(image * 700 + 3), normalise(image), atol=1e-3)


def test_masked_air_does_not_set_the_scale() -> None:
    image = np.zeros((8, 20, 20), dtype=np.float32)
    inside = (slice(2, 6), slice(5, 15), slice(5, 15))
    image[inside] = np.random.default_rng(0).normal(100, 10, (4, 10, 10))
    assert normalise(image)[inside].std() == pytest.approx(1, abs=0.05)


def test_a_flat_or_broken_image_stays_finite() -> None:
    broken = np.full((4, 8, 8), np.nan, dtype=np.float32)
    assert not normalise(broken).any()
    broken[1] = 5.0
    assert np.isfinite(normalise(broken)).all()


def test_resampling_there_and_back_keeps_a_linear_field() -> None:
    z, y, x = np.indices((12, 40, 40))
    field = (z + 0.2 * y - 0.3 * x).astype(np.float32)[None]
    back = resample(resample(field, (6, 20, 20)), (12, 40, 40))
    inner = (slice(None), slice(3, -3), slice(4, -4), slice(4, -4))
    np.testing.assert_allclose(back[inner], field[inner], atol=1e-4)


def test_no_known_plane_is_lost_where_slices_merge() -> None:
    labels = np.zeros((30, 8, 8), dtype=np.uint8)
    known = np.zeros((1, 30, 8, 8), dtype=bool)
    for index in (3, 10, 29):
        known[:, index], labels[index, 2:6, 2:6] = True, 1
    annotation = SparseAnnotation(labels, known, tuple(Plane(0, i) for i in (3, 10, 29)))
    coarse = working_annotation(annotation, (13, 4, 4))
    assert len(coarse.planes) == 3
    for plane in coarse.planes:
        assert coarse.known_DHW[plane.index].all()
        assert coarse.labels_DHW[plane.index, 1:3, 1:3].all()
    assert coarse.known_DHW.any(axis=(1, 2)).sum() == 3


def test_the_working_example_agrees_with_the_drawing(make_example: Callable[..., Example]) -> None:
    example = make_example(shape=(12, 96, 96), spacing=(4.0, 0.5, 0.5))
    plan = plan_for((12, 96, 96), (4.0, 0.5, 0.5), 2)
    working = working_example(plan, example)
    assert working.image_DHW.shape == (12, 48, 48)
    assert working.spacing_DHW == (4.0, 1.0, 1.0)
    assert working.annotation.planes == example.annotation.planes
    known = working.annotation.known_DHW
    assert (working.proxy.confidence_DHW[known] == 1).all()
    agreement = working.proxy.labels_DHW[known] == working.annotation.labels_DHW[known]
    assert agreement.mean() > 0.99
    np.testing.assert_allclose(working.proxy.soft_CDHW.sum(axis=0), 1, atol=1e-5)


def test_leaving_a_plane_out_keeps_what_other_planes_say() -> None:
    labels = np.ones((5, 6, 7), dtype=np.uint8)
    known = np.zeros((2, 5, 6, 7), dtype=bool)
    known[:, 2], known[:, :, 3] = True, True
    labels = np.where(known.all(axis=0), labels, 0).astype(np.uint8)
    planes = (Plane(0, 2), Plane(1, 3, PlaneKind.DRAWN))
    rest = without_plane(SparseAnnotation(labels, known, planes), 2)
    assert rest.planes == (Plane(1, 3),)
    assert rest.known_DHW[:, 3].all()
    assert rest.known_DHW.sum() == 5 * 7
    assert (rest.labels_DHW == rest.known_DHW).all()
