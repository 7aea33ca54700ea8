"""One answer: from an image and what is drawn on it to labels, residual and guidance. The node and ``simulate`` share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import PlaneKind, SparseAnnotation
from learner.domain.answer import Answer
from learner.domain.fusion import LeftOut, earned_trust, estimated_dice, fuse, trust_from_first_drawing
from learner.domain.planes import drawn_planes, main_axis, section, without_planes
from learner.domain.proxy import ProxyMask, merge_unknown, share_background, with_classes
from learner.domain.ranking import rank_slices
from learner.domain.residual import residual
from learner.ports import Network, Propagator

FloatArray = npt.NDArray[np.float32]
Spacing = tuple[float, float, float]

_FOLDS = 2


@dataclass(frozen=True, eq=False)
class CaseAnswer:
    """An answer and what the next steps need of its making.

    Attributes:
        answer: for the reader.
        proxy: the front end's proxy mask, or None where nothing is drawn.
        back_end_CDHW: float32 probabilities of the network on its own, or None without one.
        trust: how far the network was trusted, in [0, 1].
    """

    answer: Answer
    proxy: ProxyMask | None
    back_end_CDHW: FloatArray | None
    trust: float


def answer_case(
    image_DHW: FloatArray,
    spacing_DHW: Spacing,
    annotation: SparseAnnotation | None,
    label_count: int,
    propagator: Propagator,
    network: Network | None,
    previous_back_end_CDHW: FloatArray | None = None,
    acquired: frozenset[int] | None = None,
) -> CaseAnswer:
    """Answers one round of a case.

    Args:
        image_DHW: float32 voxels as the series gives them.
        spacing_DHW: distance of voxel centres in mm.
        annotation: all that is known of the case, or None in round 0.
        label_count: labels L of the task.
        propagator: the front end.
        network: the back end, or None while there is no model.
        previous_back_end_CDHW: what the network alone said in the round before, of fewer labels if the task gained some since,
            or None.
        acquired: slices of the volume that were acquired, all of them if None; only those are suggested.

    Raises:
        ValueError: if there is neither an annotation nor a network, or the annotation has other labels than the task.
    """
    if annotation is not None and annotation.label_count != label_count:
        raise ValueError(f"an annotation of {annotation.label_count} labels for a task of {label_count}")
    if annotation is None and network is None:
        raise ValueError("neither a drawing nor a network: there is nothing to answer from")
    alone = network.predict(image_DHW, spacing_DHW, None) if network is not None else None
    ends = _Ends(None, alone, 1.0, [])
    if annotation is not None:
        ends = _both_ends(image_DHW, spacing_DHW, annotation, propagator, network, alone)
    previous = None if previous_back_end_CDHW is None else with_classes(previous_back_end_CDHW, label_count)
    change = residual(alone, previous)
    answer = _answer(ends, annotation, alone, change, acquired)
    return CaseAnswer(answer, ends.proxy, alone, ends.trust)


@dataclass(frozen=True, eq=False)
class _Ends:
    """What front and back end make of a case.

    Attributes:
        proxy: the front end's, or None where nothing is drawn.
        back_end_CDHW: the network's, shown the proxy where it is trusted; None without a network.
        trust: how far the network is trusted, in [0, 1].
        left_out: drawn planes that both ends were judged on.
    """

    proxy: ProxyMask | None
    back_end_CDHW: FloatArray | None
    trust: float
    left_out: list[LeftOut]


def _both_ends(
    image_DHW: FloatArray,
    spacing_DHW: Spacing,
    annotation: SparseAnnotation,
    propagator: Propagator,
    network: Network | None,
    alone_CDHW: FloatArray | None,
) -> _Ends:
    """Propagates, judges the network on what is drawn, and shows it the proxy if it has earned any trust.

    Of labels that nobody looked for, the network says what it says alone: a proxy shows it none of them.
    """
    proxy = propagator.propagate(image_DHW, spacing_DHW, annotation)
    foresight = _foresight(annotation, alone_CDHW)
    judged = network if foresight > 0 else None
    left_out = leave_out(image_DHW, spacing_DHW, annotation, propagator, judged)
    trust = 0.0 if judged is None else (earned_trust(left_out) if left_out else foresight)
    back_end = alone_CDHW
    if judged is not None and alone_CDHW is not None and trust > 0:
        unknown = annotation.unknown_labels
        shown = merge_unknown(judged.predict(image_DHW, spacing_DHW, proxy), unknown)
        back_end = share_background(shown, alone_CDHW, unknown)
    return _Ends(proxy, back_end, trust, left_out)


def _answer(
    ends: _Ends,
    annotation: SparseAnnotation | None,
    alone_CDHW: FloatArray | None,
    change_DHW: FloatArray | None,
    acquired: frozenset[int] | None,
) -> Answer:
    """Fuses both ends, and says where they disagree and what to draw next."""
    soft_CDHW = fuse(ends.proxy, ends.back_end_CDHW, annotation, ends.trust)
    labels_DHW = soft_CDHW.argmax(axis=0).astype(np.uint8)
    disputed_DHW = change_DHW
    if ends.proxy is not None and annotation is not None and alone_CDHW is not None:
        disputed_DHW = residual(ends.proxy.soft_CDHW, merge_unknown(alone_CDHW, annotation.unknown_labels))
    expected = None
    if annotation is not None:
        expected = estimated_dice(ends.left_out, ends.trust, labels_DHW, annotation, _nearness(annotation))
    zeros_DHW = np.zeros(labels_DHW.shape, dtype=np.float32)
    return Answer(
        labels_DHW=labels_DHW,
        soft_CDHW=soft_CDHW,
        residual_DHW=zeros_DHW if disputed_DHW is None else disputed_DHW,
        change_DHW=zeros_DHW if change_DHW is None else change_DHW,
        guidance=rank_slices(soft_CDHW, disputed_DHW, annotation, len(labels_DHW), trust=ends.trust, acquired=acquired),
        proxy_labels_DHW=None if ends.proxy is None else ends.proxy.labels_DHW,
        estimated_dice=expected,
    )


def leave_out(
    image_DHW: FloatArray,
    spacing_DHW: Spacing,
    annotation: SparseAnnotation,
    propagator: Propagator,
    network: Network | None,
) -> list[LeftOut]:
    """What both ends make of drawn planes, of whatever axis, that they were not shown.

    Every other drawn plane is left out, then the rest, so that the network predicts twice and not once for each of them.
    Accepted predictions are nothing to be judged by.

    Args:
        image_DHW: float32 voxels.
        spacing_DHW: distance of voxel centres in mm.
        annotation: what is known.
        propagator: the front end.
        network: the back end, or None.
    """
    drawn = drawn_planes(annotation)
    if len(drawn) < 2:
        return []
    result = []
    for fold in range(_FOLDS):
        held = drawn[fold::_FOLDS]
        fewer = without_planes(annotation, held)
        if not fewer.labels_DHW.any():
            continue
        proxy = propagator.propagate(image_DHW, spacing_DHW, fewer)
        shown = None
        if network is not None:
            shown = merge_unknown(network.predict(image_DHW, spacing_DHW, proxy), annotation.unknown_labels)
        for plane in held:
            back_end = None if shown is None else section(shown, plane)
            soft_CHW, sure_HW = section(proxy.soft_CDHW, plane), section(proxy.confidence_DHW, plane)
            result.append(LeftOut(section(annotation.labels_DHW, plane), soft_CHW, sure_HW, back_end))
    return result


def _foresight(annotation: SparseAnnotation, alone_CDHW: FloatArray | None) -> float:
    """How well the network alone foresaw what was drawn; at 0 it is not worth the seconds to ask it any further."""
    if alone_CDHW is None:
        return 0.0
    seen_DHW = annotation.observed_DHW.copy()
    for plane in annotation.planes:
        if plane.kind is not PlaneKind.DRAWN:
            seen_DHW[plane.where] = False
    for plane in annotation.planes:
        if plane.kind is PlaneKind.DRAWN:
            seen_DHW[plane.where] = annotation.observed_DHW[plane.where]
    labels = [number for number, known_DHW in enumerate(annotation.known_LDHW, start=1) if known_DHW.any()]
    return trust_from_first_drawing(annotation.labels_DHW[seen_DHW], alone_CDHW[:, seen_DHW], labels)


def _nearness(annotation: SparseAnnotation) -> float:
    """Mean distance of the slices between known ones to these, over the distance that left-out slices have."""
    planes = annotation.planes_of(axis=main_axis(annotation))
    gaps = np.diff(planes)
    if not len(gaps) or gaps.sum() <= len(gaps):
        return 1.0
    usual = float(sum((gap / 2) ** 2 for gap in gaps) / sum(gap - 1 for gap in gaps if gap > 1))
    return min(1.0, usual / float(gaps.mean()))
