"""Which label a segment means, and what becomes of cases when labels change."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawings import LIVER, SPLEEN, TASK, TISSUE, block, drawing, named, segment
from pydicom.dataset import Dataset

from dicom_io.codes import Code
from dicom_io.datasets import code_of
from learner.domain.contract import LabelChange, interpret, label_change, match_label


class TestMatching:
    def test_code_goes_before_name(self) -> None:
        assert match_label(segment(1, "Spleen", block(1), LIVER), TASK) is TASK.labels[0]

    def test_name_where_the_code_says_nothing(self) -> None:
        assert match_label(segment(1, " spleen", block(1), TISSUE), TASK) is TASK.labels[1]

    @pytest.mark.parametrize("note", ["Liver (r2)", "liver [edited] (r2)", "Liver(copy)", "LIVER"])
    def test_a_note_behind_the_name_is_ignored(self, note: str) -> None:
        assert match_label(segment(1, note, block(1)), TASK) is TASK.labels[0]

    def test_a_note_that_is_part_of_a_name_is_not(self) -> None:
        task = named("Tumour", "Tumour (left)")
        assert match_label(segment(1, "tumour (left)", block(1)), task) is task.labels[1]
        assert match_label(segment(1, "tumour (right)", block(1)), task) is task.labels[0]

    def test_left_and_right_of_one_code_are_told_apart_by_name(self) -> None:
        kidney = Code("64033007", "SCT", "Kidney")
        task = named("Left kidney", "Right kidney", kind=kidney)
        assert match_label(segment(1, "right_kidney", block(1), kidney), task) is task.labels[1]
        assert match_label(segment(1, "kidney", block(1), kidney), task) is None

    def test_a_generic_code_never_decides_though_a_label_has_it(self) -> None:
        task = named("Tumour", "Node", kind=TISSUE)
        task = replace(task, labels=(task.labels[0], replace(task.labels[1], type=LIVER)))
        assert match_label(segment(1, "Segment 1", block(1), TISSUE), task) is None
        assert match_label(segment(1, "Node", block(1), TISSUE), task) is task.labels[1]

    def test_the_sites_codes_come_after_the_labels_own_and_before_names(self) -> None:
        local = Code("L-17", "99SITE", "")
        mapped = replace(TASK, labels=(TASK.labels[0], replace(TASK.labels[1], codes=(local, LIVER))))
        assert match_label(segment(1, "Liver", block(1), local), mapped) is mapped.labels[1]
        assert match_label(segment(1, "anything", block(1), LIVER), mapped) is mapped.labels[0]

    def test_the_sites_names(self) -> None:
        mapped = replace(TASK, labels=(replace(TASK.labels[0], names=("Leber", "Foie")), TASK.labels[1]))
        assert match_label(segment(1, "leber (r1)", block(1), TISSUE), mapped) is mapped.labels[0]

    def test_a_retired_snomed_code_is_the_current_one(self) -> None:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-62000", "SRT", "Liver"
        assert match_label(segment(1, "Segment 1", block(1), code_of(item)), TASK) is TASK.labels[0]
        item.CodeValue = "T-D0050"
        found = code_of(item)
        assert found is not None
        assert found.is_generic, "what OHIF writes for everything"

    def test_unknown_is_reported_and_never_guessed(self) -> None:
        odd = "Segment\n1" + "x" * 80
        found = interpret(drawing(segment(1, odd, block(1)), segment(2, "", block(2))), TASK, [])
        assert found.annotation is None
        assert found.unknown_labels == (("Segment 1" + "x" * 80)[:64], "segment 2")
        assert "abdomen" in found.remarks[0]
        assert "segment 2" in found.remarks[0]


class TestLabelsOfATaskChange:
    def test_nothing(self) -> None:
        assert label_change(TASK.labels, TASK.labels) is LabelChange.SAME

    def test_a_label_is_added_at_the_end(self) -> None:
        more = named("Liver", "Spleen", "Kidney").labels
        assert label_change(TASK.labels, (*TASK.labels, more[2])) is LabelChange.GROWN

    def test_another_name_for_the_same_code(self) -> None:
        renamed = (replace(TASK.labels[0], name="Leber"), TASK.labels[1])
        assert label_change(TASK.labels, renamed) is LabelChange.SAME

    def test_a_code_corrected(self) -> None:
        coded = (replace(TASK.labels[0], type=Code("1", "99SITE", "Liver")), TASK.labels[1])
        assert label_change(TASK.labels, coded) is LabelChange.SAME

    @pytest.mark.parametrize(
        "new",
        [
            TASK.labels[:1],
            (replace(TASK.labels[1], number=1), replace(TASK.labels[0], number=2)),
            (replace(TASK.labels[0], name="Spleen"), replace(TASK.labels[1], name="Liver")),
            (replace(TASK.labels[0], type=SPLEEN), replace(TASK.labels[1], type=LIVER)),
            named("Kidney", "Spleen").labels,
        ],
        ids=["one less", "reordered", "names swapped", "codes swapped", "replaced"],
    )
    def test_numbers_that_mean_something_else_are_incompatible(self, new: tuple[object, ...]) -> None:
        assert label_change(TASK.labels, new) is LabelChange.INCOMPATIBLE

    def test_swapped_sides_of_one_code_are_incompatible(self) -> None:
        kidney = Code("64033007", "SCT", "Kidney")
        old, new = named("Left", "Right", kind=kidney).labels, named("Right", "Left", kind=kidney).labels
        assert label_change(old, new) is LabelChange.INCOMPATIBLE
        assert label_change(old, old) is LabelChange.SAME
