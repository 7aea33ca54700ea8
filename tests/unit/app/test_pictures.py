"""The pictures of an answer are of the slices that matter, and are kept with the round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from node_harness import phantom

from dicom_io.read_series import read_series
from learner.app.pictures import pictures_of
from learner.domain.answer import Answer
from learner.domain.guidance import Guidance, Suggestion
from learner.ports import CaseRecord
from learner.storage.files import LocalCaseFiles


def test_the_largest_the_most_disputed_and_the_suggested_slices_are_kept(tmp_path: Path) -> None:
    files, truth_DHW = phantom(slices=9, size=32)
    images = read_series(files)
    labels_DHW = truth_DHW.astype(np.uint8)
    residual_DHW = np.zeros(labels_DHW.shape, np.float32)
    residual_DHW[7, 3:9] = 0.5
    suggested = tuple(Suggestion(axis, index, 0.5, "why") for axis, index in ((0, 2), (2, 11)))
    soft_CDHW = np.stack([1 - labels_DHW, labels_DHW]).astype(np.float32)
    answer = Answer(labels_DHW, soft_CDHW, residual_DHW, residual_DHW, Guidance(suggested), None)
    pictures = pictures_of(images, answer)
    largest = int(labels_DHW.sum(axis=(1, 2)).argmax())
    places = [(one.kind, one.axis, one.index) for one in pictures]
    assert places == [("answer", 0, largest), ("residual", 0, 7), ("guidance", 0, 2), ("guidance", 2, 11)]

    kept = LocalCaseFiles(tmp_path)
    kept.put_record(5, CaseRecord(None, None, labels_DHW, None, pictures=pictures))
    for found in (kept.get_pictures(5), kept.get_record(5).pictures):
        assert [(one.kind, one.axis, one.index) for one in found] == places
        for one, other in zip(found, pictures, strict=True):
            assert np.array_equal(one.grey_HW, other.grey_HW)
            assert np.array_equal(one.labels_HW, other.labels_HW)
            assert np.array_equal(one.residual_HW, other.residual_HW)


def test_an_empty_answer_shows_the_middle_and_no_dispute() -> None:
    files, truth_DHW = phantom(slices=9, size=32)
    zeros_DHW = np.zeros(truth_DHW.shape, np.float32)
    soft_CDHW = np.stack([1 - zeros_DHW, zeros_DHW])
    answer = Answer(zeros_DHW.astype(np.uint8), soft_CDHW, zeros_DHW, zeros_DHW, Guidance(()), None)
    (only,) = pictures_of(read_series(files), answer)
    assert (only.kind, only.index) == ("answer", 4)
