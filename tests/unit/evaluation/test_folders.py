from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest

from learner.errors import ConfigurationError
from learner.evaluation.folders import LabelledFolders

Blob = Callable[[int], tuple[np.ndarray, np.ndarray]]


def test_the_slice_axis_comes_first(blob_folders: Path, blob: Blob) -> None:
    image, labels = blob(2)
    folders = LabelledFolders(blob_folders / "images", blob_folders / "labels")
    assert folders.names() == tuple(f"blob{n}" for n in range(6))
    case = folders.load("blob2")
    assert case.spacing_DHW == (2.0, 1.0, 1.0)
    np.testing.assert_array_equal(case.labels_DHW, np.moveaxis(labels, 2, 0))
    np.testing.assert_allclose(case.image_DHW, np.moveaxis(image, 2, 0))
    other = LabelledFolders(blob_folders / "images", blob_folders / "labels", axis=1).load("blob2")
    assert other.image_DHW.shape == (28, 24, 16)
    assert other.spacing_DHW == (1.0, 1.0, 2.0)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no folder"):
        LabelledFolders(tmp_path / "images", tmp_path).names()
    (tmp_path / "images").mkdir()
    with pytest.raises(ConfigurationError, match="neither NIfTI"):
        LabelledFolders(tmp_path / "images", tmp_path).names()
    nibabel.save(nibabel.Nifti1Image(np.zeros((3, 4, 5), np.float32), np.eye(4)), tmp_path / "images" / "a.nii.gz")
    with pytest.raises(ConfigurationError, match=r"no labels for 1 images, the first being a"):
        LabelledFolders(tmp_path / "images", tmp_path).names()


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for name, shape in (("images", (3, 4, 5)), ("labels", (3, 4, 6))):
        (tmp_path / name).mkdir()
        nibabel.save(nibabel.Nifti1Image(np.zeros(shape, np.float32), np.eye(4)), tmp_path / name / "a.nii.gz")
        (tmp_path / name / "b.nii.gz").write_bytes(b"nothing of the kind")
    folders = LabelledFolders(tmp_path / "images", tmp_path / "labels")
    with pytest.raises(ConfigurationError, match="differ"):
        folders.load("a")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        folders.load("b")
    with pytest.raises(ConfigurationError, match="no image"):
        folders.load("c")
