from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation

Phantom = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]


@pytest.fixture(scope="session")
def ball() -> Phantom:
    """A ball of two halves in a textured surrounding that differs from slice to slice only in noise."""
    rng = np.random.default_rng(5)
    z, y, x = np.mgrid[:24, :64, :72].astype(np.float32)
    inside = ((z - 12) / 8) ** 2 + ((y - 32) / 16) ** 2 + ((x - 36) / 16) ** 2 < 1
    labels = np.where(inside, np.where(x < 36, 1, 2), 0).astype(np.uint8)
    texture = ndimage.gaussian_filter(rng.standard_normal((64, 72)), 3)[None] * 60
    image = texture + 40 * labels + rng.normal(0, 2, labels.shape)
    return image.astype(np.float32), labels


@pytest.fixture(scope="session")
def tube() -> Phantom:
    """A textured disc that moves two pixels a slice over a still background."""
    rng = np.random.default_rng(6)
    still = ndimage.gaussian_filter(rng.standard_normal((96, 96)), 4) * 100
    disc = ndimage.gaussian_filter(rng.standard_normal((96, 96)), 1.5) * 60
    y, x = np.mgrid[:96, :96]
    image, labels = np.zeros((13, 96, 96), np.float32), np.zeros((13, 96, 96), np.uint8)
    for index in range(13):
        shift = 2 * index - 12
        mask = (y - 48) ** 2 + (x - 48 - shift) ** 2 < 11**2
        labels[index] = mask
        image[index] = np.where(mask, 90 + np.roll(disc, shift, axis=1), still)
    return image, labels


Annotate = Callable[..., SparseAnnotation]


@pytest.fixture(scope="session")
def annotate() -> Annotate:
    """Shows some slices of a truth, and states others to be empty."""

    def show(truth: npt.NDArray[np.uint8], drawn: Sequence[int], absent: Sequence[int] = (), axis: int = 0) -> SparseAnnotation:
        count = int(truth.max())
        labels, known = np.zeros_like(truth), np.zeros((count, *truth.shape), bool)
        for index in [*drawn, *absent]:
            where = [slice(None)] * 3
            where[axis] = slice(index, index + 1)
            labels[tuple(where)] = truth[tuple(where)] if index in drawn else 0
            known[(slice(None), *where)] = True
        planes = [Plane(axis, i) for i in drawn] + [Plane(axis, i, PlaneKind.ABSENT) for i in absent]
        return SparseAnnotation(labels, known, tuple(sorted(planes)))

    return show


def overlap(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return 2.0 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.fixture(scope="session")
def overlap_of() -> Callable[[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], float]:
    return overlap
