"""The annotation contract: what a drawing says about a case. ``docs/annotation-contract.md`` words the rules for readers.

A segmentation says where a structure *is*; which slices were looked at it leaves out. The rules here make that explicit:

* Rule 1: a slice is known for a label when the object has foreground of that label on it, or foreground of another label that
  the same object defines. Slices without any foreground say nothing.
* Rule 2: an object that repeats one of our results on most slices is that result, edited: slices that did not change are no
  annotation, changed ones are drawn, and erased ones are known to be empty.
* Rule 8: annotations of a case add up; a slice drawn again replaces the older drawing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import BoolArray, Drawing, DrawnSegment, LabelArray, Plane, PlaneKind, SparseAnnotation
from learner.domain.task import Label, Task


@dataclass(frozen=True, eq=False)
class EarlierAnswer:
    """A result of the case that a reader may have loaded and edited.

    Attributes:
        labels_DHW: uint8 labels as they went to the archive.
        drawn: slices that were drawn by a reader when it was made: those repeat the reader, not us.
    """

    labels_DHW: LabelArray
    drawn: frozenset[int]


@dataclass(frozen=True, eq=False)
class Interpretation:
    """What a drawing adds to a case.

    Attributes:
        annotation: what became known, or None if the object repeats our result without change or defines no label of the task.
        edited: whether the object is one of our results, edited.
        unknown_labels: names of segments that no label of the task matches.
    """

    annotation: SparseAnnotation | None
    edited: bool
    unknown_labels: tuple[str, ...]


def match_label(segment: DrawnSegment, task: Task) -> Label | None:
    """The label of ``task`` that a segment means: by coded type first, then by name; never a guess.

    Our own results carry ``<name>`` or ``<name> (<note>)`` as their label; viewers keep that and drop the codes.
    """
    by_code = [label for label in task.labels if segment.type is not None and label.type.same_concept(segment.type)]
    names = {segment.label.strip().casefold(), segment.label.split(" (")[0].strip().casefold()}
    by_name = [label for label in task.labels if label.name.casefold() in names]
    if len(by_code) > 1:  # left and right share a type: the name decides
        by_code = [label for label in by_code if label in by_name]
    return next(iter(by_code or by_name), None)


def interpret(drawing: Drawing, task: Task, earlier: Sequence[EarlierAnswer]) -> Interpretation:
    """What ``drawing`` says about a case of ``task``.

    Args:
        drawing: the object on the grid of the image.
        task: gives the labels.
        earlier: results of the case that the reader may have edited, newest last.
    """
    matched = [(segment, match_label(segment, task)) for segment in drawing.segments]
    unknown = tuple(segment.label for segment, label in matched if label is None)
    defined = {label.number for _, label in matched if label is not None}
    if not defined:
        return Interpretation(None, edited=False, unknown_labels=unknown)
    labels_DHW = _label_map(matched)
    comparable = [_restricted(answer, defined) for answer in earlier if answer.labels_DHW.shape == labels_DHW.shape]
    kinds, edited = _known_slices(labels_DHW, comparable)
    if not kinds:
        return Interpretation(None, edited=edited, unknown_labels=unknown)
    annotation = _sparse(labels_DHW, kinds, defined, len(task.labels), drawing)
    return Interpretation(annotation, edited=edited, unknown_labels=unknown)


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
    for number in range(1, len(known_LDHW) + 1):
        known_LDHW[number - 1] |= labels_DHW == number
    planes = {(p.axis, p.index): p for p in before.planes} | {(p.axis, p.index): p for p in new.planes}
    return SparseAnnotation(
        labels_DHW=labels_DHW,
        known_LDHW=known_LDHW,
        planes=tuple(sorted(planes.values())),
        sources=tuple(dict.fromkeys((*before.sources, *new.sources))),
        readers=tuple(dict.fromkeys((*before.readers, *new.readers))),
    )


def adds_nothing(before: SparseAnnotation | None, new: SparseAnnotation) -> bool:
    """Whether everything that ``new`` says is known already."""
    if before is None or before.known_LDHW.shape != new.known_LDHW.shape:
        return False
    if not np.all(before.known_LDHW | ~new.known_LDHW):
        return False
    return all(
        np.array_equal((before.labels_DHW == number)[known_DHW], (new.labels_DHW == number)[known_DHW])
        for number, known_DHW in enumerate(new.known_LDHW, start=1)
    )


def _label_map(matched: Sequence[tuple[DrawnSegment, Label | None]]) -> LabelArray:
    """One label a voxel; where segments overlap, the one defined last wins."""
    labels_DHW = np.zeros(matched[0][0].mask_DHW.shape, dtype=np.uint8)
    for segment, label in matched:
        if label is not None:
            labels_DHW[segment.mask_DHW] = label.number
    return labels_DHW


def _known_slices(labels_DHW: LabelArray, earlier: Sequence[EarlierAnswer]) -> tuple[dict[int, PlaneKind], bool]:
    """The slices that became known, by rule 2 where an earlier answer was edited and by rule 1 otherwise.

    A slice that repeats a prediction voxel for voxel is no annotation in either case: we would learn from our own output.
    """
    drawn = frozenset(_slices(labels_DHW > 0))
    repeated = frozenset[int]().union(*(_repeated(labels_DHW, answer) for answer in earlier))
    origin = _edited_answer(labels_DHW, earlier)
    if origin is None:
        return dict.fromkeys(sorted(drawn - repeated), PlaneKind.DRAWN), bool(repeated)
    changed = [index for index in _slices(labels_DHW != origin.labels_DHW) if index not in repeated]
    return {index: PlaneKind.DRAWN if index in drawn else PlaneKind.ABSENT for index in changed}, True


def _predicted(answer: EarlierAnswer) -> list[int]:
    """Slices on which an answer shows what we predicted, and not what a reader drew."""
    return [index for index in _slices(answer.labels_DHW > 0) if index not in answer.drawn]


def _repeated(labels_DHW: LabelArray, answer: EarlierAnswer) -> set[int]:
    return {index for index in _predicted(answer) if np.array_equal(labels_DHW[index], answer.labels_DHW[index])}


def _edited_answer(labels_DHW: LabelArray, earlier: Sequence[EarlierAnswer]) -> EarlierAnswer | None:
    """The earlier answer that a drawing was made from: the one it repeats on most predicted slices.

    It must repeat at least as many as it lacks, so that a fresh drawing of a few slices, one of which happens to equal the
    prediction, does not count as the erasure of all the others.
    """
    best, best_count = None, 0
    for answer in earlier:
        repeated = len(_repeated(labels_DHW, answer))
        erased = sum(not labels_DHW[index].any() for index in _predicted(answer))
        if repeated >= max(best_count, erased, 1):
            best, best_count = answer, repeated
    return best


def _sparse(
    labels_DHW: LabelArray, kinds: dict[int, PlaneKind], defined: set[int], label_count: int, drawing: Drawing
) -> SparseAnnotation:
    """The annotation of the known slices; labels that the object does not define stay unknown."""
    known_LDHW: BoolArray = np.zeros((label_count, *labels_DHW.shape), dtype=np.bool_)
    sparse_DHW = np.zeros_like(labels_DHW)
    for index in kinds:
        sparse_DHW[index] = labels_DHW[index]
        for number in defined:
            known_LDHW[number - 1, index] = True
    return SparseAnnotation(
        labels_DHW=sparse_DHW,
        known_LDHW=known_LDHW,
        planes=tuple(sorted(Plane(0, index, kind) for index, kind in kinds.items())),
        sources=(drawing.header.sop_instance_uid,),
        readers=(drawing.header.reader,) if drawing.header.reader else (),
    )


def _restricted(answer: EarlierAnswer, defined: set[int]) -> EarlierAnswer:
    """An earlier answer with the labels alone that the drawing defines; a viewer may save some of our segments only."""
    kept_DHW = np.where(np.isin(answer.labels_DHW, sorted(defined)), answer.labels_DHW, 0).astype(np.uint8)
    return EarlierAnswer(kept_DHW, answer.drawn)


def _slices(mask_DHW: npt.NDArray[np.bool_]) -> list[int]:
    return [int(index) for index in np.flatnonzero(mask_DHW.any(axis=(1, 2)))]
