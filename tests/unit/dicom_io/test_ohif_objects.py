"""What OHIF really saves is read right. Where the objects come from: tests/data/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node_harness import phantom

from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries

OHIF = Path(__file__).parents[2] / "data" / "ohif-3.12.10"
DRAWN = [5, 9]
"""Planes that were drawn on, from the feet; OHIF counts axial slices from the head: they were its slices 9 and 5 of 14."""


@pytest.fixture(scope="module")
def source() -> ImageSeries:
    files, _truth = phantom(slices=14, size=128, seed=3)
    return read_series(files)


@pytest.mark.parametrize("name", ["drawing.seg.dcm", "drawing.rtstruct.dcm"])
def test_drawings_of_ohif_lie_where_they_were_drawn(source: ImageSeries, name: str) -> None:
    file = (OHIF / name).read_bytes()
    assert inspect(file).referenced_series_uids == (source.volume.series.series_instance_uid,)
    (segment,) = read_annotation(file, source).segments
    assert segment.label == "Prostate"
    assert np.flatnonzero(segment.mask_DHW.any(axis=(1, 2))).tolist() == DRAWN
    row, column = (places.mean() for places in np.nonzero(segment.mask_DHW[DRAWN[0]]))
    assert (row, column) == pytest.approx((64, 64), abs=1.5)


def test_both_forms_of_a_drawing_are_the_same_voxels(source: ImageSeries) -> None:
    """OHIF's contours run from centre to centre of the outermost pixels, which belong to what was drawn."""
    seg, contours = (
        read_annotation((OHIF / name).read_bytes(), source).segments[0].mask_DHW
        for name in ("drawing.seg.dcm", "drawing.rtstruct.dcm")
    )
    assert np.array_equal(seg, contours)
