from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.app.answering import answer_case, leave_out
from learner.domain.contract import with_label_count
from learner.domain.proxy import ProxyMask
from learner.propagation import ShapeInterpolation

SPACING = (2.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    z, y, x = np.mgrid[:20, :32, :32]
    return (((z - 10) / 7) ** 2 + ((y - 16) / 9) ** 2 + ((x - 16) / 9) ** 2 < 1).astype(np.uint8)


@pytest.fixture(scope="module")
def image(truth: np.ndarray) -> np.ndarray:
    return truth.astype(np.float32) * 100


def show(truth: np.ndarray, drawn: Sequence[int], absent: Sequence[int] = ()) -> SparseAnnotation:
    labels, known = np.zeros_like(truth), np.zeros((1, *truth.shape), bool)
    labels[list(drawn)] = truth[list(drawn)]
    known[:, [*drawn, *absent]] = True
    planes = [Plane(0, i) for i in drawn] + [Plane(0, i, PlaneKind.ABSENT) for i in absent]
    return SparseAnnotation(labels, known, tuple(sorted(planes)))


class FixedNetwork:
    """A network that has made up its mind; counts what it was shown."""

    def __init__(self, labels: np.ndarray) -> None:
        self.soft = np.stack([labels == 0, labels == 1]).astype(np.float32)
        self.shown: list[ProxyMask | None] = []

    def predict(self, image_DHW: np.ndarray, spacing_DHW: tuple[float, float, float], proxy: ProxyMask | None) -> np.ndarray:
        self.shown.append(proxy)
        return self.soft


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * ((one > 0) & (other > 0)).sum() / ((one > 0).sum() + (other > 0).sum())


def test_neither_drawing_nor_network_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="nothing to answer from"):
        answer_case(image, SPACING, None, 1, ShapeInterpolation(), None)


def test_an_annotation_of_another_task_is_refused(image: np.ndarray, truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="labels"):
        answer_case(image, SPACING, show(truth, [10]), 2, ShapeInterpolation(), None)


def test_round_0_is_the_network_alone(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    found = answer_case(image, SPACING, None, 1, ShapeInterpolation(), network)
    np.testing.assert_array_equal(found.answer.labels_DHW, truth)
    assert found.proxy is None
    assert found.answer.proxy_labels_DHW is None
    assert network.shown == [None]
    assert found.answer.guidance.suggestions
    assert not found.answer.residual_DHW.any()


def test_without_a_network_the_proxy_answers(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = show(truth, [6, 10, 14], [3, 17])
    found = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), None)
    np.testing.assert_array_equal(found.answer.labels_DHW, found.answer.proxy_labels_DHW)
    assert found.back_end_CDHW is None
    assert found.back_end_CDHW is None
    assert dice(found.answer.labels_DHW, truth) > 0.95
    assert found.trust == 0


def test_a_good_network_is_trusted_and_a_bad_one_is_not(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = show(truth, [5, 15])
    alone = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), None)
    good = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), FixedNetwork(truth))
    bad = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), FixedNetwork(1 - truth))
    assert good.trust > 0
    assert dice(good.answer.labels_DHW, truth) > dice(alone.answer.labels_DHW, truth)
    assert bad.trust == 0
    np.testing.assert_array_equal(bad.answer.labels_DHW, alone.answer.labels_DHW)
    assert bad.answer.residual_DHW.max() > 0.9


def test_drawn_slices_are_reproduced_exactly(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = show(truth, [6, 12], [2])
    found = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), FixedNetwork(np.roll(truth, 2, axis=1)))
    np.testing.assert_array_equal(found.answer.labels_DHW[annotation.known_DHW], annotation.labels_DHW[annotation.known_DHW])


