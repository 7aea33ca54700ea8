"""Rules 3 and 9: slices that a reader accepted, objects that were declared complete, and strokes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dicom_io.annotation import AnnotationHeader, DrawnSegment, PlaneKind, SparseAnnotation
from learner.domain.contract.edited import Compared, EarlierAnswer
from learner.domain.contract.known import known_at_voxels, known_on_planes, slices_of
from learner.domain.contract.words import Marked


@dataclass(frozen=True, eq=False)
class Scope:
    """What an object can say something about.

    Attributes:
        label_count: labels L of the task.
        header: of the object.
        slices: the slices that were acquired.
        newest: the newest answer, if there is one.
    """

    label_count: int
    header: AnnotationHeader
    slices: Sequence[int]
    newest: EarlierAnswer | None

    @property
    def every(self) -> frozenset[int]:
        """Numbers of all labels."""
        return frozenset(range(1, self.label_count + 1))


def accepted(
    reviewed: Sequence[Marked], drawn: Compared, scope: Scope, *, shows_all: bool = False
) -> Iterator[SparseAnnotation]:
    """What each mark of reviewed slices confirms.

    That is what the object shows on the marked slices, or the newest answer where the object shows nothing and is not
    an edited answer, or does not define the label. A mark confirms nothing where there is neither. With ``shows_all`` an object
    shows all that is accepted; where it shows nothing, that is.
    """
    for segment, label in reviewed:
        numbers = (drawn.numbers or scope.every) if label is None else frozenset({label.number})
        slices = slices_of(segment.mask_DHW) & frozenset(scope.slices)
        own = frozenset[int]()
        if numbers <= drawn.numbers:
            edited = shows_all or drawn.change.origin is not None or scope.newest is None
            own = slices if edited else slices & slices_of(np.isin(drawn.labels_DHW, list(numbers)))
        if own:
            yield known_on_planes(drawn.labels_DHW, _confirmed(own), numbers, scope.label_count, scope.header)
        if slices - own and scope.newest is not None:
            yield known_on_planes(scope.newest.labels_DHW, _confirmed(slices - own), numbers, scope.label_count, scope.header)


def declared_complete(complete: Collection[int], drawn: Compared, scope: Scope) -> SparseAnnotation | None:
    """All slices of an object that was declared complete, for the labels ``complete`` that it defines.

    What somebody drew is drawn by rules 1 and 2 and not of concern here. Nothing is complete that was drawn across the slices.
    """
    numbers = drawn.numbers & frozenset(complete)
    if not numbers or any(axis > 0 for axis, _ in drawn.change.planes):
        return None
    shown = slices_of(np.isin(drawn.labels_DHW, list(numbers)))
    kinds = {(0, index): PlaneKind.CONFIRMED if index in shown else PlaneKind.ABSENT for index in scope.slices}
    return known_on_planes(drawn.labels_DHW, kinds, numbers, scope.label_count, scope.header)


def stroked(
    strokes: Compared, background: Sequence[DrawnSegment], drawn: Collection[int], scope: Scope
) -> SparseAnnotation | None:
    """What strokes make known: their voxels, for all labels that the object defines; of background strokes alone, for all.

    Of an edited answer that is marked as strokes, the changed voxels are.
    """
    known_DHW = strokes.change.voxels_DHW.copy()
    for segment in background:
        known_DHW[scope.slices] |= segment.mask_DHW[scope.slices]
    if not known_DHW.any():
        return None
    numbers = strokes.numbers | frozenset(drawn) or scope.every
    return known_at_voxels(strokes.labels_DHW, known_DHW, numbers, scope.label_count, scope.header)


def _confirmed(slices: Collection[int]) -> dict[tuple[int, int], PlaneKind]:
    return dict.fromkeys(((0, index) for index in sorted(slices)), PlaneKind.CONFIRMED)
