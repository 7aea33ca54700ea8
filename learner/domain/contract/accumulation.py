"""Rules 6 and 8: what several objects, of one reader or of several, say together."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import BoolArray, Plane, PlaneKind, SparseAnnotation
from learner.domain.contract.planes import across


def accumulate(before: SparseAnnotation | None, new: SparseAnnotation) -> SparseAnnotation:
    """Both annotations as one; where ``new`` knows something, it replaces what was known before (rule 8).

    Raises:
        ValueError: if they belong to different grids or tasks.
    """
    if before is None:
        return new
    if before.known_LDHW.shape != new.known_LDHW.shape:
        raise ValueError("annotations of different grids or tasks cannot be added up")
    labels_DHW = np.array(before.labels_DHW)
    for number, known_DHW in enumerate(new.known_LDHW, start=1):
        labels_DHW[known_DHW & (labels_DHW == number)] = 0
    labels_DHW[new.labels_DHW > 0] = new.labels_DHW[new.labels_DHW > 0]
    known_LDHW = before.known_LDHW | new.known_LDHW
    return SparseAnnotation(
        labels_DHW=labels_DHW,
        known_LDHW=known_LDHW,
        planes=_planes(before, new, np.asarray(labels_DHW != before.labels_DHW)),
        sources=tuple(dict.fromkeys((*before.sources, *new.sources))),
        readers=tuple(dict.fromkeys((*before.readers, *new.readers))),
    )


def combine(drawings: Sequence[SparseAnnotation]) -> SparseAnnotation | None:
    """What all drawings of a case say together, oldest first; None if there is none.

    Withdrawing an object is combining the others.

    Raises:
        ValueError: if they belong to different grids or tasks.
    """
    return reduce(accumulate, drawings[1:], drawings[0]) if drawings else None


def agreement(drawings: Sequence[SparseAnnotation]) -> npt.NDArray[np.float32] | None:
    """How far the readers of a case agree with what their drawings say together (rule 6).

    Each reader counts once, with the last word on each voxel; all whose name is not known count as one reader.

    Args:
        drawings: oldest first.

    Returns:
        float32 ``(slice, row, column)``: of the readers who know a voxel for any label, the share that agrees with
        :func:`combine` in all labels that they know there; 1 where nobody knows anything. None if nobody disagrees anywhere.

    Raises:
        ValueError: if the drawings belong to different grids or tasks.
    """
    by_reader: dict[tuple[str, ...], SparseAnnotation] = {}
    for drawing in drawings:
        by_reader[drawing.readers] = accumulate(by_reader.get(drawing.readers), drawing)
    together = combine(drawings)
    if together is None or len(by_reader) < 2:
        return None
    knowing_DHW = np.zeros(together.labels_DHW.shape, np.float32)
    agreeing_DHW = np.zeros_like(knowing_DHW)
    for own in by_reader.values():
        knows_DHW = own.known_LDHW.any(axis=0)
        knowing_DHW += knows_DHW
        agreeing_DHW += knows_DHW & ~_contradicted(own, together)
    if np.array_equal(agreeing_DHW, knowing_DHW):
        return None
    share_DHW = np.ones_like(knowing_DHW)
    return np.divide(agreeing_DHW, knowing_DHW, out=share_DHW, where=knowing_DHW > 0)


def adds_nothing(before: SparseAnnotation | None, new: SparseAnnotation) -> bool:
    """Whether everything that ``new`` says is known already."""
    if before is None or before.known_LDHW.shape != new.known_LDHW.shape:
        return False
    return bool(np.all(before.known_LDHW | ~new.known_LDHW)) and not _contradicted(new, before).any()


def with_label_count(annotation: SparseAnnotation, label_count: int) -> SparseAnnotation:
    """The annotation in a task that has got further labels since: it is unknown for those.

    Raises:
        ValueError: if the task has fewer labels than the annotation.
    """
    more = label_count - annotation.label_count
    if more < 0:
        raise ValueError(f"an annotation of {annotation.label_count} labels for a task of {label_count}")
    if more == 0:
        return annotation
    known_LDHW = np.pad(annotation.known_LDHW, ((0, more), (0, 0), (0, 0), (0, 0)))
    return SparseAnnotation(annotation.labels_DHW, known_LDHW, annotation.planes, annotation.sources, annotation.readers)


def _contradicted(annotation: SparseAnnotation, other: SparseAnnotation) -> BoolArray:
    """Voxels ``(slice, row, column)`` at which ``annotation`` says otherwise of a label that it knows than ``other`` shows."""
    differ_DHW = np.zeros(annotation.labels_DHW.shape, bool)
    for number, known_DHW in enumerate(annotation.known_LDHW, start=1):
        differ_DHW |= known_DHW & ((annotation.labels_DHW == number) != (other.labels_DHW == number))
    return differ_DHW


def _planes(before: SparseAnnotation, new: SparseAnnotation, changed_DHW: BoolArray) -> tuple[Plane, ...]:
    """All planes, the newer kind of each; accepting what somebody drew leaves it drawn."""
    planes = {(p.axis, p.index): p for p in before.planes}
    for plane in new.planes:
        place = plane.axis, plane.index
        accepted = plane.kind is PlaneKind.CONFIRMED and not changed_DHW[across(place)].any()
        if place not in planes or not accepted:
            planes[place] = plane
    return tuple(sorted(planes.values()))
