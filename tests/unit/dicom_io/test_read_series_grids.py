"""Missing slices, changing distances and tilted gantries: what is brought onto a grid, what is said, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantoms import make_series, rotation
from enhanced_phantoms import make_enhanced
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from dicom_io.errors import SeriesNotAVolume
from dicom_io.read_series import read_series
from dicom_io.series_grid import GREATEST_GAP, UNEVEN_TOLERANCE
from dicom_io.volume import ImageSeries


def at_distances(*along: float, shape: tuple[int, int] = (4, 5)) -> list[bytes]:
    """Slices at these places along z."""

    def place(dataset: Dataset, index: int) -> None:
        dataset.ImagePositionPatient = [0, 0, along[index]]

    return make_series((len(along), *shape), edit=place)


def assert_slices_are_found_back(series: ImageSeries, stored: np.ndarray) -> None:
    assert np.array_equal(series.onto_slices(series.volume.voxels_DHW), stored)
    drawn = (stored.astype(int) % 3).astype(np.uint8)
    assert np.array_equal(series.onto_slices(series.onto_volume(drawn)), drawn)


def test_a_missing_slice_is_interpolated_and_said() -> None:
    files = make_series((8, 4, 4))
    series = read_series(files[:4] + files[5:])
    assert np.allclose(series.volume.voxels_DHW, np.arange(128).reshape(8, 4, 4))
    assert [one.plane for one in series.slices] == [0, 1, 2, 3, 5, 6, 7]
    assert series.volume.series.sop_instance_uids[4] == ""
    assert len(series.headers) == 7
    assert series.remarks[0].startswith("1 of 8 planes were not acquired (first after slice 4;")


def test_two_in_a_row_are_interpolated_linearly_and_three_are_refused() -> None:
    series = read_series(at_distances(0, 3, 6, 15, 18, 21))
    low, high = series.volume.voxels_DHW[2], series.volume.voxels_DHW[5]
    assert np.allclose(series.volume.voxels_DHW[3], low * 2 / 3 + high / 3)
    assert np.allclose(series.volume.voxels_DHW[4], low / 3 + high * 2 / 3)
    with pytest.raises(SeriesNotAVolume, match=r"3 of them after slice 3 of 6 \(12.00 mm where slices are 3.00 mm apart\)"):
        read_series(at_distances(0, 3, 6, 18, 21, 24))


def test_more_interpolated_than_acquired_is_refused() -> None:
    with pytest.raises(SeriesNotAVolume, match=r"slice\(s\) are missing"):
        read_series(at_distances(0, 1, 4, 7, 10))


def test_a_change_of_the_distance_is_taken_onto_the_finer_grid_where_it_fits() -> None:
    series = read_series(at_distances(0, 3, 6, 9, 15, 21))
    assert series.volume.geometry.spacing_DHW[0] == pytest.approx(3)
    assert [one.plane for one in series.slices] == [0, 1, 2, 3, 5, 7]
    assert "3.00 to 6.00 mm apart" in series.remarks[0]
    with pytest.raises(SeriesNotAVolume, match=r"changes between 3.00 and 5.00 mm, and no regular grid fits"):
        read_series(at_distances(0, 3, 6, 9, 14, 19, 24))


def test_slices_beside_their_planes_are_accepted_with_a_remark_to_a_limit() -> None:
    series = read_series(at_distances(0, 3, 6.5, 9, 12))
    assert series.volume.geometry.shape[0] == 5
    assert "lie up to 0.50 mm beside their planes" in series.remarks[0]
    with pytest.raises(SeriesNotAVolume, match="slice distance changes"):
        read_series(at_distances(0, 3, 7.3, 9, 12))


def test_a_tilted_gantry_is_sheared_back_by_whole_pixels() -> None:
    lean = np.tan(np.radians(14)) * 3
    stored = np.arange(5 * 20 * 24, dtype=np.uint16).reshape(5, 20, 24) + 7
    series = read_series(make_series(shear=(0, lean, 0), voxels_DHW=stored))
    assert [(one.row_shift, one.column_shift) for one in series.slices] == [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]
    assert series.volume.geometry.shape == (5, 24, 24)
    assert series.volume.voxels_DHW[0, 20:].max() == 7
    assert_slices_are_found_back(series, stored)
    assert "leans by 14.0 degrees (tilted gantry)" in series.remarks[0]
    backwards = read_series(make_series(shear=(0, -lean, 0), voxels_DHW=stored))
    assert [one.row_shift for one in backwards.slices] == [4, 3, 2, 1, 0]


def test_slices_displaced_sideways_are_put_in_their_place_and_side_by_side_is_refused() -> None:
    def beside(step: float) -> list[bytes]:
        def move(dataset: Dataset, index: int) -> None:
            dataset.ImagePositionPatient[0] += step * (index % 2)

        return make_series(edit=move)

    series = read_series(beside(0.6 * 4))
    assert [one.column_shift for one in series.slices] == [0, 4, 0, 4, 0]
    assert "displaced sideways" in series.remarks[0]
    with pytest.raises(SeriesNotAVolume, match="beside each other"):
        read_series(beside(0.6 * 30))


def test_a_tilted_monochrome1_series_is_inverted_before_it_is_filled() -> None:
    def inverted(dataset: Dataset, _: int) -> None:
        dataset.PhotometricInterpretation = "MONOCHROME1"

    voxels_DHW = np.full((3, 4, 4), 5, np.uint16)
    voxels_DHW[0, 0, 0] = 9
    series = read_series(make_series((3, 4, 4), (3, 1, 1), shear=(0, 1, 0), voxels_DHW=voxels_DHW, edit=inverted))
    assert series.volume.voxels_DHW[0, 0, 0] == 5
    assert series.volume.voxels_DHW[0, 5, 0] == 5
    assert series.volume.voxels_DHW[0, 0, 1] == 9


angles = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
spacings = st.tuples(st.floats(0.5, 8), st.floats(0.3, 2), st.floats(0.3, 2))


@settings(max_examples=60, deadline=None)
@given(
    angles=angles,
    spacing=spacings,
    shape=st.tuples(st.integers(2, 9), st.integers(1, 7), st.integers(1, 7)),
    lean=st.tuples(st.floats(-0.6, 0.6), st.floats(-0.6, 0.6)),
    gaps=st.lists(st.integers(1, GREATEST_GAP), min_size=8, max_size=8),
    jitter=st.lists(st.floats(-0.5, 0.5), min_size=9, max_size=9),
    seed=st.integers(0, 2**32 - 1),
    multi_frame=st.booleans(),
)
def test_every_slice_of_any_stack_is_found_back_near_its_place(
    angles: tuple[float, float, float],
    spacing: tuple[float, float, float],
    shape: tuple[int, int, int],
    lean: tuple[float, float],
    gaps: list[int],
    jitter: list[float],
    seed: int,
    multi_frame: bool,
) -> None:
    depth = shape[0]
    random = np.random.default_rng(seed)
    planes = np.concatenate([[0], np.cumsum(gaps[: depth - 1])])
    turn = rotation(angles)
    row, column = turn[:, 0], turn[:, 1]
    inside = np.array([0, *jitter[1 : depth - 1], 0])[:depth] * UNEVEN_TOLERANCE * 0.9 * 2 * 0.5
    along = (planes + inside) * spacing[0]
    positions = along[:, None] * np.cross(row, column) + planes[:, None] * (
        lean[0] * spacing[1] * column + lean[1] * spacing[2] * row
    )
    stored = random.integers(0, 4096, shape, np.uint16)
    order = random.permutation(depth)

    def place(dataset: Dataset, index: int) -> None:
        dataset.ImagePositionPatient = [float(f"{v:.10g}") for v in positions[index]]

    def place_frame(item: Dataset, number: int) -> None:
        place(item.PlanePositionSequence[0], int(order[number]))

    if multi_frame:
        files = make_enhanced(shape, spacing, angles, voxels_DHW=stored, order=order, edit_frame=place_frame)
    else:
        single = make_series(shape, spacing, angles, voxels_DHW=stored, edit=place)
        files = [single[index] for index in order]
    try:
        series = read_series(files)
    except SeriesNotAVolume as refusal:
        assert "missing" in refusal.problem or "beside each other" in refusal.problem or "distance" in refusal.problem  # noqa: PT017
        return
    assert_slices_are_found_back(series, stored)
    assert len(series.slices) == depth
    geometry = series.volume.geometry
    normal = np.cross(row, column)
    for one in series.slices:
        off = geometry.to_patient((one.plane, one.row_shift, one.column_shift)) - one.position
        step = geometry.spacing_DHW[0]
        assert abs(off @ normal) <= UNEVEN_TOLERANCE * step + 1e-6
        sideways = max(abs(off @ column) / spacing[1], abs(off @ row) / spacing[2])
        assert sideways <= 0.5 + 1e-6 or np.linalg.norm(off - off @ normal * normal) <= 0.1 * step + 1e-6
