from __future__ import annotations

import numpy as np
import pytest

from dicom_io.annotation import PlaneKind
from learner.domain.guidance import Guidance, Suggestion
from learner.evaluation.hands import UNSTEADY, Hand
from learner.evaluation.simulated_reader import LazyReader, ScribblingReader, SimulatedReader, spread


@pytest.fixture
def truth() -> np.ndarray:
    labels = np.zeros((20, 16, 16), np.uint8)
    labels[4:16, 4:12, 4:8] = 1
    labels[6:16, 4:12, 8:12] = 2
    return labels


def suggest(*indices: int) -> Guidance:
    return Guidance(tuple(Suggestion(0, i, 1 - n / 10, "") for n, i in enumerate(indices)))


def test_shows_the_truth_of_drawn_slices_and_nothing_else(truth: np.ndarray) -> None:
    reader = SimulatedReader(truth, 2)
    assert reader.annotation() is None
    reader.draw([5, 9])
    annotation = reader.annotation()
    assert annotation.planes_of(PlaneKind.DRAWN) == (5, 9)
    assert annotation.label_count == 2
    np.testing.assert_array_equal(annotation.labels_DHW[[5, 9]], truth[[5, 9]])
    assert set(np.flatnonzero(annotation.labels_DHW.any(axis=(1, 2)))) == {5, 9}
    assert set(np.flatnonzero(annotation.known_DHW.all(axis=(1, 2)))) == {5, 9}


def test_extents_are_counted_apart_from_drawn_slices(truth: np.ndarray) -> None:
    reader = SimulatedReader(truth, 2)
    reader.state_extents()
    reader.draw([9])
    assert reader.extent_marks == 2
    assert reader.drawn_slices == (9,)
    assert reader.annotation().planes_of(PlaneKind.ABSENT) == (3, 16)


def test_an_object_at_the_border_has_fewer_extents(truth: np.ndarray) -> None:
    reader = SimulatedReader(truth[4:], 2)
    reader.state_extents()
    assert reader.extent_marks == 1


def test_follows_suggestions_that_show_the_object_and_fills_up_with_its_own(truth: np.ndarray) -> None:
    reader = SimulatedReader(truth, 2)
    assert reader.choose(2, suggest(1, 10, 19, 6)) == (6, 10)
    reader.draw([10])
    assert reader.choose(1, suggest(10, 2)) in ((6,), (7,))
    assert len(reader.choose(4, suggest(5))) == 4
    assert 5 in reader.choose(4, suggest(5))


def test_left_alone_it_spreads_the_first_slices(truth: np.ndarray) -> None:
    reader = SimulatedReader(truth, 2)
    assert reader.choose(3, None) == (6, 10, 14)
    assert SimulatedReader(np.zeros_like(truth), 2).choose(3, None) == ()
    assert reader.choose(99, None) == tuple(range(4, 16))


def test_a_hand_that_is_not_steady(truth: np.ndarray) -> None:
    reader = SimulatedReader(truth, 2, Hand(jitter=1.5), seed=3)
    reader.draw([9])
    drawn = reader.annotation().labels_DHW[9]
    assert (drawn != truth[9]).any()
    assert 2 * ((drawn > 0) & (truth[9] > 0)).sum() / ((drawn > 0).sum() + (truth[9] > 0).sum()) > 0.7
    again = SimulatedReader(truth, 2, Hand(jitter=1.5), seed=3)
    again.draw([9])
    np.testing.assert_array_equal(again.annotation().labels_DHW[9], drawn)


def test_people_miss_parts_and_draw_unevenly() -> None:
    labels = np.zeros((60, 60), np.uint8)
    labels[10:40, 10:40] = 1
    labels[50:54, 50:54] = 1
    missed, errors = 0, []
    for seed in range(20):
        drawn = UNSTEADY.draw(labels, np.random.default_rng(seed))
        missed += not drawn[48:56, 48:56].any()
        main = drawn[:46, :46] > 0
        errors.append(1 - 2 * (main & (labels[:46, :46] > 0)).sum() / (main.sum() + (labels[:46, :46] > 0).sum()))
    assert 4 <= missed <= 16
    assert 0.01 < np.mean(errors) < 0.12
    assert len({round(float(e), 6) for e in errors}) > 15
    np.testing.assert_array_equal(Hand().draw(labels, np.random.default_rng(0)), labels)


def test_a_lazy_reader_draws_large_sections_and_no_ends() -> None:
    truth = np.zeros((9, 12, 12), np.uint8)
    for index, size in enumerate((0, 2, 4, 6, 9, 8, 5, 3, 0)):
        truth[index, :size, :size] = 1
    reader = LazyReader(truth, 1)
    reader.state_extents()
    assert reader.choose(4, suggest(1, 7)) == (4, 6)
    reader.draw([4, 6])
    assert reader.choose(1, None) == (2,)
    assert reader.extent_marks == 0


def test_strokes_are_known_voxels_on_no_plane(truth: np.ndarray) -> None:
    strokes = np.full_like(truth, 4)
    strokes[9, 6, 4:12] = truth[9, 6, 4:12]
    strokes[9, 1, :] = 0
    strokes[10, 6, 4:12] = 1
    reader = ScribblingReader(truth, 2, strokes_DHW=strokes)
    reader.draw([9])
    annotation = reader.annotation()
    assert annotation.planes == ()
    assert annotation.known_DHW.sum() == 8 + 16
    assert set(np.flatnonzero(annotation.known_DHW.any(axis=(1, 2)))) == {9}
    np.testing.assert_array_equal(annotation.labels_DHW[9, 6, 4:12], truth[9, 6, 4:12])
    assert np.count_nonzero(reader.stroke_labels_DHW) == 8 + 16


def test_spread() -> None:
    assert spread(range(10), 1) == (5,)
    assert spread(range(10), 2) == (2, 7)
    assert spread([3], 4) == (3,)
    assert spread([], 4) == ()
