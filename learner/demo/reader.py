"""The simulated reader of the demo: draws the truth on a few slices and stores it as readers' software does.

Three ways to answer, as in hospitals: a SEG with the drawn frames alone; the prediction opened, mended on some slices and saved
as a whole (OHIF: type MANUAL, generic codes, no link to the prediction, only the label survives); an SR with closed contours.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from dicom_io.codes import Code
from dicom_io.read_annotation import read_annotation
from dicom_io.reader_objects import write_contour_sr, write_drawing_seg
from dicom_io.results import SegmentDescription
from dicom_io.volume import ImageSeries

BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.uint8]

OHIF_CODE = Code("T-D0050", "SRT", "Tissue")
"""Category and type that OHIF 3.12 writes whatever the source object said."""


class Manner(StrEnum):
    """How a reader stores what was drawn."""

    SEG = "SEG"
    """A new segmentation with the drawn frames alone."""
    EDIT = "edited prediction"
    """The prediction with some slices replaced, saved as a whole."""
    SR = "SR contours"
    """A report of TID 1500 with closed contours."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which slices a reader takes.

    Attributes:
        drawn: slices to draw, ascending.
        left: suggested slices that were opened and left as they are: nothing is to be drawn, or mended, on them.
    """

    drawn: tuple[int, ...]
    left: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Reader:
    """One reader of one case, who knows the truth.

    Attributes:
        source: the image series as the archive gives it.
        truth_DHW: uint8 labels on its grid.
        segments: what the labels are.
        name: Content Creator's Name.
        jitter_mm: standard deviation of the hand: how far contours stray, smoothly along their length; 0 for none.
        seed: of the hand.

    Raises:
        ValueError: if the truth does not fill the grid.
    """

    source: ImageSeries
    truth_DHW: LabelArray
    segments: tuple[SegmentDescription, ...]
    name: str = "Demo^Reader"
    jitter_mm: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.truth_DHW.shape != self.source.volume.geometry.shape:
            raise ValueError(f"truth {self.truth_DHW.shape} does not fill the grid {self.source.volume.geometry.shape}")

    def draw(self, indices: Sequence[int], created: datetime) -> bytes:
        """A SEG with the slices ``indices`` drawn and nothing else.

        Raises:
            ValueError: if nothing is on any of them.
        """
        return write_drawing_seg(self.source, self._masks(indices), self.segments, self.name, "Reader drawing", created=created)

    def contour(self, indices: Sequence[int], created: datetime) -> bytes:
        """An SR of TID 1500 with the contours of the slices ``indices``.

        Raises:
            ValueError: if nothing is on any of them.
        """
        return write_contour_sr(self.source, self._masks(indices), self.segments, self.name, "Reader contours", created=created)

    def edit(self, prediction: bytes, indices: Sequence[int], created: datetime) -> bytes:
        """``prediction`` with the slices ``indices`` drawn anew, saved as OHIF saves it.

        Args:
            prediction: a SEG of this series from the archive.
            indices: slices to mend; those where nothing of the structure is are erased.
            created: date and time of saving.

        Raises:
            DicomIoError: if the prediction cannot be read on the source's grid.
            ValueError: if nothing is left in it.
        """
        truth = self._masks(indices)
        masks: dict[int, BoolArray] = {}
        segments: list[SegmentDescription] = []
        for segment in read_annotation(prediction, self.source).segments:
            mask_DHW = np.array(segment.mask_DHW)
            own = self._label_of(segment.number)
            for index in indices:
                mask_DHW[index] = truth[own.number][index]
            masks[segment.number] = mask_DHW
            segments.append(replace(own, number=segment.number, name=segment.label, category=OHIF_CODE, type=OHIF_CODE))
        return write_drawing_seg(self.source, masks, segments, "", "Segmentation", created=created)

    def drawn_labels(self, indices: Sequence[int]) -> LabelArray:
        """What the reader draws on ``indices``, as one label map; empty elsewhere."""
        labels_DHW = np.zeros_like(self.truth_DHW)
        for number, mask_DHW in self._masks(indices).items():
            labels_DHW[mask_DHW] = number
        return labels_DHW

    def _label_of(self, number: int) -> SegmentDescription:
        return next(segment for segment in self.segments if segment.number == number)

    def _masks(self, indices: Sequence[int]) -> dict[int, BoolArray]:
        masks = {segment.number: np.zeros(self.truth_DHW.shape, dtype=np.bool_) for segment in self.segments}
        for index in indices:
            labels_HW = self._by_hand(index)
            for number, mask_DHW in masks.items():
                mask_DHW[index] = labels_HW == number
        return masks

    def _by_hand(self, index: int) -> LabelArray:
        """The truth of one slice as the hand draws it: moved along a smooth random field."""
        labels_HW: LabelArray = np.asarray(self.truth_DHW[index])
        if self.jitter_mm == 0.0:
            return labels_HW
        rng = np.random.default_rng((self.seed, index))
        spacing = np.array(self.source.volume.geometry.spacing_DHW[1:])
        places = np.indices(labels_HW.shape, dtype=np.float64)
        for axis in range(2):
            field = ndimage.gaussian_filter(rng.standard_normal(labels_HW.shape), 8.0 / spacing)
            places[axis] += field * (self.jitter_mm / (spacing[axis] * max(float(field.std()), 1e-9)))
        return np.asarray(ndimage.map_coordinates(labels_HW, places, order=0, mode="nearest"), dtype=np.uint8)


def first_slices(truth_DHW: LabelArray, count: int) -> Choice:
    """The slices that a reader draws first: ``count`` of the structure's extent, in the middle of equal parts of it.

    Raises:
        ValueError: if there is no structure.
    """
    there = occupied(truth_DHW)
    if not there:
        raise ValueError("the truth is empty")
    places = (np.arange(count) + 0.5) / count * (len(there) - 1)
    return Choice(tuple(sorted({there[int(place)] for place in np.rint(places)})))


def next_slices(worth: Collection[int], suggested: Sequence[int], drawn: Collection[int], count: int) -> Choice:
    """The slices that a reader draws when guided.

    Args:
        worth: slices on which the reader has something to draw, or to mend.
        suggested: slices that the guidance names, best first.
        drawn: slices drawn already.
        count: how many to draw.

    Returns:
        The first ``count`` suggestions that are worth it; where there are too few, the middles of the largest gaps.
    """
    chosen: list[int] = []
    left_alone: list[int] = []
    for index in dict.fromkeys(suggested):
        if len(chosen) == count:
            break
        if index not in drawn:
            (chosen if index in worth else left_alone).append(index)
    while len(chosen) < count and (left := sorted({*worth} - {*drawn, *chosen})):
        known = np.array(sorted({*drawn, *chosen}) or left[:1])
        distances = [int(np.abs(known - index).min()) for index in left]
        chosen.append(left[int(np.argmax(distances))])
    return Choice(tuple(sorted(chosen)), tuple(left_alone))


def occupied(truth_DHW: npt.NDArray[np.generic]) -> list[int]:
    """Slices on which a structure is, ascending."""
    return [int(index) for index in np.flatnonzero(truth_DHW.any(axis=(1, 2)))]
