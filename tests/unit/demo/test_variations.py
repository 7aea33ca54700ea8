from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from learner.demo.cases import SCRIPT
from learner.demo.data import Head
from learner.demo.modality import directions
from learner.demo.variations import Acquisition, Variation, vary

PLAIN = Variation("plain", "as it is", Acquisition(4.0, 2.0), noise=0.0)
WILD = Variation(
    "wild",
    "all at once",
    Acquisition(3.0, 1.5, (7.0, -4.0, 5.0), 0.5),
    deformation_mm=2.0,
    bias=0.2,
    gamma=1.2,
    noise=0.02,
    seed=7,
)


def volume_ml(truth: np.ndarray, voxel_mm3: float) -> float:
    return float(truth.sum()) * voxel_mm3 / 1000.0


@pytest.mark.parametrize("variation", [PLAIN, WILD])
def test_the_structure_keeps_its_size_and_lies_inside_with_room(head: Head, variation: Variation) -> None:
    scan = vary(head, variation)
    shipped = volume_ml(head.truth, 8.0)
    assert volume_ml(scan.truth_DHW, scan.geometry.voxel_volume_mm3) == pytest.approx(shipped, rel=0.08)
    there = np.argwhere(scan.truth_DHW)
    assert (there.min(axis=0) >= 1).all()
    assert (there.max(axis=0) <= np.array(scan.geometry.shape) - 2).all()


def test_an_unvaried_scan_shows_each_place_as_shipped(head: Head) -> None:
    scan = vary(head, PLAIN)
    for index in ((24, 28, 22), (24, 28, 30), (24, 16, 22), (14, 28, 22)):  # centre, up, back, left
        ras = head.affine[:3, :3] @ np.array(index) + head.affine[:3, 3]
        place = np.rint(scan.geometry.to_index(ras * np.array([-1.0, -1.0, 1.0]))).astype(int)
        assert scan.truth_DHW[tuple(place)] == head.truth[index] == 1
        assert scan.voxels_DHW[tuple(place)] == pytest.approx(600.0 * head.voxels[index], rel=0.02)


def test_left_and_right_are_not_swapped(head: Head) -> None:
    scan = vary(head, PLAIN)
    bright = np.argwhere(scan.voxels_DHW > 620)
    assert scan.geometry.to_patient(bright)[:, 0].max() < 0.0  # shipped at RAS x > 0, which is LPS x < 0


def test_deformation_moves_truth_and_image_together(head: Head) -> None:
    scan = vary(head, replace(WILD, noise=0.0, bias=0.0, gamma=1.0))
    inside = scan.voxels_DHW > 450
    overlap = 2 * (inside & (scan.truth_DHW > 0)).sum() / (inside.sum() + scan.truth_DHW.sum())
    assert overlap > 0.93
    still = vary(head, replace(WILD, noise=0.0, bias=0.0, gamma=1.0, deformation_mm=0.0))
    assert (still.truth_DHW != scan.truth_DHW).mean() > 0.005


def test_the_same_variation_gives_the_same_scan_and_another_seed_another(head: Head) -> None:
    first, again, other = vary(head, WILD), vary(head, WILD), vary(head, replace(WILD, seed=8))
    assert np.array_equal(first.voxels_DHW, again.voxels_DHW)
    assert not np.array_equal(first.voxels_DHW, other.voxels_DHW)


def test_tilted_slices_are_a_right_handed_image_grid(head: Head) -> None:
    axes = directions(vary(head, WILD).geometry)
    assert np.allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert abs(np.degrees(np.arccos(axes[2, 2]))) > 5.0


def test_the_script_ends_with_another_subject_after_at_least_four() -> None:
    sources = [source.key for source, _ in SCRIPT]
    assert len(sources) >= 5
    assert sources[-1] not in sources[:-1]
    assert len({variation.name for _, variation in SCRIPT}) == len(SCRIPT)
