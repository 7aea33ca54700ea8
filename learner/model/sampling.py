"""Items of a batch: which part of which case, with which proxy shown, against which target.

Leave one drawn slice out: the proxy that the network sees was propagated without one of the drawn slices, and that slice's
drawing is part of the truth. So the network learns how proxies err and what to make of them, instead of copying them.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.domain.planes import drawn_planes, without_planes
from learner.domain.proxy import ProxyMask, imprint
from learner.model.losses import spatial_smoothing
from learner.model.plan import Plan, Triple
from learner.model.settings import TrainingSettings
from learner.ports import Propagator

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

_FOREGROUND_SHARE = 0.7
_MOST_POSITIONS = 4096


@dataclass(eq=False)
class PreparedCase:
    """One case on the working grid, ready to be sampled.

    Attributes:
        example: on the working grid.
        target_CDHW: soft labels to learn; what they lack to a sum of 1 is open: background or one of ``unknown_labels``.
        weight_DHW: weight of each voxel in the loss.
        positions: per label that occurs, voxel coordinates ``(n, 3)`` where it is the most likely one.
        object_slices: slices with any label.
        known_slices: slices known as a whole.
        left_out: drawn planes that may be left out.
        unknown_labels: labels that nobody looked for in this case.
        conditions: quantised leave-one-out proxies, by plane; made when first wanted.
    """

    example: Example
    target_CDHW: FloatArray
    weight_DHW: FloatArray
    positions: tuple[npt.NDArray[np.int32], ...]
    object_slices: npt.NDArray[np.intp]
    known_slices: tuple[int, ...]
    left_out: tuple[Plane, ...]
    unknown_labels: tuple[int, ...]
    conditions: dict[Plane, ByteArray] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Memory that the case takes, its leave-one-out proxies included as if all were made."""
        condition = (len(self.target_CDHW) + 1) * self.weight_DHW.size
        fixed = self.target_CDHW.nbytes + self.weight_DHW.nbytes + self.example.image_DHW.nbytes
        return int(fixed + self.example.proxy.soft_CDHW.nbytes + condition * len(self.left_out))


