"""The annotation contract: what is known (rule 1), edited predictions (rule 2), rounds that add up (rule 8)."""

from __future__ import annotations

import numpy as np
import pytest
from drawings import SHAPE, TASK, block, drawing, labels, segment, sparse
from scipy.ndimage import affine_transform, binary_dilation

from dicom_io.annotation import PlaneKind
from learner.domain.contract import (
    EarlierAnswer,
    Interpretation,
    accumulate,
    adds_nothing,
    combine,
    interpret,
    with_label_count,
)
from learner.domain.task import Task


class TestKnownSlices:
    def test_only_slices_with_foreground_are_known(self) -> None:
        found = interpret(drawing(segment(1, "Liver", block(2, 5))), TASK, []).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.DRAWN) == (2, 5)
        assert found.known_LDHW[0].any(axis=(1, 2)).tolist() == [False, False, True, False, False, True, False, False]

    def test_a_drawn_slice_is_known_for_the_other_labels_that_the_object_defines(self) -> None:
        found = interpret(
            drawing(segment(1, "Liver", block(2)), segment(2, "Spleen", block(6, low=8, high=11))), TASK, []
        ).annotation
        assert found is not None
        assert found.known_LDHW[1, 2].all(), "no spleen on the slice where the liver was drawn"
        assert found.labels_DHW[2].max() == 1

    def test_labels_that_the_object_does_not_define_stay_unknown(self) -> None:
        found = interpret(drawing(segment(1, "Liver", block(2))), TASK, []).annotation
        assert found is not None
        assert not found.known_LDHW[1].any()


class TestEditedPrediction:
    prediction = labels((1, block(1, 2, 3, 4, 5)))

    def test_saved_without_change_is_no_annotation(self) -> None:
        found = interpret(drawing(segment(1, "Liver", block(1, 2, 3, 4, 5))), TASK, [self.earlier()])
        assert found.edited
        assert found.annotation is None

    def test_an_older_answer_saved_again_erases_nothing_of_the_newer(self) -> None:
        newer = EarlierAnswer(labels((1, block(1, 2, 3, 4, 5, 6))), frozenset())
        found = interpret(drawing(segment(1, "Liver", block(1, 2, 3, 4, 5))), TASK, [self.earlier(), newer])
        assert (found.edited, found.annotation) == (True, None)

    def test_only_the_changed_slice_counts(self) -> None:
        edited = block(1, 2, 4, 5) | block(3, high=10)
        found = interpret(drawing(segment(1, "Liver", edited)), TASK, [self.earlier()])
        assert found.edited
        assert found.annotation is not None
        assert found.annotation.planes_of() == (3,)

    def test_an_erased_slice_is_known_to_be_empty(self) -> None:
        found = interpret(drawing(segment(1, "Liver", block(1, 2, 3, 4))), TASK, [self.earlier()])
        assert found.annotation is not None
        assert found.annotation.planes_of(PlaneKind.ABSENT) == (5,)
        assert found.annotation.known_LDHW[0, 5].all()

    def test_a_viewer_may_save_one_of_two_segments(self) -> None:
        both = EarlierAnswer(labels((1, block(1, 2, 3)), (2, block(5, 6, low=8, high=11))), frozenset())
        edited = block(1, 2) | block(3, high=10)
        found = interpret(drawing(segment(1, "Liver", edited)), TASK, [both])
        assert found.edited
        assert found.annotation is not None
        assert found.annotation.planes_of() == (3,)
        assert not found.annotation.known_LDHW[1].any()

    def test_repeating_ones_own_drawing_does_not_make_it_an_edited_prediction(self) -> None:
        """The answer repeats drawn slices; a reader who stores them again beside a new one has erased nothing."""
        earlier = EarlierAnswer(self.prediction, frozenset({2}))
        found = interpret(drawing(segment(1, "Liver", block(2) | block(5, high=11))), TASK, [earlier])
        assert not found.edited
        assert found.annotation is not None
        assert found.annotation.planes_of(PlaneKind.DRAWN) == (2, 5)
        assert found.annotation.planes_of(PlaneKind.ABSENT) == ()

    def test_a_fresh_drawing_that_equals_the_prediction_on_one_slice_erases_nothing(self) -> None:
        found = interpret(drawing(segment(1, "Liver", block(1) | block(4, high=11))), TASK, [self.earlier()])
        assert found.annotation is not None
        assert found.annotation.planes_of(PlaneKind.DRAWN) == (4,), "the repeated slice is our own output"
        assert found.annotation.planes_of(PlaneKind.ABSENT) == ()

    def test_what_is_left_of_a_prediction_is_not_learned_from(self) -> None:
        """A reader who erases most of a prediction and saves the rest has drawn nothing."""
        found = interpret(drawing(segment(1, "Liver", block(2))), TASK, [self.earlier()])
        assert found.edited
        assert found.annotation is None

    def test_the_answer_that_was_edited_is_found_among_several(self) -> None:
        older = EarlierAnswer(labels((1, block(1, 2, 3, low=1))), frozenset())
        edited = block(1, 2, 3, 4) | block(5, high=9)
        found = interpret(drawing(segment(1, "Liver", edited)), TASK, [older, self.earlier()])
        assert found.annotation is not None
        assert found.annotation.planes_of() == (5,)

    def test_an_untouched_copy_beside_a_drawing_of_the_same_label_is_left_out(self) -> None:
        copy, own = segment(1, "Liver (r1)", block(1, 2, 3, 4, 5)), segment(2, "Liver", block(3, high=5))
        found = interpret(drawing(copy, own), TASK, [self.earlier()]).annotation
        assert found is not None
        assert found.planes_of() == (3,)
        assert np.array_equal(found.labels_DHW > 0, block(3, high=5))

    def test_segments_of_others_in_the_same_object_change_nothing(self) -> None:
        merged = drawing(segment(4, "Kidney", block(0, 7)), segment(9, "liver (edited)", block(1, 2, 4, 5) | block(3, high=10)))
        found = interpret(merged, TASK, [self.earlier()])
        assert found.annotation is not None
        assert found.annotation.planes_of() == (3,)
        assert found.unknown_labels == ("Kidney",)

    def test_how_much_was_changed(self) -> None:
        assert interpret(drawing(segment(1, "Liver", block(1, 2, 3, 4, 5))), TASK, [self.earlier()]).share_changed == 0
        found = interpret(drawing(segment(1, "Liver", block(1, 2, 3, 4))), TASK, [self.earlier()])
        assert np.isclose(found.share_changed, 1 / 5)
        assert interpret(drawing(segment(1, "Liver", block(1))), TASK, []).share_changed == 0

    def test_interpolated_slices_are_not_compared(self) -> None:
        """What a viewer makes of a slice that was never acquired is nobody's drawing."""
        saved = block(1, 3, 5) | block(2, 4, high=10)
        found = interpret(drawing(segment(1, "Liver", saved)), TASK, [self.earlier()], acquired=frozenset({1, 3, 5, 7}))
        assert found.edited
        assert found.annotation is None

    def earlier(self) -> EarlierAnswer:
        return EarlierAnswer(self.prediction, frozenset())


