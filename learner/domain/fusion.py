"""The answer from both ends: proxy mask and network, weighted by what each has earned.

The network is trusted as far as it was right where a reader has shown the truth. Slices are drawn one at a time left out of the
propagation; on them the proxy is compared with the network, and the share of the network that explains the drawing best is
taken. An untrained network earns nothing, whatever it claims of its own certainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import PlaneKind, SparseAnnotation
from learner.domain.planes import main_axis
from learner.domain.proxy import ProxyMask, imprint, merge_unknown, share_background

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint8]

_TRUST_GRID = tuple(round(0.1 * step, 1) for step in range(10))
_PRIOR_STRENGTH = 0.01
_FLOOR = 0.1
_SINGLE_GAP = 4.0
"""Slices that count as the gap where a single one is drawn."""
_FOUND = 0.1
"""Share of the usual drawn area from which on a network has found the structure on a slice."""


@dataclass(frozen=True, eq=False)
class LeftOut:
    """A drawn slice that was left out of the propagation, and what both ends made of it.

    Attributes:
        truth_HW: uint8, the reader's drawing.
        proxy_CHW: float32 probabilities of the front end without this slice.
        confidence_HW: float32 confidence of the front end without this slice.
        network_CHW: float32 probabilities of the back end without this slice, or None without a network.
    """

    truth_HW: LabelArray
    proxy_CHW: FloatArray
    confidence_HW: FloatArray
    network_CHW: FloatArray | None


def blend(proxy: FloatArray, confidence: FloatArray, network: FloatArray, trust: float | FloatArray) -> FloatArray:
    """Mean of both ends, voxel by voxel.

    The network's weight is its trust t times the doubt in the proxy, against the distrust in the network times the proxy's
    confidence c: t (1 - c) / (t (1 - c) + (1 - t) (c + 0.1)). It is 0 everywhere for t = 0, and where c = 1.

    Args:
        proxy: float32 probabilities, classes first.
        confidence: float32 in [0, 1], of the shape of one class.
        network: float32 probabilities of the same shape as ``proxy``.
        trust: in [0, 1]; a number, or an array that broadcasts to one class.
    """
    for_network = trust * (1.0 - confidence)
    for_proxy = (1.0 - trust) * (confidence + _FLOOR)
    weight = (for_network / np.maximum(for_network + for_proxy, 1e-6)).astype(np.float32)
    return np.asarray(proxy + weight * (network - proxy), dtype=np.float32)


def fuse(
    proxy: ProxyMask | None, back_end_CDHW: FloatArray | None, annotation: SparseAnnotation | None, trust: float
) -> FloatArray:
    """Probabilities of the answer, exact on what is known.

    The proxy says nothing of labels that nobody looked for, so of these the network is believed as far as it is trusted.

    Args:
        proxy: the front end, or None where nothing is drawn.
        back_end_CDHW: float32 probabilities of the network, or None without one.
        annotation: what is known, or None.
        trust: how far to trust the network where the proxy is in doubt, in [0, 1].

    Raises:
        ValueError: if there is neither a proxy nor a network.
    """
    if proxy is None:
        if back_end_CDHW is None:
            raise ValueError("neither a drawing nor a network: there is nothing to answer from")
        soft_CDHW = back_end_CDHW
    elif back_end_CDHW is None or trust <= 0:
        soft_CDHW = proxy.soft_CDHW
    else:
        by_slice: float | FloatArray = trust
        soft_CDHW = proxy.soft_CDHW
        if annotation is not None:
            across = tuple(axis for axis in range(3) if axis != main_axis(annotation))
            by_slice = np.expand_dims(np.float32(trust) * knowledge_of_ends(back_end_CDHW, annotation), across)
            shared_CDHW = share_background(soft_CDHW, back_end_CDHW, annotation.unknown_labels)
            soft_CDHW = blend(soft_CDHW, np.zeros((), dtype=np.float32), shared_CDHW, trust)
        soft_CDHW = blend(soft_CDHW, proxy.confidence_DHW, back_end_CDHW, by_slice)
    return soft_CDHW if annotation is None else imprint(soft_CDHW, annotation)


def knowledge_of_ends(back_end_CDHW: FloatArray, annotation: SparseAnnotation) -> FloatArray:
    """How far a network may continue a structure beyond the outermost drawn slices, where no end is stated.

    Drawn slices show where the structure is and never where it is not, so trust earned on them says nothing about its ends. A
    network that finds the structure on slices more than two gaps away as well has not learned where it ends.

    Args:
        back_end_CDHW: float32 probabilities of the network.
        annotation: what is known.

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
    gap = (drawn[-1] - drawn[0]) / (len(drawn) - 1) if len(drawn) > 1 else _SINGLE_GAP
    empty = annotation.planes_of(PlaneKind.ABSENT, axis=axis)
    index = np.arange(len(factor))
    below = index < drawn[0] if not any(i < drawn[0] for i in empty) else np.zeros(len(factor), dtype=np.bool_)
    above = index > drawn[-1] if not any(i > drawn[-1] for i in empty) else np.zeros(len(factor), dtype=np.bool_)
    far = (below & (index < drawn[0] - 2 * gap)) | (above & (index > drawn[-1] + 2 * gap))
    if far.any():
        found_DHW = merge_unknown(back_end_CDHW, annotation.unknown_labels).argmax(axis=0) > 0
        areas = np.moveaxis(found_DHW, axis, 0).sum(axis=(1, 2))
        usual = float(np.mean([(labels_DHW[i] > 0).sum() for i in drawn]))
        factor[below | above] = 1.0 - float(np.mean(areas[far] > _FOUND * usual))
    return factor


