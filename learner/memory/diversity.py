"""How alike remembered cases are, from a few numbers a case."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from learner.domain.example import Example

_BINS = np.array([-np.inf, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, np.inf])


def descriptor(example: Example) -> tuple[float, ...]:
    """What kind of case it is: size and extent of the object, voxel size, and the histogram of intensities around it.

    Args:
        example: with a normalised image (mean 0, deviation 1).

    Returns:
        15 numbers: logarithms of the object's volume in mm^3, of its extents and the spacing in mm along (D, H, W); and the
        shares of eight intervals of intensity among voxels where an object is likely, or among all if none is.
    """
    near = example.proxy.soft_CDHW[0] < 0.9
    object_DHW = example.proxy.soft_CDHW[0] < 0.5
    spacing = np.array(example.spacing_DHW)
    spans = [np.flatnonzero(object_DHW.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    extents = np.array([span[-1] - span[0] + 1 if span.size else 0 for span in spans]) * spacing
    volume = object_DHW.sum() * spacing.prod()
    counts = np.histogram(example.image_DHW[near] if near.any() else example.image_DHW, _BINS)[0]
    sizes = [np.log1p([volume]), np.log1p(extents), np.log(spacing), counts / counts.sum()]
    return tuple(float(value) for value in np.round(np.concatenate(sizes), 4))


def redundancy(descriptors: Sequence[tuple[float, ...]]) -> npt.NDArray[np.float64]:
    """Distance of each case to the one most like it; 0 for all where descriptors are missing or fewer than two.

    Each number counts in units of its standard deviation over the cases.
    """
    if len(descriptors) < 2 or len({len(one) for one in descriptors}) > 1 or not descriptors[0]:
        return np.zeros(len(descriptors))
    values = np.array(descriptors)
    values = values / np.maximum(values.std(axis=0), 1e-6)
    distances = cdist(values, values)
    np.fill_diagonal(distances, np.inf)
    nearest: npt.NDArray[np.float64] = distances.min(axis=1)
    return nearest
