"""Items of a batch: which part of which case, against which target.

Known voxels are the truth as far as readers agree on them; the proxy is, as far as it is sure. Neither says anything of labels
that nobody looked for, so the background is left open to them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from learner.memory.files import ByteArray, shares_from_bytes, soft_from_bytes
from learner.model.plan import Plan, Triple
from learner.model.prepared import CONFIRMED, KNOWN, OBSERVED, PreparedCase
from learner.model.settings import TrainingSettings

FloatArray = npt.NDArray[np.float32]
Window = tuple[slice, slice, slice]
"""Where a patch lies in a volume; it may run over the edges."""

_FOREGROUND_SHARE = 0.7


class Sampler:
    """Makes items of batches.

    An item is ``(K, d, h, w)`` float32 with channels: image (one, or neighbouring slices), target (L + 1; open where it lacks
    to a sum of 1), with logit replay what the network once made of it (L + 1, zeros if that was not kept), weight, confidence.
    """

    def __init__(self, plan: Plan, settings: TrainingSettings) -> None:
        self._plan = plan
        self._settings = settings

    def item(self, case: PreparedCase, rng: np.random.Generator) -> FloatArray:
        """One random item of a case; all randomness comes from ``rng``."""
        window = _window(case.shape_DHW, self._plan.patch_DHW, self._centre(case, rng), rng)
        marks = cut(case.marks_DHW[None], window)[0]
        confidence = shares_from_bytes(cut(case.stored.confidence_DHW[None], window))
        parts = [self._image(case, window), self._target(case, window, marks)]
        if self._settings.logit_replay > 0:
            parts.append(self._recalled(case, window))
        weight = self._weight(case, window, marks, confidence[0]) * _inside(case.shape_DHW, window)
        return np.concatenate([*parts, weight, confidence])

    def _image(self, case: PreparedCase, window: Window) -> FloatArray:
        reach = self._plan.context // 2
        slices = slice(window[0].start - reach, window[0].stop + reach)
        image = case.stored.image(cut(case.stored.image_DHW[None], (slices, *window[1:])))
        return image if reach == 0 else image.transpose(1, 0, 2, 3)

    def _foreground(self, case: PreparedCase, window: Window) -> ByteArray:
        """The proxy's labels 1..L in 1/255; those that the task gained since are nowhere."""
        foreground = cut(case.stored.soft_LDHW, window)
        gained = case.label_count - len(foreground)
        return np.pad(foreground, ((0, gained), (0, 0), (0, 0), (0, 0))) if gained else foreground

    def _target(self, case: PreparedCase, window: Window, marks: ByteArray) -> FloatArray:
        through = self._plan.dimensions == 3
        halo = tuple(slice(w.start - 1, w.stop + 1) if axis > 0 or through else w for axis, w in enumerate(window))
        around = soft_from_bytes(self._foreground(case, (halo[0], halo[1], halo[2])))
        inner = (slice(None), slice(1, -1) if through else slice(None), slice(1, -1), slice(1, -1))
        smooth = spatial_smoothing(around, self._settings.spatial_smoothing, through_plane=through)
        target = np.where(marks & OBSERVED, around[inner], smooth)
        if case.unknown_labels:
            target[0][marks & KNOWN == 0] = 0.0
        return target

    def _weight(self, case: PreparedCase, window: Window, marks: ByteArray, confidence: FloatArray) -> FloatArray:
        """Undrawn voxels weigh as the proxy is sure; known ones less where accepted only, and where readers disagree."""
        settings = self._settings
        undrawn = settings.proxy_weight * (confidence if settings.confidence_weighting else np.ones_like(confidence))
        drawn = np.where(marks & CONFIRMED, settings.confirmed_weight, 1.0) * (1 + settings.drawn_weight)
        if case.stored.agreement_DHW is not None:
            drawn = drawn * shares_from_bytes(cut(case.stored.agreement_DHW[None], window)[0])
        return np.where(marks & OBSERVED, drawn, undrawn).astype(np.float32)

    def _recalled(self, case: PreparedCase, window: Window) -> FloatArray:
        recalled = np.zeros((case.label_count + 1, *self._plan.patch_DHW), dtype=np.float32)
        if case.stored.recalled_LDHW is not None:
            soft = soft_from_bytes(cut(case.stored.recalled_LDHW, window))
            recalled[: len(soft)] = soft
        return recalled

    def _centre(self, case: PreparedCase, rng: np.random.Generator) -> npt.NDArray[np.intp]:
        """Where the item lies: on the object, and if it is a slice on a known one, more often than chance has it."""
        centre = np.array([int(rng.integers(size)) for size in case.shape_DHW], dtype=np.intp)
        wish, slice_wish = rng.random(), rng.random()
        if case.positions and wish < _FOREGROUND_SHARE:
            places = case.positions[int(rng.integers(len(case.positions)))]
            centre[:] = places[int(rng.integers(len(places)))]
        if self._plan.dimensions == 2 and case.known_slices and slice_wish < 0.4:
            centre[0] = case.known_slices[int(rng.integers(len(case.known_slices)))]
        return centre


