"""The engine that all propagators share: from known planes along one axis to soft labels and confidence.

Between two known planes the signed distances of both are carried to each slice in between and blended. Where one of the two is
known to be empty, the shape of the other shrinks and vanishes before it. Beyond the outermost known planes, an empty one ends
the structure; a drawn one is continued by half a gap, or as far as a ball of the widest section would reach.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from learner.domain.pace import give_way
from learner.domain.proxy import ProxyMask, imprint
from learner.propagation.confidence import DEFAULT_ERROR, ErrorModel, confidence
from learner.propagation.interval import Fields, Filling, Shape
from learner.propagation.motion import Motion
from learner.propagation.signed_distance import NOWHERE, label_scores, signed_distance, soften

FloatArray = npt.NDArray[np.float32]
MakeMotion = Callable[[FloatArray], Motion]

_GRID = 32
"""Pixels to a multiple of which the region that is worked on is rounded outwards."""


@dataclass(frozen=True, slots=True)
class Method:
    """How planes are completed.

    Attributes:
        name: for provenance.
        make_motion: motion of a region of the image, its first axis being the one along which planes are stacked.
        nearest: copy the nearer plane instead of blending both.
        error: how uncertain contours become.
    """

    name: str
    make_motion: MakeMotion
    nearest: bool = False
    error: ErrorModel = DEFAULT_ERROR


def complete(
    image_DHW: FloatArray,
    spacing_DHW: tuple[float, float, float],
    annotation: SparseAnnotation,
    method: Method,
) -> ProxyMask:
    """Completes each axis that has drawn planes on its own and merges them by confidence.

    Strokes, known voxels on no known plane, are kept as they are and not propagated: what surrounds them is unknown.

    Args:
        image_DHW: float32 voxels; those that are not finite count as 0.
        spacing_DHW: voxel spacing in mm.
        annotation: what is known.
        method: how.

    Raises:
        ValueError: if image and annotation differ in shape.
    """
    if image_DHW.shape != annotation.labels_DHW.shape:
        raise ValueError(f"image {image_DHW.shape} and annotation {annotation.labels_DHW.shape} differ in shape")
    views = []
    for axis in range(3):
        if any(plane.axis == axis and annotation.labels_DHW[plane.where].any() for plane in annotation.planes):
            image, labels = np.moveaxis(image_DHW, axis, 0), np.moveaxis(annotation.labels_DHW, axis, 0)
            known = np.moveaxis(annotation.known_LDHW, axis + 1, 1)
            row_mm, column_mm = (s for i, s in enumerate(spacing_DHW) if i != axis)
            spacing = (spacing_DHW[axis], row_mm, column_mm)
            stack = _Stack(image, labels, known, spacing, annotation.planes_of(axis=axis))
            soft, sure = stack.complete(method)
            views.append(_View(np.moveaxis(soft, 1, axis + 1), np.moveaxis(sure, 0, axis), stack.labels_shown))
    soft_CDHW, confidence_DHW = _merge(views, annotation)
    confidence_DHW[annotation.observed_DHW] = 1.0
    return ProxyMask(imprint(soft_CDHW, annotation), confidence_DHW, method.name)


@dataclass(frozen=True, eq=False)
class _View:
    """What the planes along one axis say of the volume.

    Attributes:
        soft_CDHW: float32 probabilities.
        sure_DHW: float32 confidence.
        labels: the labels of which they say anything.
    """

    soft_CDHW: FloatArray
    sure_DHW: FloatArray
    labels: frozenset[int]


def _merge(views: Sequence[_View], annotation: SparseAnnotation) -> tuple[FloatArray, FloatArray]:
    """One soft mask from those of several axes: each label from those that show it, weighted by their confidence."""
    if len(views) == 1:
        return views[0].soft_CDHW, np.ascontiguousarray(views[0].sure_DHW)
    shape = annotation.labels_DHW.shape
    soft_CDHW = np.zeros((annotation.label_count + 1, *shape), dtype=np.float32)
    shown = sorted(frozenset[int]().union(*(view.labels for view in views)))
    confidence_DHW = np.full(shape, 1.0 if shown else 0.0, dtype=np.float32)
    for number in shown:
        showing = [view for view in views if number in view.labels]
        weights = [view.sure_DHW + np.float32(1e-3) for view in showing]
        total = np.sum(weights, axis=0)
        soft_CDHW[number] = np.sum([v.soft_CDHW[number] * (w / total) for v, w in zip(showing, weights, strict=True)], axis=0)
        np.minimum(confidence_DHW, np.max([view.sure_DHW for view in showing], axis=0), out=confidence_DHW)
    soft_CDHW /= np.maximum(soft_CDHW.sum(axis=0), 1.0)
    soft_CDHW[0] = np.maximum(1.0 - soft_CDHW.sum(axis=0), 0.0)
    return soft_CDHW, confidence_DHW


@dataclass(frozen=True, eq=False)
class _Stack:
    """A volume with the axis of its known planes first."""

    image_DHW: FloatArray
    labels_DHW: npt.NDArray[np.uint8]
    known_LDHW: npt.NDArray[np.bool_]
    spacing_DHW: tuple[float, float, float]
    planes: tuple[int, ...]

    @property
    def labels_shown(self) -> frozenset[int]:
        """Labels that are known on any of the planes."""
        return frozenset(number for numbers in self._groups().values() for number in numbers)

    def complete(self, method: Method) -> tuple[FloatArray, FloatArray]:
        """Soft labels ``(C, D, H, W)`` and confidence ``(D, H, W)`` of the whole stack."""
        rows, columns = self._region()
        motion = method.make_motion(self.image_DHW[:, rows, columns])
        label_count, depth = len(self.known_LDHW), len(self.labels_DHW)
        size = (rows.stop - rows.start, columns.stop - columns.start)
        scores_LDHW = np.full((label_count, depth, *size), NOWHERE, dtype=np.float32)
        groups = self._groups()
        parts = [self._complete_group(*group, (rows, columns), motion, nearest=method.nearest) for group in groups.items()]
        for numbers, (scores, _) in zip(groups.values(), parts, strict=True):
            scores_LDHW[[n - 1 for n in numbers]] = scores
        fields = functools.reduce(Fields.worst, (own for _, own in parts))
        soft_CDHW = np.zeros((label_count + 1, *self.labels_DHW.shape), dtype=np.float32)
        soft_CDHW[0] = 1.0
        sure_DHW = np.empty(self.labels_DHW.shape, dtype=np.float32)
        for index in range(depth):
            give_way()
            scores = scores_LDHW[:, index]
            error = method.error.contour(fields, index, self.spacing_DHW)
            soft = soften(scores, error)
            soft_CDHW[:, index, rows, columns] = soft
            inner = confidence(fields, index, soft, scores)
            sure_DHW[index] = np.median(inner[_rim(inner.shape)])
            sure_DHW[index, rows, columns] = inner
        return soft_CDHW, sure_DHW

    def _region(self) -> tuple[slice, slice]:
        """The drawn shapes and a margin, in rows and columns; on a coarse grid, so that one more slice seldom changes it."""
        drawn = np.zeros(self.labels_DHW.shape[1:], dtype=bool)
        for index in self.planes:
            drawn |= self.labels_DHW[index] > 0
        spans: list[slice] = []
        for axis in (0, 1):
            where = np.flatnonzero(drawn.any(axis=1 - axis))
            first, last = int(where[0]), int(where[-1])
            margin = max(32, (last - first) // 2)
            begin, end = (first - margin) // _GRID * _GRID, -(-(last + margin + 1) // _GRID) * _GRID
            spans.append(slice(max(0, begin), min(drawn.shape[axis], end)))
        return spans[0], spans[1]

    def _groups(self) -> dict[tuple[int, ...], list[int]]:
        """Label numbers by the planes on which they are known; most often there is one group."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for number, known in enumerate(self.known_LDHW, start=1):
            planes = tuple(index for index in self.planes if known[index].all())
            if planes:
                groups.setdefault(planes, []).append(number)
        return groups

    def _complete_group(
        self, planes: tuple[int, ...], numbers: list[int], region: tuple[slice, slice], motion: Motion, *, nearest: bool
    ) -> tuple[FloatArray, Fields]:
        """Scores ``(labels of the group, D, h, w)`` and what their certainty depends on."""
        rows, columns = region
        spacing = self.spacing_DHW[1], self.spacing_DHW[2]
        shapes = {}
        for index in planes:
            labels = self.labels_DHW[index, rows, columns]
            masks = [np.isin(labels, numbers), *(labels == n for n in numbers)]
            shapes[index] = Shape.of(index, np.stack([signed_distance(m, spacing) for m in masks]), spacing, masks[0])
        depth = len(self.labels_DHW)
        size = (rows.stop - rows.start, columns.stop - columns.start)
        distances_KDHW = np.full((len(numbers) + 1, depth, *size), NOWHERE, dtype=np.float32)
        fields = Fields.unknown(depth, size)
        for index in planes:
            distances_KDHW[:, index] = shapes[index].distances_KHW
            fields.mark_known(index)
        filling = Filling(distances_KDHW, fields, self.spacing_DHW, motion, nearest)
        motion.prepare([(i, j) for i, j in itertools.pairwise(planes) if shapes[i].present[0] or shapes[j].present[0]])
        for first, last in itertools.pairwise(planes):
            filling.between(shapes[first], shapes[last])
        filling.outwards([shapes[i] for i in planes])
        fields.radius_mm = max([s.radius_mm for s in shapes.values()] + [1.0])
        scores = np.stack([label_scores(d[0], d[1:]) for d in np.moveaxis(distances_KDHW, 1, 0)], axis=1)
        return scores, fields


def _rim(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The outermost pixels of a slice."""
    rim = np.ones(shape, dtype=bool)
    rim[1:-1, 1:-1] = False
    return rim
