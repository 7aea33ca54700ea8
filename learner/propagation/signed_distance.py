"""Shapes as signed distances, and signed distances as soft labels without gaps or overlaps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

NOWHERE = -1e4
"""Signed distance in mm of a shape that does not exist."""


def signed_distance(mask_HW: BoolArray, spacing_HW: tuple[float, ...]) -> FloatArray:
    """Distance to the contour in mm, positive inside; the contour runs half a pixel outside the outermost pixels' centres.

    Args:
        mask_HW: a shape; a volume ``(D, H, W)`` likewise.
        spacing_HW: distance of pixel centres in mm along each axis.

    Returns:
        float32 array of the mask's shape; :data:`NOWHERE` everywhere if the mask is empty, its opposite if it is full.
    """
    if not mask_HW.any():
        return np.full(mask_HW.shape, NOWHERE, dtype=np.float32)
    if mask_HW.all():
        return np.full(mask_HW.shape, -NOWHERE, dtype=np.float32)
    half = 0.5 * min(spacing_HW)
    inside = ndimage.distance_transform_edt(mask_HW, sampling=spacing_HW) - half
    outside = ndimage.distance_transform_edt(~mask_HW, sampling=spacing_HW) - half
    return np.asarray(np.where(mask_HW, inside, -outside), dtype=np.float32)


def label_scores(object_HW: FloatArray, labels_LHW: FloatArray) -> FloatArray:
    """Scores of labels that share an object: the object's signed distance for its best label, less for the others.

    The best label is above zero exactly where the object is: labels can neither leave a gap between them nor overlap.

    Args:
        object_HW: signed distance of the union of the labels.
        labels_LHW: signed distance of each label.
    """
    return np.asarray(object_HW + (labels_LHW - labels_LHW.max(axis=0)), dtype=np.float32)


def soften(scores_LHW: FloatArray, error_HW: FloatArray) -> FloatArray:
    """Probabilities of background and labels from scores in mm.

    The background's score is the opposite of the best label's. A contour whose place has a standard deviation of e mm gives
    a logistic step of scale e * sqrt(3) / pi across it.

    Args:
        scores_LHW: float32 scores in mm, positive inside.
        error_HW: float32 standard deviation of the contour's place in mm, above zero.

    Returns:
        float32 ``(L + 1, H, W)``, summing to 1 over the first axis.
    """
    scale = 2.0 * np.float32(np.sqrt(3.0) / np.pi) * error_HW
    logits = np.concatenate([-scores_LHW.max(axis=0, keepdims=True), scores_LHW]) / scale
    logits -= logits.max(axis=0, keepdims=True)
    weights = np.exp(np.maximum(logits, -60.0))
    return np.asarray(weights / weights.sum(axis=0, keepdims=True), dtype=np.float32)
