from __future__ import annotations

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.fusion import (
    LeftOut,
    blend,
    earned_trust,
    estimated_dice,
    fuse,
    knowledge_of_ends,
    pooled_dice,
    trust_from_first_drawing,
)
from learner.domain.proxy import ProxyMask
from learner.domain.residual import residual

SHAPE = (5, 8, 8)


def one_hot(labels: np.ndarray, classes: int = 2) -> np.ndarray:
    return np.stack([labels == c for c in range(classes)]).astype(np.float32)


@pytest.fixture
def square() -> np.ndarray:
    labels = np.zeros((8, 8), np.uint8)
    labels[2:6, 2:6] = 1
    return labels


@pytest.fixture
def annotation(square: np.ndarray) -> SparseAnnotation:
    labels, known = np.zeros(SHAPE, np.uint8), np.zeros((1, *SHAPE), bool)
    labels[2], known[:, 2] = square, True
    return SparseAnnotation(labels, known, (Plane(0, 2),))


@pytest.fixture
def proxy(square: np.ndarray) -> ProxyMask:
    confidence = np.full(SHAPE, 0.5, np.float32)
    confidence[2] = 1
    return ProxyMask(one_hot(np.broadcast_to(square, SHAPE)), confidence, "test")


def test_the_answer_is_exact_on_what_is_drawn(proxy: ProxyMask, annotation: SparseAnnotation, square: np.ndarray) -> None:
    nonsense = one_hot(np.ones(SHAPE, np.uint8))
    answer = fuse(proxy, nonsense, annotation, 0.9)
    np.testing.assert_array_equal(answer.argmax(axis=0)[2], square)
    assert answer[1, 0, 0, 0] > 0.5
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-5)


def test_a_network_without_trust_has_no_say(proxy: ProxyMask, annotation: SparseAnnotation) -> None:
    nonsense = one_hot(np.ones(SHAPE, np.uint8))
    np.testing.assert_array_equal(fuse(proxy, nonsense, annotation, 0.0), fuse(proxy, None, annotation, 0.0))


def test_the_network_has_more_say_the_more_it_is_trusted_and_the_less_the_proxy_is_sure() -> None:
    proxy, network = one_hot(np.zeros((4, 4), np.uint8)), one_hot(np.ones((4, 4), np.uint8))
    half = np.full((4, 4), 0.5, np.float32)
    shares = [blend(proxy, half, network, trust)[1, 0, 0] for trust in (0.0, 0.2, 0.5, 0.9)]
    assert shares[0] == 0
    assert (np.diff(shares) > 0).all()
    doubts = [blend(proxy, np.full((4, 4), c, np.float32), network, 0.5)[1, 0, 0] for c in (1.0, 0.7, 0.2, 0.0)]
    assert doubts[0] == 0
    assert (np.diff(doubts) > 0).all()


def test_the_network_alone_answers_where_nothing_is_drawn() -> None:
    network = one_hot(np.ones(SHAPE, np.uint8))
    np.testing.assert_array_equal(fuse(None, network, None, 0.0), network)


def test_neither_end_is_refused() -> None:
    with pytest.raises(ValueError, match="neither"):
        fuse(None, None, None, 0.5)


def left_out(truth: np.ndarray, proxy: np.ndarray, network: np.ndarray | None) -> LeftOut:
    return LeftOut(truth, one_hot(proxy), np.full(truth.shape, 0.5, np.float32), None if network is None else one_hot(network))


def test_trust_is_earned_on_left_out_slices(square: np.ndarray) -> None:
    bad = np.roll(square, 3, axis=0)
    assert earned_trust([left_out(square, bad, square)]) > 0.3
    assert earned_trust([left_out(square, square, bad)]) == 0
    assert earned_trust([left_out(square, square, square)]) == 0, "the prior is against the network"
    assert earned_trust([left_out(square, bad, None)]) == 0
    assert earned_trust([]) == 0


def test_a_first_drawing_earns_half_at_most(square: np.ndarray) -> None:
    drawn, nothing = square.ravel(), np.zeros(0, np.uint8)
    assert trust_from_first_drawing(drawn, one_hot(drawn), [1]) == 0.5
    assert trust_from_first_drawing(drawn, one_hot(np.zeros_like(drawn)), [1]) == 0
    assert trust_from_first_drawing(nothing, one_hot(nothing), [1]) == 0


