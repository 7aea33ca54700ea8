from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask, imprint
from learner.memory.replay import ReplayMemory
from learner.model.settings import TrainingSettings
from learner.model.trainer import OnlineTrainer

Spacing = tuple[float, float, float]


def ellipsoid(shape: tuple[int, int, int], centre: tuple[float, ...]) -> np.ndarray:
    grid = np.indices(shape).astype(np.float32)
    return sum(((g - c) / (0.3 * size)) ** 2 for g, c, size in zip(grid, centre, shape, strict=True)) < 1


def nearest_slice(annotation: SparseAnnotation) -> ProxyMask:
    """Copies the nearest known slice, and is less sure the further away that is."""
    known = np.array(annotation.planes_of())
    distance = np.abs(np.arange(len(annotation.labels_DHW))[:, None] - known[None])
    labels = annotation.labels_DHW[known[distance.argmin(axis=1)]]
    soft = np.stack([labels == n for n in range(annotation.label_count + 1)]).astype(np.float32)
    confidence = np.broadcast_to((1 / (1 + distance.min(axis=1)))[:, None, None], labels.shape).astype(np.float32)
    return ProxyMask(imprint(soft, annotation), np.array(confidence), "nearest")


@pytest.fixture
def make_example() -> Callable[..., Example]:
    """A bright ellipsoid with a darker, second label in its lower half, drawn on some slices."""

    def make(
        seed: int = 0,
        *,
        shape: tuple[int, int, int] = (16, 16, 16),
        spacing: Spacing = (1.0, 1.0, 1.0),
        drawn: tuple[int, ...] | None = None,
        key: str | None = None,
        task: str = "task",
    ) -> Example:
        rng = np.random.default_rng(seed)
        centre = tuple(size / 2 - 0.5 + rng.uniform(-1, 1) for size in shape)
        inside = ellipsoid(shape, centre)
        labels = inside.astype(np.uint8)
        labels[:, int(centre[1]) + 1 :][inside[:, int(centre[1]) + 1 :]] = 2
        image = (labels == 1) * 3.0 + (labels == 2) * 2.0 + rng.normal(0, 0.2, shape)
        image[:, :, :2] += 4.0  # something bright on every slice, as the body is
        object_slices = np.flatnonzero(inside.any(axis=(1, 2)))
        if drawn is None:
            drawn = tuple(int(i) for i in object_slices[[1, len(object_slices) // 2, -2]])
        planes = [Plane(0, i) for i in drawn]
        planes += [
            Plane(0, int(object_slices[0]) - 1, PlaneKind.ABSENT),
            Plane(0, int(object_slices[-1]) + 1, PlaneKind.ABSENT),
        ]
        known = np.zeros(shape, dtype=bool)
        known[[plane.index for plane in planes]] = True
        annotation = SparseAnnotation(np.where(known, labels, 0).astype(np.uint8), np.stack([known] * 2), tuple(sorted(planes)))
        image = (image * 100 + 40).astype(np.float32)
        return Example(key or f"case{seed}", task, 1, image, spacing, annotation, nearest_slice(annotation))

    return make


@pytest.fixture
def settings() -> TrainingSettings:
    return TrainingSettings(first_case_steps=0, threads=1)


@pytest.fixture
def make_trainer(tmp_path: Path, settings: TrainingSettings) -> Callable[..., OnlineTrainer]:
    def make(folder: str = "replay", seed: int = 0, label_count: int = 2) -> OnlineTrainer:
        return OnlineTrainer({"task": label_count}, settings, ReplayMemory(tmp_path / folder, 2**24), seed=seed)

    return make
