"""Several readers of a case (rule 6)."""

from __future__ import annotations

import numpy as np
from drawings import TASK, block, drawing, segment, sparse

from learner.domain.contract import agreement, combine, interpret


def test_the_newest_wins_and_nobodys_work_is_overwritten() -> None:
    first, second = sparse(block(1, 2), "1.1", "A"), sparse(block(2, low=5), "1.2", "B")
    both = combine([first, second])
    assert both is not None
    assert np.array_equal(both.labels_DHW[2] > 0, block(2, low=5)[2])
    assert both.readers == ("A", "B")
    assert np.array_equal(first.labels_DHW > 0, block(1, 2))


def test_agreement_is_the_share_of_readers_who_agree() -> None:
    drawings = [sparse(block(2), "1.1", "A"), sparse(block(2), "1.2", "B"), sparse(block(2, high=6), "1.3", "C")]
    share = agreement(drawings)
    assert share is not None
    assert share.dtype == np.float32
    assert share[2, 3, 3] == 1
    assert np.isclose(share[2, 7, 7], 1 / 3), "the newest alone says that there is nothing"
    assert (share[0] == 1).all(), "nobody knows anything"


def test_a_readers_own_last_word_counts() -> None:
    changed_mind = [sparse(block(2), "1.1", "A"), sparse(block(2, high=6), "1.2", "A"), sparse(block(2, high=6), "1.3", "B")]
    assert agreement(changed_mind) is None
    assert agreement(changed_mind[:2]) is None
    assert agreement([]) is None


def test_readers_who_know_different_labels_do_not_disagree() -> None:
    liver, spleen = sparse(block(2), "1.1", "A"), sparse(block(5), "1.2", "B", "Spleen")
    assert agreement([liver, spleen]) is None
    over = sparse(block(2, high=4), "1.3", "B", "Spleen")
    share = agreement([liver, over])
    assert share is not None
    assert np.array_equal(share == 0.5, block(2, high=4)), "one voxel has one label"


def test_a_reader_without_name_is_the_station_or_the_software() -> None:
    liver = segment(1, "Liver", block(1))
    for header, expected in (
        ({"reader": "A", "station": "CT1", "manufacturer": "M"}, ("A",)),
        ({"station": "CT1", "manufacturer": "M"}, ("CT1",)),
        ({"manufacturer": "M"}, ("M",)),
        ({}, ()),
    ):
        found = interpret(drawing(liver, **header), TASK, []).annotation
        assert found is not None
        assert found.readers == expected


def test_all_readers_without_name_are_one() -> None:
    assert agreement([sparse(block(2), "1.1"), sparse(block(2, high=6), "1.2")]) is None
