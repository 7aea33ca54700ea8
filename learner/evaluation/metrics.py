"""Measures of agreement and of effort."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from monai.metrics.surface_dice import compute_surface_dice
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

    Computed by ``monai.metrics.compute_surface_dice`` with ``use_subvoxels``: surface elements weighted by their area, as the
    authors' own tool has it.

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
    one, other = (torch.from_numpy(np.pad(mask, 1)[None, None]).float() for mask in (answer_DHW, truth_DHW))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)  # monai calls itself so
        share = compute_surface_dice(
            one, other, [tolerance_mm], include_background=True, spacing=list(spacing_DHW), use_subvoxels=True
        )
    return float(share)


def surface_dice(
    answer_DHW: LabelArray, truth_DHW: LabelArray, label_count: int, spacing_DHW: tuple[float, float, float]
) -> dict[int, float]:
    """Normalised surface Dice at 2 mm of each label 1..L."""
    return {n: normalised_surface_dice(answer_DHW == n, truth_DHW == n, spacing_DHW) for n in range(1, label_count + 1)}


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
