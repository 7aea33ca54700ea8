from __future__ import annotations

import numpy as np
from dicom_phantoms import CREATED, identity, make_series
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dicom_io.annotation import DrawnSegment
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr, write_drawing_seg
from dicom_io.results import SegmentDescription
from dicom_io.viewer_lint import Severity, lint
from dicom_io.volume import ImageSeries
from dicom_io.write_map import write_residual_map
from dicom_io.write_seg import write_prediction, write_residual_bands

COMMON = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def sources(draw: st.DrawFn) -> ImageSeries:
    """Any orientation, non-square pixels, columns of any number, files in any order, with or without frame of reference."""
    shape = (draw(st.integers(2, 6)), draw(st.integers(3, 13)), draw(st.integers(3, 13)))
    spacing = tuple(draw(st.floats(0.3, 6.0)) for _ in range(3))
    angles = tuple(draw(st.floats(-3.1, 3.1)) for _ in range(3))
    origin = tuple(draw(st.floats(-500, 500)) for _ in range(3))
    frame = draw(st.sampled_from(["1.2.3.4", ""]))
    files = make_series(shape, spacing, angles, origin, frame_of_reference=frame)
    return read_series(draw(st.permutations(files)))


def segments(count: int) -> tuple[SegmentDescription, ...]:
    return tuple(
        SegmentDescription(
            n, f"structure {n}", ANATOMICAL_STRUCTURE, Code(f"T{n}", "99TEST", f"Structure {n}"), (30 * n, 9, 200)
        )
        for n in range(1, count + 1)
    )


def by_label(found: tuple[DrawnSegment, ...]) -> dict[str, np.ndarray]:
    return {segment.label: segment.mask_DHW for segment in found}


@COMMON
@given(source=sources(), count=st.integers(1, 8), seed=st.integers(0, 2**32 - 1), share=st.sampled_from([0.02, 0.3, 0.9]))
def test_a_prediction_read_back_is_the_prediction(source: ImageSeries, count: int, seed: int, share: float) -> None:
    random = np.random.default_rng(seed)
    labels_DHW = random.integers(1, count + 1, source.volume.geometry.shape).astype(np.uint8)
    labels_DHW[random.random(labels_DHW.shape) > share] = 0
    labels_DHW[0, 0, 0] = 1
    file = write_prediction(source, labels_DHW, segments(count), identity())
    drawing = read_annotation(file, source)
    assert len(drawing.segments) == count
    for segment in drawing.segments:
        assert np.array_equal(segment.mask_DHW, labels_DHW == segment.number)
    assert drawing.remarks == ()
    assert [f for f in lint(file, source) if f.severity is Severity.ERROR] == []


@COMMON
@given(source=sources(), seed=st.integers(0, 2**32 - 1))
def test_drawings_read_back_as_drawn_by_seg_and_by_contour(source: ImageSeries, seed: int) -> None:
    random = np.random.default_rng(seed)
    masks = {number: random.random(source.volume.geometry.shape) < 0.85 for number in (1, 2)}
    for mask_DHW in masks.values():
        mask_DHW[0] = False
        mask_DHW[1, 1, 1] = True
    for write in (write_drawing_seg, write_contour_sr):
        found = by_label(read_annotation(write(source, masks, segments(2), "R^A", "drawn", created=CREATED), source).segments)
        for number, mask_DHW in masks.items():
            assert np.array_equal(found[f"structure {number}"], mask_DHW)


@COMMON
@given(source=sources(), seed=st.integers(0, 2**32 - 1))
def test_residual_bands_are_where_the_residual_reaches_their_edge(source: ImageSeries, seed: int) -> None:
    residual_DHW = np.random.default_rng(seed).random(source.volume.geometry.shape).astype(np.float32)
    residual_DHW[0, 0, 0] = 1.0
    found = read_annotation(write_residual_bands(source, residual_DHW, identity()), source).segments
    edges = (0.25, 0.5, 0.75, np.inf)
    for segment, low, high in zip(found, edges, edges[1:], strict=False):
        assert np.array_equal(segment.mask_DHW, (residual_DHW >= low) & (residual_DHW < high))
    assert [f for f in lint(write_residual_map(source, residual_DHW, identity()), source) if f.severity is Severity.ERROR] == []
