from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import nibabel
import numpy as np
import pytest
from rich.console import Console

from dicom_io.read_series import read_series
from learner.demo.cases import BRAIN
from learner.demo.data import Head
from learner.demo.errors import DemoError
from learner.demo.modality import Order, image_series
from learner.demo.own_data import own_data
from learner.demo.reader import Reader
from learner.demo.variations import Acquisition, Variation, vary

QUIET = Console(quiet=True)


def save(folder: Path, name: str, voxels: np.ndarray, labels: np.ndarray, affine: np.ndarray) -> None:
    for part, array in (("images", voxels), ("labels", labels)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        nibabel.Nifti1Image(array, affine).to_filename(folder / part / name)


@pytest.mark.parametrize("axes", [(1, 1, 1), (-1, 1, 1), (1, -1, 1), (1, 1, -1), (-1, -1, -1)])
def test_each_voxel_of_a_nifti_image_comes_to_its_place_in_the_patient(tmp_path: Path, axes: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(3)
    voxels = rng.integers(0, 3000, (9, 7, 5)).astype(np.int16)
    labels = np.zeros((9, 7, 5), dtype=np.uint8)
    labels[2, 3, 1], labels[6, 2, 4] = 1, 2
    affine = np.diag([1.5 * axes[0], 2.0 * axes[1], 4.0 * axes[2], 1.0])
    affine[:3, 3] = (10.0, -20.0, 30.0)
    save(tmp_path, "a.nii.gz", voxels, labels, affine)
    (case,) = own_data(tmp_path, "run", QUIET).cases
    volume = read_series(case.files).volume
    for index in ((2, 3, 1), (6, 2, 4), (0, 0, 0), (8, 6, 4)):
        ras = affine @ np.array([*index, 1.0])
        place = tuple(np.rint(volume.geometry.to_index(ras[:3] * np.array([-1.0, -1.0, 1.0]))).astype(int))
        assert volume.voxels_DHW[place] == voxels[index]
        assert case.truth_DHW[place] == labels[index]


def test_real_valued_voxels_keep_their_order(tmp_path: Path) -> None:
    voxels = np.linspace(-0.3, 1.7, 4 * 4 * 4, dtype=np.float32).reshape(4, 4, 4)
    save(tmp_path, "a.nii", voxels, np.ones((4, 4, 4), dtype=np.uint8), np.eye(4))
    (case,) = own_data(tmp_path, "run", QUIET).cases
    found = read_series(case.files).volume.voxels_DHW
    assert found.max() == 4000.0
    assert len(np.unique(found)) == voxels.size


def test_labels_of_all_cases_make_the_task(tmp_path: Path) -> None:
    for name, number in (("b.nii", 2), ("a.nii", 1)):
        labels = np.zeros((4, 4, 4), dtype=np.uint8)
        labels[1:3, 1:3, 1:3] = number
        save(tmp_path, name, np.ones((4, 4, 4), dtype=np.int16), labels, np.eye(4))
    data = own_data(tmp_path, "run", QUIET)
    assert [case.name for case in data.cases] == ["a", "b"]
    assert [segment.number for segment in data.segments] == [1, 2]
    assert len(own_data(tmp_path, "run", QUIET, limit=1).cases) == 1


def test_dicom_series_with_their_segs_are_found_and_sent_as_they_are(head: Head, tmp_path: Path) -> None:
    scan = vary(head, Variation("own", "", Acquisition(5.0, 3.0), seed=9))
    files = image_series(scan, Order(1, "elsewhere", modality="CT"))
    reader = Reader(read_series(files), scan.truth_DHW, (BRAIN,))
    drawing = reader.draw(range(scan.truth_DHW.shape[0]), datetime(2026, 1, 1, tzinfo=UTC))
    (tmp_path / "deep").mkdir()
    for number, file in enumerate([*files, drawing]):
        (tmp_path / "deep" / f"{number}.dcm").write_bytes(file)
    (tmp_path / "notes.txt").write_text("no DICOM")
    data = own_data(tmp_path, "run", QUIET)
    (case,) = data.cases
    assert set(case.files) == set(files)
    assert np.array_equal(case.truth_DHW, scan.truth_DHW)
    assert data.modalities == ("CT",)
    assert data.segments[0].name == BRAIN.name


def test_what_cannot_be_played_is_said_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="no folder"):
        own_data(tmp_path / "nowhere", "run", QUIET)
    with pytest.raises(DemoError, match="no MR or CT series"):
        own_data(tmp_path, "run", QUIET)
    save(tmp_path, "a.nii", np.ones((4, 4, 4), dtype=np.int16), np.zeros((4, 4, 4), dtype=np.uint8), np.eye(4))
    with pytest.raises(DemoError, match="one of them at least"):
        own_data(tmp_path, "run", QUIET)
    (tmp_path / "images" / "a.nii").write_bytes(b"nonsense")
    with pytest.raises(DemoError, match=r"a\.nii cannot be read"):
        own_data(tmp_path, "run", QUIET)