def earned_trust(slices: Sequence[LeftOut]) -> float:
    """The trust that reproduces left-out slices best: the largest mean Dice on a grid, less a prior against the network.

    Args:
        slices: left-out slices; those without a network are of no consequence.

    Returns:
        Trust in [0, 0.9]; 0 without any slice to go by.
    """
    judged = [(s, s.network_CHW) for s in slices if s.network_CHW is not None]
    if not judged:
        return 0.0
    scores = []
    for trust in _TRUST_GRID:
        answers = [(s.truth_HW, blend(s.proxy_CHW, s.confidence_HW, n, trust).argmax(axis=0)) for s, n in judged]
        dice = pooled_dice([t for t, _ in answers], [a for _, a in answers], len(judged[0][1]) - 1)
        scores.append(float(np.mean(dice)) - _PRIOR_STRENGTH * trust / np.sqrt(len(judged)))
    return _TRUST_GRID[int(np.argmax(scores))]


def trust_from_first_drawing(truth_N: LabelArray, network_CN: FloatArray, labels: Sequence[int]) -> float:
    """Trust where no slice can be left out: from how well the network alone foresaw what was drawn.

    Half of what its mean Dice exceeds 0.4 by, on a scale that ends at 1.

    Args:
        truth_N: uint8 labels of the drawn voxels.
        network_CN: the network's probabilities of them, before it saw the drawing.
        labels: numbers of the labels to judge by: those that somebody looked for.
    """
    if not truth_N.size or not labels:
        return 0.0
    dice = pooled_dice([truth_N], [network_CN.argmax(axis=0)], len(network_CN) - 1)
    return float(np.clip((np.mean([dice[number - 1] for number in labels]) - 0.4) / 0.6, 0.0, 1.0)) / 2.0


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


def estimated_dice(
    slices: Sequence[LeftOut], trust: float, answer_DHW: LabelArray, annotation: SparseAnnotation, nearness: float
) -> tuple[float | None, ...] | None:
    """Dice per label that the answer may be expected to have, judged by left-out slices.

    Known slices are right. On the others the share of wrong voxels is that of the left-out slices, times ``nearness``, as
    leaving a slice out doubles the gap that it stood in.

    Args:
        slices: left-out slices.
        trust: with which the answer was fused.
        answer_DHW: the answer.
        annotation: what is known.
        nearness: mean distance of undrawn slices of the answer to drawn ones, over that of the left-out slices.

    Returns:
        One value in [0, 1] a label, None for one that nobody looked for; None without any slice to go by.
    """
    if not slices:
        return None
    answers = [
        (s.proxy_CHW if s.network_CHW is None else blend(s.proxy_CHW, s.confidence_HW, s.network_CHW, trust)).argmax(axis=0)
        for s in slices
    ]
    dice = pooled_dice([s.truth_HW for s in slices], answers, annotation.label_count)
    known_DHW = annotation.known_DHW
    result: list[float | None] = []
    for number, value in enumerate(dice, start=1):
        if number in annotation.unknown_labels:
            result.append(None)
            continue
        labelled = answer_DHW == number
        size = int(np.count_nonzero(labelled))
        undrawn = float(np.count_nonzero(labelled & ~known_DHW)) / size if size else 0.0
        result.append(float(np.clip(1.0 - undrawn * (1.0 - value) * min(nearness, 1.0), 0.0, 1.0)))
    return tuple(result)
