"""The proxy mask: what a few drawn slices say about the whole volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class ProxyMask:
    """Soft labels with a confidence per voxel, made from an annotation by propagation.

    Attributes:
        soft_CDHW: float32 probabilities of background and labels 1..L (C = L + 1); they sum to 1 at each voxel. Labels that the
            annotation shows on no plane are part of the background: of them a proxy mask says nothing.
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


def with_classes(soft_CDHW: npt.NDArray[np.floating], label_count: int) -> FloatArray:
    """Probabilities as of a task that gained labels since: those have none.

    Raises:
        ValueError: if there are more labels than that.
    """
    gained = label_count + 1 - len(soft_CDHW)
    if gained < 0:
        raise ValueError(f"probabilities of {len(soft_CDHW) - 1} labels for a task of {label_count}")
    return np.pad(np.asarray(soft_CDHW, dtype=np.float32), ((0, gained), (0, 0), (0, 0), (0, 0)))


def merge_unknown(soft_CDHW: FloatArray, unknown_labels: Sequence[int]) -> FloatArray:
    """Probabilities in which labels that nobody looked for count as background, as they do in a proxy mask."""
    if not unknown_labels:
        return soft_CDHW
    result = np.array(soft_CDHW, dtype=np.float32)
    result[0] += result[list(unknown_labels)].sum(axis=0)
    result[list(unknown_labels)] = 0.0
    return result


def share_background(soft_CDHW: FloatArray, network_CDHW: FloatArray, unknown_labels: Sequence[int]) -> FloatArray:
    """Probabilities whose background is shared out among itself and labels that nobody looked for, as a network has it.

    Args:
        soft_CDHW: float32 probabilities in which the labels count as background.
        network_CDHW: float32 probabilities of a network.
        unknown_labels: the labels.
    """
    if not unknown_labels:
        return soft_CDHW
    either = network_CDHW[0] + network_CDHW[list(unknown_labels)].sum(axis=0)
    result = np.array(soft_CDHW, dtype=np.float32)
    for number in unknown_labels:
        moved = soft_CDHW[0] * network_CDHW[number] / np.maximum(either, 1e-6)
        result[number] += moved
        result[0] -= moved
    return result


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
    for index in np.flatnonzero(annotation.known_LDHW.any(axis=(0, 2, 3))):
        result[:, index] = _imprint_slice(result[:, index], annotation.labels_DHW[index], annotation.known_LDHW[:, index])
    return result


def _imprint_slice(soft_CHW: FloatArray, labels_HW: npt.NDArray[np.uint8], known_LHW: npt.NDArray[np.bool_]) -> FloatArray:
    """One slice of :func:`imprint`, changed in place and scaled."""
    for number, known_HW in enumerate(known_LHW, start=1):
        soft_CHW[number][known_HW & (labels_HW != number)] = 0.0
    present = labels_HW > 0
    soft_CHW[:, present] = 0.0
    for number in range(1, len(known_LHW) + 1):
        soft_CHW[number][labels_HW == number] = 1.0
    soft_CHW[0][known_LHW.all(axis=0) & ~present] = 1.0
    total = soft_CHW.sum(axis=0)
    empty = total <= 1e-6
    soft_CHW[0][empty] = 1.0
    total[empty] = 1.0
    return np.asarray(soft_CHW / total, dtype=np.float32)
