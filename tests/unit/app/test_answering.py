from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.app.answering import answer_case, leave_out
from learner.domain.contract import with_label_count
from learner.domain.pooling import Evidence
from learner.domain.prior import CarriedPrior
from learner.domain.proxy import ProxyMask
from learner.propagation import make_propagator

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
    """A network that has made up its mind; counts how often it is asked."""

    def __init__(self, labels: np.ndarray) -> None:
        self.soft = np.stack([labels == 0, labels == 1]).astype(np.float32)
        self.asked = 0

    def predict(self, image_DHW: np.ndarray, spacing_DHW: tuple[float, float, float]) -> np.ndarray:
        self.asked += 1
        return self.soft


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * ((one > 0) & (other > 0)).sum() / ((one > 0).sum() + (other > 0).sum())


def test_neither_drawing_nor_network_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="nothing to answer from"):
        answer_case(image, SPACING, None, 1, make_propagator("shape-interpolation"), None)


def test_an_annotation_of_another_task_is_refused(image: np.ndarray, truth: np.ndarray) -> None:
    with pytest.raises(ValueError, match="labels"):
        answer_case(image, SPACING, show(truth, [10]), 2, make_propagator("shape-interpolation"), None)


def test_round_0_is_the_network_alone(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    found = answer_case(image, SPACING, None, 1, make_propagator("shape-interpolation"), network)
    np.testing.assert_array_equal(found.answer.labels_DHW, truth)
    assert found.proxy is None
    assert found.answer.proxy_labels_DHW is None
    assert network.asked == 1
    assert found.answer.guidance.suggestions
    assert not found.answer.residual_DHW.any()


def test_without_a_network_the_proxy_answers(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = show(truth, [6, 10, 14], [3, 17])
    found = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), None)
    np.testing.assert_array_equal(found.answer.labels_DHW, found.answer.proxy_labels_DHW)
    assert found.back_end_CDHW is None
    assert found.back_end_CDHW is None
    assert dice(found.answer.labels_DHW, truth) > 0.95
    assert found.trust == 0


def test_a_good_network_is_trusted_and_a_bad_one_is_not(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = show(truth, [5, 15])
    alone = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), None)
    good = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), FixedNetwork(truth))
    bad = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), FixedNetwork(1 - truth))
    assert good.trust > 0
    assert dice(good.answer.labels_DHW, truth) > dice(alone.answer.labels_DHW, truth)
    assert bad.trust == 0
    np.testing.assert_array_equal(bad.answer.labels_DHW, alone.answer.labels_DHW)
    assert bad.answer.residual_DHW.max() > 0.9


