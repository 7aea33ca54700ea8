from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learner.domain.pooling import FRONT_END_ONLY, Evidence, PoolWeights, fit_alone, fit_pool, pool, sharpened, shortfall

SIDE = 24


def soft(labels_HW: np.ndarray, sure: float) -> np.ndarray:
    """Probabilities of a maker that says ``sure`` of what it chose."""
    one_hot = np.stack([labels_HW == 0, labels_HW == 1]).astype(np.float32)
    return one_hot * np.float32(sure) + (1 - one_hot) * np.float32(1 - sure)


@pytest.fixture
def disc() -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    return ((y - 12) ** 2 + (x - 12) ** 2 < 50).astype(np.uint8)


def noisy(labels_HW: np.ndarray, wrong: float, seed: int) -> np.ndarray:
    flipped = np.random.default_rng(seed).random(labels_HW.shape) < wrong
    return np.where(flipped, 1 - labels_HW, labels_HW).astype(np.uint8)


def slices(disc: np.ndarray, front: float, back: float, count: int = 4, seed: int = 0) -> Evidence:
    """Left-out slices on which front and back end are wrong on these shares of the voxels, each being 95 % sure."""
    confidence = np.full(disc.shape, 0.5, np.float32)
    return Evidence.joined(
        [
            Evidence.of_slice(
                i,
                disc,
                soft(noisy(disc, front, seed + 2 * i), 0.95),
                confidence,
                soft(noisy(disc, back, seed + 2 * i + 1), 0.95),
            )
            for i in range(count)
        ]
    )


def test_who_was_right_has_the_say(disc: np.ndarray) -> None:
    network = fit_pool(slices(disc, front=0.3, back=0.02), [], 0.2)
    proxy = fit_pool(slices(disc, front=0.02, back=0.3), [], 0.2)
    assert network.trust > 0.5
    assert proxy.trust < 0.2


def test_without_evidence_the_prior_holds() -> None:
    assert fit_pool(None, [], 0.3) == PoolWeights(1.0, 0.3)
    assert fit_alone([]) == PoolWeights(0.0, 1.0)
    assert FRONT_END_ONLY.trust == 0


def test_a_slice_of_this_case_counts_more_than_one_of_another(disc: np.ndarray) -> None:
    for_network, for_proxy = slices(disc, 0.3, 0.02), slices(disc, 0.02, 0.3)
    assert fit_pool(for_network, [for_proxy], 0.2).trust > fit_pool(for_proxy, [for_network], 0.2).trust


def test_pooled_probabilities_are_as_sure_as_they_are_right(disc: np.ndarray) -> None:
    weights = fit_pool(None, [slices(disc, 0.2, 0.2, seed=100 * i) for i in range(10)], 0.2)
    front, back = (soft(noisy(disc, 0.2, seed), 0.95) for seed in (9001, 9002))
    answer = pool(front, np.full(disc.shape, 0.5, np.float32), back, weights)
    agreed = front.argmax(axis=0) == back.argmax(axis=0)
    right = (answer.argmax(axis=0) == disc)[agreed].mean()
    assert answer.max(axis=0)[agreed].mean() == pytest.approx(right, abs=0.03)


def test_a_network_that_is_too_sure_of_itself_is_taken_back(disc: np.ndarray) -> None:
    weights = fit_alone([slices(disc, 0.5, 0.25, seed=100 * i) for i in range(10)])
    assert 0 < weights.back_end < 1
    assert sharpened(soft(disc, 0.95), weights).max() == pytest.approx(0.75, abs=0.04)


def test_large_slices_count_no_more_than_small_ones_and_are_thinned(disc: np.ndarray) -> None:
    large = np.kron(disc, np.ones((8, 8), np.uint8))
    evidence = Evidence.of_slice(0, large, soft(large, 0.9), np.ones(large.shape, np.float32), soft(large, 0.9))
    assert 200 <= evidence.truth_N.size <= 400


def test_nothing_near_is_no_evidence() -> None:
    empty = np.zeros((SIDE, SIDE), np.uint8)
    evidence = Evidence.of_slice(0, empty, soft(empty, 1.0), np.ones(empty.shape, np.float32), soft(empty, 1.0))
    assert evidence.truth_N.size == 0
    assert Evidence.joined([]) is None
    assert fit_pool(evidence, [evidence], 0.1) == PoolWeights(1.0, 0.1)


