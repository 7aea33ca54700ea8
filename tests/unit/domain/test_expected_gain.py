from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain import expected_gain
from learner.domain.expected_gain import ExpectedGain
from learner.domain.guidance import Situation
from learner.domain.lookahead import DEFAULT_EXPECTATION, edge, edge_errors
from learner.domain.spacing_rules import ForegroundRandom, Uniform
from learner.guidance import guidance_rules, make_guidance_rule

DEPTH = 40
RULES = [ExpectedGain(), Uniform(), ForegroundRandom()]


def drawing(drawn: dict[int, int], absent: Sequence[int] = (), depth: int = DEPTH) -> SparseAnnotation:
    """Squares with these half sides on these slices."""
    labels, known = np.zeros((depth, 32, 32), np.uint8), np.zeros((1, depth, 32, 32), bool)
    for index, half in drawn.items():
        labels[index, 16 - half : 16 + half, 16 - half : 16 + half] = 1
    known[:, [*drawn, *absent]] = True
    planes = [Plane(0, i) for i in drawn] + [Plane(0, i, PlaneKind.ABSENT) for i in absent]
    return SparseAnnotation(labels, known, tuple(sorted(planes)))


def situation(annotation: SparseAnnotation, spacing: float = 1.0, **more: object) -> Situation:
    return Situation(len(annotation.labels_DHW), (spacing, spacing, spacing), annotation=annotation, **more)  # type: ignore[arg-type]


def indices(rule: object, of: Situation, count: int = 5) -> list[int]:
    return [s.index for s in rule.rank(of, count).suggestions]  # type: ignore[attr-defined]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_never_a_known_slice_nor_one_twice_nor_an_interpolated_one(rule: object) -> None:
    acquired = frozenset(range(0, DEPTH, 2))
    for known in (drawing({20: 8}), drawing({12: 5, 20: 8}, [30]), drawing({20: 8}, [10, 30])):
        found = indices(rule, situation(known, acquired=acquired), DEPTH)
        assert found
        assert len(set(found)) == len(found)
        assert set(found) <= acquired - set(known.planes_of(axis=0))


def test_the_widest_gap_comes_first_where_the_ends_are_known() -> None:
    found = indices(ExpectedGain(), situation(drawing({8: 8, 12: 8, 28: 8, 32: 8}, [7, 33])))
    assert found[0] == 20


def test_a_large_section_weighs_more_than_a_small_one() -> None:
    found = indices(ExpectedGain(), situation(drawing({4: 12, 16: 12, 18: 3, 30: 3}, [3, 31])))
    assert found[0] == 10


def test_an_unknown_end_is_worth_more_than_any_slice_between_and_is_jumped_at() -> None:
    guidance = ExpectedGain().rank(situation(drawing({14: 8, 18: 8}, [13])))
    assert guidance.suggestions[0].index > 21
    assert "structure may" in guidance.suggestions[0].reason
    assert not guidance.enough


def test_an_end_between_a_drawn_and_an_empty_slice_is_bisected() -> None:
    found = ExpectedGain().rank(situation(drawing({10: 8, 14: 8}, [9, 30])))
    assert 17 <= found.suggestions[0].index <= 26
    assert "ends somewhere" in found.suggestions[0].reason


def test_slices_asked_for_at_once_are_spread() -> None:
    found = indices(ExpectedGain(), situation(drawing({5: 8, 35: 8}, [4, 36])), 3)
    assert min(abs(a - b) for a in [*found, 5, 35] for b in [*found, 5, 35] if a != b) >= 5


def test_mirrored_cases_are_guided_alike() -> None:
    one = situation(drawing({10: 6, 17: 8, 21: 7}, [30]))
    other = situation(drawing({29: 6, 22: 8, 18: 7}, [9]))
    mirrored = [DEPTH - 1 - i for i in indices(ExpectedGain(), other, 4)]
    assert indices(ExpectedGain(), one, 4) == mirrored


def test_the_unit_of_length_plays_no_part() -> None:
    known = drawing({10: 6, 17: 8, 21: 7}, [30])
    assert indices(ExpectedGain(), situation(known, 1.0), 5) == indices(ExpectedGain(), situation(known, 3.7), 5)


