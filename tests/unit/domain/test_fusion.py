from __future__ import annotations

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.fusion import expected_dice, foresight, fuse, knowledge_of_ends, pooled_dice
from learner.domain.pooling import FRONT_END_ONLY, PoolWeights
from learner.domain.proxy import ProxyMask
from learner.domain.residual import residual

SHAPE = (5, 8, 8)
MM = (1.0, 1.0, 1.0)


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
    answer = fuse(proxy, nonsense, annotation, PoolWeights(0.0, 2.0), MM)
    np.testing.assert_array_equal(answer.argmax(axis=0)[2], square)
    assert answer[1, 0, 0, 0] > 0.5
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-5)


def test_a_network_without_trust_has_no_say(proxy: ProxyMask, annotation: SparseAnnotation) -> None:
    nonsense = one_hot(np.ones(SHAPE, np.uint8))
    np.testing.assert_array_equal(
        fuse(proxy, nonsense, annotation, FRONT_END_ONLY, MM), fuse(proxy, None, annotation, PoolWeights(0.0, 2.0), MM)
    )


def test_a_network_that_foresaw_the_drawing_has_foresight(square: np.ndarray) -> None:
    drawn, nothing = square.ravel(), np.zeros(0, np.uint8)
    assert foresight(drawn, one_hot(drawn), [1]) == 0.5
    assert foresight(drawn, one_hot(np.zeros_like(drawn)), [1]) == 0
    assert foresight(nothing, one_hot(nothing), [1]) == 0


def test_foresight_does_not_come_from_labels_that_nobody_looked_for(square: np.ndarray) -> None:
    drawn = square.ravel()
    wrong = one_hot(np.zeros_like(drawn), classes=3)
    assert foresight(drawn, wrong, [1]) == 0
    assert foresight(drawn, wrong, [1, 2]) > 0, "an absent label counts as foreseen where it was looked for"
    assert foresight(drawn, wrong, []) == 0


def test_pooled_dice_counts_all_slices_together(square: np.ndarray) -> None:
    empty = np.zeros_like(square)
    assert pooled_dice([square, empty], [square, empty], 2) == (1.0, 1.0)
    assert pooled_dice([square, square], [square, empty], 1) == (pytest.approx(2 / 3),)


def test_the_expected_dice_is_that_of_calibrated_probabilities() -> None:
    rng = np.random.default_rng(0)
    chance = rng.random((40, 40, 40)).astype(np.float32)
    truth = rng.random(chance.shape) < chance
    (expected,) = expected_dice(np.stack([1 - chance, chance]))
    chosen = chance > 0.5
    assert expected == pytest.approx(2 * (truth & chosen).sum() / (truth.sum() + chosen.sum()), abs=0.01)


def test_the_expected_dice_falls_as_short_as_it_was_found_to() -> None:
    chance = np.full((4, 4, 4), 0.8, np.float32)
    soft = np.stack([1 - chance, chance])
    (plain,) = expected_dice(soft)
    assert plain is not None
    twice, nothing, bounded = (expected_dice(soft, (), np.array([f], np.float32))[0] for f in (2.0, 0.0, 100.0))
    assert twice == pytest.approx(1 - 2 * (1 - plain))
    assert nothing == 1.0
    assert bounded == 0.0


def test_what_is_sure_is_expected_to_be_right() -> None:
    labels = np.zeros((4, 6, 6), np.uint8)
    labels[1:3, 2:4, 2:4] = 1
    assert expected_dice(one_hot(labels, 3), unknown_labels=(2,)) == (1.0, None)
    assert expected_dice(one_hot(labels, 3)) == (1.0, 1.0), "a label that is nowhere expected is rightly nowhere"


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
    proxy = ProxyMask(
        one_hot(stack(8, 9, 10, 11, 12)), np.where(stack(8, 9, 10, 11, 12) > 0, 0.1, 0.01).astype(np.float32), "test"
    )
    labels_DHW = fuse(proxy, one_hot(network_DHW), annotation, PoolWeights(0.3, 0.8), MM).argmax(axis=0)
    return [int(i) for i in np.flatnonzero(labels_DHW.any(axis=(1, 2)))]


def test_a_network_that_finds_the_structure_everywhere_continues_it_nowhere() -> None:
    assert answer_beyond(stack(*range(DEPTH)), drawn_on(8, 10, 12)) == [8, 9, 10, 11, 12]


def test_a_network_that_knows_where_the_structure_ends_continues_it() -> None:
    assert answer_beyond(stack(*range(6, 15)), drawn_on(8, 10, 12)) == list(range(6, 15))


def test_stated_ends_leave_the_network_its_say() -> None:
    factor = knowledge_of_ends(one_hot(stack(*range(DEPTH))), drawn_on(8, 10, 12, absent=(5, 15)), MM)
    assert (factor == 1).all()


def test_between_drawn_slices_the_network_keeps_its_say() -> None:
    factor = knowledge_of_ends(one_hot(stack(*range(DEPTH))), drawn_on(8, 10, 12), MM)
    assert factor.tolist() == [0.0] * 8 + [1.0] * 5 + [0.0] * 7


def test_slices_side_by_side_leave_a_network_that_knows_the_ends_its_say() -> None:
    network = one_hot(stack(*range(6, 14)))  # 8 mm long, about as wide
    assert (knowledge_of_ends(network, drawn_on(9, 10), MM) == 1).all()
    thick = (3.0, 1.0, 1.0)  # 24 mm long
    factor = knowledge_of_ends(network, drawn_on(9, 10), thick)
    assert factor[[9, 10]].tolist() == [1.0, 1.0]
    assert factor[[8, 11]].max() < 0.9
