from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.guidance import Guidance
from learner.domain.ranking import rank_slices

DEPTH = 30


def annotation(drawn: Sequence[int], absent: Sequence[int] = ()) -> SparseAnnotation:
    labels, known = np.zeros((DEPTH, 16, 16), np.uint8), np.zeros((1, DEPTH, 16, 16), bool)
    for index in drawn:
        labels[index, 4:12, 4:12] = 1
    known[:, [*drawn, *absent]] = True
    planes = [Plane(0, i) for i in drawn] + [Plane(0, i, PlaneKind.ABSENT) for i in absent]
    return SparseAnnotation(labels, known, tuple(sorted(planes)))


def answer(first: int = 5, last: int = 24, doubt: float = 0.1) -> np.ndarray:
    """Probabilities of a column with an uncertain rim."""
    soft = np.zeros((2, DEPTH, 16, 16), np.float32)
    soft[1, first : last + 1, 4:12, 4:12] = 1 - doubt
    soft[0] = 1 - soft[1]
    return soft


def indices(guidance: Guidance) -> list[int]:
    return [s.index for s in guidance.suggestions]


def test_never_suggests_what_is_known() -> None:
    known = annotation([8, 14, 20], [4, 25])
    found = indices(rank_slices(answer(), None, known, DEPTH, count=30))
    assert not set(found) & {4, 8, 14, 20, 25}
    assert len(set(found)) == len(found)


def test_an_unstated_end_comes_first_and_a_stated_one_does_not_come() -> None:
    found = rank_slices(answer(), None, annotation([8, 14, 20], [4]), DEPTH)
    assert found.suggestions[0].index == 24
    assert "end" in found.suggestions[0].reason
    assert not found.enough
    stated = rank_slices(answer(), None, annotation([8, 14, 20], [4, 25]), DEPTH)
    assert all("end" not in s.reason for s in stated.suggestions)


def test_the_middle_of_the_largest_gap_is_best_where_all_is_equal() -> None:
    found = indices(rank_slices(answer(), None, annotation([6, 16, 20, 23], [4, 25]), DEPTH))
    assert 9 <= found[0] <= 13


def test_a_slice_in_dispute_is_drawn_before_an_undisputed_one() -> None:
    disputed = np.zeros((DEPTH, 16, 16), np.float32)
    disputed[18, 4:12, 4:12] = 1
    known = annotation([8, 14, 20], [4, 25])
    assert indices(rank_slices(answer(doubt=0.02), disputed, known, DEPTH))[0] in (17, 18)
    untrusted = rank_slices(answer(doubt=0.02), disputed, known, DEPTH, trust=0.0)
    assert indices(untrusted) == indices(rank_slices(answer(doubt=0.02), None, known, DEPTH))


def test_suggestions_do_not_touch_while_there_are_others() -> None:
    found = indices(rank_slices(answer(), None, annotation([14], [4, 25]), DEPTH, count=4))
    assert min(abs(a - b) for a in [*found, 14] for b in [*found, 14] if a != b) > 1


def test_scores_fall_and_stay_between_0_and_1() -> None:
    scores = [s.score for s in rank_slices(answer(), None, annotation([10], []), DEPTH, count=8).suggestions]
    assert scores == sorted(scores, reverse=True)
    assert 0 <= min(scores) <= max(scores) <= 1


def test_before_anything_is_drawn_the_object_is_shared_out() -> None:
    found = indices(rank_slices(answer(), None, None, DEPTH, count=3))
    assert all(5 <= index <= 24 for index in found)
    assert 12 <= found[0] <= 17


def test_without_any_answer_the_middle_of_the_volume_is_shared_out() -> None:
    found = rank_slices(None, None, None, DEPTH, count=3)
    assert 12 <= found.suggestions[0].index <= 17
    assert all(6 <= s.index <= 23 for s in found.suggestions)
    assert not found.enough


def test_enough_when_little_is_to_be_gained() -> None:
    drawn = list(range(5, 25, 2))
    assert rank_slices(answer(doubt=0.001), None, annotation(drawn, [4, 25]), DEPTH).enough
    assert not rank_slices(answer(doubt=0.2), None, annotation([14], [4, 25]), DEPTH).enough


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_short_volumes(depth: int) -> None:
    soft = np.full((2, depth, 4, 4), 0.5, np.float32)
    found = rank_slices(soft, None, None, depth, count=9)
    assert sorted(indices(found)) == list(range(depth))


def test_all_known_leaves_nothing_to_suggest() -> None:
    found = rank_slices(answer(), None, annotation(list(range(DEPTH))), DEPTH)
    assert found.suggestions == ()
    assert found.enough


def test_interpolated_slices_are_never_suggested_and_an_end_moves_on_to_an_acquired_one() -> None:
    acquired = frozenset(range(0, DEPTH, 2))
    for known in (None, annotation([8, 14, 20], [4]), annotation([8, 14, 20], [4, 24])):
        found = indices(rank_slices(answer(), None, known, DEPTH, count=30, acquired=acquired))
        assert found
        assert set(found) <= acquired