def test_says_enough_when_every_slice_near_is_drawn_and_not_before() -> None:
    dense = drawing(dict.fromkeys(range(10, 30), 8), [9, 30])
    assert ExpectedGain().rank(situation(dense)).enough
    assert not ExpectedGain().rank(situation(drawing({20: 8}))).enough


def test_a_trusted_network_says_where_the_end_is_and_an_untrusted_one_does_not() -> None:
    known = drawing({18: 8, 22: 8}, [17])
    soft = np.zeros((2, DEPTH, 32, 32), np.float32)
    soft[1, 18:25, 8:24, 8:24] = 1.0
    soft[0] = 1.0 - soft[1]
    unsure = ExpectedGain().rank(situation(known, soft_CDHW=soft, trust=0.0)).suggestions[0].index
    sure = ExpectedGain().rank(situation(known, soft_CDHW=soft, trust=0.9)).suggestions[0].index
    assert sure < unsure
    assert sure <= 26


def test_a_label_that_is_drawn_on_one_slice_and_absent_from_the_next_is_looked_for_between_them() -> None:
    labels, known = np.zeros((DEPTH, 32, 32), np.uint8), np.zeros((2, DEPTH, 32, 32), bool)
    labels[10, 8:24, 8:24] = labels[14, 8:24, 8:24] = 1
    labels[26, 8:24, 8:24] = labels[30, 8:24, 8:24] = 2
    known[:, [9, 10, 14, 26, 30, 31]] = True
    planes = [Plane(0, i) for i in (10, 14, 26, 30)] + [Plane(0, i, PlaneKind.ABSENT) for i in (9, 31)]
    found = indices(ExpectedGain(), situation(SparseAnnotation(labels, known, tuple(sorted(planes)))))
    assert 16 <= found[0] <= 24


def test_before_a_drawing_the_answer_decides_and_without_one_the_volume_is_shared_out() -> None:
    assert indices(ExpectedGain(), Situation(DEPTH), 3)
    nothing = np.zeros((1, DEPTH, 8, 8), bool)
    nothing[:, 3] = True
    empty = SparseAnnotation(np.zeros((DEPTH, 8, 8), np.uint8), nothing, (Plane(0, 3, PlaneKind.ABSENT),))
    assert 3 not in indices(ExpectedGain(), situation(empty), DEPTH)


def test_even_spacing_knows_stated_ends_only() -> None:
    assert indices(Uniform(), situation(drawing({20: 8}, [4, 36])), 2) == [12, 28]
    open_ended = indices(Uniform(), situation(drawing({20: 8})), 2)
    assert all(8 < index < 32 for index in open_ended)


def test_random_slices_are_the_same_for_the_same_seed_and_differ_between_seeds() -> None:
    known = situation(drawing({20: 8}, [4, 36]))
    assert indices(ForegroundRandom(1), known) == indices(ForegroundRandom(1), known)
    assert len({tuple(indices(ForegroundRandom(seed), known)) for seed in range(5)}) > 1


def test_rules_are_made_by_name() -> None:
    for name in guidance_rules():
        assert make_guidance_rule(name).name == name
    with pytest.raises(ValueError, match="there are expected-gain"):
        make_guidance_rule("best")


def test_a_structure_is_expected_to_be_continued_as_a_ball_beyond_slices_side_by_side() -> None:
    one = edge([11, 12], [16.0, 16.0], at=1, step=1, depth=24, slice_mm=3.0, expected=DEFAULT_EXPECTATION)
    errors_J = edge_errors(one, [], slice_mm=3.0, contour=0.0)
    assert 3 <= int(errors_J.argmin()) <= 6, "propagation goes on for four slices: least is wrong where it ends about there"


def test_of_many_slices_some_are_tried_and_the_choice_is_nearly_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    long = situation(drawing({140: 8, 150: 9}, [40], depth=500))
    some = indices(ExpectedGain(), long, 3)
    monkeypatch.setattr(expected_gain, "_MOST_TRIED", 500)
    every = indices(ExpectedGain(), long, 3)
    assert np.abs(np.array(some) - every).max() <= 500 // 96 + 1