class TestResampledCopies:
    """A viewer that saves on a grid of its own moves borders by a voxel here and there."""

    def ball(self) -> np.ndarray:
        z, y, x = np.ogrid[:16, :48, :48]
        return np.asarray(((z - 8) / 7) ** 2 + ((y - 24) / 19) ** 2 + ((x - 24) / 16) ** 2 < 1)

    def saved(self, mask: np.ndarray, scale: float = 1.2, degrees: float = 10) -> np.ndarray:
        """Onto a turned grid of another spacing by the nearest voxel, and back."""
        turn = np.deg2rad(degrees)
        to_ours = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        centre = np.array([23.5, 23.5])
        back = np.linalg.inv(to_ours)
        there = [affine_transform(m, to_ours, centre - to_ours @ centre, (48, 48), order=0) for m in mask.astype(np.uint8)]
        return np.stack([affine_transform(m, back, centre - back @ centre, (48, 48), order=0) for m in there]) > 0

    def read(self, mask: np.ndarray, *, resampled: bool = True) -> Interpretation:
        answer = EarlierAnswer(self.ball().astype(np.uint8), frozenset())
        return interpret(drawing(segment(1, "Liver", mask), resampled=resampled), TASK, [answer])

    def test_unchanged_it_is_no_drawing(self) -> None:
        copy = self.saved(self.ball())
        assert not np.array_equal(copy, self.ball())
        found = self.read(copy)
        assert found.edited
        assert found.annotation is None
        assert found.share_changed == 0

    def test_a_corrected_slice_counts(self) -> None:
        mended = self.ball()
        mended[8, 4:10, 18:30] = True
        mended[6, 20:24, 10:20] = False
        found = self.read(self.saved(mended)).annotation
        assert found is not None
        assert found.planes_of() == (6, 8)

    def test_a_contour_moved_all_along_by_a_voxel_counts(self) -> None:
        mended = self.ball()
        mended[8] = binary_dilation(mended[8], np.ones((3, 3)))
        found = self.read(self.saved(mended)).annotation
        assert found is not None
        assert found.planes_of() == (8,)

    def test_an_erased_slice_counts(self) -> None:
        mended = self.ball()
        mended[11:] = False
        found = self.read(self.saved(mended)).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.DRAWN) == ()
        assert found.planes_of(PlaneKind.ABSENT) == (11, 12), (
            "resampling may drop slices 13 and 14, next to empty ones, or shrink them"
        )

    def test_where_the_other_grid_changed_nothing_every_voxel_counts(self) -> None:
        mended = self.ball()
        mended[8, 24, 24] = False
        mended[5, 24, 41] = True
        found = self.read(mended).annotation
        assert found is not None
        assert found.planes_of() == (5, 8)

    def test_on_our_grid_every_voxel_counts(self) -> None:
        found = self.read(self.saved(self.ball()), resampled=False).annotation
        assert found is not None