def prepare_case(example: Example, plan: Plan, settings: TrainingSettings) -> PreparedCase:
    """The target, its weights and what sampling needs, of an example on the working grid.

    Known voxels are the truth as far as readers agree on them; the proxy is, as far as it is sure. Neither says anything of
    labels that nobody looked for, so the background is left open to them.
    """
    annotation = example.annotation
    soft = torch.from_numpy(np.array(example.proxy.soft_CDHW, dtype=np.float32))
    smooth = spatial_smoothing(soft, settings.spatial_smoothing, through_plane=plan.dimensions == 3).numpy()
    observed = annotation.observed_DHW
    target = np.where(observed, example.proxy.soft_CDHW, smooth).astype(np.float32)
    unknown = annotation.unknown_labels
    if unknown:
        target[0][~annotation.known_DHW] = 0.0
    weight = np.where(observed, _known_weight(example, settings), settings.proxy_weight * example.proxy.confidence_DHW)
    labels = example.proxy.labels_DHW
    positions = [np.argwhere(labels == number).astype(np.int32) for number in range(1, len(target))]
    positions = [places[:: max(1, len(places) // _MOST_POSITIONS)] for places in positions if len(places)]
    left_out = drawn_planes(annotation)
    return PreparedCase(
        example=example,
        target_CDHW=target,
        weight_DHW=weight.astype(np.float32),
        positions=tuple(positions),
        object_slices=np.flatnonzero(labels.any(axis=(1, 2))),
        known_slices=annotation.planes_of(),
        left_out=left_out if len(left_out) > 1 else (),
        unknown_labels=unknown,
    )


def _known_weight(example: Example, settings: TrainingSettings) -> FloatArray:
    """Weight of known voxels: less on planes that were accepted and not drawn, less where readers disagree."""
    weight = np.full(example.image_DHW.shape, 1 + settings.drawn_weight, dtype=np.float32)
    weight[_only_confirmed(example.annotation)] *= settings.confirmed_weight
    return weight if example.agreement_DHW is None else weight * example.agreement_DHW


def _only_confirmed(annotation: SparseAnnotation) -> npt.NDArray[np.bool_]:
    """Voxels on accepted planes that no drawn or empty plane crosses."""
    result = np.zeros(annotation.labels_DHW.shape, dtype=np.bool_)
    for accepted in (True, False):
        for plane in annotation.planes:
            if (plane.kind is PlaneKind.CONFIRMED) == accepted:
                result[plane.where] = accepted
    return result


def condition_channels(proxy: ProxyMask) -> FloatArray:
    """What the network sees of a proxy: soft labels, background first, then the confidence; ``(L + 2, D, H, W)``."""
    return np.concatenate([proxy.soft_CDHW, proxy.confidence_DHW[None]]).astype(np.float32)


class CaseCache:
    """Prepared cases by file name, the latest used kept within a limit of memory."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._cases: OrderedDict[str, PreparedCase] = OrderedDict()

    def get(self, name: str) -> PreparedCase | None:
        """The case of a file, if it is at hand."""
        if name in self._cases:
            self._cases.move_to_end(name)
        return self._cases.get(name)

    def put(self, name: str, case: PreparedCase) -> None:
        """Keeps a case; what was not used for longest goes."""
        self._cases[name] = case
        self._cases.move_to_end(name)
        while len(self._cases) > 1 and sum(kept.nbytes for kept in self._cases.values()) > self._limit:
            self._cases.popitem(last=False)


class Sampler:
    """Makes items of batches.

    An item is ``(K, d, h, w)`` float32 with channels: image (one, or neighbouring slices), condition (L + 2, zeros if hidden),
    target (L + 1; open where it lacks to a sum of 1), weight, confidence.
    """

    def __init__(self, plan: Plan, settings: TrainingSettings, propagator: Propagator) -> None:
        self._plan = plan
        self._settings = settings
        self._propagator = propagator

    def item(self, case: PreparedCase, rng: np.random.Generator) -> FloatArray:
        """One random item of a case; all randomness comes from ``rng``."""
        shown = rng.random() >= self._settings.condition_drop
        left_out = None
        if shown and case.left_out and rng.random() < self._settings.leave_one_out:
            left_out = case.left_out[int(rng.integers(len(case.left_out)))]
        centre = self._centre(case, left_out, rng)
        window = _window(case.weight_DHW.shape, self._plan.patch_DHW, centre, rng)
        condition = np.zeros((self._plan.condition_channels, *self._plan.patch_DHW), dtype=np.float32)
        if shown:
            condition = self._condition(case, left_out, window)
        image = self._image(case, window)
        weight = _cut(case.weight_DHW[None], window) * _inside(case.weight_DHW.shape, window)
        confidence = _cut(case.example.proxy.confidence_DHW[None], window)
        return np.concatenate([image, condition, _cut(case.target_CDHW, window), weight, confidence])

    def _image(self, case: PreparedCase, window: tuple[npt.NDArray[np.intp], ...]) -> FloatArray:
        reach = self._plan.context // 2
        if reach == 0:
            return _cut(case.example.image_DHW[None], window)
        slices = np.arange(window[0][0] - reach, window[0][0] + reach + 1)
        return _cut(case.example.image_DHW[None], (slices, *window[1:])).transpose(1, 0, 2, 3)

    def _condition(self, case: PreparedCase, left_out: Plane | None, window: tuple[npt.NDArray[np.intp], ...]) -> FloatArray:
        if left_out is None:
            proxy = case.example.proxy
            return np.concatenate([_cut(proxy.soft_CDHW, window), _cut(proxy.confidence_DHW[None], window)])
        if left_out not in case.conditions:
            case.conditions[left_out] = self._propagate_without(case.example, left_out)
        return np.asarray(_cut(case.conditions[left_out], window), dtype=np.float32) / np.float32(255)

    def _propagate_without(self, example: Example, left_out: Plane) -> ByteArray:
        annotation = without_planes(example.annotation, [left_out])
        proxy = self._propagator.propagate(example.image_DHW, example.spacing_DHW, annotation)
        soft = imprint(proxy.soft_CDHW, annotation)
        channels = np.concatenate([soft, proxy.confidence_DHW[None]])
        return np.asarray(np.round(np.clip(channels, 0, 1) * 255), dtype=np.uint8)

    def _centre(self, case: PreparedCase, left_out: Plane | None, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Where the item lies: on the object, on known slices and on the left-out plane more often than chance has it."""
        shape = case.weight_DHW.shape
        centre = np.array([int(rng.integers(size)) for size in shape], dtype=np.intp)
        wish, slice_wish = rng.random(), rng.random()
        if case.positions and wish < _FOREGROUND_SHARE:
            places = case.positions[int(rng.integers(len(case.positions)))]
            centre[:] = places[int(rng.integers(len(places)))]
        if left_out is not None and slice_wish < 0.4:
            centre[left_out.axis] = left_out.index
        elif self._plan.dimensions == 2 and case.known_slices and slice_wish < 0.4:
            centre[0] = case.known_slices[int(rng.integers(len(case.known_slices)))]
        return centre


def _window(
    shape: tuple[int, ...], patch: Triple, centre: npt.NDArray[np.intp], rng: np.random.Generator
) -> tuple[npt.NDArray[np.intp], ...]:
    """Indices of the patch along each axis; they run over the edge only where the volume is smaller than the patch."""
    window = []
    for size, wanted, middle in zip(shape, patch, centre, strict=True):
        if size <= wanted:
            start = int(rng.integers(size - wanted, 1))
        else:
            jitter = int(rng.integers(-(wanted // 4), wanted // 4 + 1)) if wanted > 1 else 0
            start = int(np.clip(middle - wanted // 2 + jitter, 0, size - wanted))
        window.append(np.arange(start, start + wanted))
    return tuple(window)


def _cut(array_CDHW: npt.NDArray[Any], window: tuple[npt.NDArray[np.intp], ...]) -> npt.NDArray[Any]:
    """The window of all channels; beyond the edge the last voxel repeats."""
    clipped = [np.clip(index, 0, size - 1) for index, size in zip(window, array_CDHW.shape[1:], strict=True)]
    return array_CDHW[np.ix_(np.arange(array_CDHW.shape[0]), *clipped)]


def _inside(shape: tuple[int, ...], window: tuple[npt.NDArray[np.intp], ...]) -> FloatArray:
    """1 within the volume, 0 beyond its edge; ``(1, d, h, w)``."""
    d, h, w = (((index >= 0) & (index < size)).astype(np.float32) for index, size in zip(window, shape, strict=True))
    return np.asarray((d[:, None, None] * h[None, :, None] * w[None, None, :])[None], dtype=np.float32)
