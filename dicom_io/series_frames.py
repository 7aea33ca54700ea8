"""Instances to frames: one record for each acquired slice, single-frame or out of a multi-frame image alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from dicom_io.datasets import UNREADABLE, first_item, numbers, text
from dicom_io.errors import InvalidObject, SeriesNotAVolume
from dicom_io.series_instances import Instance, functional_groups

FloatArray = npt.NDArray[np.float64]

ORIENTATION_TOLERANCE = 1e-3
"""Greatest difference of direction cosines, and of pixel spacings as a share, within a volume."""
_GREATEST_POSITION_MM = 1e5
"""Greatest coordinate of a position: no scanner is 100 m long, and sums of larger ones lose their digits."""
_SPACINGS_MM = (1e-3, 1e3)
"""Smallest and greatest distance of pixels."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One acquired slice.

    Attributes:
        instance: the image that it belongs to.
        index: its place among the frames of the image, from 0.
        groups: functional groups that hold for it, the nearest first: per-frame, shared; none for a single-frame image.
        position: Image Position (Patient), float64 ``(3,)``, LPS mm.
        orientation: Image Orientation (Patient), float64 ``(6,)``.
        spacing: Pixel Spacing, float64 ``(2,)``: distance of rows, of columns, mm.
    """

    instance: Instance
    index: int
    groups: tuple[Dataset, ...]
    position: FloatArray
    orientation: FloatArray
    spacing: FloatArray

    @property
    def number(self) -> int:
        """Frame number as references name it, from 1; 0 for a single-frame image."""
        return self.index + 1 if self.groups else 0

    @property
    def normal(self) -> FloatArray:
        """Unit vector across the slice: cross(row direction, column direction)."""
        return np.asarray(np.cross(self.orientation[:3], self.orientation[3:]))

    @cached_property
    def _holders(self) -> dict[int, Dataset]:
        """For each attribute of the functional groups the item that holds it; per-frame items go before shared ones."""
        holders: dict[int, Dataset] = {}
        for groups in self.groups:
            for tag, holder in _flattened(groups, depth=2):
                holders.setdefault(tag, holder)
        return holders

    def holder(self, keyword: str) -> Dataset:
        """The dataset in which an attribute of this frame is to be looked for: a functional group, else the header."""
        return self._holders.get(tag_for_keyword(keyword) or 0, self.instance.header)

    def text(self, keyword: str) -> str:
        """The attribute's value for this frame as text, wherever it stands; empty where it is absent."""
        return text(self.holder(keyword), keyword)


def _flattened(groups: Dataset, depth: int) -> Iterator[tuple[int, Dataset]]:
    """Every attribute in the first items of sequences, down to ``depth``, with the dataset that holds it."""
    for tag in groups.keys():  # noqa: SIM118 - the elements themselves would be converted
        yield int(tag), groups
        try:
            value = groups[tag].value if groups[tag].VR == "SQ" else ()
        except UNREADABLE:
            continue
        if depth and value:
            yield from _flattened(value[0], depth - 1)


def frames_of(instance: Instance) -> list[Frame]:
    """The frames of an image, in the order of the file.

    Raises:
        InvalidObject: a frame has no usable place in the patient.
        SeriesNotAVolume: the image holds localizers.
    """
    if not instance.is_multi_frame:
        header = instance.header
        position, orientation, spacing = (numbers(header, keyword, count) for keyword, count in _PLANE)
        return [_frame(instance, 0, (), position, orientation, spacing)]
    shared, per_frame = functional_groups(instance)
    return [_frame(instance, index, (own, shared), *_plane(own, shared)) for index, own in enumerate(per_frame)]


_PLANE = (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2))
_PLANE_GROUPS = ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence")


def _plane(own: Dataset, shared: Dataset) -> list[FloatArray | None]:
    """Position, orientation and spacing of a frame out of its functional groups."""
    found: list[FloatArray | None] = []
    for group, (keyword, count) in zip(_PLANE_GROUPS, _PLANE, strict=True):
        values = numbers(first_item(own, group), keyword, count)
        found.append(numbers(first_item(shared, group), keyword, count) if values is None else values)
    return found


def _frame(
    instance: Instance,
    index: int,
    groups: tuple[Dataset, ...],
    position: FloatArray | None,
    orientation: FloatArray | None,
    spacing: FloatArray | None,
) -> Frame:
    name = f"frame {index + 1} of {instance.name}" if groups else instance.name
    if position is None or orientation is None or spacing is None:
        problem = "Image Position, Image Orientation or Pixel Spacing is missing or malformed"
        raise InvalidObject(name, problem, "Send the original images of the scanner.")
    if np.abs(position).max() > _GREATEST_POSITION_MM or spacing.min() < _SPACINGS_MM[0] or spacing.max() > _SPACINGS_MM[1]:
        problem = "Image Position or Pixel Spacing is out of any scanner's range"
        raise InvalidObject(name, problem, "Send the original images of the scanner.")
    row, column = orientation[:3], orientation[3:]
    deviations = np.array([np.linalg.norm(row) - 1, np.linalg.norm(column) - 1, np.dot(row, column)])
    if not np.abs(deviations).max() <= 1e-2:
        raise InvalidObject(name, "Image Orientation is no pair of perpendicular directions", "Send the original images.")
    return Frame(instance, index, groups, position, orientation, spacing)


def refuse_mixture(name: str, frames: list[Frame]) -> None:
    """Refuses a single slice, and slices that differ in orientation or spacing.

    Raises:
        SeriesNotAVolume: always for these reasons.
    """
    if len(frames) < 2:
        raise SeriesNotAVolume(name, "it holds one slice only", "A volume needs at least two; wait for the others.")
    orientations = np.stack([frame.orientation for frame in frames])
    spacings = np.stack([frame.spacing for frame in frames])
    if np.abs(orientations - orientations[0]).max() > ORIENTATION_TOLERANCE:
        problem, remedy = "its slices have different orientations", "Split it by orientation; it may be a localizer."
        raise SeriesNotAVolume(name, problem, remedy)
    if np.abs(spacings - spacings[0]).max() > ORIENTATION_TOLERANCE * spacings[0].max():
        raise SeriesNotAVolume(name, "its slices differ in Pixel Spacing", "Split it into series of one field of view.")