def test_drawn_slices_are_reproduced_exactly(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = show(truth, [6, 12], [2])
    found = answer_case(
        image, SPACING, annotation, 1, make_propagator("shape-interpolation"), FixedNetwork(np.roll(truth, 2, axis=1))
    )
    np.testing.assert_array_equal(found.answer.labels_DHW[annotation.known_DHW], annotation.labels_DHW[annotation.known_DHW])


def test_change_compares_with_the_round_before(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    before = np.stack([truth == 1, truth == 0]).astype(np.float32)
    found = answer_case(image, SPACING, None, 1, make_propagator("shape-interpolation"), network, before)
    assert found.answer.change_DHW.min() == 1
    np.testing.assert_array_equal(found.answer.residual_DHW, found.answer.change_DHW)
    same = answer_case(image, SPACING, None, 1, make_propagator("shape-interpolation"), network, network.soft)
    assert not same.answer.change_DHW.any()


def test_the_expected_dice_is_near_the_true_one(image: np.ndarray, truth: np.ndarray) -> None:
    found = answer_case(
        image, SPACING, show(truth, [4, 7, 10, 13, 16], [2, 18]), 1, make_propagator("shape-interpolation"), None
    )
    (expected,) = found.answer.estimated_dice
    assert abs(expected - dice(found.answer.labels_DHW, truth)) < 0.05
    single = answer_case(image, SPACING, show(truth, [10]), 1, make_propagator("shape-interpolation"), None)
    assert single.answer.estimated_dice is None


def test_left_out_slices_are_not_shown_to_the_front_end(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = show(truth, [6, 9, 12], [2])
    evidence = leave_out(image, SPACING, annotation, make_propagator("shape-interpolation"), FixedNetwork(truth).soft)
    assert evidence is not None
    assert sorted(set(evidence.slice_N.tolist())) == [0, 1, 2]
    assert evidence.confidence_N.max() < 1
    np.testing.assert_array_equal(evidence.network_CN[1] > 0.5, evidence.truth_N == 1)


def test_stated_ends_alone_leave_the_rest_to_the_network(image: np.ndarray, truth: np.ndarray) -> None:
    found = answer_case(
        image, SPACING, show(truth, [], [4, 18]), 1, make_propagator("shape-interpolation"), FixedNetwork(truth)
    )
    expected = truth.copy()
    expected[4] = 0
    np.testing.assert_array_equal(found.answer.labels_DHW, expected)


def test_one_look_of_the_network_is_enough_for_an_answer(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    answer_case(image, SPACING, show(truth, [6, 10, 14]), 1, make_propagator("shape-interpolation"), network)
    assert network.asked == 1


def test_a_network_that_foresaw_nothing_has_no_say_whatever_it_did_before(image: np.ndarray, truth: np.ndarray) -> None:
    good = answer_case(
        image, SPACING, show(truth, [4, 8, 12, 16]), 1, make_propagator("shape-interpolation"), FixedNetwork(truth)
    )
    assert good.evidence is not None
    annotation = show(truth, [6, 10, 14])
    bad = answer_case(
        image,
        SPACING,
        annotation,
        1,
        make_propagator("shape-interpolation"),
        FixedNetwork(1 - truth),
        experience=[good.evidence] * 10,
    )
    assert bad.trust == 0
    np.testing.assert_array_equal(bad.answer.labels_DHW, bad.answer.proxy_labels_DHW)


def test_experience_lets_a_network_help_from_the_first_slice_on(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    earlier = answer_case(image, SPACING, show(truth, [4, 10, 16]), 1, make_propagator("shape-interpolation"), network)
    assert earlier.evidence is not None
    single = show(truth, [10])
    new = answer_case(image, SPACING, single, 1, make_propagator("shape-interpolation"), network)
    used = answer_case(
        image, SPACING, single, 1, make_propagator("shape-interpolation"), network, experience=[earlier.evidence] * 5
    )
    assert used.trust > new.trust > 0
    assert dice(used.answer.labels_DHW, truth) >= dice(new.answer.labels_DHW, truth)
    assert new.answer.estimated_dice is None
    assert used.answer.estimated_dice is not None


def hesitant(network_DHW: np.ndarray, right: float) -> Evidence:
    """A slice on which a network that is quite sure was right on a share of the voxels."""
    truth_N = network_DHW[10].ravel().copy()
    wrong = np.arange(len(truth_N)) % 10 >= 10 * right
    network_CN = np.stack([truth_N == 0, truth_N == 1]) * 0.98 + 0.01
    truth_N[wrong] = 1 - truth_N[wrong]
    nothing = np.zeros(len(truth_N))
    halves, where = np.full_like(network_CN, 0.5, np.float16), nothing.astype(np.uint16)
    return Evidence(truth_N, halves, nothing.astype(np.float16), network_CN.astype(np.float16), where)


def test_before_anything_is_drawn_the_network_is_as_sure_as_it_was_right(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    network.soft = network.soft * 0.98 + 0.01
    found = answer_case(
        image, SPACING, None, 1, make_propagator("shape-interpolation"), network, experience=[hesitant(truth, 0.8)] * 20
    )
    np.testing.assert_array_equal(found.answer.labels_DHW, truth)
    assert found.answer.soft_CDHW.max() == pytest.approx(0.8, abs=0.03)
    np.testing.assert_array_equal(found.back_end_CDHW, network.soft)


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
    alone = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), None)
    good = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), FixedNetwork(truth))
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
    evidence = leave_out(
        image,
        SPACING,
        SparseAnnotation(labels, known, planes),
        make_propagator("shape-interpolation"),
        FixedNetwork(truth).soft,
    )
    assert evidence is not None
    for number, plane in enumerate(planes):
        there = evidence.slice_N == number
        drawn = truth.take(plane.index, axis=axis)
        assert 0.4 < evidence.truth_N[there].sum() / drawn.sum() <= 1, "all of it, or every other voxel"
        np.testing.assert_array_equal(evidence.network_CN[1][there], evidence.truth_N[there])
        assert evidence.confidence_N[there].max() < 1


def test_nothing_is_judged_by_accepted_planes(image: np.ndarray, truth: np.ndarray) -> None:
    network = FixedNetwork(truth)
    accepted = sagittal(truth, 12, 16, 19, kind=PlaneKind.CONFIRMED)
    found = answer_case(image, SPACING, accepted, 1, make_propagator("shape-interpolation"), network)
    assert (found.trust, found.evidence) == (0.0, None)
    assert found.answer.estimated_dice is None
    assert leave_out(image, SPACING, accepted, make_propagator("shape-interpolation"), network.soft) is None


def test_strokes_alone_are_the_answer_where_there_is_no_network(image: np.ndarray, truth: np.ndarray) -> None:
    annotation = strokes(truth)
    for network in (None, FixedNetwork(1 - truth)):
        found = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), network)
        np.testing.assert_array_equal(found.answer.labels_DHW, annotation.labels_DHW)
        assert (found.trust, found.answer.estimated_dice) == (0.0, None)
        assert found.answer.guidance.suggestions


def test_a_network_that_foresaw_the_strokes_answers_around_them(image: np.ndarray, truth: np.ndarray) -> None:
    shifted = np.roll(truth, 1, axis=2)
    annotation = strokes(truth)
    found = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), FixedNetwork(shifted))
    known = annotation.known_DHW
    assert 0 < found.trust <= 0.5
    np.testing.assert_array_equal(found.answer.labels_DHW[known], truth[known])
    np.testing.assert_array_equal(found.answer.labels_DHW[~known], shifted[~known])


