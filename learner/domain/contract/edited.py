"""Rule 2: what a reader did to an answer of ours."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from dicom_io.annotation import BoolArray, Drawing, DrawnSegment, LabelArray, PlaneKind
from learner.domain.contract.known import label_map, slices_of
from learner.domain.contract.planes import AxisPlane, across, on_planes, other_planes
from learner.domain.task import Label

_EXACT_SHARE = 0.75
"""Least share of predicted slices that an object from another grid must repeat exactly to be compared exactly."""
_COPY_SHARE = 0.5
"""Least share of predicted slices that it must repeat, but for what resampling does, to be a copy."""
_COPY_DICE = 0.98
"""Least Dice of a slice that resampling alone has changed ..."""
_COPY_BORDER = 1 / 3
"""... or the greatest share of the voxels on its border that differ then: small structures are nearly all border."""
_COPY_BORDER_COARSE = 2 / 3
"""The same for coarser grids, and for contours, which some viewers run through the centres of the outermost pixels."""


@dataclass(frozen=True, eq=False)
class EarlierAnswer:
    """A result of the case that a reader may have loaded and edited.

    Attributes:
        labels_DHW: uint8 labels as they went to the archive.
        drawn: slices that were drawn by a reader when it was made: those repeat the reader, not us.
        round_id: the round whose answer it is; 0 where that does not matter.
        elsewhere: whether it is of another case of the same images, whose labels may mean something else.
    """

    labels_DHW: LabelArray
    drawn: frozenset[int]
    round_id: int = 0
    elsewhere: bool = False


@dataclass(frozen=True, eq=False)
class Change:
    """What is new in an object beside the earlier answers of its case.

    Attributes:
        origin: the answer that it was made from, with the labels that the object defines; None for a drawing of its own.
        planes: the planes that became known, by axis and index.
        repeats: whether it shows slices as one of the answers has them.
        voxels_DHW: bool, where somebody drew or erased.
    """

    origin: EarlierAnswer | None
    planes: dict[AxisPlane, PlaneKind]
    repeats: bool
    voxels_DHW: BoolArray

    @property
    def share(self) -> float:
        """Voxels that were changed over those that the answer had, at most 1; 0 for a drawing of its own."""
        if self.origin is None:
            return 0.0
        changed, shown = int(np.count_nonzero(self.voxels_DHW)), int(np.count_nonzero(self.origin.labels_DHW))
        return min(1.0, changed / max(1, shown))


@dataclass(frozen=True, eq=False)
class Compared:
    """Some segments of an object beside the earlier answers of its case.

    Attributes:
        labels_DHW: uint8, what the segments show.
        numbers: the labels that they define.
        change: what of it is new.
    """

    labels_DHW: LabelArray
    numbers: frozenset[int]
    change: Change


def compared(
    segments: Sequence[tuple[DrawnSegment, Label]],
    drawing: Drawing,
    answers: Sequence[EarlierAnswer],
    slices: Sequence[int],
) -> Compared:
    """What ``segments`` of ``drawing`` show, and what of it somebody drew.

    Args:
        segments: with the labels that they mean.
        drawing: the object that they are of; its grid, and whether it was resampled.
        answers: earlier answers of the case on the same grid, oldest first.
        slices: the slices that were acquired, in order; nothing else is compared.
    """
    numbers = frozenset(label.number for _, label in segments)
    labels_DHW = label_map(segments, drawing.segments[0].mask_DHW.shape)
    on_planes = [segment.planes for segment, _ in segments if segment.planes is not None]
    contours = frozenset[AxisPlane]().union(*on_planes) if len(on_planes) == len(segments) else None
    if not segments:
        return Compared(labels_DHW, numbers, Change(None, {}, repeats=False, voxels_DHW=labels_DHW > 0))
    border = _COPY_BORDER_COARSE if drawing.coarse or contours is not None else _COPY_BORDER
    saved = _Saved(labels_DHW, slices, contours, border)
    known = [_restricted(answer, numbers) for answer in answers]
    return Compared(labels_DHW, numbers, saved.change_of(known, inexact=drawing.resampled or contours is not None))


def joined(parts: Sequence[Compared]) -> Compared:
    """Parts of one object as one; where they overlap, the later one shows."""
    first, *others = parts
    for one in others:
        labels_DHW = np.where(one.labels_DHW > 0, one.labels_DHW, first.labels_DHW)
        change = Change(
            first.change.origin or one.change.origin,
            {**first.change.planes, **one.change.planes},
            first.change.repeats or one.change.repeats,
            first.change.voxels_DHW | one.change.voxels_DHW,
        )
        first = Compared(labels_DHW, first.numbers | one.numbers, change)
    return first


def _restricted(answer: EarlierAnswer, numbers: Collection[int]) -> EarlierAnswer:
    """An answer with the labels ``numbers`` alone; a viewer may save some of our segments only."""
    kept = np.zeros(256, np.uint8)
    kept[list(numbers)] = list(numbers)
    return replace(answer, labels_DHW=kept[answer.labels_DHW])


@dataclass(frozen=True, eq=False)
class _Saved:
    """An object as it was saved.

    Attributes:
        labels_DHW: uint8, what it shows.
        slices: the slices that were acquired.
        contours: the planes on which its contours lie, or None where it does not say.
        border: greatest share of the voxels on a slice's border that may differ in a copy.
    """

    labels_DHW: LabelArray
    slices: Sequence[int]
    contours: frozenset[AxisPlane] | None
    border: float

    def change_of(self, answers: Sequence[EarlierAnswer], *, inexact: bool) -> Change:
        """What is new beside ``answers``: exactly so, or beyond what resampling does, or apart from other planes."""
        origin = self.origin(answers, self.differing, least=_EXACT_SHARE if inexact else 0.0)
        if origin is None and inexact:
            origin = self.origin(answers, self.differing_beyond_resampling, least=_COPY_SHARE)
            if origin is not None:
                return self.change(origin, answers, self.differing_beyond_resampling(origin), frozenset())
        if origin is None:
            origin = self.origin(answers, self.differing_on_slices)
        voxels_DHW = self.acquired(self.labels_DHW > 0) if origin is None else self.differing(origin)
        return self.change(origin, answers, voxels_DHW, self.other_planes(voxels_DHW))

    def acquired(self, voxels_DHW: BoolArray) -> BoolArray:
        """The voxels on slices that were acquired."""
        result_DHW = np.zeros_like(voxels_DHW)
        result_DHW[self.slices] = voxels_DHW[self.slices]
        return result_DHW

    def differing(self, answer: EarlierAnswer) -> BoolArray:
        """Voxels that are not as in ``answer``."""
        return self.acquired(np.asarray(self.labels_DHW != answer.labels_DHW))

    def differing_on_slices(self, answer: EarlierAnswer) -> BoolArray:
        """The same without what was drawn in planes other than those of the series."""
        voxels_DHW = self.differing(answer)
        return voxels_DHW & ~on_planes(voxels_DHW.shape, self.other_planes(voxels_DHW))

    def differing_beyond_resampling(self, answer: EarlierAnswer) -> BoolArray:
        """The same without slices on which resampling alone explains all that differs.

        Across the slices it may have taken the next one; along borders it may be off by a voxel.
        """
        voxels_DHW = self.differing(answer)
        near_DHW = ndimage.maximum_filter(answer.labels_DHW, 3) != ndimage.minimum_filter(answer.labels_DHW, 3)
        for index in slices_of(voxels_DHW):
            labels_HW = self.labels_DHW[index]
            for source in (index, *(i for i in (index - 1, index + 1) if 0 <= i < len(near_DHW))):
                predicted_HW = answer.labels_DHW[source]
                if near_DHW[source][labels_HW != predicted_HW].all() and _slightly(labels_HW, predicted_HW, self.border):
                    voxels_DHW[index] = False
                    break
        return voxels_DHW

    def other_planes(self, voxels_DHW: BoolArray) -> frozenset[AxisPlane]:
        """Planes, other than those of the series, in which somebody drew or erased ``voxels_DHW``."""
        if self.contours is not None:
            return frozenset(plane for plane in self.contours if plane[0] > 0 and voxels_DHW[across(plane)].any())
        return other_planes(self.labels_DHW[self.slices], voxels_DHW[self.slices])

    def origin(
        self, answers: Sequence[EarlierAnswer], difference: Callable[[EarlierAnswer], BoolArray], *, least: float = 0.0
    ) -> EarlierAnswer | None:
        """The answer that the object was made from: the one that it is, else the one it repeats on most predicted slices.

        Of equals it is the one of which fewest slices were changed, and the newest of those. It must repeat at least as many as
        it lacks, so that a fresh drawing of a few slices, one of which happens to equal the prediction, does not count as the
        erasure of all the others; and the share ``least`` of all that were predicted.
        """
        shown = slices_of(self.labels_DHW > 0)
        best, best_rank = None, (False, 0, 0)
        for answer in answers:
            predicted, changed = self._predicted(answer), slices_of(difference(answer))
            untouched = predicted - changed
            repeated, erased = len(untouched & shown), len(predicted - shown - untouched)
            rank = not changed, repeated, -len(changed)
            if repeated >= max(erased, 1, least * len(predicted)) and (best is None or rank >= best_rank):
                best, best_rank = answer, rank
        return best

    def change(
        self,
        origin: EarlierAnswer | None,
        answers: Sequence[EarlierAnswer],
        voxels_DHW: BoolArray,
        others: frozenset[AxisPlane],
    ) -> Change:
        """What became known through ``voxels_DHW``, drawn in the planes ``others`` and else in those of the series.

        A plane that repeats a prediction voxel for voxel is no annotation: we would learn from our own output.
        """
        repeated = frozenset[int]().union(*(self._repeated(answer) for answer in answers))
        voxels_DHW[sorted(repeated)] = False
        slices = slices_of(voxels_DHW & ~on_planes(voxels_DHW.shape, others))
        if self.contours is not None:
            slices |= {index for axis, index in self.contours if axis == 0} & slices_of(voxels_DHW)
        planes = {(0, index) for index in slices}
        planes |= {plane for plane in others if not any(self._shows(answer, plane) for answer in answers)}
        kinds = {
            plane: PlaneKind.DRAWN if self.labels_DHW[across(plane)].any() else PlaneKind.ABSENT for plane in sorted(planes)
        }
        return Change(origin, kinds, origin is not None or bool(repeated), voxels_DHW)

    def _predicted(self, answer: EarlierAnswer) -> frozenset[int]:
        """Slices on which an answer shows what we predicted, and not what a reader drew."""
        return (slices_of(answer.labels_DHW > 0) & frozenset(self.slices)) - answer.drawn

    def _repeated(self, answer: EarlierAnswer) -> frozenset[int]:
        return frozenset(index for index in self._predicted(answer) if self._shows(answer, (0, index)))

    def _shows(self, answer: EarlierAnswer, plane: AxisPlane) -> bool:
        """Whether the object shows on a plane what ``answer`` does, and that is something."""
        theirs = answer.labels_DHW[across(plane)]
        return bool(theirs.any()) and np.array_equal(self.labels_DHW[across(plane)], theirs)


def _slightly(labels_HW: LabelArray, predicted_HW: LabelArray, border: float) -> bool:
    """Whether two slices differ by no more than resampling makes them, where all that differs lies along borders.

    The outermost slices of a structure may come or go altogether.
    """
    different = np.count_nonzero(labels_HW != predicted_HW)
    sizes = np.count_nonzero(labels_HW), np.count_nonzero(predicted_HW)
    if min(sizes) == 0 or different <= (1 - _COPY_DICE) * sum(sizes):
        return True
    edges = ndimage.maximum_filter(predicted_HW, 3) != ndimage.minimum_filter(predicted_HW, 3)
    return bool(different <= border * np.count_nonzero(edges & (predicted_HW > 0)))
