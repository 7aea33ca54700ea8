"""Measures of agreement and of effort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

LabelArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]


def dice(answer_DHW: LabelArray, truth_DHW: LabelArray, label_count: int) -> dict[int, float]:
    """Dice coefficient of each label 1..L; 1 where a label is in neither.

    Args:
        answer_DHW: uint8 labels.
        truth_DHW: uint8 labels of the same shape.
        label_count: labels L.

    Raises:
        ValueError: if the shapes differ.
    """
    if answer_DHW.shape != truth_DHW.shape:
        raise ValueError(f"labels of shapes {answer_DHW.shape} and {truth_DHW.shape} cannot be compared")
    result = {}
    for number in range(1, label_count + 1):
        answer, truth = answer_DHW == number, truth_DHW == number
        total = int(answer.sum()) + int(truth.sum())
        result[number] = 2.0 * int((answer & truth).sum()) / total if total else 1.0
    return result


def mean_dice(values: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Mean per label over cases."""
    return {number: float(np.mean([v[number] for v in values])) for number in (values[0] if values else {})}


def normalised_surface_dice(
    answer_DHW: BoolArray, truth_DHW: BoolArray, spacing_DHW: tuple[float, float, float], tolerance_mm: float = 2.0
) -> float:
    """Share of both surfaces that lies within a tolerance of the other one (Nikolov et al., JMIR 23(7), 2021).

    The surface of a mask are its voxels with a face towards the outside, counted without regard to their area: values are close
    to, not equal to, those of tools that measure surface elements.

    Args:
        answer_DHW: one mask.
        truth_DHW: the other.
        spacing_DHW: voxel spacing in mm.
        tolerance_mm: how far surfaces may be apart.

    Returns:
        Value in [0, 1]; 1 if both are empty, 0 if one of them is.
    """
    if not answer_DHW.any() or not truth_DHW.any():
        return float(not answer_DHW.any() and not truth_DHW.any())
    one, other = _surface(answer_DHW), _surface(truth_DHW)
    to_other = ndimage.distance_transform_edt(~other, sampling=spacing_DHW)[one]
    to_one = ndimage.distance_transform_edt(~one, sampling=spacing_DHW)[other]
    near = np.count_nonzero(to_other <= tolerance_mm) + np.count_nonzero(to_one <= tolerance_mm)
    return float(near / (len(to_other) + len(to_one)))


def _surface(mask_DHW: BoolArray) -> BoolArray:
    return np.asarray(mask_DHW & ~ndimage.binary_erosion(mask_DHW), dtype=bool)


def contour_voxels(labels_DHW: LabelArray, label_count: int) -> npt.NDArray[np.int64]:
    """Voxels on the in-plane contours of all labels, per slice: what a reader has to trace.

    Args:
        labels_DHW: uint8 labels.
        label_count: labels L.

    Returns:
        int64 array of length D.
    """
    cross = ndimage.generate_binary_structure(2, 1)[None]
    result = np.zeros(len(labels_DHW), dtype=np.int64)
    for number in range(1, label_count + 1):
        mask = labels_DHW == number
        result += (mask & ~ndimage.binary_erosion(mask, structure=cross)).sum(axis=(1, 2))
    return result


def contour_share(labels_DHW: LabelArray, label_count: int, drawn: list[int]) -> float:
    """Contour voxels on the drawn slices over those of all slices; 0 where there is no object."""
    voxels = contour_voxels(labels_DHW, label_count)
    return float(voxels[drawn].sum() / voxels.sum()) if voxels.sum() else 0.0