def test_evidence_of_a_task_that_gained_a_label_is_used_with_the_earlier(disc: np.ndarray) -> None:
    before = slices(disc, 0.3, 0.02)
    wider = [np.concatenate([c, np.zeros_like(c[:1])]) for c in (before.proxy_CN, before.network_CN)]
    after = Evidence(before.truth_N, wider[0], before.confidence_N, wider[1], before.slice_N)
    assert fit_pool(None, [before, after], 0.2).trust > fit_pool(None, [before], 0.2).trust


chances = st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6).map(
    lambda p: np.array([p, [1 - x for x in p]], np.float32)
)


@settings(max_examples=50, deadline=None)
@given(chances, chances, st.lists(st.floats(0, 1, width=32), min_size=6, max_size=6), st.floats(0, 3), st.floats(0, 3))
def test_a_pool_is_a_distribution_and_agrees_with_both_where_they_agree(
    proxy: np.ndarray, network: np.ndarray, confidence: list[float], front: float, back: float
) -> None:
    answer = pool(proxy, np.array(confidence, np.float32), network, PoolWeights(front, back))
    assert np.isfinite(answer).all()
    np.testing.assert_allclose(answer.sum(axis=0), 1, atol=1e-4)
    both = (proxy[0] > 0.51) & (network[0] > 0.51) & (front + back > 0.01)
    assert (answer[0][both] >= 0.5).all()


def test_where_the_proxy_claims_nothing_the_network_decides_and_where_the_network_has_no_say_the_proxy_does() -> None:
    proxy, network = np.array([[1.0, 1.0], [0.0, 0.0]], np.float32), np.array([[0.1, 0.1], [0.9, 0.9]], np.float32)
    confidence, weights = np.zeros(2, np.float32), PoolWeights(1.0, 0.5)
    assert pool(proxy, confidence, network, weights)[1].min() > 0.5
    np.testing.assert_array_equal(pool(proxy, confidence, network, weights, say=0.0), proxy)
    np.testing.assert_array_equal(pool(proxy, confidence, network, FRONT_END_ONLY), proxy)


def test_without_evidence_labels_fall_as_short_as_expected() -> None:
    assert shortfall(None, [], FRONT_END_ONLY, 2).tolist() == [1.0, 1.0]


def test_a_label_that_is_found_worse_than_it_says_falls_shorter_and_one_that_is_found_better_less(disc: np.ndarray) -> None:
    y = np.mgrid[:SIDE, :SIDE][0]
    truth = np.where(y < 12, disc, 2 * disc).astype(np.uint8)

    def said(first: float, second: float, seed: int) -> np.ndarray:
        """Chances, labels 80 % sure of themselves and background 99 %, where these shares of both labels were missed."""
        missed = np.random.default_rng(seed).random(truth.shape) < np.where(truth == 1, first, second)
        chosen = np.where(missed, 0, truth)
        sure = np.where(chosen > 0, 0.8, 0.99)
        return np.stack([np.where(chosen == number, sure, (1 - sure) / 2) for number in range(3)]).astype(np.float32)

    def case(seed: int) -> Evidence:
        confidence = np.full(truth.shape, 0.5, np.float32)
        chances = said(0.5, 0.0, seed)
        found = Evidence.joined([Evidence.of_slice(0, truth, chances, confidence, chances)])
        assert found is not None
        return found

    weights = PoolWeights(0.5, 0.5)
    worse, better = shortfall(None, [case(seed) for seed in range(8)], weights, 2)
    assert worse > 1.3
    assert worse * better == pytest.approx(1), "how far both of them fall short is another question"
    few = shortfall(None, [case(0)], weights, 2)[0]
    assert 1 < few < shortfall(case(0), [], weights, 2)[0] < worse, "a single slice says little, least one of another case"


def test_one_label_alone_falls_as_short_as_expected(disc: np.ndarray) -> None:
    before = slices(disc, front=0.3, back=0.3)
    assert shortfall(before, [], PoolWeights(0.5, 0.5), 1).tolist() == [1.0]
    assert shortfall(before, [], PoolWeights(0.5, 0.5), 2).tolist() == [1.0, 1.0], "the task gained the other since"