def spatial_smoothing(around_CDHW: FloatArray, share: float, *, through_plane: bool) -> FloatArray:
    """Soft labels blended with their Gaussian blur, after spatially varying label smoothing (Islam and Glocker, IPMI 2021).

    Their kernel: 3x3(x3) Gaussian with sigma 1, the centre's weight equal to the sum of its neighbours'.

    Args:
        around_CDHW: float32 soft labels, with a margin of one voxel along each axis that is blurred.
        share: 0 leaves them as they are, 1 is the full smoothing of the paper.
        through_plane: whether slices blend with their neighbours as well; not wise when slices are thick.

    Returns:
        Float32, without the margin.
    """
    axes = (1, 2, 3) if through_plane else (2, 3)
    side = np.float32(np.exp(-0.5))
    blurred, inner = around_CDHW, around_CDHW
    for axis in axes:
        before, middle, after = (_along(blurred, axis, slice(i, blurred.shape[axis] - 2 + i)) for i in range(3))
        blurred = middle + side * (before + after)
        inner = _along(inner, axis, slice(1, -1))
    if share <= 0:
        return inner
    total = np.float32((1 + 2 * np.exp(-0.5)) ** len(axes))  # of the Gaussian; its centre is 1
    smooth = (blurred + (total - 2) * inner) / (2 * (total - 1))
    return np.asarray((1 - share) * inner + share * smooth, dtype=np.float32)


def _along(array: FloatArray, axis: int, part: slice) -> FloatArray:
    return array[(slice(None),) * axis + (part,)]


def _window(shape: Triple, patch: Triple, centre: npt.NDArray[np.intp], rng: np.random.Generator) -> Window:
    """Where the patch lies along each axis; it runs over the edge only where the volume is smaller than the patch."""
    window = []
    for size, wanted, middle in zip(shape, patch, centre, strict=True):
        if size <= wanted:
            start = int(rng.integers(size - wanted, 1))
        else:
            jitter = int(rng.integers(-(wanted // 4), wanted // 4 + 1)) if wanted > 1 else 0
            start = int(np.clip(middle - wanted // 2 + jitter, 0, size - wanted))
        window.append(slice(start, start + wanted))
    return window[0], window[1], window[2]


def cut(array_CDHW: npt.NDArray[Any], window: Window) -> npt.NDArray[Any]:
    """A copy of the window of all channels; beyond the edge the last voxel repeats."""
    sizes = array_CDHW.shape[1:]
    inside = tuple(slice(max(0, part.start), min(size, part.stop)) for part, size in zip(window, sizes, strict=True))
    over = [(max(0, -part.start), max(0, part.stop - size)) for part, size in zip(window, sizes, strict=True)]
    part = array_CDHW[(slice(None), *inside)]
    return np.pad(part, [(0, 0), *over], mode="edge") if any(map(any, over)) else np.array(part)


def _inside(shape: Triple, window: Window) -> FloatArray:
    """1 within the volume, 0 beyond its edge; ``(1, d, h, w)``."""
    places = [np.arange(part.start, part.stop) for part in window]
    d, h, w = (((index >= 0) & (index < size)).astype(np.float32) for index, size in zip(places, shape, strict=True))
    return np.asarray((d[:, None, None] * h[None, :, None] * w[None, None, :])[None], dtype=np.float32)
