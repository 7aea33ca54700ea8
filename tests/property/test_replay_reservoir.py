from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from learner.memory.diversity import redundancy
from learner.memory.replay import ReplayEntry, ReplayMemory

NOWHERE = Path("never-written")


def _entry(memory: ReplayMemory, key: str, *, size: int = 1, purity: float = 0.5, group: str = "task") -> ReplayEntry:
    return ReplayEntry(key, group, f"{key}.npz", size, purity, -1.0, memory._rank(key, purity))


def test_every_case_of_a_stream_has_the_same_chance_to_stay() -> None:
    stream, capacity, trials = 20, 5, 1200
    kept = np.zeros(stream)
    for seed in range(trials):
        memory = ReplayMemory(NOWHERE, capacity, seed=seed)
        for number in range(stream):
            memory.admit(_entry(memory, f"k{number}"))
        for entry in memory.entries:
            kept[int(entry.key[1:])] += 1
    assert kept.sum() == capacity * trials
    # without replacement the counts vary less than multinomial ones by the factor 1 - capacity / stream: so the test is strict
    statistic = ((kept - capacity * trials / stream) ** 2 / (capacity * trials / stream)).sum() / (1 - capacity / stream)
    assert stats.chi2.sf(statistic, stream - 1) > 1e-3


def test_rounds_of_a_case_buy_no_chances() -> None:
    trials, kept = 1500, 0
    for seed in range(trials):
        memory = ReplayMemory(NOWHERE, 5, seed=seed)
        for number in range(20):
            memory.admit(_entry(memory, f"k{number}"))
            memory.admit(_entry(memory, "eager"))
        kept += any(entry.key == "eager" for entry in memory.entries)
    # 5 of 21, had it come once; six standard deviations
    assert kept / trials == pytest.approx(5 / 21, abs=6 * (0.24 * 0.76 / trials) ** 0.5)


def test_pure_cases_stay_more_often() -> None:
    kept = {"pure": 0, "impure": 0}
    for seed in range(300):
        memory = ReplayMemory(NOWHERE, 6, seed=seed)
        for number in range(24):
            kind = "pure" if number % 2 else "impure"
            memory.admit(_entry(memory, f"{kind}{number}", purity=0.9 if number % 2 else 0.3))
        for entry in memory.entries:
            kept[entry.key.rstrip("0123456789")] += 1
    assert kept["pure"] > 1.7 * kept["impure"]


@given(
    arrivals=st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 40), st.floats(0.05, 1.0), st.sampled_from("xy")), max_size=40
    ),
    capacity=st.integers(1, 150),
    seed=st.integers(0, 5),
)
def test_the_memory_never_exceeds_its_capacity_and_holds_each_case_once(
    arrivals: list[tuple[int, int, float, str]], capacity: int, seed: int
) -> None:
    memory = ReplayMemory(NOWHERE, capacity, seed=seed)
    for key, size, purity, group in arrivals:
        entry = _entry(memory, f"k{key}", size=size, purity=purity, group=group)
        stayed = memory.admit(entry)
        assert stayed == (entry in memory.entries)
        assert memory.used_bytes <= capacity
        keys = [kept.key for kept in memory.entries]
        assert len(keys) == len(set(keys))
    again = ReplayMemory(NOWHERE, capacity, seed=seed)
    again.restore_index(memory.index())
    assert again.entries == memory.entries


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 9))
def test_drawing_depends_on_the_generator_alone(seed: int, count: int) -> None:
    memory = ReplayMemory(NOWHERE, 100)
    for number in range(7):
        memory.admit(_entry(memory, f"k{number}", purity=0.1 + 0.1 * number))
    first, second = (memory.draw(count, np.random.default_rng(seed)) for _ in range(2))
    assert first == second
    assert len(first) == count


@given(
    points=st.lists(st.tuples(st.floats(-3, 3), st.floats(-3, 3)), min_size=2, max_size=30),
    capacity=st.integers(1, 12),
    share=st.floats(0, 1),
)
def test_what_goes_is_among_the_lowest_ranks_and_no_less_redundant_than_they(
    points: list[tuple[float, float]], capacity: int, share: float
) -> None:
    memory = ReplayMemory(NOWHERE, capacity, redundant_share=share)
    for number, point in enumerate(points):
        before = [*memory.entries, replace(_entry(memory, f"k{number}"), descriptor=point)]
        memory.admit(before[-1])
        gone = set(before) - set(memory.entries)
        assert len(gone) == (len(before) > capacity)
        if gone:
            ranked = sorted(before, key=lambda entry: entry.rank)
            candidates = ranked[: max(1, math.ceil(share * len(ranked)))]
            nearest = dict(zip(ranked, redundancy([entry.descriptor for entry in ranked]), strict=True))
            (victim,) = gone
            assert victim in candidates
            assert nearest[victim] == min(nearest[entry] for entry in candidates)
