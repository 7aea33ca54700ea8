from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask, imprint


@pytest.fixture
def make_example() -> Callable[..., Example]:
    def make(key: str = "case", *, seed: int = 0, task: str = "task", confidence: float = 0.5, size: int = 8) -> Example:
        rng = np.random.default_rng(seed)
        shape = (6, size, size + 1)
        labels = np.zeros(shape, dtype=np.uint8)
        labels[2, 2:5, 2:5], labels[2, 5, 2:5] = 1, 2
        known = np.zeros((2, *shape), dtype=bool)
        known[:, [2, 5]] = True
        known[0, 3, :2] = True
        planes = (Plane(0, 2), Plane(0, 5, PlaneKind.ABSENT))
        annotation = SparseAnnotation(labels, known, planes, ("1.2.3.4",), ("Dr^Secret",))
        soft = rng.dirichlet([2, 1, 1], size=shape).transpose(3, 0, 1, 2).astype(np.float32)
        proxy = ProxyMask(imprint(soft, annotation), np.full(shape, confidence, dtype=np.float32), "method")
        image = rng.normal(1e5, 3e4, shape).astype(np.float32)
        return Example(key, task, 3, image, (4.0, 0.5, 0.6), annotation, proxy)

    return make
