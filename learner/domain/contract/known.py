"""Rules 1 and 5: what a drawing makes known, label by label, once ``dicom_io`` has found where it lies."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import AnnotationHeader, BoolArray, DrawnSegment, LabelArray, Plane, PlaneKind, SparseAnnotation
from learner.domain.contract.planes import AxisPlane, across
from learner.domain.task import Label


def label_map(segments: Sequence[tuple[DrawnSegment, Label]], shape: tuple[int, ...]) -> LabelArray:
    """uint8 ``(slice, row, column)``, one label a voxel; where segments overlap, the one defined last wins."""
    labels_DHW = np.zeros(shape, dtype=np.uint8)
    for segment, label in segments:
        labels_DHW[segment.mask_DHW] = label.number
    return labels_DHW


def known_on_planes(
    labels_DHW: LabelArray,
    planes: Mapping[AxisPlane, PlaneKind],
    numbers: Collection[int],
    label_count: int,
    header: AnnotationHeader,
) -> SparseAnnotation:
    """What ``labels_DHW`` shows on ``planes``, known there for the labels ``numbers`` and for no other."""
    known_DHW = np.zeros(labels_DHW.shape, bool)
    for plane in planes:
        known_DHW[across(plane)] = True
    listed = tuple(sorted(Plane(axis, index, kind) for (axis, index), kind in planes.items()))
    return _sparse(labels_DHW, known_DHW, numbers, label_count, header, listed)


def known_at_voxels(
    labels_DHW: LabelArray, known_DHW: BoolArray, numbers: Collection[int], label_count: int, header: AnnotationHeader
) -> SparseAnnotation:
    """What ``labels_DHW`` shows at voxels, known there for the labels ``numbers``; no plane is known."""
    return _sparse(labels_DHW, known_DHW, numbers, label_count, header, ())


def slices_of(mask_DHW: npt.NDArray[np.bool_]) -> frozenset[int]:
    """Slices on which anything is true."""
    return frozenset(int(index) for index in np.flatnonzero(mask_DHW.any(axis=(1, 2))))


def _sparse(
    labels_DHW: LabelArray,
    known_DHW: BoolArray,
    numbers: Collection[int],
    label_count: int,
    header: AnnotationHeader,
    planes: tuple[Plane, ...],
) -> SparseAnnotation:
    known_LDHW = np.zeros((label_count, *labels_DHW.shape), bool)
    shown_DHW = np.zeros_like(labels_DHW)
    for number in numbers:
        known_LDHW[number - 1] = known_DHW
    shown_DHW[known_DHW] = np.where(np.isin(labels_DHW[known_DHW], list(numbers)), labels_DHW[known_DHW], 0)
    reader = header.reader or header.station or header.manufacturer
    return SparseAnnotation(
        labels_DHW=shown_DHW,
        known_LDHW=known_LDHW,
        planes=planes,
        sources=(header.sop_instance_uid,),
        readers=(reader,) if reader else (),
    )
