"""An image series as one array with its place in the patient."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from dicom_io.geometry import Geometry

_Value = TypeVar("_Value", bound=np.generic)


@dataclass(frozen=True)
class SeriesReference:
    """What an object needs to refer to an image series.

    Attributes:
        study_instance_uid: Study Instance UID (0020,000D).
        series_instance_uid: Series Instance UID (0020,000E).
        sop_class_uid: SOP Class UID (0008,0016) that all instances share.
        sop_instance_uids: SOP Instance UID (0008,0018) of each plane, in the order of the volume's slice axis; the same for
            all of a multi-frame image, empty for a plane that was not acquired but interpolated.
        modality: Modality (0008,0060).
        series_description: Series Description (0008,103E), empty where absent.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uids: tuple[str, ...]
    modality: str
    series_description: str = ""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels, their geometry and where they come from; read-only.

    Attributes:
        voxels_DHW: float32 array of the geometry's shape, after rescale (CT: Hounsfield units).
        geometry: place and size of the voxels.
        series: the series that the voxels come from.
        unit: Rescale Type (0028,1054) or an empty string.

    Raises:
        ValueError: if the shapes disagree, or there is not one SOP Instance UID a plane.
    """

    voxels_DHW: npt.NDArray[np.float32]
    geometry: Geometry
    series: SeriesReference
    unit: str = ""

    def __post_init__(self) -> None:
        if self.voxels_DHW.shape != self.geometry.shape:
            raise ValueError(f"voxels {self.voxels_DHW.shape} do not fill the grid {self.geometry.shape}")
        if len(self.series.sop_instance_uids) != self.geometry.shape[0]:
            raise ValueError("a volume needs one SOP Instance UID for each plane")
        self.voxels_DHW.setflags(write=False)


@dataclass(frozen=True, slots=True)
class AcquiredSlice:
    """One slice as the scanner made it, and which plane of the volume it fills.

    Pixel ``(row, column)`` of the slice is voxel ``(plane, row + row_shift, column + column_shift)`` of the volume: whole
    pixels, so that what is drawn on a slice comes back on it unchanged.

    Attributes:
        sop_instance_uid: SOP Instance UID of its image.
        frame_number: its frame in a multi-frame image, from 1; 0 for a single-frame image.
        position: Image Position (Patient) as acquired, LPS mm.
        plane: index along the volume's slice axis.
        row_shift: rows by which a tilted gantry moved it.
        column_shift: columns, likewise.
    """

    sop_instance_uid: str
    frame_number: int
    position: tuple[float, float, float]
    plane: int
    row_shift: int = 0
    column_shift: int = 0


@dataclass(frozen=True, eq=False)
class ImageSeries:
    """A volume, the slices that were acquired for it, and the headers that results are written from.

    Readers of annotations put what is drawn onto the volume (:meth:`onto_volume`); writers take results back onto the slices
    (:meth:`onto_slices`). For a regular stack both are the identity.

    Attributes:
        volume: the voxels, one regular grid.
        headers: one pydicom ``Dataset`` without pixel data for each acquired slice, in the order of ``slices``; a single one
            for a multi-frame image. Typed ``Any`` so that this module stays free of pydicom.
        slices: the acquired slices, by ascending plane.
        acquired_size: rows and columns of the acquired slices.
        remarks: what a technologist should know of how the series was read, one sentence each.
        part: which of several volumes in the series this is, such as ``EchoTime 30``; empty where the series is one volume.

    Raises:
        ValueError: if the slices are not in the order of their planes, or one lies outside of the volume.
    """

    volume: Volume
    headers: tuple[Any, ...]
    slices: tuple[AcquiredSlice, ...]
    acquired_size: tuple[int, int]
    remarks: tuple[str, ...] = ()
    part: str = ""

    def __post_init__(self) -> None:
        depth, height, width = self.volume.geometry.shape
        rows, columns = self.acquired_size
        planes = [one.plane for one in self.slices]
        if not planes or planes != sorted(set(planes)) or planes[0] < 0 or planes[-1] >= depth:
            raise ValueError("acquired slices do not ascend within the volume")
        for one in self.slices:
            if not (0 <= one.row_shift <= height - rows and 0 <= one.column_shift <= width - columns):
                raise ValueError(f"slice of plane {one.plane} lies outside of the volume")

    @cached_property
    def is_regular(self) -> bool:
        """Whether the acquired slices are the volume, plane for plane and pixel for pixel."""
        return len(self.slices) == self.volume.geometry.shape[0] and self.acquired_size == self.volume.geometry.shape[1:]

    @cached_property
    def _slice_by_plane(self) -> dict[int, AcquiredSlice]:
        return {one.plane: one for one in self.slices}

    def slice_at(self, plane: int) -> AcquiredSlice | None:
        """The acquired slice that fills a plane, or None for an interpolated one."""
        return self._slice_by_plane.get(plane)

    def onto_volume(self, on_slices: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
        """Values ``(acquired slice, row, column)`` on the volume ``(slice, row, column)``; zero where nothing was acquired.

        Raises:
            ValueError: if they do not fill the acquired slices.
        """
        if on_slices.shape != (len(self.slices), *self.acquired_size):
            raise ValueError(f"{on_slices.shape} does not fill {len(self.slices)} slices of {self.acquired_size}")
        if self.is_regular:
            return on_slices
        placed_DHW = np.zeros(self.volume.geometry.shape, on_slices.dtype)
        for index, one in enumerate(self.slices):
            placed_DHW[one.plane, *self._window(one)] = on_slices[index]
        return placed_DHW

    def onto_slices(self, on_volume_DHW: npt.NDArray[_Value]) -> npt.NDArray[_Value]:
        """Values ``(slice, row, column)`` of the volume on the acquired slices ``(acquired slice, row, column)``.

        Raises:
            ValueError: if they do not fill the volume.
        """
        if on_volume_DHW.shape != self.volume.geometry.shape:
            raise ValueError(f"{on_volume_DHW.shape} does not fill the volume {self.volume.geometry.shape}")
        if self.is_regular:
            return on_volume_DHW
        return np.stack([on_volume_DHW[one.plane, *self._window(one)] for one in self.slices])

    def _window(self, one: AcquiredSlice) -> tuple[slice, slice]:
        rows, columns = self.acquired_size
        return slice(one.row_shift, one.row_shift + rows), slice(one.column_shift, one.column_shift + columns)
