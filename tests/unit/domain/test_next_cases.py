from __future__ import annotations

import dataclasses

from learner.domain.case import Case, Round, RoundState
from learner.domain.next_cases import rank_cases


def answered(case_id: int, dice: float | None, drawn: int = 0, site: str = "a", *, enough: bool = False) -> tuple[Case, Round]:
    facts: dict[str, object] = {
        "estimated_dice": [dice, None] if dice is not None else None,
        "drawn_slices": list(range(drawn)),
        "site": site,
        "enough": enough,
    }
    one = Round(case_id, f"trigger-{case_id}", "1.2", RoundState.ANSWERED, case_id, 1, "", "", "", 0.0, 1.0, facts)
    return Case(case_id, "prostate", "1.1", f"1.2.{case_id}"), one


def order(*cases: tuple[Case, Round]) -> list[int]:
    return [one.case.case_id for one in rank_cases(cases)]


def test_the_answer_that_is_expected_to_be_poorest_comes_first() -> None:
    assert order(answered(1, 0.9), answered(2, 0.6), answered(3, 0.8)) == [2, 3, 1]


def test_a_case_that_nobody_drew_on_goes_before_one_that_is_begun() -> None:
    assert order(answered(1, 0.8, drawn=2), answered(2, 0.8)) == [2, 1]


def test_a_site_that_nothing_was_drawn_from_goes_before_a_known_one() -> None:
    cases = [answered(1, 0.9, 3), answered(2, 0.9, 3), answered(3, 0.8), answered(4, 0.85, site="b")]
    assert order(*cases)[0] == 4
    assert "nothing was drawn at this site" in rank_cases(cases)[0].reason


def test_what_has_enough_drawn_is_left_out_and_round_0_never_has() -> None:
    assert order(answered(1, 0.9, 5, enough=True), answered(2, 0.95, enough=True)) == [2]


def test_an_answer_of_which_nothing_is_known_is_ranked_too() -> None:
    found = rank_cases([answered(1, None), answered(2, 0.9), answered(3, 0.2)])
    assert [one.case.case_id for one in found] == [3, 1, 2]
    assert found[1].expected_dice is None
    assert "nothing is known" in found[1].reason


def test_facts_of_older_versions_do_no_harm() -> None:
    case, one = answered(1, 0.5)
    assert len(rank_cases([(case, dataclasses.replace(one, facts={}))])) == 1
    assert rank_cases([]) == ()
