"""Rule 7: our own output under other names, among what others drew, and where nothing is known of it any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Drawing, DrawnSegment, LabelArray
from dicom_io.codes import ANATOMICAL_STRUCTURE
from dicom_io.results import MACHINE_MADE, MANUFACTURER
from learner.domain.contract.edited import Compared, EarlierAnswer, compared
from learner.domain.contract.known import label_map
from learner.domain.task import Label

Named = tuple[DrawnSegment, Label]
"""A segment, and the label that it means."""
_ANY = Label(1, "any", ANATOMICAL_STRUCTURE, ANATOMICAL_STRUCTURE, (0, 0, 0))
_SAME_STRUCTURE = 0.7
"""Least Dice at which a segment may be one of ours under another name; whether it is, its slices tell."""


def claims_to_be_ours(segment: DrawnSegment) -> bool:
    """Whether a segment says that software like this made it: viewers that put their own name on an object often keep that."""
    return segment.algorithm_type in MACHINE_MADE and segment.algorithm_name == MANUFACTURER


def is_copy(segment: DrawnSegment, drawing: Drawing, answers: Sequence[EarlierAnswer], slices: Sequence[int]) -> bool:
    """Whether a segment shows nothing but what one of the answers does, whatever it is called.

    Args:
        segment: one of ``drawing``.
        drawing: the object.
        answers: on the same images, of any task.
        slices: the slices that were acquired.
    """
    alone = [replace(answer, elsewhere=True) for answer in answers]
    one = [(segment, _ANY)]
    found = compared(one, drawing, as_named(one, drawing, alone, slices), slices).change
    return (found.repeats and not found.planes) or (claims_to_be_ours(segment) and found.origin is None)


def as_named(
    segments: Sequence[Named], drawing: Drawing, answers: Sequence[EarlierAnswer], slices: Sequence[int]
) -> list[EarlierAnswer]:
    """The answers of a case, and before them those that show the same under the names that the segments have.

    Args:
        segments: all that draw, with the labels that they mean.
        drawing: the object that they are of.
        answers: on the same images; of other cases, too, whose labels mean something else.
        slices: the slices that were acquired.
    """
    labels_DHW = label_map(segments, drawing.segments[0].mask_DHW.shape)
    numbers = frozenset(label.number for _, label in segments)
    renamed = [_renamed(one, labels_DHW[slices], numbers, slices, single=len(drawing.segments) == 1) for one in answers]
    return [*(one for one in renamed if one is not None), *(one for one in answers if not one.elsewhere)]


def parts_of(
    segments: Sequence[Named], drawing: Drawing, answers: Sequence[EarlierAnswer], slices: Sequence[int]
) -> tuple[list[Compared], list[DrawnSegment]]:
    """What an object shows, in parts that have to be read apart: what was made from an answer of ours, and the rest.

    A segment that repeats an answer says nothing of the slices on which somebody drew another label beside it.

    Returns:
        At least one part; and segments that claim to be ours, and repeat nothing that is known: they are in no part.
    """
    origins = _made_from_ours(segments, drawing, answers, slices)
    kept = [one for one in segments if origins[one[1].number] or not claims_to_be_ours(one[0])]
    left_out = [segment for segment, label in segments if (segment, label) not in kept]
    drawn = {label.number for segment, label in kept if segment.mask_DHW.any()}
    theirs = {number for number in drawn if not origins[number]}
    if not theirs or theirs == drawn:
        return [compared(kept, drawing, answers, slices)], left_out
    groups = [[one for one in kept if (one[1].number in theirs) is apart] for apart in (False, True)]
    return [compared(group, drawing, answers, slices) for group in groups], left_out


def _made_from_ours(
    segments: Sequence[Named], drawing: Drawing, answers: Sequence[EarlierAnswer], slices: Sequence[int]
) -> dict[int, bool]:
    """Which labels, each looked at alone, show an answer of ours, edited or not."""
    segments, drawing, answers = _cut_out(segments, drawing, answers)
    by_label = {label.number: [one for one in segments if one[1].number == label.number] for _, label in segments}
    return {n: compared(of, drawing, answers, slices).change.origin is not None for n, of in by_label.items()}


def _cut_out(
    segments: Sequence[Named], drawing: Drawing, answers: Sequence[EarlierAnswer]
) -> tuple[Sequence[Named], Drawing, Sequence[EarlierAnswer]]:
    """All of it without the rows and columns on which nothing is shown; structures fill a small part of most images."""
    if any(axis > 0 for segment, _ in segments for axis, _ in segment.planes or ()):
        return segments, drawing, answers  # contours name rows and columns
    maps = [*(segment.mask_DHW for segment, _ in segments), *(answer.labels_DHW for answer in answers)]
    shown_HW = np.logical_or.reduce([one.any(axis=0) for one in maps]) if maps else np.zeros((0, 0), bool)
    if not shown_HW.any():
        return segments, drawing, answers
    box = (slice(None), *(_span(np.asarray(shown_HW.any(axis=axis))) for axis in (1, 0)))
    cut = [(replace(segment, mask_DHW=segment.mask_DHW[box]), label) for segment, label in segments]
    smaller = replace(drawing, segments=tuple(segment for segment, _ in cut))
    return cut, smaller, [replace(answer, labels_DHW=answer.labels_DHW[box]) for answer in answers]


def _span(any_N: npt.NDArray[np.bool_]) -> slice:
    """First to last true place, and one more on both sides, where a border is looked for."""
    where = np.flatnonzero(any_N)
    return slice(max(0, int(where[0]) - 1), int(where[-1]) + 2)


def without_copies(segments: Sequence[Named], drawing: Drawing, answers: Sequence[EarlierAnswer]) -> list[Named]:
    """The segments without untouched copies of ours, where a reader drew the same label in a segment of its own beside it."""
    every = range(len(drawing.segments[0].mask_DHW))
    kept = []
    for segment, label in segments:
        beside = any(other is not segment and meant == label and other.mask_DHW.any() for other, meant in segments)
        if not beside or not _is_untouched(segment, label, drawing, answers, every):
            kept.append((segment, label))
    return kept if {label.number for _, label in kept} == {label.number for _, label in segments} else list(segments)


def _is_untouched(
    segment: DrawnSegment, label: Label, drawing: Drawing, answers: Sequence[EarlierAnswer], slices: Sequence[int]
) -> bool:
    if any(np.array_equal(segment.mask_DHW, answer.labels_DHW == label.number) for answer in answers):
        return True
    change = compared([(segment, label)], drawing, answers, slices).change
    return change.origin is not None and not change.planes


def _renamed(
    answer: EarlierAnswer, theirs_SHW: LabelArray, numbers: frozenset[int], slices: Sequence[int], *, single: bool
) -> EarlierAnswer | None:
    """An answer with its structures named as the segments are that show much the same; None where no name is another.

    A structure that is still shown under its own name has no other. All structures of an answer may be shown as one, by the
    only segment of an object or in another task.
    """
    ours_SHW = answer.labels_DHW[slices]
    width = 1 + max(int(ours_SHW.max(initial=0)), *numbers, 0)
    seen_SHW = (theirs_SHW > 0) | (ours_SHW > 0)
    pairs = theirs_SHW[seen_SHW].astype(np.int64) * width + ours_SHW[seen_SHW]
    counted = np.bincount(pairs, minlength=width * width)
    together = counted.reshape(width, width)
    sizes, other = together.sum(axis=0), {}
    for number in numbers:
        dice = 2 * together[number] / np.maximum(1, together[number].sum() + sizes)
        dice[0] = 2 * together[number, 1:].sum() / max(1, together[number].sum() + sizes[1:].sum())  # all of them as one
        if not answer.elsewhere:
            dice[[place for place in range(1, width) if together[place, place] and place != number]] = 0
            dice[0] *= single
        best = int(dice[1:].argmax()) + 1
        best = best if dice[best] >= dice[0] else 0
        if dice[best] >= _SAME_STRUCTURE and (answer.elsewhere or best != number):
            other[number] = best
    if not other:
        return None
    renamed_DHW = np.zeros_like(answer.labels_DHW)
    for number in () if answer.elsewhere else numbers - other.keys():
        renamed_DHW[answer.labels_DHW == number] = number
    for number, place in other.items():
        renamed_DHW[answer.labels_DHW > 0 if place == 0 else answer.labels_DHW == place] = number
    return replace(answer, labels_DHW=renamed_DHW, elsewhere=False)