class TestAccumulation:
    def test_slices_that_a_later_object_leaves_out_stay_known(self) -> None:
        first, second = sparse(block(1), "1.1", "A"), sparse(block(4), "1.2", "B")
        both = accumulate(first, second)
        assert both.planes_of(PlaneKind.DRAWN) == (1, 4)
        assert both.sources == ("1.1", "1.2")
        assert both.readers == ("A", "B")

    def test_a_slice_drawn_again_replaces_the_older_one(self) -> None:
        both = accumulate(sparse(block(1, 2), "1.1"), sparse(block(1, low=5, high=7), "1.2"))
        assert np.array_equal(both.labels_DHW[1] > 0, block(1, low=5, high=7)[1])
        assert np.array_equal(both.labels_DHW[2] > 0, block(2)[2])

    def test_a_label_drawn_over_another_takes_its_place(self) -> None:
        spleen = interpret(drawing(segment(2, "Spleen", block(1, low=2, high=5)), uid="1.2"), TASK, []).annotation
        assert spleen is not None
        both = accumulate(sparse(block(1), "1.1"), spleen)
        assert both.labels_DHW[1, 3, 3] == 2
        assert both.labels_DHW[1, 6, 6] == 1

    def test_what_is_known_already_adds_nothing(self) -> None:
        first = sparse(block(1, 2), "1.1")
        assert adds_nothing(first, sparse(block(1), "1.2"))
        assert not adds_nothing(first, sparse(block(3), "1.2"))
        assert not adds_nothing(first, sparse(block(1, high=9), "1.2"))
        assert not adds_nothing(None, first)

    def test_repeating_one_of_two_labels_adds_nothing(self) -> None:
        both = interpret(
            drawing(segment(1, "Liver", block(1, high=5)), segment(2, "Spleen", block(1, low=5))), TASK, []
        ).annotation
        assert both is not None
        assert adds_nothing(both, sparse(block(1, high=5), "1.2"))

    def test_other_grids_are_refused(self) -> None:
        first = sparse(block(1), "1.1")
        one_label = Task("liver", "Liver", TASK.labels[:1], TASK.match)
        other = interpret(drawing(segment(1, "Liver", block(1))), one_label, []).annotation
        assert other is not None
        with pytest.raises(ValueError, match="grids"):
            accumulate(first, other)

    def test_a_plane_in_another_direction_adds_up_too(self) -> None:
        axial, column = sparse(block(1), "1.1"), np.zeros(SHAPE, bool)
        column[1:7, 3:9, 10] = True
        both = accumulate(axial, sparse(column, "1.2"))
        assert both.planes_of(axis=0) == (1,)
        assert both.planes_of(axis=2) == (10,)
        assert both.known_LDHW[0, :, :, 10].all()

    def test_withdrawing_an_object_is_combining_the_others(self) -> None:
        first, second, third = sparse(block(1), "1.1"), sparse(block(1, low=5), "1.2"), sparse(block(4), "1.3")
        rest = combine([first, third])
        assert rest is not None
        assert np.array_equal(rest.labels_DHW[1] > 0, block(1)[1])
        assert rest.sources == ("1.1", "1.3")
        assert combine([first, second, third]) is not None
        assert combine([]) is None

    def test_a_label_that_the_task_gained_is_unknown_in_older_cases(self) -> None:
        grown = with_label_count(sparse(block(1), "1.1"), 3)
        assert grown.label_count == 3
        assert grown.known_LDHW[0, 1].all()
        assert not grown.known_LDHW[2].any()
        with pytest.raises(ValueError, match="3 labels for a task of 2"):
            with_label_count(grown, 2)
