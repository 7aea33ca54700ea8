from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from dicom_io.codes import Code
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.results import ResultIdentity, SegmentDescription
from dicom_io.write_seg import write_prediction
from learner.demo.data import Head
from learner.demo.modality import Order, image_series
from learner.demo.reader import Reader, first_slices, next_slices
from learner.demo.variations import Acquisition, Variation, vary

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SEGMENT = SegmentDescription(
    1, "Egg", Code("91723000", "SCT", "Anatomical Structure"), Code("12738006", "SCT", "Brain"), (200, 60, 60)
)


@pytest.fixture(scope="module")
def reader(head: Head) -> Reader:
    scan = vary(head, Variation("read", "tilted", Acquisition(4.0, 2.0, (5.0, 0.0, 0.0)), seed=5))
    return Reader(read_series(image_series(scan, Order(1, "run"))), scan.truth_DHW, (SEGMENT,))


def test_a_drawing_is_a_manual_seg_with_the_drawn_slices_alone(reader: Reader) -> None:
    file = reader.draw([4, 7], NOW)
    drawing = read_annotation(file, reader.source)
    (segment,) = drawing.segments
    assert segment.algorithm_type == "MANUAL"
    assert np.array_equal(segment.mask_DHW, reader.drawn_labels([4, 7]) > 0)
    assert set(np.flatnonzero(segment.mask_DHW.any(axis=(1, 2)))) == {4, 7}
    assert drawing.header.reader == "Demo^Reader"


def test_contours_in_a_report_give_the_same_mask(reader: Reader) -> None:
    file = reader.contour([5, 6], NOW)
    assert inspect(file).modality == "SR"
    (segment,) = [s for s in read_annotation(file, reader.source).segments if s.mask_DHW.any()]
    assert np.array_equal(segment.mask_DHW, reader.drawn_labels([5, 6]) > 0)


def test_an_edited_prediction_keeps_the_rest_voxel_by_voxel_and_loses_its_link(reader: Reader) -> None:
    predicted = np.roll(reader.truth_DHW, 2, axis=2)
    identity = ResultIdentity("2.25.11", "2.25.12", 9000, "egg prediction", "egg", 1, "egg-1", NOW)
    prediction = write_prediction(reader.source, predicted, [SEGMENT], identity)
    edited = read_annotation(reader.edit(prediction, [5, 8], NOW), reader.source)
    (segment,) = edited.segments
    expected = predicted > 0
    expected[[5, 8]] = reader.truth_DHW[[5, 8]] > 0
    assert np.array_equal(segment.mask_DHW, expected)
    assert segment.algorithm_type == "MANUAL"
    assert segment.type == Code("85756007", "SCT", "Tissue"), "read as the SNOMED code that stands for OHIF's older one"
    assert segment.label == read_annotation(prediction, reader.source).segments[0].label
    assert edited.header.reader == ""


def test_a_slice_without_the_structure_is_erased_in_an_edited_prediction(reader: Reader) -> None:
    full = np.ones_like(reader.truth_DHW)
    identity = ResultIdentity("2.25.21", "2.25.22", 9000, "egg prediction", "egg", 1, "egg-1", NOW)
    edited = read_annotation(reader.edit(write_prediction(reader.source, full, [SEGMENT], identity), [0], NOW), reader.source)
    assert not reader.truth_DHW[0].any()
    assert set(np.flatnonzero(~edited.segments[0].mask_DHW.any(axis=(1, 2)))) == {0}


def test_the_hand_trembles_only_if_told_and_the_same_way_each_time(reader: Reader) -> None:
    steady = reader.drawn_labels([6])
    assert np.array_equal(steady[6], reader.truth_DHW[6])
    shaky = Reader(reader.source, reader.truth_DHW, (SEGMENT,), jitter_mm=1.5, seed=4)
    drawn = shaky.drawn_labels([6])[6] > 0
    truth = reader.truth_DHW[6] > 0
    assert np.array_equal(drawn, shaky.drawn_labels([6, 7])[6] > 0)
    assert 0.8 < 2 * (drawn & truth).sum() / (drawn.sum() + truth.sum()) < 1.0


def test_first_slices_lie_in_the_middle_of_equal_parts(reader: Reader) -> None:
    truth = np.zeros((40, 2, 2), dtype=np.uint8)
    truth[4:35] = 1
    assert first_slices(truth, 3).drawn == (9, 19, 29)
    assert first_slices(truth, 1).drawn == (19,)
    with pytest.raises(ValueError, match="empty"):
        first_slices(np.zeros((4, 2, 2), dtype=np.uint8), 3)


def test_guided_slices_are_the_best_suggestions_with_something_on_them() -> None:
    guided = next_slices(range(4, 35), [30, 2, 9, 12, 33], drawn=[9, 19, 29], count=3)
    assert guided.drawn == (12, 30, 33)
    assert guided.left == (2,)
    assert next_slices([2, *range(4, 35)], [30, 2, 9, 12, 33], drawn=[9, 19, 29], count=3).drawn == (2, 12, 30)


def test_without_enough_suggestions_the_largest_gaps_are_drawn() -> None:
    chosen = next_slices(range(21), [], drawn=[0, 20], count=2)
    assert chosen.drawn in {(5, 10), (10, 15)}
    assert next_slices(range(2), [], drawn=[0, 1], count=2).drawn == ()
    assert next_slices(range(5), [], drawn=[], count=1).drawn == (4,)