def test_change_compares_with_the_round_before(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    before = np.stack([truth == 1, truth == 0]).astype(np.float32)
    found = answer_case(image, SPACING, None, 1, ShapeInterpolation(), network, before)
    assert found.answer.change_DHW.min() == 1
    np.testing.assert_array_equal(found.answer.residual_DHW, found.answer.change_DHW)
    same = answer_case(image, SPACING, None, 1, ShapeInterpolation(), network, network.soft)
    assert not same.answer.change_DHW.any()


def test_the_expected_dice_is_near_the_true_one(image: np.ndarray, truth: np.ndarray) -> None:
    found = answer_case(image, SPACING, show(truth, [4, 7, 10, 13, 16], [2, 18]), 1, ShapeInterpolation(), None)
    (expected,) = found.answer.estimated_dice
    assert abs(expected - dice(found.answer.labels_DHW, truth)) < 0.05
    single = answer_case(image, SPACING, show(truth, [10]), 1, ShapeInterpolation(), None)
    assert single.answer.estimated_dice is None


def test_left_out_slices_are_not_shown_to_either_end(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    annotation = show(truth, [6, 9, 12], [2])
    slices = leave_out(image, SPACING, annotation, ShapeInterpolation(), network)
    assert len(slices) == 3
    shown = [{int(i) for i in np.flatnonzero((p.confidence_DHW == 1).all(axis=(1, 2)))} for p in network.shown]
    assert shown[0].isdisjoint({6, 12})
    assert 9 in shown[0]
    assert 9 not in shown[1]


def test_a_network_that_foresaw_nothing_is_asked_once(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(1 - truth)
    answer_case(image, SPACING, show(truth, [6, 10, 14]), 1, ShapeInterpolation(), network)
    assert network.shown == [None]


def sagittal(truth: np.ndarray, *columns: int, kind: PlaneKind = PlaneKind.DRAWN) -> SparseAnnotation:
    known = np.zeros((1, *truth.shape), bool)
    known[..., list(columns)] = True
    planes = tuple(Plane(2, column, kind) for column in columns)
    return SparseAnnotation(np.where(known[0], truth, 0).astype(np.uint8), known, planes)


def strokes(truth: np.ndarray) -> SparseAnnotation:
    """A line through the structure, and one beside it, on one slice."""
    labels, known = np.zeros_like(truth), np.zeros((1, *truth.shape), bool)
    known[0, 10, 16, 10:22], known[0, 10, 2, 4:28] = True, True
    labels[known[0]] = truth[known[0]]
    return SparseAnnotation(labels, known)


def test_two_sagittal_planes_answer_for_an_axial_volume(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = sagittal(truth, 12, 19)
    known = annotation.known_DHW
    alone = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), None)
    good = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), FixedNetwork(truth))
    for found in (alone, good):
        np.testing.assert_array_equal(found.answer.labels_DHW[known], truth[known])
        assert found.answer.estimated_dice is not None
        assert found.answer.guidance.suggestions
    assert good.trust > 0, "judged on planes left out along their own axis"
    assert dice(good.answer.labels_DHW, truth) > dice(alone.answer.labels_DHW, truth) > 0.7


@pytest.mark.parametrize("axis", range(3))
def test_what_is_left_out_is_the_planes_section(image: np.ndarray, truth: np.ndarray, axis: int) -> None:
    labels, known = np.zeros_like(truth), np.zeros((1, *truth.shape), bool)
    planes = (Plane(axis, 8), Plane(axis, 11))
    for plane in planes:
        labels[plane.where], known[(slice(None), *plane.where)] = truth[plane.where], True
    first, second = leave_out(
        image, SPACING, SparseAnnotation(labels, known, planes), ShapeInterpolation(), FixedNetwork(truth)
    )
    for left, plane in ((first, planes[0]), (second, planes[1])):
        np.testing.assert_array_equal(left.truth_HW, truth.take(plane.index, axis=axis))
        np.testing.assert_array_equal(left.network_CHW[1], left.truth_HW)
        assert left.confidence_HW.max() < 1


