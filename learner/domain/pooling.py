"""A logarithmic opinion pool of front and back end, its weights learned from slices whose truth a reader showed.

Each end gives probabilities; the answer's are proportional to their product, each raised to a weight (Genest and Zidek,
"Combining probability distributions", Statistical Science 1(1), 1986; Heskes, "Selecting weighting factors in logarithmic
opinion pools", NIPS 1997). With confidence k of the proxy at a voxel:

    log answer = (k + a (1 - k)) log proxy + b (1 - k) log network + constant

So what is drawn stands, near it the proxy decides, and far from it the network. Two weights, a and b, are learned. Exponents
below 1 also take back overconfidence, as temperature scaling does (Guo et al., ICML 2017): probabilities are calibrated.

The weights minimise the cross-entropy on drawn slices that were left out of the propagation, those of this case and of the
cases before. The network has not learned this case yet, so it is judged on what it has never seen. What is left to correct
label by label, :func:`shortfall` says of the same slices (decision 0037).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage, optimize

FloatArray = npt.NDArray[np.float32]
LabelArray = npt.NDArray[np.uint8]

_LEAST_PROBABILITY = 1e-6
"""Neither end is believed to be surer than that."""
_CLAIM = 0.1
"""Below this confidence the proxy says less and less; at 0, nothing."""
_LEAST_EXPONENT = 0.3
"""Both exponents together; where neither end has anything to say the proxy's background stands."""
_PRIOR_SLICES = 0.5
"""Strength of the prior: as many left-out slices, per unit of squared distance."""
_OWN_CASE = 3.0
"""A slice of this case counts as so many of other cases."""
_VOXELS_A_SLICE = 400
_NOWHERE = 0.5
"""With fewer expected voxels a label is rightly nowhere."""
_USUAL_SHORTFALL, _PRIOR_SHORTFALLS = 0.1, 4.0
"""Before any evidence, so many slices fell as short of Dice 1 as was expected."""
_NEAR = 0.05
"""Foreground probability from which on a voxel is near the object."""
_MARGIN = 2
"""Pixels around these that count as near, too."""


@dataclass(frozen=True, slots=True)
class PoolWeights:
    """Exponents of both ends where the proxy is not sure, not negative.

    Attributes:
        front_end: a, of the proxy's probabilities.
        back_end: b, of the network's.
    """

    front_end: float
    back_end: float

    @property
    def trust(self) -> float:
        """The network's share in [0, 1) where the proxy is half sure."""
        return self.back_end / (1.0 + self.front_end + self.back_end)


FRONT_END_ONLY = PoolWeights(1.0, 0.0)
NETWORK_ONLY = PoolWeights(0.0, 1.0)