class SecondLabel(FixedNetwork):
    """Finds a second label in a corner."""

    def __init__(self, labels: np.ndarray) -> None:
        super().__init__(labels)
        corner = np.zeros_like(labels)
        corner[4:16, 2:8, 2:8] = 1
        self.soft = np.stack([(labels == 0) & (corner == 0), labels == 1, (labels == 0) & (corner == 1)]).astype(np.float32)


def test_a_label_that_nobody_looked_for_is_the_networks_to_find(image: np.ndarray, truth: np.ndarray) -> None:
    network = SecondLabel(truth)
    annotation = with_label_count(show(truth, [6, 10, 14], [2, 18]), 2)
    found = answer_case(image, SPACING, annotation, 2, make_propagator("shape-interpolation"), network)
    assert found.trust > 0
    np.testing.assert_array_equal(found.answer.labels_DHW == 2, network.soft[2] > 0)
    np.testing.assert_array_equal((found.answer.labels_DHW == 1)[[6, 10, 14]], truth[[6, 10, 14]] == 1)
    assert found.answer.estimated_dice[0] > 0.9
    assert found.answer.estimated_dice[1] is None
    assert found.answer.residual_DHW[network.soft[2] > 0].max() < 0.5, "the proxy does not contradict it"


def test_a_known_absence_is_not_the_networks_to_doubt(image: np.ndarray, truth: np.ndarray) -> None:
    known = show(truth, [6, 10, 14], [2, 18])
    both = SparseAnnotation(known.labels_DHW, np.concatenate([known.known_LDHW] * 2), known.planes)
    found = answer_case(image, SPACING, both, 2, make_propagator("shape-interpolation"), SecondLabel(truth))
    assert not (found.answer.labels_DHW == 2)[[6, 10, 14, 2, 18]].any()


def test_a_round_before_the_task_gained_a_label_is_compared(image: np.ndarray, truth: np.ndarray) -> None:
    network = SecondLabel(truth)
    before = np.stack([truth == 0, truth == 1]).astype(np.float32)
    found = answer_case(image, SPACING, None, 2, make_propagator("shape-interpolation"), network, before)
    np.testing.assert_array_equal(found.answer.change_DHW, network.soft[2])


def carried(labels: np.ndarray, sure: float = 0.6, label_count: int = 1, unknown: tuple[int, ...] = ()) -> CarriedPrior:
    soft = np.stack([labels == number for number in range(label_count + 1)]).astype(np.float32)
    return CarriedPrior(ProxyMask(soft, np.full(labels.shape, sure, np.float32), "prior-study"), 0.9, unknown_labels=unknown)


def test_a_prior_study_answers_where_nothing_is_drawn_and_no_network_serves(image: np.ndarray, truth: np.ndarray) -> None:
    answered = answer_case(image, SPACING, None, 1, make_propagator("shape-interpolation"), None, prior=carried(truth))
    np.testing.assert_array_equal(answered.answer.labels_DHW, truth)
    assert answered.answer.guidance.suggestions
    assert (answered.proxy, answered.answer.proxy_labels_DHW, answered.answer.estimated_dice) == (None, None, None)


def test_a_prior_study_and_a_network_are_blended_and_their_disagreement_is_shown(image: np.ndarray, truth: np.ndarray) -> None:
    other = np.roll(truth, 4, axis=1)
    answers = {
        sure: answer_case(
            image, SPACING, None, 1, make_propagator("shape-interpolation"), FixedNetwork(other), prior=carried(truth, sure)
        ).answer
        for sure in (0.1, 0.8)
    }
    np.testing.assert_array_equal(answers[0.8].labels_DHW, truth)
    np.testing.assert_array_equal(answers[0.1].labels_DHW, other)
    np.testing.assert_array_equal(answers[0.8].residual_DHW > 0.5, truth != other)


def test_where_something_is_drawn_the_prior_study_has_no_say(image: np.ndarray, truth: np.ndarray) -> None:
    wrong = np.roll(truth, 9, axis=2)
    annotation = show(truth, [6, 10, 14])
    with_prior = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), None, prior=carried(wrong))
    without = answer_case(image, SPACING, annotation, 1, make_propagator("shape-interpolation"), None)
    np.testing.assert_array_equal(with_prior.answer.soft_CDHW, without.answer.soft_CDHW)


def test_of_a_label_that_nobody_looked_for_in_the_prior_study_the_network_decides(image: np.ndarray, truth: np.ndarray) -> None:
    two = np.where(np.roll(truth, 12, axis=1) & (truth == 0), 2, truth).astype(np.uint8)
    network = FixedNetwork(truth)
    network.soft = np.stack([two == number for number in range(3)]).astype(np.float32)
    prior = carried(truth, 0.8, label_count=2, unknown=(2,))
    answered = answer_case(image, SPACING, None, 2, make_propagator("shape-interpolation"), network, prior=prior)
    np.testing.assert_array_equal(answered.answer.labels_DHW, two)
