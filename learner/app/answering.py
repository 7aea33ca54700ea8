"""One answer: from an image and what is drawn on it to labels, residual and guidance. The node and ``simulate`` share it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.answer import Answer
from learner.domain.fusion import LeftOut, earned_trust, estimated_dice, fuse, trust_from_first_slices
from learner.domain.proxy import ProxyMask
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
) -> CaseAnswer:
    """Answers one round of a case.

    Args:
        image_DHW: float32 voxels as the series gives them.
        spacing_DHW: distance of voxel centres in mm.
        annotation: all that is known of the case, or None in round 0.
        label_count: labels L of the task.
        propagator: the front end.
        network: the back end, or None while there is no model.
        previous_back_end_CDHW: what the network alone said in the round before, or None.

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
    change = residual(alone, previous_back_end_CDHW)
    answer = _answer(ends, annotation, alone, change)
    return CaseAnswer(answer, ends.proxy, alone, ends.trust)


@dataclass(frozen=True, eq=False)
class _Ends:
    """What front and back end make of a case.

    Attributes:
        proxy: the front end's, or None where nothing is drawn.
        back_end_CDHW: the network's, shown the proxy where it is trusted; None without a network.
        trust: how far the network is trusted, in [0, 1].
        left_out: drawn slices that both ends were judged on.
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
    """Propagates, judges the network on drawn slices, and shows it the proxy if it has earned any trust."""
    proxy = propagator.propagate(image_DHW, spacing_DHW, annotation)
    foresight = _foresight(annotation, alone_CDHW)
    judged = network if foresight > 0 else None
    left_out = leave_out(image_DHW, spacing_DHW, annotation, propagator, judged)
    trust = 0.0 if judged is None else (earned_trust(left_out) if left_out else foresight)
    shown = judged.predict(image_DHW, spacing_DHW, proxy) if judged is not None and trust > 0 else alone_CDHW
    return _Ends(proxy, shown, trust, left_out)


def _answer(
    ends: _Ends, annotation: SparseAnnotation | None, alone_CDHW: FloatArray | None, change_DHW: FloatArray | None
) -> Answer:
    """Fuses both ends, and says where they disagree and what to draw next."""
    soft_CDHW = fuse(ends.proxy, ends.back_end_CDHW, annotation, ends.trust)
    labels_DHW = soft_CDHW.argmax(axis=0).astype(np.uint8)
    disputed_DHW = residual(ends.proxy.soft_CDHW, alone_CDHW) if ends.proxy is not None else change_DHW
    expected = None
    if annotation is not None:
        expected = estimated_dice(ends.left_out, ends.trust, labels_DHW, annotation, _nearness(annotation))
    zeros_DHW = np.zeros(labels_DHW.shape, dtype=np.float32)
    return Answer(
        labels_DHW=labels_DHW,
        soft_CDHW=soft_CDHW,
        residual_DHW=zeros_DHW if disputed_DHW is None else disputed_DHW,
        change_DHW=zeros_DHW if change_DHW is None else change_DHW,
        guidance=rank_slices(soft_CDHW, disputed_DHW, annotation, len(labels_DHW), trust=ends.trust),
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
    """What both ends make of drawn slices that they were not shown.

    Every other drawn slice is left out, then the rest, so that the network predicts twice and not once for each of them.

    Args:
        image_DHW: float32 voxels.
        spacing_DHW: distance of voxel centres in mm.
        annotation: what is known; slices drawn along axis 0 are left out.
        propagator: the front end.
        network: the back end, or None.
    """
    drawn = [i for i in annotation.planes_of(PlaneKind.DRAWN) if annotation.labels_DHW[i].any()]
    if len(drawn) < 2:
        return []
    result = []
    for fold in range(_FOLDS):
        held = drawn[fold::_FOLDS]
        fewer = without_planes(annotation, held)
        if not fewer.labels_DHW.any():
            continue
        proxy = propagator.propagate(image_DHW, spacing_DHW, fewer)
        shown = network.predict(image_DHW, spacing_DHW, proxy) if network is not None else None
        for index in held:
            back_end = None if shown is None else shown[:, index]
            soft_CHW, sure_HW = proxy.soft_CDHW[:, index], proxy.confidence_DHW[index]
            result.append(LeftOut(annotation.labels_DHW[index], soft_CHW, sure_HW, back_end))
    return result


def without_planes(annotation: SparseAnnotation, held: list[int]) -> SparseAnnotation:
    """The annotation without what is known on the slices ``held`` along axis 0, unless another known plane crosses them."""
    labels_DHW, known_LDHW = annotation.labels_DHW.copy(), annotation.known_LDHW.copy()
    labels_DHW[held] = 0
    known_LDHW[:, held] = False
    planes = tuple(p for p in annotation.planes if p.axis != 0 or p.index not in held)
    for plane in planes:
        if plane.axis != 0:
            _restore(labels_DHW, annotation.labels_DHW, plane)
            for number in range(len(known_LDHW)):
                _restore(known_LDHW[number], annotation.known_LDHW[number], plane)
    return SparseAnnotation(labels_DHW, known_LDHW, planes, annotation.sources, annotation.readers)


def _restore(target_DHW: npt.NDArray[np.generic], source_DHW: npt.NDArray[np.generic], plane: Plane) -> None:
    where = [slice(None)] * 3
    where[plane.axis] = slice(plane.index, plane.index + 1)
    target_DHW[tuple(where)] = source_DHW[tuple(where)]


def _foresight(annotation: SparseAnnotation, alone_CDHW: FloatArray | None) -> float:
    """How well the network alone foresaw what was drawn; at 0 it is not worth the seconds to ask it any further."""
    if alone_CDHW is None:
        return 0.0
    drawn = annotation.planes_of(PlaneKind.DRAWN)
    return trust_from_first_slices([annotation.labels_DHW[i] for i in drawn], [alone_CDHW[:, i] for i in drawn])


def _nearness(annotation: SparseAnnotation) -> float:
    """Mean distance of the slices between known ones to these, over the distance that left-out slices have."""
    planes = annotation.planes_of(axis=0)
    gaps = np.diff(planes)
    if not len(gaps) or gaps.sum() <= len(gaps):
        return 1.0
    usual = float(sum((gap / 2) ** 2 for gap in gaps) / sum(gap - 1 for gap in gaps if gap > 1))
    return min(1.0, usual / float(gaps.mean()))
