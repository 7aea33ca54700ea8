"""The annotation contract, rule by rule."""

from __future__ import annotations

import numpy as np
import pytest

from dicom_io.annotation import AnnotationHeader, Drawing, DrawnSegment, PlaneKind, SparseAnnotation
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from learner.domain.contract import EarlierAnswer, accumulate, adds_nothing, interpret, match_label
from learner.domain.task import Label, MatchingRule, Task

LIVER, SPLEEN = Code("10200004", "SCT", "Liver"), Code("78961009", "SCT", "Spleen")
TASK = Task(
    "abdomen",
    "Liver and spleen",
    (
        Label(1, "Liver", ANATOMICAL_STRUCTURE, LIVER, (200, 100, 50)),
        Label(2, "Spleen", ANATOMICAL_STRUCTURE, SPLEEN, (50, 100, 200)),
    ),
    MatchingRule(("CT",)),
)
SHAPE = (8, 12, 12)


def block(*slices: int, low: int = 2, high: int = 8) -> np.ndarray:
    mask = np.zeros(SHAPE, dtype=bool)
    for index in slices:
        mask[index, low:high, low:high] = True
    return mask


def segment(number: int, label: str, mask: np.ndarray, kind: Code | None = None) -> DrawnSegment:
    return DrawnSegment(number, label, None, kind, mask)


def drawing(*segments: DrawnSegment, uid: str = "1.2.3", reader: str = "") -> Drawing:
    header = AnnotationHeader(uid, "1.2.840.10008.5.1.4.1.1.66.4", "1.2", "1.1", "SEG", reader=reader)
    return Drawing(header, segments)


def labels(*pairs: tuple[int, np.ndarray]) -> np.ndarray:
    result = np.zeros(SHAPE, dtype=np.uint8)
    for number, mask in pairs:
        result[mask] = number
    return result


class TestLabels:
    def test_code_goes_before_name(self) -> None:
        assert match_label(segment(1, "Spleen", block(1), LIVER), TASK) is TASK.labels[0]

    def test_name_where_the_code_says_nothing(self) -> None:
        tissue = Code("85756007", "SCT", "Tissue")
        assert match_label(segment(1, " spleen", block(1), tissue), TASK) is TASK.labels[1]

    def test_note_behind_the_name_is_ignored(self) -> None:
        assert match_label(segment(1, "Liver (r2)", block(1)), TASK) is TASK.labels[0]

    def test_unknown_is_reported_and_never_guessed(self) -> None:
        found = interpret(drawing(segment(1, "Segment 1", block(1))), TASK, [])
        assert found.annotation is None
        assert found.unknown_labels == ("Segment 1",)

    def test_left_and_right_of_one_code_are_told_apart_by_name(self) -> None:
        kidney = Code("64033007", "SCT", "Kidney")
        task = Task(
            "kidneys",
            "Kidneys",
            (
                Label(1, "Left kidney", ANATOMICAL_STRUCTURE, kidney, (1, 2, 3)),
                Label(2, "Right kidney", ANATOMICAL_STRUCTURE, kidney, (3, 2, 1)),
            ),
            MatchingRule(("CT",)),
        )
        assert match_label(segment(1, "right kidney", block(1), kidney), task) is task.labels[1]
        assert match_label(segment(1, "kidney", block(1), kidney), task) is None


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

    def earlier(self) -> EarlierAnswer:
        return EarlierAnswer(self.prediction, frozenset())


class TestAccumulation:
    def test_slices_that_a_later_object_leaves_out_stay_known(self) -> None:
        first, second = self.sparse(block(1), "1.1", "A"), self.sparse(block(4), "1.2", "B")
        both = accumulate(first, second)
        assert both.planes_of(PlaneKind.DRAWN) == (1, 4)
        assert both.sources == ("1.1", "1.2")
        assert both.readers == ("A", "B")

    def test_a_slice_drawn_again_replaces_the_older_one(self) -> None:
        both = accumulate(self.sparse(block(1, 2), "1.1"), self.sparse(block(1, low=5, high=7), "1.2"))
        assert np.array_equal(both.labels_DHW[1] > 0, block(1, low=5, high=7)[1])
        assert np.array_equal(both.labels_DHW[2] > 0, block(2)[2])

    def test_a_label_drawn_over_another_takes_its_place(self) -> None:
        spleen = interpret(drawing(segment(2, "Spleen", block(1, low=2, high=5)), uid="1.2"), TASK, []).annotation
        assert spleen is not None
        both = accumulate(self.sparse(block(1), "1.1"), spleen)
        assert both.labels_DHW[1, 3, 3] == 2
        assert both.labels_DHW[1, 6, 6] == 1

    def test_what_is_known_already_adds_nothing(self) -> None:
        first = self.sparse(block(1, 2), "1.1")
        assert adds_nothing(first, self.sparse(block(1), "1.2"))
        assert not adds_nothing(first, self.sparse(block(3), "1.2"))
        assert not adds_nothing(first, self.sparse(block(1, high=9), "1.2"))
        assert not adds_nothing(None, first)

    def test_repeating_one_of_two_labels_adds_nothing(self) -> None:
        both = interpret(
            drawing(segment(1, "Liver", block(1, high=5)), segment(2, "Spleen", block(1, low=5))), TASK, []
        ).annotation
        assert both is not None
        assert adds_nothing(both, self.sparse(block(1, high=5), "1.2"))

    def test_other_grids_are_refused(self) -> None:
        first = self.sparse(block(1), "1.1")
        one_label = Task("liver", "Liver", TASK.labels[:1], TASK.match)
        other = interpret(drawing(segment(1, "Liver", block(1))), one_label, []).annotation
        assert other is not None
        with pytest.raises(ValueError, match="grids"):
            accumulate(first, other)

    def sparse(self, mask: np.ndarray, uid: str, reader: str = "") -> SparseAnnotation:
        found = interpret(drawing(segment(1, "Liver", mask), uid=uid, reader=reader), TASK, []).annotation
        assert found is not None
        return found
