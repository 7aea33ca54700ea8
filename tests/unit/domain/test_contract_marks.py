"""Extents and confirmation (rule 3) and strokes (rule 9)."""

from __future__ import annotations

import numpy as np
import pytest
from drawings import SHAPE, TASK, TISSUE, block, drawing, labels, named, segment

from dicom_io.annotation import PlaneKind
from learner.domain.contract import ContractNames, EarlierAnswer, accumulate, interpret

PREDICTED = labels((1, block(1, 2, 3, 4, 5)), (2, block(3, 4, low=8, high=11)))
ANSWER = EarlierAnswer(PREDICTED, frozenset())
LIVER, SPLEEN = segment(1, "Liver", PREDICTED == 1), segment(2, "Spleen", PREDICTED == 2)


def mark(*slices: int) -> np.ndarray:
    mask = np.zeros(SHAPE, bool)
    mask[list(slices), 0, 0] = True
    return mask


class TestReviewed:
    @pytest.mark.parametrize("name", ["reviewed", "Confirmed", "Reviewed (all)"])
    def test_a_word_alone_confirms_all_labels_of_the_object(self, name: str) -> None:
        found = interpret(drawing(LIVER, SPLEEN, segment(3, name, mark(2, 3), TISSUE)), TASK, [ANSWER])
        assert found.annotation is not None
        assert found.accepted
        assert found.annotation.planes_of(PlaneKind.CONFIRMED) == (2, 3)
        assert found.annotation.planes_of(PlaneKind.DRAWN, PlaneKind.ABSENT) == ()
        assert np.array_equal(found.annotation.labels_DHW[3], PREDICTED[3])
        assert found.annotation.known_LDHW[:, 2:4].all()
        assert found.unknown_labels == ()

    @pytest.mark.parametrize("name", ["Liver reviewed", "reviewed: liver", "Liver (reviewed)", "liver_confirmed"])
    def test_with_a_label_it_confirms_that_label_alone(self, name: str) -> None:
        found = interpret(drawing(LIVER, SPLEEN, segment(3, name, mark(3))), TASK, [ANSWER]).annotation
        assert found is not None
        assert found.known_LDHW[0, 3].all()
        assert not found.known_LDHW[1].any()

    def test_the_tracking_identifier_marks_the_segment_that_has_it(self) -> None:
        tracked = segment(1, "Liver", PREDICTED == 1, tracking="reviewed")
        found = interpret(drawing(tracked), TASK, [ANSWER]).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.CONFIRMED) == (1, 2, 3, 4, 5)

    def test_our_segment_renamed_is_drawing_and_mark(self) -> None:
        edited = (PREDICTED == 1) | block(4, high=10)
        found = interpret(drawing(segment(1, "Liver reviewed", edited)), TASK, [ANSWER]).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.CONFIRMED) == (1, 2, 3, 5)
        assert found.planes_of(PlaneKind.DRAWN) == (4,)

    def test_an_edited_slice_stays_drawn_and_an_erased_one_absent(self) -> None:
        edited = segment(1, "Liver", block(1, 2, 3) | block(4, high=10))
        found = interpret(drawing(edited, SPLEEN, segment(3, "reviewed", mark(3, 4, 5, 6))), TASK, [ANSWER]).annotation
        assert found is not None
        assert [(p.index, p.kind.value) for p in found.planes] == [
            (3, "confirmed"),
            (4, "drawn"),
            (5, "absent"),
            (6, "confirmed"),
        ]

    def test_marks_alone_confirm_the_newest_answer(self) -> None:
        older = EarlierAnswer(labels((1, block(3, low=1))), frozenset())
        found = interpret(drawing(segment(1, "reviewed", mark(3))), TASK, [older, ANSWER]).annotation
        assert found is not None
        assert np.array_equal(found.labels_DHW[3], PREDICTED[3])

    def test_marks_beside_a_fresh_drawing_confirm_what_was_predicted(self) -> None:
        fresh = segment(1, "Liver", block(6, high=4))
        found = interpret(drawing(fresh, segment(2, "reviewed", mark(2, 6))), TASK, [ANSWER]).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.DRAWN) == (6,)
        assert found.planes_of(PlaneKind.CONFIRMED) == (2,)
        assert np.array_equal(found.labels_DHW[2] == 1, PREDICTED[2] == 1)

    def test_without_anything_shown_there_is_nothing_to_confirm(self) -> None:
        assert interpret(drawing(segment(1, "reviewed", mark(3))), TASK, []).annotation is None

    def test_an_unknown_label_is_not_taken_for_all(self) -> None:
        found = interpret(drawing(LIVER, segment(2, "Lesion reviewed", mark(3))), TASK, [ANSWER])
        assert found.annotation is None
        assert found.unknown_labels == ("Lesion reviewed",)

    @pytest.mark.parametrize("name", ["to be reviewed", "not reviewed", "unreviewed", "reviewedish"])
    def test_only_whole_words_that_nothing_negates(self, name: str) -> None:
        found = interpret(drawing(LIVER, segment(2, name, mark(3))), TASK, [ANSWER])
        assert not found.accepted
        assert found.unknown_labels == (name,)

    def test_words_are_the_sites(self) -> None:
        words = ContractNames(reviewed=("geprüft",))
        found = interpret(drawing(LIVER, segment(2, "Geprüft", mark(3))), TASK, [ANSWER], words)
        assert found.accepted

    def test_accepting_what_somebody_drew_leaves_it_drawn(self) -> None:
        drawn = interpret(drawing(segment(1, "Liver", block(3))), TASK, []).annotation
        again = interpret(drawing(LIVER, segment(3, "Liver reviewed", mark(2, 3))), TASK, [ANSWER]).annotation
        assert drawn is not None
        assert again is not None
        both = accumulate(drawn, again)
        assert both.planes_of(PlaneKind.DRAWN) == (3,)
        assert both.planes_of(PlaneKind.CONFIRMED) == (2,)


