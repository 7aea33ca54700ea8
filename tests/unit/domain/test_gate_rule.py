"""The rule by which a version serves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from learning_fakes import example

from dicom_io.annotation import Plane, PlaneKind
from learner.domain.gate import FLOOR, SITE_SLICES, CaseScore, decide, deficits_of, foresight, score_case, standard_error

DICE = st.floats(0.0, 1.0)


def scores(*values: float, site: str = "", task: str = "liver") -> list[CaseScore]:
    return [CaseScore(task, site, 3, (value,)) for value in values]


def test_equal_versions_pass_and_much_worse_ones_do_not() -> None:
    served = scores(0.8, 0.7, 0.9)
    assert decide(served, served, ["liver"]).serve
    verdict = decide(scores(0.5, 0.4, 0.6), served, ["liver"])
    assert not verdict.serve
    assert "worse: label 1 of liver" in verdict.reason


def test_few_cases_are_given_more_room_than_many() -> None:
    assert decide(scores(0.75), scores(0.80), ["liver"]).serve
    assert not decide(scores(*[0.75] * 8), scores(*[0.80] * 8), ["liver"]).serve


def test_one_label_that_is_worse_is_enough() -> None:
    served = [CaseScore("liver", "", 3, (0.8, 0.8))] * 4
    assert not decide([CaseScore("liver", "", 3, (0.99, 0.5))] * 4, served, ["liver"]).serve


def test_one_site_that_is_worse_is_enough_if_it_has_enough_slices() -> None:
    served = scores(*[0.8] * 8, site="a") + scores(0.8, 0.8, site="b")
    candidate = scores(*[0.85] * 8, site="a") + scores(0.6, 0.6, site="b")
    assert SITE_SLICES <= 2 * 3
    verdict = decide(candidate, served, ["liver"])
    assert "at site b" in verdict.reason
    assert decide(candidate[:-1], served[:-1], ["liver"]).serve, "three slices of a site decide nothing"


def test_a_first_network_has_to_be_better_than_nothing() -> None:
    assert not decide(scores(FLOOR - 0.01), None, ()).serve
    verdict = decide(scores(FLOOR), None, ())
    assert (verdict.serve, verdict.tasks) == (True, ("liver",))
    assert not decide([], None, ()).serve


def test_a_task_that_is_not_served_holds_nothing_back() -> None:
    candidate = scores(0.8) + scores(0.1, task="spleen")
    verdict = decide(candidate, candidate, ["liver"])
    assert (verdict.serve, verdict.tasks) == (True, ("liver",))
    better = scores(0.8) + scores(0.4, task="spleen")
    assert decide(better, candidate, ["liver"]).tasks == ("liver", "spleen")


def test_a_served_task_that_cannot_be_judged_holds_all_back() -> None:
    verdict = decide(scores(0.8, task="spleen"), scores(0.8, task="spleen"), ["liver", "spleen"])
    assert not verdict.serve
    assert "no drawn slice is at hand to judge it for liver" in verdict.reason


def test_what_a_person_chose_gives_way_to_what_is_clearly_better_only() -> None:
    served = scores(0.8, 0.7, 0.9)
    assert not decide(served, served, ["liver"], pinned=True).serve
    assert decide(scores(0.95, 0.85, 1.0), served, ["liver"], pinned=True).serve


def test_small_losses_do_not_add_up() -> None:
    """Each version is a little worse than the one before, too little to be told by itself."""
    level, deficits, served = 0.9, deficits_of({}), 0
    best = scores(*[level] * 6)
    for _ in range(20):
        candidate = scores(*[score.dice[0] - 0.01 for score in best])  # type: ignore[operator]
        verdict = decide(candidate, best, ["liver"], deficits)
        if not verdict.serve:
            break
        best, deficits, served = candidate, deficits_of(verdict.facts()), served + 1
    assert 1 <= served <= 4
    assert level - (best[0].dice[0] or 0.0) < 0.05


@given(st.lists(st.tuples(DICE, DICE), min_size=1, max_size=8))
def test_what_is_nowhere_worse_always_passes(pairs: list[tuple[float, float]]) -> None:
    served, candidate = scores(*[min(p) for p in pairs]), scores(*[max(p) for p in pairs])
    assert decide(candidate, served, ["liver"]).serve


@given(st.lists(st.tuples(DICE, DICE), min_size=1, max_size=8))
def test_the_order_of_cases_plays_no_part(pairs: list[tuple[float, float]]) -> None:
    one = decide(scores(*[p[0] for p in pairs]), scores(*[p[1] for p in pairs]), ["liver"])
    other = decide(scores(*[p[0] for p in pairs[::-1]]), scores(*[p[1] for p in pairs[::-1]]), ["liver"])
    assert one.serve == other.serve


def test_the_standard_error_of_one_case_is_the_usual_one_and_falls_with_more() -> None:
    assert standard_error(np.array([0.3])) == pytest.approx(0.05)
    assert standard_error(np.zeros(8)) < 0.02
    spread = np.random.default_rng(0).normal(0, 0.1, 100_000)
    assert standard_error(spread) == pytest.approx(0.1 / np.sqrt(100_000), rel=0.02)


def test_only_what_readers_drew_is_judged() -> None:
    case = example("a", drawn=(1, 3))
    planes = (Plane(0, 1), Plane(0, 3, PlaneKind.CONFIRMED))
    case = replace(case, annotation=replace(case.annotation, planes=planes))
    soft_CDHW = np.zeros((2, 6, 8, 8), dtype=np.float32)
    soft_CDHW[0] = 1.0
    soft_CDHW[1, 1, 2:6, 2:6] = 2.0
    assert score_case(case, soft_CDHW) == CaseScore("liver", "", 1, (1.0,)), "slice 3 was accepted, not drawn"
    assert foresight(case.annotation, np.flip(soft_CDHW, axis=1)) == (0.0,)


def test_labels_that_the_task_gained_later_are_not_judged() -> None:
    soft_CDHW = np.zeros((3, 6, 8, 8), dtype=np.float32)
    soft_CDHW[0], soft_CDHW[2, :, :, :] = 0.4, 0.6
    soft_CDHW[1, :, 2:6, 2:6] = 2.0
    assert score_case(example("a"), soft_CDHW).dice == (1.0, None)
