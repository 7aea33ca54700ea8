"""The proxy mask: what a few drawn slices say about the whole volume."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ProxyMask:
    """Soft labels with a confidence per voxel, made from an annotation by propagation.

    Attributes:
        soft_CDHW: float32 probabilities of background and labels 1..L (C = L + 1); they sum to 1 at each voxel.
        confidence_DHW: float32 in [0, 1]: 1 on what a reader drew, falling with distance and inconsistency.
        method: name of the propagator.

    Raises:
        ValueError: if shapes disagree.
    """

    soft_CDHW: FloatArray
    confidence_DHW: FloatArray
    method: str

    def __post_init__(self) -> None:
        if self.soft_CDHW.shape[1:] != self.confidence_DHW.shape:
            raise ValueError(f"soft labels {self.soft_CDHW.shape} and confidence {self.confidence_DHW.shape} disagree")

    @property
    def labels_DHW(self) -> npt.NDArray[np.uint8]:
        """The most likely label of each voxel."""
        return np.asarray(self.soft_CDHW.argmax(axis=0), dtype=np.uint8)


def imprint(soft_CDHW: FloatArray, annotation: SparseAnnotation) -> FloatArray:
    """A copy of ``soft_CDHW`` that equals ``annotation`` wherever that is known for all labels.

    Args:
        soft_CDHW: float32 probabilities, C = L + 1.
        annotation: what is known.

    Returns:
        float32 array of the same shape: one-hot on known voxels. Where only some labels are known, those get their known
        value and the rest is scaled to keep the sum at 1.
    """
    result = np.array(soft_CDHW, dtype=np.float32)
    known_LDHW, labels_DHW = annotation.known_LDHW, annotation.labels_DHW
    for number, known_DHW in enumerate(known_LDHW, start=1):
        absent = known_DHW & (labels_DHW != number)
        result[number][absent] = 0.0
    present = labels_DHW > 0
    result[:, present] = 0.0
    for number in range(1, annotation.label_count + 1):
        result[number][labels_DHW == number] = 1.0
    background = annotation.known_DHW & ~present
    result[0][background] = 1.0
    total = result.sum(axis=0)
    empty = total <= 1e-6
    result[0][empty] = 1.0
    total[empty] = 1.0
    return np.asarray(result / total, dtype=np.float32)
