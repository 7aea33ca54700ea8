from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from scipy import ndimage


def make_blob(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A small volume with a bright blob of two halves, slice axis last as NIfTI files have it."""
    rng = np.random.default_rng(seed)
    shape = (24, 28, 16)
    centre = np.array([12, 14, 8]) + rng.uniform(-1.5, 1.5, 3)
    radius = np.array([7, 8, 5]) * rng.uniform(0.85, 1.1)
    grid = np.moveaxis(np.indices(shape), 0, -1)
    inside = (((grid - centre) / radius) ** 2).sum(axis=-1) < 1
    labels = np.where(inside, np.where(grid[..., 0] < centre[0], 1, 2), 0).astype(np.uint8)
    image = 60.0 * labels + 10 * ndimage.gaussian_filter(rng.standard_normal(shape), 1) + rng.normal(0, 3, shape)
    return image.astype(np.float32), labels


@pytest.fixture(scope="session")
def blob_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders ``images`` and ``labels`` of six generated cases."""
    root = tmp_path_factory.mktemp("blobs")
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    for name in ("images", "labels"):
        (root / name).mkdir()
    for number in range(6):
        image, labels = make_blob(number)
        nibabel.save(nibabel.Nifti1Image(image, affine), root / "images" / f"blob{number}.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, affine), root / "labels" / f"blob{number}.nii.gz")
    return root


@pytest.fixture(scope="session")
def blob() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    return make_blob