@dataclass(frozen=True, eq=False)
class Evidence:
    """Voxels near the object on left-out slices: what both ends said, and what the reader had drawn. N voxels, C classes.

    Attributes:
        truth_N: uint8 labels as drawn.
        proxy_CN: float16 probabilities of the front end without this slice.
        confidence_N: float16 confidence of the front end without this slice.
        network_CN: float16 probabilities of the network on its own.
        slice_N: uint16, which of the left-out slices a voxel is from.
    """

    truth_N: LabelArray
    proxy_CN: npt.NDArray[np.float16]
    confidence_N: npt.NDArray[np.float16]
    network_CN: npt.NDArray[np.float16]
    slice_N: npt.NDArray[np.uint16]

    @classmethod
    def of_slice(
        cls, number: int, truth_HW: LabelArray, proxy_CHW: FloatArray, confidence_HW: FloatArray, network_CHW: FloatArray
    ) -> Evidence:
        """What one left-out slice shows; at most 400 of its voxels, evenly taken."""
        near_HW = (truth_HW > 0) | (proxy_CHW[0] < 1 - _NEAR) | (network_CHW[0] < 1 - _NEAR)
        places = np.flatnonzero(ndimage.binary_dilation(near_HW, iterations=_MARGIN))
        places = places[:: max(1, -(-len(places) // _VOXELS_A_SLICE))]
        return cls(
            truth_HW.ravel()[places],
            proxy_CHW.reshape(len(proxy_CHW), -1)[:, places].astype(np.float16),
            confidence_HW.ravel()[places].astype(np.float16),
            network_CHW.reshape(len(network_CHW), -1)[:, places].astype(np.float16),
            np.full(len(places), number, dtype=np.uint16),
        )

    @classmethod
    def joined(cls, slices: Sequence[Evidence]) -> Evidence | None:
        """All slices of a case together; None if there are none."""
        if not slices:
            return None
        return cls(
            np.concatenate([s.truth_N for s in slices]),
            np.concatenate([s.proxy_CN for s in slices], axis=1),
            np.concatenate([s.confidence_N for s in slices]),
            np.concatenate([s.network_CN for s in slices], axis=1),
            np.concatenate([s.slice_N for s in slices]),
        )

    @property
    def class_count(self) -> int:
        """Classes C: background and labels."""
        return len(self.proxy_CN)


def pool(
    proxy_C: FloatArray, confidence: FloatArray, network_C: FloatArray, weights: PoolWeights, say: float | FloatArray = 1.0
) -> FloatArray:
    """The answer's probabilities.

    Args:
        proxy_C: float32 probabilities of the front end, classes first.
        confidence: float32 in [0, 1], of the shape of one class; where it is 0 the proxy claims nothing.
        network_C: float32 probabilities of the network, of the proxy's shape.
        weights: exponents.
        say: factor on the network's exponent, in [0, 1]; a number, or an array that broadcasts to one class.

    Returns:
        float32 probabilities of the proxy's shape; those of the proxy itself where the network has no say.
    """
    if weights.back_end <= 0:
        return proxy_C
    doubt = 1.0 - confidence
    back = np.asarray(say, dtype=np.float32) * np.float32(weights.back_end) * doubt
    claimed = 1.0 - np.asarray(say, dtype=np.float32) * (1.0 - _claims(confidence))
    front = confidence + claimed * np.float32(weights.front_end) * doubt
    scores_C = np.maximum(front, _LEAST_EXPONENT - back) * _log(proxy_C) + back * _log(network_C)
    return np.where(np.asarray(say) > 0, _softmax(scores_C.astype(np.float32)), proxy_C).astype(np.float32)


def sharpened(network_C: FloatArray, weights: PoolWeights) -> FloatArray:
    """The network's probabilities on their own, raised to its weight."""
    return _softmax(np.float32(weights.back_end) * _log(network_C))


def fit_pool(own: Evidence | None, past: Sequence[Evidence], foresight: float) -> PoolWeights:
    """The weights that explain left-out slices best.

    Args:
        own: left-out slices of this case.
        past: those of other cases.
        foresight: in [0, 1], how well the network alone foresaw what was drawn on this case; the prior of its weight.

    Returns:
        Weights; the prior (1, foresight) where there is no evidence.
    """
    return _fit([(one, _OWN_CASE) for one in (own,) if one] + [(one, 1.0) for one in past], PoolWeights(1.0, foresight))


def shortfall(own: Evidence | None, past: Sequence[Evidence], weights: PoolWeights, label_count: int) -> FloatArray:
    """How many times as far as other labels each label's Dice falls short of 1, measured by how far it is expected to.

    Probabilities are calibrated over all labels together; one label may be found worse than they say, another better. How much
    worse all of them are found on left-out slices says nothing of the answer, whose gaps are half as wide.

    Args:
        own: left-out slices of this case.
        past: those of other cases.
        weights: of both ends.
        label_count: labels L of the task.

    Returns:
        float32 ``(L,)`` with a geometric mean of 1; 1 for a label that no left-out slice shows.
    """
    sums_L2 = np.zeros((label_count, 2))
    for one, factor in [(own, _OWN_CASE)] * (own is not None) + [(one, 1.0) for one in past]:
        assert one is not None
        front_CN, back_CN = one.proxy_CN.astype(np.float32), one.network_CN.astype(np.float32)
        chances_CN = pool(front_CN, one.confidence_N.astype(np.float32), back_CN, weights)
        for number in range(1, min(label_count, one.class_count - 1) + 1):
            sums_L2[number - 1] += factor * _shortfalls(one, chances_CN, number)
    seen_L = sums_L2.any(axis=1)
    found_L, expected_L = (sums_L2 + _PRIOR_SHORTFALLS * _USUAL_SHORTFALL).T
    logarithms_L = np.where(seen_L, np.log(found_L / expected_L), 0.0)
    logarithms_L[seen_L] -= logarithms_L[seen_L].mean() if seen_L.any() else 0.0
    return np.exp(logarithms_L).astype(np.float32)


def _shortfalls(one: Evidence, chances_CN: FloatArray, number: int) -> npt.NDArray[np.float64]:
    """1 less the Dice of a label, found and expected, ``(2,)``: sums over the slices on which it is or is said to be."""
    chosen_N, shown_N = ((labels_N == number).astype(np.float64) for labels_N in (chances_CN.argmax(axis=0), one.truth_N))
    seen = np.bincount(one.slice_N, chosen_N + shown_N) > 0
    sums = []
    for there_N in (shown_N, chances_CN[number]):
        common, sizes = (np.bincount(one.slice_N, v)[seen] for v in (chosen_N * there_N, chosen_N + there_N))
        sums.append(float(np.where(sizes > _NOWHERE, 1 - 2 * common / np.maximum(sizes, _NOWHERE), 0.0).sum()))
    return np.array(sums)


def fit_alone(past: Sequence[Evidence]) -> PoolWeights:
    """The network's weight where nothing is drawn: how sure it may be of itself."""
    without = [Evidence(e.truth_N, e.proxy_CN, np.zeros_like(e.confidence_N), e.network_CN, e.slice_N) for e in past]
    return _fit([(one, 1.0) for one in without], NETWORK_ONLY)


def _log(probabilities_C: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.maximum(probabilities_C, np.float32(_LEAST_PROBABILITY))), dtype=np.float32)


def _claims(confidence: FloatArray) -> FloatArray:
    """How far the proxy says anything at all, in [0, 1]."""
    return np.asarray(np.minimum(confidence / np.float32(_CLAIM), 1.0), dtype=np.float32)


def _softmax(scores_C: FloatArray) -> FloatArray:
    result_C = np.exp(scores_C - scores_C.max(axis=0))
    return np.asarray(result_C / result_C.sum(axis=0), dtype=np.float32)


def _fit(evidence: Sequence[tuple[Evidence, float]], prior: PoolWeights) -> PoolWeights:
    """Penalised maximum likelihood; each left-out slice counts once, times its case's weight, however large it is."""
    by_classes: dict[int, list[tuple[Evidence, float]]] = {}
    for one, weight in evidence:
        if one.truth_N.size:
            by_classes.setdefault(one.class_count, []).append((one, weight))
    groups = [_Group.of(members) for members in by_classes.values()]
    start = np.array([prior.front_end, prior.back_end])
    if not groups:
        return prior

    def objective(w_2: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        parts = [group.loss(w_2) for group in groups]
        apart = w_2 - start
        value = sum(loss for loss, _ in parts) + _PRIOR_SLICES * float(apart @ apart)
        return value, np.sum([slope for _, slope in parts], axis=0) + 2 * _PRIOR_SLICES * apart

    found = optimize.minimize(objective, start, jac=True, method="L-BFGS-B", bounds=[(0.0, None)] * 2)
    return PoolWeights(float(found.x[0]), float(found.x[1]))


@dataclass(frozen=True, eq=False)
class _Group:
    """Evidence of the same number of classes as the fit wants it.

    Attributes:
        base_CN: float32 scores that no weight changes.
        slopes_2CN: float32, by how much each weight changes the scores.
        truth_N: labels.
        weight_N: 1 over the voxels of the slice, times the case's weight.
    """

    base_CN: FloatArray
    slopes_2CN: FloatArray
    truth_N: npt.NDArray[np.intp]
    weight_N: npt.NDArray[np.float64]

    @classmethod
    def of(cls, members: Sequence[tuple[Evidence, float]]) -> _Group:
        bases, slopes = [], []
        for one, _ in members:
            front_CN, back_CN = _log(one.proxy_CN.astype(np.float32)), _log(one.network_CN.astype(np.float32))
            sure_N = one.confidence_N.astype(np.float32)
            bases.append(sure_N * front_CN)
            slopes.append(np.stack([_claims(sure_N) * (1.0 - sure_N) * front_CN, (1.0 - sure_N) * back_CN]))
        weights = [factor / np.bincount(e.slice_N)[e.slice_N] for e, factor in members]
        truth = np.concatenate([e.truth_N for e, _ in members]).astype(np.intp)
        return cls(np.concatenate(bases, axis=1), np.concatenate(slopes, axis=2), truth, np.concatenate(weights))

    def loss(self, w_2: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        """Weighted cross-entropy and its derivatives by the weights."""
        voxels = np.arange(len(self.truth_N))
        scores_CN = self.base_CN + np.tensordot(w_2, self.slopes_2CN, axes=1)
        scores_CN -= scores_CN.max(axis=0)
        chances_CN = np.exp(scores_CN)
        total_N = chances_CN.sum(axis=0)
        loss = float(self.weight_N @ (np.log(total_N) - scores_CN[self.truth_N, voxels]))
        chances_CN /= total_N
        chances_CN[self.truth_N, voxels] -= 1.0
        return loss, np.einsum("fcn,cn->f", self.slopes_2CN, chances_CN * self.weight_N)
