from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dicom_io.annotation import Plane, SparseAnnotation
from learner.domain.example import Example
from learner.model.plan import plan_for
from learner.model.prepare import normalise, resample, working_annotation, working_example


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


@pytest.mark.parametrize("axis", [1, 2])
def test_planes_of_other_axes_survive_the_change_of_grid(axis: int) -> None:
    labels, known = np.zeros((8, 40, 40), dtype=np.uint8), np.zeros((1, 8, 40, 40), dtype=bool)
    planes = (Plane(axis, 7), Plane(axis, 20), Plane(axis, 39))
    for plane in planes:
        known[(slice(None), *plane.where)], labels[plane.where] = True, 1
    coarse = working_annotation(SparseAnnotation(labels, known, planes), (8, 17, 17))
    assert [plane.axis for plane in coarse.planes] == [axis] * 3
    for plane in coarse.planes:
        assert coarse.labels_DHW[plane.where].all()
    assert coarse.known_DHW.sum() == 3 * 8 * 17


def test_no_stroke_is_lost_where_voxels_merge() -> None:
    labels, known = np.zeros((6, 40, 40), dtype=np.uint8), np.zeros((2, 6, 40, 40), dtype=bool)
    for column in range(40):  # a line of one voxel's width on each slice, at every offset from the coarse grid
        labels[column % 6, 3:30, column], known[:, column % 6, 3:30, column] = 1 + column % 2, True
    coarse = working_annotation(SparseAnnotation(labels, known), (6, 13, 13))
    assert coarse.planes == ()
    for column in range(40):
        assert coarse.known_DHW[column % 6, 1:9, int((column + 0.5) * 13 / 40)].all()
    np.testing.assert_array_equal(coarse.labels_DHW > 0, coarse.known_DHW)


def test_agreement_goes_where_the_drawing_goes(make_example: Callable[..., Example]) -> None:
    example = make_example(shape=(12, 96, 96), spacing=(4.0, 0.5, 0.5))
    agreement = np.where(example.annotation.labels_DHW == 2, np.float32(0.5), np.float32(1))
    plan = plan_for((12, 96, 96), (4.0, 0.5, 0.5), 2)
    working = working_example(plan, replace(example, agreement_DHW=agreement))
    np.testing.assert_array_equal(working.agreement_DHW, np.where(working.annotation.labels_DHW == 2, 0.5, 1))
    with pytest.raises(ValueError, match="agreement"):
        replace(example, agreement_DHW=agreement[1:])
