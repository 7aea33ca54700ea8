"""The answer from both ends: proxy mask and network, each with the weight that it has earned.

The network is believed as far as it was right where a reader has shown the truth: :mod:`learner.domain.pooling` learns the
weights from left-out slices. A network that foresaw nothing of what is drawn earns nothing, whatever it claims of its own
certainty.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import PlaneKind, SparseAnnotation
from learner.domain.ball import beyond_by_ball, disc_radius
from learner.domain.planes import main_axis
from learner.domain.pooling import PoolWeights, pool
from learner.domain.proxy import ProxyMask, imprint, merge_unknown, share_background

FloatArray = npt.NDArray[np.float32]
Spacing = tuple[float, float, float]
LabelArray = npt.NDArray[np.uint8]

_SINGLE_GAP = 4.0
"""Slices that count as the gap where a single one is drawn."""
_LONGER_THAN_WIDE = 1.2
"""A structure that is so many times as long as wide is not remarkable."""
_FOUND = 0.1
"""Share of the usual drawn area from which on a network has found the structure on a slice."""
_USELESS = 0.4
"""Dice up to which a network has foreseen nothing."""


def fuse(
    proxy: ProxyMask,
    back_end_CDHW: FloatArray | None,
    annotation: SparseAnnotation | None,
    weights: PoolWeights,
    spacing_DHW: Spacing,
) -> FloatArray:
    """Probabilities of the answer, exact on what is known.

    The proxy says nothing of labels that nobody looked for, so of these the network is believed if it has any weight.

    Args:
        proxy: the front end.
        back_end_CDHW: float32 probabilities of the network, or None without one.
        annotation: what is known; None where the proxy comes from elsewhere.
        weights: of both ends.
        spacing_DHW: distance of voxel centres in mm.
    """
    soft_CDHW = proxy.soft_CDHW
    if back_end_CDHW is not None and weights.back_end > 0:
        say: float | FloatArray = 1.0
        unknown: tuple[int, ...] = ()
        if annotation is not None:
            unknown = annotation.unknown_labels
            across = tuple(axis for axis in range(3) if axis != main_axis(annotation))
            say = np.expand_dims(knowledge_of_ends(back_end_CDHW, annotation, spacing_DHW), across)
        known_CDHW = merge_unknown(back_end_CDHW, unknown)
        soft_CDHW = pool(soft_CDHW, proxy.confidence_DHW, known_CDHW, weights, say)
        soft_CDHW = share_background(soft_CDHW, back_end_CDHW, unknown)
    return soft_CDHW if annotation is None else imprint(soft_CDHW, annotation)


def knowledge_of_ends(back_end_CDHW: FloatArray, annotation: SparseAnnotation, spacing_DHW: Spacing) -> FloatArray:
    """How far a network may continue a structure beyond the outermost drawn slices, where no end is stated.

    Drawn slices show where the structure is and never where it is not, so trust earned on them says nothing about its ends. A
    network that finds the structure on far slices as well has not learned where it ends: on those more than two gaps away, and
    further from the middle of what is drawn than a structure reaches that is hardly longer than wide (decision 0034).

    Args:
        back_end_CDHW: float32 probabilities of the network.
        annotation: what is known.
        spacing_DHW: distance of voxel centres in mm.

    Returns:
        float32 factor of the trust for each slice along the axis that most planes are drawn along: 1 between drawn slices and
        beside a stated end; elsewhere the share of far slices that the network leaves empty, and 1 where the series ends before
        there are any.
    """
    axis = main_axis(annotation)
    labels_DHW = np.moveaxis(annotation.labels_DHW, axis, 0)
    factor = np.ones(len(labels_DHW), dtype=np.float32)
    drawn = [i for i in annotation.planes_of(PlaneKind.DRAWN, axis=axis) if labels_DHW[i].any()]
    if not drawn:
        return factor
    span = drawn[-1] - drawn[0]
    gap = span / (len(drawn) - 1) if span else _SINGLE_GAP
    areas = [int(np.count_nonzero(labels_DHW[i])) for i in drawn]
    pixel_mm2 = float(np.prod([mm for number, mm in enumerate(spacing_DHW) if number != axis]))
    ball = beyond_by_ball(disc_radius(max(areas) * pixel_mm2), spacing_DHW[axis], span)
    reach = max(2 * gap, _LONGER_THAN_WIDE * ball)
    empty = annotation.planes_of(PlaneKind.ABSENT, axis=axis)
    index = np.arange(len(factor))
    below = index < drawn[0] if not any(i < drawn[0] for i in empty) else np.zeros(len(factor), dtype=np.bool_)
    above = index > drawn[-1] if not any(i > drawn[-1] for i in empty) else np.zeros(len(factor), dtype=np.bool_)
    far = (below & (index < drawn[0] - reach)) | (above & (index > drawn[-1] + reach))
    if far.any():
        found_DHW = merge_unknown(back_end_CDHW, annotation.unknown_labels).argmax(axis=0) > 0
        found = np.moveaxis(found_DHW, axis, 0).sum(axis=(1, 2))
        factor[below | above] = 1.0 - float(np.mean(found[far] > _FOUND * np.mean(areas)))
    return factor


def foresight(truth_N: LabelArray, network_CN: FloatArray, labels: Sequence[int]) -> float:
    """How well the network alone foresaw what was drawn: half of what its mean Dice exceeds 0.4 by, on a scale that ends at 1.

    Args:
        truth_N: uint8 labels of the drawn voxels.
        network_CN: the network's probabilities of them, before it saw the drawing.
        labels: numbers of the labels to judge by: those that somebody looked for.

    Returns:
        Value in [0, 0.5]; at 0 the network has no say on this case.
    """
    if not truth_N.size or not labels:
        return 0.0
    dice = pooled_dice([truth_N], [network_CN.argmax(axis=0)], len(network_CN) - 1)
    excess = np.mean([dice[number - 1] for number in labels]) - _USELESS
    return float(np.clip(excess / (1 - _USELESS), 0.0, 1.0)) / 2.0


def pooled_dice(
    truths: Sequence[LabelArray], answers: Sequence[npt.NDArray[np.integer]], label_count: int
) -> tuple[float, ...]:
    """Dice per label over all slices taken together; 1 where a label is in neither."""
    result = []
    for number in range(1, label_count + 1):
        common = sum(int(np.count_nonzero((t == number) & (a == number))) for t, a in zip(truths, answers, strict=True))
        sizes = sum(int(np.count_nonzero(x == number)) for pair in zip(truths, answers, strict=True) for x in pair)
        result.append(2.0 * common / sizes if sizes else 1.0)
    return tuple(result)


def expected_dice(
    soft_CDHW: FloatArray, unknown_labels: Sequence[int] = (), shortfall_L: FloatArray | None = None
) -> tuple[float | None, ...]:
    """Dice per label that the most likely labels may be expected to have, if the probabilities are calibrated.

    The expected overlap over the expected sizes, 2 sum(p y) / (sum(p) + sum(y)); known voxels have probability 1 and 0. Voxels
    err together, so that the single case scatters around it.

    Args:
        soft_CDHW: float32 probabilities, exact where something is known.
        unknown_labels: labels that nobody looked for.
        shortfall_L: how many times as far as these say each label falls short of 1, see
            :func:`learner.domain.pooling.shortfall`; None for as far as they say.

    Returns:
        One value in [0, 1] a label, None for one that nobody looked for; 1 for a label that is nowhere expected.
    """
    labels_DHW = soft_CDHW.argmax(axis=0)
    result: list[float | None] = []
    for number, chance_DHW in enumerate(soft_CDHW[1:], start=1):
        if number in unknown_labels:
            result.append(None)
            continue
        chosen_DHW = labels_DHW == number
        size = float(chance_DHW.sum(dtype=np.float64)) + float(np.count_nonzero(chosen_DHW))
        overlap = float(chance_DHW[chosen_DHW].sum(dtype=np.float64))
        short = max(0.0, 1.0 - 2.0 * overlap / size) if size > 0.5 else 0.0
        factor = 1.0 if shortfall_L is None else float(shortfall_L[number - 1])
        result.append(max(0.0, 1.0 - factor * short))
    return tuple(result)
