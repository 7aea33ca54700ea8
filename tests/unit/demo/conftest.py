from __future__ import annotations

import numpy as np
import pytest

from learner.demo.data import Head


@pytest.fixture(scope="session")
def head() -> Head:
    """A bright egg (the truth) in a grey shell, 2 mm voxels, RAS axes with an offset."""
    grid = np.indices((48, 56, 44), dtype=np.float64)
    centre = np.array([24.0, 28.0, 22.0])[:, None, None, None]
    radius = np.sqrt((((grid - centre) / np.array([14.0, 18.0, 12.0])[:, None, None, None]) ** 2).sum(axis=0))
    voxels = np.where(radius < 1.0, 0.9, np.where((radius > 1.15) & (radius < 1.35), 0.5, 0.0)).astype(np.float32)
    voxels[grid[0] > 34] *= 1.2
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = (-48.0, -50.0, -30.0)
    return Head("egg", "an egg", voxels, (radius < 1.0).astype(np.uint8), affine)
