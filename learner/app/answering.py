"""One answer: from an image and what is drawn on it to labels, residual and guidance. The node and ``simulate`` share it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.answer import Answer
from learner.domain.expected_gain import ExpectedGain
from learner.domain.fusion import expected_dice, foresight, fuse
from learner.domain.guidance import Situation
from learner.domain.planes import drawn_planes, drawn_voxels, section, without_planes
from learner.domain.pooling import (
    FRONT_END_ONLY,
    NETWORK_ONLY,
    Evidence,
    PoolWeights,
    fit_alone,
    fit_pool,
    sharpened,
    shortfall,
)
from learner.domain.prior import CarriedPrior
from learner.domain.proxy import ProxyMask, merge_unknown, share_background, with_classes
from learner.domain.residual import residual
from learner.ports import GuidanceRule, Network, Propagator

FloatArray = npt.NDArray[np.float32]
Spacing = tuple[float, float, float]

DEFAULT_RULE: GuidanceRule = ExpectedGain()
_FOLDS = 2
"""Every other drawn plane is left out, then the rest: each keeps its drawn neighbours on both sides."""
_PLANES_TO_JUDGE_BY = 2
"""With fewer drawn planes, and no cases before, nothing is said of the answer's quality."""


@dataclass(frozen=True, eq=False)
class CaseAnswer:
    """An answer and what the next steps need of its making.

    Attributes:
        answer: for the reader.
        proxy: the front end's proxy mask, or None where nothing is drawn.
        back_end_CDHW: float32 probabilities of the network on its own, or None without one.
        trust: the network's share in the answer, in [0, 1].
        evidence: what left-out slices show of both ends, for the cases that follow; None without a network or such slices.
    """

    answer: Answer
    proxy: ProxyMask | None
    back_end_CDHW: FloatArray | None
    trust: float
    evidence: Evidence | None = None