def test_nothing_is_judged_by_accepted_planes(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    accepted = sagittal(truth, 12, 16, 19, kind=PlaneKind.CONFIRMED)
    found = answer_case(image, SPACING, accepted, 1, ShapeInterpolation(), network)
    assert (found.trust, network.shown) == (0.0, [None])
    assert found.answer.estimated_dice is None
    assert leave_out(image, SPACING, accepted, ShapeInterpolation(), network) == []


def test_strokes_alone_are_the_answer_where_there_is_no_network(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = strokes(truth)
    for network in (None, FixedNetwork(1 - truth)):
        found = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), network)
        np.testing.assert_array_equal(found.answer.labels_DHW, annotation.labels_DHW)
        assert (found.trust, found.answer.estimated_dice) == (0.0, None)
        assert found.answer.guidance.suggestions


def test_a_network_that_foresaw_the_strokes_answers_around_them(image: np.ndarray, truth: np.ndarray) -> None:
    shifted = np.roll(truth, 1, axis=2)
    annotation = strokes(truth)
    found = answer_case(image, SPACING, annotation, 1, ShapeInterpolation(), FixedNetwork(shifted))
    known = annotation.known_DHW
    assert 0 < found.trust <= 0.5
    np.testing.assert_array_equal(found.answer.labels_DHW[known], truth[known])
    np.testing.assert_array_equal(found.answer.labels_DHW[~known], shifted[~known])


class SecondLabel(FixedNetwork):
    """Finds a second label in a corner, unless it is shown a proxy, which has none of it."""

    def __init__(self, labels: np.ndarray) -> None:
        super().__init__(labels)
        corner = np.zeros_like(labels)
        corner[4:16, 2:8, 2:8] = 1
        self.alone = np.stack([(labels == 0) & (corner == 0), labels == 1, (labels == 0) & (corner == 1)]).astype(np.float32)
        self.soft = np.concatenate([self.soft, np.zeros_like(self.soft[:1])])

    def predict(self, image_DHW: np.ndarray, spacing_DHW: tuple[float, float, float], proxy: ProxyMask | None) -> np.ndarray:
        super().predict(image_DHW, spacing_DHW, proxy)
        return self.alone if proxy is None else self.soft


def test_a_label_that_nobody_looked_for_is_the_networks_to_find(image: np.ndarray, truth: np.ndarray) -> None:
    network = SecondLabel(truth)
    annotation = with_label_count(show(truth, [6, 10, 14], [2, 18]), 2)
    found = answer_case(image, SPACING, annotation, 2, ShapeInterpolation(), network)
    assert found.trust > 0
    np.testing.assert_array_equal(found.answer.labels_DHW == 2, network.alone[2] > 0)
    np.testing.assert_array_equal((found.answer.labels_DHW == 1)[[6, 10, 14]], truth[[6, 10, 14]] == 1)
    assert found.answer.estimated_dice[0] > 0.9
    assert found.answer.estimated_dice[1] is None
    assert found.answer.residual_DHW[network.alone[2] > 0].max() < 0.5, "the proxy does not contradict it"


def test_a_known_absence_is_not_the_networks_to_doubt(image: np.ndarray, truth: np.ndarray) -> None:
    known = show(truth, [6, 10, 14], [2, 18])
    both = SparseAnnotation(known.labels_DHW, np.concatenate([known.known_LDHW] * 2), known.planes)
    found = answer_case(image, SPACING, both, 2, ShapeInterpolation(), SecondLabel(truth))
    assert not (found.answer.labels_DHW == 2)[[6, 10, 14, 2, 18]].any()


def test_a_round_before_the_task_gained_a_label_is_compared(image: np.ndarray, truth: np.ndarray) -> None:
    network = SecondLabel(truth)
    before = np.stack([truth == 0, truth == 1]).astype(np.float32)
    found = answer_case(image, SPACING, None, 2, ShapeInterpolation(), network, before)
    np.testing.assert_array_equal(found.answer.change_DHW, network.alone[2])