def test_trust_does_not_come_from_labels_that_nobody_looked_for(square: np.ndarray) -> None:
    drawn = square.ravel()
    wrong = one_hot(np.zeros_like(drawn), classes=3)
    assert trust_from_first_drawing(drawn, wrong, [1]) == 0
    assert trust_from_first_drawing(drawn, wrong, [1, 2]) > 0, "an absent label counts as foreseen where it was looked for"
    assert trust_from_first_drawing(drawn, wrong, []) == 0


def test_pooled_dice_counts_all_slices_together(square: np.ndarray) -> None:
    empty = np.zeros_like(square)
    assert pooled_dice([square, empty], [square, empty], 2) == (1.0, 1.0)
    assert pooled_dice([square, square], [square, empty], 1) == (pytest.approx(2 / 3),)


def test_the_expected_dice_counts_drawn_slices_as_right(square: np.ndarray, annotation: SparseAnnotation) -> None:
    answer = np.broadcast_to(square, SHAPE)
    wrong = left_out(square, np.zeros_like(square), None)
    (expected,) = estimated_dice([wrong], 0.0, answer, annotation, nearness=1.0)
    assert expected == pytest.approx(1 / 5)
    (nearer,) = estimated_dice([wrong], 0.0, answer, annotation, nearness=0.5)
    assert nearer == pytest.approx(1 - 0.5 * 4 / 5)
    assert estimated_dice([], 0.0, answer, annotation, nearness=1.0) is None


def test_the_residual_is_the_largest_difference_of_any_class() -> None:
    one = np.array([0.7, 0.2, 0.1], np.float32).reshape(3, 1, 1, 1)
    other = np.array([0.1, 0.3, 0.6], np.float32).reshape(3, 1, 1, 1)
    assert residual(one, other).item() == pytest.approx(0.6)
    assert residual(one, one).item() == 0
    assert residual(one, None) is None
    with pytest.raises(ValueError, match="cannot be compared"):
        residual(one, other[:2])


DEPTH = 20


def stack(*slices: int) -> np.ndarray:
    labels_DHW = np.zeros((DEPTH, 12, 12), np.uint8)
    labels_DHW[list(slices), 3:9, 3:9] = 1
    return labels_DHW


def drawn_on(*slices: int, absent: tuple[int, ...] = ()) -> SparseAnnotation:
    known_LDHW = np.zeros((1, DEPTH, 12, 12), bool)
    known_LDHW[:, [*slices, *absent]] = True
    planes = [Plane(0, i) for i in slices] + [Plane(0, i, PlaneKind.ABSENT) for i in absent]
    return SparseAnnotation(stack(*slices), known_LDHW, tuple(sorted(planes)))


def answer_beyond(network_DHW: np.ndarray, annotation: SparseAnnotation) -> list[int]:
    """Slices with foreground in the answer, where the proxy claims nothing beyond slices 8 to 12 and is not sure of it."""
    proxy = ProxyMask(one_hot(stack(8, 9, 10, 11, 12)), np.full((DEPTH, 12, 12), 0.1, np.float32), "test")
    labels_DHW = fuse(proxy, one_hot(network_DHW), annotation, 0.9).argmax(axis=0)
    return [int(i) for i in np.flatnonzero(labels_DHW.any(axis=(1, 2)))]


def test_a_network_that_finds_the_structure_everywhere_continues_it_nowhere() -> None:
    assert answer_beyond(stack(*range(DEPTH)), drawn_on(8, 10, 12)) == [8, 9, 10, 11, 12]


def test_a_network_that_knows_where_the_structure_ends_continues_it() -> None:
    assert answer_beyond(stack(*range(6, 15)), drawn_on(8, 10, 12)) == list(range(6, 15))


def test_stated_ends_leave_the_network_its_say() -> None:
    factor = knowledge_of_ends(one_hot(stack(*range(DEPTH))), drawn_on(8, 10, 12, absent=(5, 15)))
    assert (factor == 1).all()


def test_between_drawn_slices_the_network_keeps_its_say() -> None:
    factor = knowledge_of_ends(one_hot(stack(*range(DEPTH))), drawn_on(8, 10, 12))
    assert factor.tolist() == [0.0] * 8 + [1.0] * 5 + [0.0] * 7
