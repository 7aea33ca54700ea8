"""Laws that every propagator keeps, and what tells them apart."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.propagation import make_propagator, propagators

Phantom = tuple[np.ndarray, np.ndarray]
Annotate = Callable[..., SparseAnnotation]
Overlap = Callable[[np.ndarray, np.ndarray], float]

SPACING = (3.0, 1.0, 1.0)
# antspyx, which syn needs, is not installed beside the project's packages; b-spline is slow, and tests/property has its laws
EVERY = pytest.mark.parametrize("name", [name for name in propagators() if name not in {"syn", "b-spline"}])
REGISTERED = pytest.mark.parametrize("name", ["chained-flow", "demons", "b-spline", "torch-flow"])


@EVERY
def test_equals_the_annotation_where_it_is_known(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    annotation = annotate(truth, [7, 12, 16], [3, 21])
    proxy = make_propagator(name).propagate(image, SPACING, annotation)
    known = annotation.known_DHW
    assert proxy.method == name
    assert (proxy.labels_DHW[known] == annotation.labels_DHW[known]).all()
    assert (proxy.confidence_DHW[known] == 1).all()
    np.testing.assert_array_equal(proxy.soft_CDHW[1][known], (annotation.labels_DHW == 1)[known])


@EVERY
def test_probabilities_and_confidence_are_such(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    proxy = make_propagator(name).propagate(image, SPACING, annotate(truth, [8, 14], [3]))
    np.testing.assert_allclose(proxy.soft_CDHW.sum(axis=0), 1, atol=1e-5)
    assert proxy.soft_CDHW.min() >= 0
    assert 0 <= proxy.confidence_DHW.min() <= proxy.confidence_DHW.max() <= 1
    assert proxy.soft_CDHW.dtype == proxy.confidence_DHW.dtype == np.float32


@EVERY
def test_completes_the_ball(name: str, ball: Phantom, annotate: Annotate, overlap_of: Overlap) -> None:
    image, truth = ball
    proxy = make_propagator(name).propagate(image, SPACING, annotate(truth, [6, 9, 12, 15, 18], [4, 20]))
    least = 0.9 if name == "nearest-copy" else 0.95
    for number in (1, 2):
        assert overlap_of(proxy.labels_DHW == number, truth == number) > least


@EVERY
def test_nothing_is_beyond_a_stated_extent(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    proxy = make_propagator(name).propagate(image, SPACING, annotate(truth, [9, 14], [4, 20]))
    outside = [*range(5), *range(20, 24)]
    assert not proxy.labels_DHW[outside].any()
    assert proxy.confidence_DHW[outside].min() >= 0.9


@EVERY
@pytest.mark.parametrize(("drawn", "shown"), [([10, 14], (7, 17)), ([7, 12, 17], (5, 19))], ids=["ball", "half a gap"])
def test_runs_past_outer_drawn_slices_as_a_ball_would_or_by_half_a_gap(
    name: str, drawn: list[int], shown: tuple[int, int], ball: Phantom, annotate: Annotate
) -> None:
    image, truth = ball
    proxy = make_propagator(name).propagate(image, SPACING, annotate(truth, drawn))
    filled = np.flatnonzero(proxy.labels_DHW.any(axis=(1, 2)))
    assert (filled.min(), filled.max()) == shown
    middle = proxy.confidence_DHW[:, 32, 36]
    assert middle[: 2 * shown[0] - drawn[0]].max(initial=0) == 0
    assert middle[2 * shown[1] - drawn[-1] + 1 :].max(initial=0) == 0


@EVERY
def test_another_slice_beside_the_first_does_not_undo_the_answer(
    name: str, ball: Phantom, annotate: Annotate, overlap_of: Overlap
) -> None:
    image, truth = ball
    propagator = make_propagator(name)
    found = [
        propagator.propagate(image, SPACING, annotate(truth, drawn)).labels_DHW for drawn in ([12], [11, 12], [11, 12, 13])
    ]
    overlaps = [overlap_of(labels > 0, truth > 0) for labels in found]
    assert min(overlaps[1:]) > overlaps[0] - 0.05
    assert overlaps[0] > 0.7


@EVERY
def test_the_halves_of_the_ball_leave_no_gap(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    labels = make_propagator(name).propagate(image, SPACING, annotate(truth, [8, 12, 16], [4, 20])).labels_DHW
    for index in range(8, 17):
        rows = labels[index, 28:36]
        for row in rows:
            filled = np.flatnonzero(row)
            assert (row[filled[0] : filled[-1] + 1] > 0).all()


@pytest.mark.parametrize("name", ["shape-interpolation", "chained-flow"])
def test_turning_the_stack_over_turns_the_proxy_over(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    propagator = make_propagator(name)
    forth = propagator.propagate(image, SPACING, annotate(truth, [8, 13], [4]))
    depth = len(truth)
    back = propagator.propagate(image[::-1], SPACING, annotate(truth[::-1], [depth - 14, depth - 9], [depth - 5]))
    np.testing.assert_allclose(back.soft_CDHW[:, ::-1], forth.soft_CDHW, atol=1e-4)
    np.testing.assert_allclose(back.confidence_DHW[::-1], forth.confidence_DHW, atol=1e-4)


@EVERY
def test_confidence_falls_with_the_distance_to_drawn_slices(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    sure = make_propagator(name).propagate(image, SPACING, annotate(truth, [7, 17])).confidence_DHW
    centre = sure[7:13, 32, 30]
    assert (np.diff(centre) < 0).all()
    assert sure[18:24, 32, 30].max() < 1


@pytest.mark.parametrize("name", ["chained-flow", "shape-interpolation", "nearest-copy"])
def test_confidence_falls_beyond_the_outermost_drawn_slice(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    beyond = make_propagator(name).propagate(image, SPACING, annotate(truth, [7, 17])).confidence_DHW[17:24, 32, 30]
    assert (np.diff(beyond) <= 0).all()


@REGISTERED
def test_motion_is_followed(name: str, tube: Phantom, annotate: Annotate, overlap_of: Overlap) -> None:
    image, truth = tube
    undrawn = slice(1, 12)
    labels = make_propagator(name).propagate(image, SPACING, annotate(truth, [0, 12])).labels_DHW[undrawn]
    assert overlap_of(labels > 0, truth[undrawn] > 0) > 0.9


@pytest.mark.parametrize("name", ["nearest-copy", "shape-interpolation"])
def test_without_motion_a_moving_structure_is_lost(name: str, tube: Phantom, annotate: Annotate, overlap_of: Overlap) -> None:
    image, truth = tube
    undrawn = slice(1, 12)
    labels = make_propagator(name).propagate(image, SPACING, annotate(truth, [0, 12])).labels_DHW[undrawn]
    assert overlap_of(labels > 0, truth[undrawn] > 0) < 0.75


@REGISTERED
def test_intensities_may_drift(name: str, tube: Phantom, annotate: Annotate, overlap_of: Overlap) -> None:
    image, truth = tube
    drifting = (
        image * np.linspace(0.5, 2.0, 13, dtype=np.float32)[:, None, None] + np.arange(13, dtype=np.float32)[:, None, None] * 40
    )
    labels = make_propagator(name).propagate(drifting, SPACING, annotate(truth, [0, 12])).labels_DHW
    assert overlap_of(labels > 0, truth > 0) > 0.9


@EVERY
def test_one_drawn_slice_is_enough(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    proxy = make_propagator(name).propagate(image, SPACING, annotate(truth, [12]))
    assert proxy.labels_DHW[11].any()
    assert proxy.labels_DHW[13].any()
    assert proxy.labels_DHW.any(axis=(1, 2)).sum() < 16


@EVERY
def test_labels_may_be_known_on_different_planes(name: str, ball: Phantom) -> None:
    image, truth = ball
    labels, known = np.zeros_like(truth), np.zeros((2, *truth.shape), bool)
    for number, drawn in ((1, (8, 12, 16)), (2, (10, 14))):
        for index in drawn:
            labels[index][truth[index] == number] = number
            known[number - 1, index] = True
    planes = tuple(Plane(0, i) for i in (8, 10, 12, 14, 16))
    annotation = SparseAnnotation(labels, known, planes)
    proxy = make_propagator(name).propagate(image, SPACING, annotation)
    np.testing.assert_allclose(proxy.soft_CDHW.sum(axis=0), 1, atol=1e-5)
    assert (proxy.labels_DHW[8][truth[8] == 1] == 1).all()
    assert not ((proxy.labels_DHW[10] == 2) != (truth[10] == 2)).any()
    assert (proxy.labels_DHW[9] == 1).any()
    assert (proxy.labels_DHW[11] == 2).any()


@EVERY
def test_planes_of_several_axes_are_merged(name: str, ball: Phantom, annotate: Annotate, overlap_of: Overlap) -> None:
    image, truth = ball
    one = annotate(truth, [12])
    other = annotate(truth, [30, 44], axis=2)
    labels = np.maximum(one.labels_DHW, other.labels_DHW)
    both = SparseAnnotation(labels, one.known_LDHW | other.known_LDHW, tuple(sorted({*one.planes, *other.planes})))
    proxy = make_propagator(name).propagate(image, SPACING, both)
    np.testing.assert_allclose(proxy.soft_CDHW.sum(axis=0), 1, atol=1e-5)
    assert (proxy.labels_DHW[:, :, 30] == truth[:, :, 30]).all()
    assert (proxy.labels_DHW[12] == truth[12]).all()
    assert overlap_of(proxy.labels_DHW > 0, truth > 0) > 0.6


def test_an_erased_slice_stays_empty(ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    proxy = make_propagator().propagate(image, SPACING, annotate(truth, [8, 16], [12]))
    assert not proxy.labels_DHW[12].any()
    assert proxy.labels_DHW[9].any()


def test_nothing_drawn_gives_background_without_confidence(ball: Phantom) -> None:
    image, truth = ball
    known = np.zeros((2, *truth.shape), bool)
    known[:, 4] = True
    annotation = SparseAnnotation(np.zeros_like(truth), known, (Plane(0, 4, PlaneKind.ABSENT),))
    proxy = make_propagator().propagate(image, SPACING, annotation)
    assert not proxy.labels_DHW.any()
    assert proxy.confidence_DHW[5:].max() == 0
    assert proxy.confidence_DHW[4].min() == 1


@pytest.mark.parametrize("shape", [(6, 9, 11), (4, 16, 40), (3, 33, 8)])
def test_tiny_images(shape: tuple[int, int, int], annotate: Annotate) -> None:
    rng = np.random.default_rng(1)
    truth = np.zeros(shape, np.uint8)
    truth[:, 2:6, 3:7] = 1
    image = (rng.standard_normal(shape) + truth * 4).astype(np.float32)
    labels = make_propagator().propagate(image, (1.0, 1.0, 1.0), annotate(truth, [0, shape[0] - 1])).labels_DHW
    assert (labels == truth).mean() > 0.9


def test_a_constant_or_broken_image_is_no_obstacle(ball: Phantom, annotate: Annotate, overlap_of: Overlap) -> None:
    _, truth = ball
    broken = np.full(truth.shape, 7, np.float32)
    broken[0, 0, 0] = np.nan
    broken[5, 3, 3] = np.inf
    labels = make_propagator().propagate(broken, SPACING, annotate(truth, [8, 12, 16], [4, 20])).labels_DHW
    assert overlap_of(labels > 0, truth > 0) > 0.9


def test_shapes_that_differ_are_refused(ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    with pytest.raises(ValueError, match="differ in shape"):
        make_propagator().propagate(image[1:], SPACING, annotate(truth, [8]))


@pytest.mark.skipif(importlib.util.find_spec("ants") is not None, reason="antspyx is installed")
def test_the_paper_s_registration_says_what_it_needs() -> None:
    with pytest.raises(ValueError, match=r"antspyx.*benchmarks/paper_registration\.py"):
        make_propagator("syn")


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="chained-flow"):
        make_propagator("magic")


def test_the_same_input_gives_the_same_proxy(ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    one, other = (make_propagator().propagate(image, SPACING, annotate(truth, [8, 15], [4])) for _ in range(2))
    np.testing.assert_array_equal(one.soft_CDHW, other.soft_CDHW)


@EVERY
def test_strokes_are_kept_and_not_propagated(name: str, ball: Phantom) -> None:
    image, truth = ball
    labels, known = np.zeros_like(truth), np.zeros((2, *truth.shape), bool)
    labels[12, 30, 30:34], labels[9, 28:40, 40] = 1, 2
    known[:, 12, 30, 30:34], known[:, 9, 28:40, 40], known[:, 5] = True, True, True  # a whole slice, and no plane is listed
    proxy = make_propagator(name).propagate(image, SPACING, SparseAnnotation(labels, known))
    np.testing.assert_array_equal(proxy.labels_DHW, labels)
    np.testing.assert_array_equal(proxy.confidence_DHW, known[0].astype(np.float32))


@EVERY
def test_strokes_beside_planes_change_nothing_but_themselves(name: str, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    drawn = annotate(truth, [8, 12, 16])
    labels, known = drawn.labels_DHW.copy(), drawn.known_LDHW.copy()
    labels[10, 5, 5:9], known[:, 10, 5, 5:9] = 2, True
    plain = make_propagator(name).propagate(image, SPACING, drawn)
    both = make_propagator(name).propagate(image, SPACING, SparseAnnotation(labels, known, drawn.planes))
    stroke = labels != drawn.labels_DHW
    np.testing.assert_allclose(both.soft_CDHW[:, ~stroke], plain.soft_CDHW[:, ~stroke], atol=1e-6)
    assert (both.labels_DHW[stroke] == 2).all()


@EVERY
def test_each_label_comes_from_the_planes_that_show_it(
    name: str, ball: Phantom, annotate: Annotate, overlap_of: Overlap
) -> None:
    image, truth = ball
    left, right = annotate(truth, [6, 9, 12, 15, 18], [3, 21]), annotate(truth, [40, 44, 48], [34, 53], axis=2)
    labels = np.where(left.labels_DHW == 1, 1, np.where(right.labels_DHW == 2, 2, 0)).astype(np.uint8)
    known = np.stack([left.known_LDHW[0], right.known_LDHW[1]])
    proxy = make_propagator(name).propagate(image, SPACING, SparseAnnotation(labels, known, (*left.planes, *right.planes)))
    assert overlap_of(proxy.labels_DHW == 1, truth == 1) > 0.7
    assert overlap_of(proxy.labels_DHW == 2, truth == 2) > 0.7