def answer_case(
    image_DHW: FloatArray,
    spacing_DHW: Spacing,
    annotation: SparseAnnotation | None,
    label_count: int,
    propagator: Propagator,
    network: Network | None,
    previous_back_end_CDHW: FloatArray | None = None,
    acquired: frozenset[int] | None = None,
    experience: Sequence[Evidence] = (),
    prior: CarriedPrior | None = None,
    rule: GuidanceRule = DEFAULT_RULE,
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
        experience: evidence of earlier cases of the task.
        prior: what another study of the same patient says; the front end where nothing is drawn, and only there.
        rule: says what to draw next.

    Raises:
        ValueError: if there is no annotation, carried prior or network, or the annotation has other labels than the task.
    """
    if annotation is not None and annotation.label_count != label_count:
        raise ValueError(f"an annotation of {annotation.label_count} labels for a task of {label_count}")
    carried = prior.proxy if prior is not None and annotation is None else None
    if annotation is None and carried is None and network is None:
        raise ValueError("neither a drawing nor a network: there is nothing to answer from")
    alone = network.predict(image_DHW, spacing_DHW) if network is not None else None
    if annotation is not None:
        ends = _both_ends(image_DHW, spacing_DHW, annotation, propagator, alone, experience)
    else:
        ends = _undrawn(prior, alone, experience, spacing_DHW)
    previous = None if previous_back_end_CDHW is None else with_classes(previous_back_end_CDHW, label_count)
    judged = bool(experience) or (annotation is not None and len(drawn_planes(annotation)) >= _PLANES_TO_JUDGE_BY)
    situation = Situation(
        len(image_DHW),
        spacing_DHW,
        annotation=annotation,
        trust=ends.weights.trust,
        acquired=acquired,
    )
    answer = _answer(ends, situation, alone, residual(alone, previous), rule, judged=judged and carried is None)
    proxy = ends.proxy if annotation is not None else None
    return CaseAnswer(answer, proxy, alone, ends.weights.trust, ends.evidence)


@dataclass(frozen=True, eq=False)
class _Ends:
    """What front and back end make of a case.

    Attributes:
        proxy: the front end's; where nothing is drawn, what was carried from a prior study, or None.
        soft_CDHW: float32 probabilities of the answer.
        weights: of both ends in it.
        evidence: what left-out slices show.
        shortfall_L: which labels fall shorter of Dice 1 than expected, and which less; None where nothing shows it.
    """

    proxy: ProxyMask | None
    soft_CDHW: FloatArray
    weights: PoolWeights
    evidence: Evidence | None
    shortfall_L: FloatArray | None = None


def _both_ends(
    image_DHW: FloatArray,
    spacing_DHW: Spacing,
    annotation: SparseAnnotation,
    propagator: Propagator,
    alone_CDHW: FloatArray | None,
    experience: Sequence[Evidence],
) -> _Ends:
    """Propagates, judges both ends on what is drawn, and pools them."""
    proxy = propagator.propagate(image_DHW, spacing_DHW, annotation)
    weights, evidence = FRONT_END_ONLY, None
    if alone_CDHW is not None and not annotation.labels_DHW.any():
        weights = fit_alone(experience)  # only absences were stated: they refute no network
    elif alone_CDHW is not None:
        evidence = leave_out(image_DHW, spacing_DHW, annotation, propagator, alone_CDHW)
        seen = _foresight(annotation, alone_CDHW)
        weights = fit_pool(evidence, experience, seen) if seen > 0 else FRONT_END_ONLY
    short_L = shortfall(evidence, experience, weights, annotation.label_count) if evidence or experience else None
    return _Ends(proxy, fuse(proxy, alone_CDHW, annotation, weights, spacing_DHW), weights, evidence, short_L)


def _undrawn(
    prior: CarriedPrior | None, alone_CDHW: FloatArray | None, experience: Sequence[Evidence], spacing_DHW: Spacing
) -> _Ends:
    """The network, as sure as it has been right, beside what was carried from a prior study, where there is either."""
    if prior is None or prior.proxy is None:
        assert alone_CDHW is not None
        return _Ends(None, sharpened(alone_CDHW, fit_alone(experience)), NETWORK_ONLY, None)
    proxy = _shared(prior.proxy, alone_CDHW, prior.unknown_labels)
    weights = FRONT_END_ONLY if alone_CDHW is None else fit_alone(experience)
    return _Ends(proxy, fuse(proxy, alone_CDHW, None, weights, spacing_DHW), weights, None)


def _shared(proxy: ProxyMask, alone_CDHW: FloatArray | None, unknown_labels: tuple[int, ...]) -> ProxyMask:
    """A carried prior in which the network says how much of the background is a label that nobody looked for there."""
    if alone_CDHW is None:
        return proxy
    return replace(proxy, soft_CDHW=share_background(proxy.soft_CDHW, alone_CDHW, unknown_labels))


def _answer(
    ends: _Ends,
    situation: Situation,
    alone_CDHW: FloatArray | None,
    change_DHW: FloatArray | None,
    rule: GuidanceRule,
    *,
    judged: bool,
) -> Answer:
    """What the fused probabilities mean, where both ends disagree, and what to draw next."""
    labels_DHW = ends.soft_CDHW.argmax(axis=0).astype(np.uint8)
    disputed_DHW, annotation = change_DHW, situation.annotation
    unknown = annotation.unknown_labels if annotation is not None else ()
    if ends.proxy is not None and alone_CDHW is not None:
        disputed_DHW = residual(ends.proxy.soft_CDHW, merge_unknown(alone_CDHW, unknown))
    zeros_DHW = np.zeros(labels_DHW.shape, dtype=np.float32)
    return Answer(
        labels_DHW=labels_DHW,
        soft_CDHW=ends.soft_CDHW,
        residual_DHW=zeros_DHW if disputed_DHW is None else disputed_DHW,
        change_DHW=zeros_DHW if change_DHW is None else change_DHW,
        guidance=rule.rank(replace(situation, soft_CDHW=ends.soft_CDHW, residual_DHW=disputed_DHW)),
        proxy_labels_DHW=None if ends.proxy is None or annotation is None else ends.proxy.labels_DHW,
        estimated_dice=expected_dice(ends.soft_CDHW, unknown, ends.shortfall_L) if judged else None,
    )


def leave_out(
    image_DHW: FloatArray,
    spacing_DHW: Spacing,
    annotation: SparseAnnotation,
    propagator: Propagator,
    alone_CDHW: FloatArray,
) -> Evidence | None:
    """What both ends make of drawn planes, of whatever axis, that they were not shown.

    Accepted predictions are nothing to be judged by.

    Args:
        image_DHW: float32 voxels.
        spacing_DHW: distance of voxel centres in mm.
        annotation: what is known.
        propagator: the front end.
        alone_CDHW: float32 probabilities of the network on its own.

    Returns:
        The evidence; None with fewer than two drawn planes.
    """
    drawn = drawn_planes(annotation)
    network_CDHW = merge_unknown(alone_CDHW, annotation.unknown_labels)
    slices: list[Evidence] = []
    for fold in range(_FOLDS if len(drawn) > 1 else 0):
        held = drawn[fold::_FOLDS]
        fewer = without_planes(annotation, held)
        if not fewer.labels_DHW.any():
            continue
        proxy = propagator.propagate(image_DHW, spacing_DHW, fewer)
        for plane in held:
            slices.append(
                Evidence.of_slice(
                    len(slices),
                    section(annotation.labels_DHW, plane),
                    section(proxy.soft_CDHW, plane),
                    section(proxy.confidence_DHW, plane),
                    section(network_CDHW, plane),
                )
            )
    return Evidence.joined(slices)


def _foresight(annotation: SparseAnnotation, alone_CDHW: FloatArray) -> float:
    """How well the network alone foresaw what was drawn; at 0 it has no say."""
    seen_DHW = drawn_voxels(annotation)
    labels = [number for number, known_DHW in enumerate(annotation.known_LDHW, start=1) if known_DHW.any()]
    return foresight(annotation.labels_DHW[seen_DHW], alone_CDHW[:, seen_DHW], labels)
