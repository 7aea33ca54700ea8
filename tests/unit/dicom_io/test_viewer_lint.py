from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from dicom_phantoms import SEGMENTS, blobs, edited, identity, make_series
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from dicom_io.errors import InvalidObject
from dicom_io.read_series import read_series
from dicom_io.viewer_lint import Severity, lint
from dicom_io.write_map import write_residual_map
from dicom_io.write_seg import write_prediction

SHAPE = (5, 16, 24)
SOURCE = read_series(make_series(SHAPE))
SEG = write_prediction(SOURCE, blobs(SHAPE), SEGMENTS, identity())
MAP = write_residual_map(SOURCE, np.zeros(SHAPE, np.float32), identity())


def _reverse(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence = Sequence(list(dataset.PerFrameFunctionalGroupsSequence)[::-1])


def _drop_frame(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence.pop()


def _move(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] += 1.0


def _forget_source(dataset: Dataset) -> None:
    del dataset.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence


def _gap(dataset: Dataset) -> None:
    dataset.SegmentSequence.pop(1)


def _hide(dataset: Dataset) -> None:
    dataset.SegmentSequence[0].SegmentLabel = "Couch"


def _turn(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0].ImageOrientationPatient = [0, 1, 0, 1, 0, 0]


def _empty_measures(dataset: Dataset) -> None:
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = Sequence([Dataset()])


def test_our_results_are_clean() -> None:
    assert lint(SEG, SOURCE) == ()
    assert lint(MAP, SOURCE) == ()
    assert lint(SEG, None) == ()


@pytest.mark.parametrize(
    ("file", "spoil", "rule", "severity"),
    [
        (SEG, lambda d: delattr(d, "ReferencedSeriesSequence"), "referenced-series", Severity.ERROR),
        (
            SEG,
            lambda d: setattr(d.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.9"),
            "referenced-series",
            Severity.ERROR,
        ),
        (SEG, lambda d: setattr(d, "SegmentationType", "FRACTIONAL"), "segmentation-type", Severity.ERROR),
        (SEG, lambda d: setattr(d, "InstanceNumber", 2), "one-instance", Severity.ERROR),
        (SEG, lambda d: setattr(d, "StudyInstanceUID", "1.2.9"), "same-study", Severity.ERROR),
        (SEG, lambda d: setattr(d, "PatientID", "P2"), "same-patient", Severity.ERROR),
        (
            SEG,
            lambda d: setattr(d, "SeriesInstanceUID", SOURCE.volume.series.series_instance_uid),
            "own-series",
            Severity.ERROR,
        ),
        (SEG, lambda d: setattr(d, "FrameOfReferenceUID", "1.2.9"), "frame-of-reference", Severity.ERROR),
        (SEG, lambda d: setattr(d, "Rows", 8), "same-grid", Severity.ERROR),
        (SEG, _turn, "same-grid", Severity.ERROR),
        (SEG, _gap, "segment-numbers", Severity.ERROR),
        (SEG, _forget_source, "frame-source", Severity.ERROR),
        (SEG, _move, "frame-position", Severity.ERROR),
        (SEG, _drop_frame, "frame-count", Severity.ERROR),
        (SEG, _empty_measures, "pixel-measures", Severity.ERROR),
        (SEG, _hide, "hidden-word", Severity.WARNING),
        (SEG, lambda d: setattr(d, "Columns", 23), "columns", Severity.WARNING),
        (SEG, lambda d: delattr(d.SegmentSequence[0], "RecommendedDisplayCIELabValue"), "segment-colour", Severity.WARNING),
        (MAP, _reverse, "map-order", Severity.ERROR),
        (MAP, _drop_frame, "map-complete", Severity.ERROR),
        (MAP, lambda d: delattr(d, "FloatPixelData"), "map-type", Severity.ERROR),
    ],
)
def test_each_rule_catches_what_breaks_it(file: bytes, spoil: Callable[[Dataset], None], rule: str, severity: Severity) -> None:
    with edited(file) as (dataset, encode):
        spoil(dataset)
        findings = lint(encode(), SOURCE)
    assert (rule, severity) in {(finding.rule, finding.severity) for finding in findings}
    assert all(finding.what and finding.remedy for finding in findings)


def test_a_cut_off_result_is_invalid() -> None:
    with pytest.raises(InvalidObject):
        lint(SEG[:-50], SOURCE)
