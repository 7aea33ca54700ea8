from __future__ import annotations

import numpy as np
import pytest

from dicom_io.annotation import Plane, SparseAnnotation
from learner.domain.expected_gain import ExpectedGain
from learner.domain.guidance import Situation
from learner.domain.lookahead import DEFAULT_EXPECTATION
from learner.domain.unseen import IS_THERE, Unseen, unseen

DEPTH = 41


def two_labels(drawn: dict[int, int], absent: tuple[int, ...] = ()) -> SparseAnnotation:
    """A square of one of two labels on these slices; on others that are known there is nothing."""
    labels = np.zeros((DEPTH, 32, 32), np.uint8)
    known = np.zeros((2, DEPTH, 32, 32), bool)
    for index, number in drawn.items():
        labels[index, 10:22, 10:22] = number
    known[:, [*drawn, *absent]] = True
    return SparseAnnotation(labels, known, tuple(Plane(0, i) for i in sorted({*drawn, *absent})))


def places(known: tuple[int, ...], extent: tuple[int, int] = (18, 22)) -> Unseen:
    return unseen(known, extent, DEPTH, 6.0, 1.0, DEFAULT_EXPECTATION)


def test_it_is_on_no_known_slice_and_as_likely_on_either_side() -> None:
    on_D = places((20,)).on_slices()
    assert on_D.shape == (DEPTH,)
    assert on_D[20] == pytest.approx(0.0)
    assert on_D[:20][::-1] == pytest.approx(on_D[21:])
    assert 0.1 < on_D.max() < 0.6


def test_probabilities_are_those_of_the_intervals() -> None:
    found = places((20,))
    by_hand = [found.chance_K[(found.first_K <= i) & (i <= found.last_K)].sum() for i in range(DEPTH)]
    assert found.on_slices() == pytest.approx(by_hand)


def test_the_more_was_seen_without_it_the_likelier_there_is_none() -> None:
    chances = [
        float(places(known).chance_K.sum())
        for known in ((), (20,), (10, 20, 30), tuple(range(2, DEPTH, 4)), tuple(range(DEPTH)))
    ]
    assert chances[0] == pytest.approx(IS_THERE)
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] == 0.0


def test_it_touches_what_is_drawn() -> None:
    found = places((20,))
    assert ((found.last_K >= 17) & (found.first_K <= 23)).all()


def test_what_a_trusted_network_shows_counts() -> None:
    area_D = np.zeros(DEPTH)
    area_D[26:34] = 50.0
    plain, told = places((20,)).on_slices(), places((20,)).told(area_D, 1.0).on_slices()
    assert plain[30] < 0.3
    assert told[30] > 0.9
    assert told[36] < 0.05
    nothing = places((20,)).told(np.zeros(DEPTH), 1.0)
    assert nothing.chance_K.sum() < 0.2
    assert places((20,)).told(area_D, 0.0).on_slices() == pytest.approx(plain)


def test_guidance_looks_for_a_label_that_no_drawn_slice_shows() -> None:
    annotation = two_labels({20: 1})
    found = ExpectedGain().rank(Situation(DEPTH, (1.0, 1.0, 1.0), annotation=annotation))
    reasons = [suggestion.reason for suggestion in found.suggestions]
    assert any("not drawn yet" in reason for reason in reasons)
    assert not found.enough
    alone = ExpectedGain().rank(Situation(DEPTH, (1.0, 1.0, 1.0), annotation=two_labels({20: 1, 30: 2})))
    assert not any("not drawn yet" in suggestion.reason for suggestion in alone.suggestions)


def test_guidance_gives_up_on_a_label_that_is_nowhere() -> None:
    annotation = two_labels(dict.fromkeys(range(12, 29), 1), tuple(i for i in range(DEPTH) if not 12 <= i < 29))
    found = ExpectedGain().rank(Situation(DEPTH, (1.0, 1.0, 1.0), annotation=annotation))
    assert found.enough


def test_a_label_that_was_not_looked_for_is_not_sought() -> None:
    labels, known = two_labels({20: 1}).labels_DHW, two_labels({20: 1}).known_LDHW.copy()
    known[1] = False
    annotation = SparseAnnotation(labels, known, (Plane(0, 20),))
    found = ExpectedGain().rank(Situation(DEPTH, (1.0, 1.0, 1.0), annotation=annotation))
    assert not any("not drawn yet" in suggestion.reason for suggestion in found.suggestions)