class TestComplete:
    @pytest.mark.parametrize("field", ["description", "content_label", "content_description"])
    @pytest.mark.parametrize("text", ["COMPLETE", "Segmentation, complete", "liver_complete"])
    def test_a_declared_object_knows_every_slice(self, field: str, text: str) -> None:
        edited = segment(1, "Liver", block(1, 2, 3, 4) | block(6, high=10))
        found = interpret(drawing(edited, SPLEEN, **{field: text}), TASK, [ANSWER]).annotation
        assert found is not None
        assert found.known_LDHW.all()
        assert found.planes_of(PlaneKind.DRAWN) == (6,)
        assert found.planes_of(PlaneKind.CONFIRMED) == (1, 2, 3, 4)
        assert found.planes_of(PlaneKind.ABSENT) == (0, 5, 7)

    def test_a_fresh_drawing_is_drawn_where_it_shows_something(self) -> None:
        found = interpret(drawing(segment(1, "Liver", block(3, 4)), description="complete"), TASK, []).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.DRAWN) == (3, 4)
        assert found.planes_of(PlaneKind.ABSENT) == (0, 1, 2, 5, 6, 7)
        assert not found.known_LDHW[1].any()

    def test_one_label_may_be_complete(self) -> None:
        found = interpret(drawing(LIVER, SPLEEN, segment(3, "Spleen complete", mark(0))), TASK, [ANSWER]).annotation
        assert found is not None
        assert found.known_LDHW[1].all()
        assert not found.known_LDHW[0].any()

    def test_the_word_may_stand_in_the_name_of_the_drawing(self) -> None:
        found = interpret(drawing(segment(1, "Liver complete", block(3))), TASK, []).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.DRAWN) == (3,)
        assert found.known_LDHW[0].all()

    @pytest.mark.parametrize("text", ["incomplete", "not complete yet", "in-complete", "completed", "abdomen complete artery"])
    def test_other_words_declare_nothing(self, text: str) -> None:
        task = named("Liver", "Complete artery")
        found = interpret(drawing(segment(1, "Liver", block(3)), description=text), task, []).annotation
        assert found is not None
        assert found.planes_of() == (3,)

    def test_a_label_of_that_name_is_a_label(self) -> None:
        task = named("Complete artery", "Stroke")
        found = interpret(
            drawing(
                segment(1, "complete artery", block(3)), segment(2, "Stroke", block(3, low=9, high=11)), description="stroke"
            ),
            task,
            [],
        ).annotation
        assert found is not None
        assert found.labels_DHW.max() == 2
        assert found.planes_of() == ()  # the description alone says strokes; the names do not
        whole = interpret(
            drawing(
                segment(1, "complete artery", block(3)),
                segment(2, "Stroke", block(3, low=9, high=11)),
                description="acute stroke",
            ),
            task,
            [],
        ).annotation
        assert whole is not None
        assert whole.planes_of(PlaneKind.DRAWN) == (3,)
        assert whole.known_LDHW[:, 3].all()

    def test_interpolated_slices_are_never_known(self) -> None:
        acquired = frozenset({0, 2, 4, 6})
        found = interpret(
            drawing(segment(1, "Liver", block(3, 4)), description="complete"), TASK, [], acquired=acquired
        ).annotation
        assert found is not None
        assert found.planes_of(PlaneKind.DRAWN) == (4,)
        assert found.planes_of() == (0, 2, 4, 6)
        assert not found.known_LDHW[:, [1, 3, 5, 7]].any()


