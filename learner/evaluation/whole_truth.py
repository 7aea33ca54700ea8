"""The whole truth of a case as an example: what offline training is given, and learning online from full drawings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, SparseAnnotation
from learner.domain.proxy import ProxyMask
from learner.evaluation.folders import LabelledCase


class TruthPropagator:
    """Stands where a propagator is asked for and every slice is drawn; implements :class:`learner.ports.Propagator`."""

    name = "truth"

    def propagate(
        self,
        image_DHW: npt.NDArray[np.float32],
        spacing_DHW: tuple[float, float, float],  # noqa: ARG002 - the port's signature
        annotation: SparseAnnotation,
    ) -> ProxyMask:
        """What is drawn, and background elsewhere, sure everywhere."""
        numbers = np.arange(annotation.label_count + 1, dtype=np.uint8)[:, None, None, None]
        soft_CDHW = (annotation.labels_DHW[None] == numbers).astype(np.float32)
        return ProxyMask(soft_CDHW, np.ones(image_DHW.shape, dtype=np.float32), self.name)


def every_slice(case: LabelledCase, label_count: int) -> SparseAnnotation:
    """An annotation with every slice drawn."""
    known_LDHW = np.ones((label_count, *case.labels_DHW.shape), dtype=bool)
    planes = tuple(Plane(0, index) for index in range(len(case.labels_DHW)))
    return SparseAnnotation(case.labels_DHW.copy(), known_LDHW, planes)