class TestStrokes:
    def test_only_drawn_voxels_of_a_declared_object_are_known(self) -> None:
        liver, spleen = block(3, high=4), block(3, low=9, high=11)
        found = interpret(
            drawing(segment(1, "Liver", liver), segment(2, "Spleen", spleen), description="Scribbles"), TASK, []
        ).annotation
        assert found is not None
        assert found.planes == ()
        for known_DHW in found.known_LDHW:
            assert np.array_equal(known_DHW, liver | spleen)
        assert np.array_equal(found.labels_DHW, labels((1, liver), (2, spleen)))

    def test_one_segment_may_be_strokes(self) -> None:
        found = interpret(
            drawing(segment(1, "Liver", block(2)), segment(2, "Spleen strokes", block(5, high=4))), TASK, []
        ).annotation
        assert found is not None
        assert found.planes_of() == (2,)
        assert not found.known_LDHW[1, 2].any(), "nothing is said of the spleen outside its strokes"
        assert np.array_equal(found.known_LDHW[1], block(5, high=4))
        assert np.array_equal(found.known_LDHW[0, 5], block(5, high=4)[5])

    def test_background_strokes_say_where_no_label_is(self) -> None:
        liver, other = block(3, high=4), block(3, low=9, high=11)
        found = interpret(
            drawing(segment(1, "Liver", liver), segment(2, "Background", other), content_label="STROKES"), TASK, []
        ).annotation
        assert found is not None
        assert np.array_equal(found.known_LDHW[0], liver | other)
        assert np.array_equal(found.labels_DHW > 0, liver)
        assert not found.known_LDHW[1].any(), "the object does not define the spleen"

    def test_background_strokes_alone_are_about_all_labels(self) -> None:
        found = interpret(drawing(segment(1, "background strokes", block(3))), TASK, []).annotation
        assert found is not None
        assert np.array_equal(found.known_LDHW, np.stack([block(3)] * 2))
        assert not found.labels_DHW.any()

    def test_background_of_an_ordinary_object_is_no_label(self) -> None:
        found = interpret(drawing(segment(1, "Liver", block(3)), segment(2, "Background", ~block(3))), TASK, [])
        assert found.unknown_labels == ("Background",)

    def test_strokes_without_a_label_are_not_guessed(self) -> None:
        found = interpret(drawing(segment(1, "strokes", block(3))), TASK, [])
        assert found.annotation is None
        assert found.unknown_labels == ("strokes",)

    def test_an_edited_answer_marked_as_strokes_says_what_was_changed(self) -> None:
        mended = PREDICTED == 1
        mended[4, 8:10, 2:8] = True
        mended[2, 2:4, 2:8] = False
        found = interpret(drawing(segment(1, "Liver", mended), description="strokes"), TASK, [ANSWER])
        assert found.edited
        assert found.annotation is not None
        assert np.array_equal(found.annotation.known_LDHW[0], mended != (PREDICTED == 1))
        assert found.annotation.labels_DHW[4, 9, 5] == 1
        assert found.annotation.labels_DHW[2, 2, 2] == 0
        unchanged = interpret(drawing(LIVER, description="strokes"), TASK, [ANSWER])
        assert unchanged.edited
        assert unchanged.annotation is None
