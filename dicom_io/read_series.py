"""An image series as a volume: MR, CT and PET, single-frame or Enhanced, in any orientation and any installed transfer syntax.

What makes no regular volume is brought onto one where that loses nothing of what was acquired (missing slices, uneven
distances, tilted gantry), split where it is several (echoes, b-values, time points), each with a remark, and else refused with
the reason that the technologist at the scanner would give, because a learner that guesses teaches itself the wrong anatomy.

``series_instances`` reads files, ``series_frames`` gives each slice its place, ``series_split`` tells volumes apart,
``series_grid`` makes the grid, ``series_pixels`` fills it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from dicom_io.datasets import lenient, text
from dicom_io.geometry import Geometry
from dicom_io.identifiers import derived_uid
from dicom_io.series_frames import Frame, frames_of
from dicom_io.series_grid import Grid, grid_of
from dicom_io.series_instances import MULTI_FRAME_CLASSES, SINGLE_FRAME_CLASSES, Instance, read_instances
from dicom_io.series_pixels import check_bytes, read_into, real_world_mapping, unit_of
from dicom_io.series_split import Part, choose, split
from dicom_io.volume import AcquiredSlice, ImageSeries, SeriesReference, Volume

__all__ = ["READABLE_CLASSES", "Part", "read_series", "split_series"]

READABLE_CLASSES = SINGLE_FRAME_CLASSES | MULTI_FRAME_CLASSES
"""SOP Class UIDs of the images that are read, with their names."""


def read_series(files: Iterable[bytes], wanted: Collection[tuple[str, int]] = ()) -> ImageSeries:
    """The volume of an image series.

    Slices are sorted by their position along the normal, cross(row direction, column direction) of Image Orientation
    (Patient) (PS3.3 section C.7.6.2.1.1), ascending. The Modality LUT, or Rescale Slope and Intercept, or else the Real World
    Value Mapping are applied; MONOCHROME1 is inverted within the range of the volume.

    Args:
        files: the instances of one series as DICOM Part 10 files, in any order.
        wanted: SOP Instance UID and frame number (0 for any) of images that an annotation refers to; they choose among several
            volumes of a series. Without them it is the first one.

    Returns:
        float32 voxels ``(slice, row, column)``, their geometry, the acquired slices and their headers.

    Raises:
        InvalidObject: an instance is damaged, has no geometry or cannot be decoded.
        UnsupportedObject: colour, a screenshot, no MR, CT or PET image, or a transfer syntax without a decoder.
        SeriesNotAVolume: no volume; the message says why.
    """
    with lenient():
        instances, remarks = read_instances(files)
        name = _name(instances)
        groups = split(name, _frames(instances))
        group, choice = choose(groups, wanted)
        frames = _sorted_along_normal(group.frames)
        first = frames[0]
        positions = np.stack([frame.position for frame in frames])
        grid = grid_of(name, positions, first.orientation, first.spacing, first.instance.size)
        check_bytes(name, frames, grid.shape)
        geometry, derived = _geometry(grid, first.instance)
        voxels_DHW, about_values = _voxels(frames, grid)
        slices = _acquired(frames, grid)
        volume = Volume(voxels_DHW, geometry, _reference(first, slices, grid.shape[0]), unit_of(first))
    headers = tuple(frame.instance.header for frame in (frames[:1] if first.groups else frames))
    remarks = [*remarks, *choice, *grid.remarks, *derived, *about_values]
    return ImageSeries(volume, headers, slices, first.instance.size, tuple(remarks), group.part.name)


def split_series(files: Iterable[bytes]) -> tuple[Part, ...]:
    """The volumes in a series, by ascending value of what distinguishes them; nothing is decoded.

    ``read_series(files, wanted=part.images)`` reads one of them.

    Raises:
        DicomIoError: as :func:`read_series`.
    """
    with lenient():
        instances, _ = read_instances(files)
        return tuple(group.part for group in split(_name(instances), _frames(instances)))


def _name(instances: Sequence[Instance]) -> str:
    return f"series {text(instances[0].header, 'SeriesInstanceUID')}"


def _frames(instances: Sequence[Instance]) -> list[Frame]:
    return [frame for instance in instances for frame in frames_of(instance)]


def _sorted_along_normal(frames: Sequence[Frame]) -> list[Frame]:
    normal = frames[0].normal
    return sorted(frames, key=lambda frame: (float(frame.position @ normal), frame.instance.uid, frame.index))


def _geometry(grid: Grid, first: Instance) -> tuple[Geometry, tuple[str, ...]]:
    """The geometry, with the frame of reference of the source or a derived one."""
    frame_of_reference = text(first.header, "FrameOfReferenceUID")
    if frame_of_reference:
        return Geometry(grid.shape, grid.affine, frame_of_reference), ()
    derived = derived_uid("frame-of-reference", text(first.header, "SeriesInstanceUID"))
    remark = "The series has no frame of reference; one was derived from its UID, and annotations are matched by image alone."
    return Geometry(grid.shape, grid.affine, derived, frame_of_reference_is_derived=True), (remark,)


def _acquired(frames: Sequence[Frame], grid: Grid) -> tuple[AcquiredSlice, ...]:
    places = zip(frames, grid.planes.tolist(), grid.shifts.tolist(), strict=True)
    return tuple(
        AcquiredSlice(frame.instance.uid, frame.number, (x, y, z), plane, *shifts)
        for frame, plane, shifts in places
        for x, y, z in (frame.position.tolist(),)
    )


def _reference(first: Frame, slices: Sequence[AcquiredSlice], depth: int) -> SeriesReference:
    header = first.instance.header
    uids = {one.plane: one.sop_instance_uid for one in slices}
    return SeriesReference(
        study_instance_uid=text(header, "StudyInstanceUID"),
        series_instance_uid=text(header, "SeriesInstanceUID"),
        sop_class_uid=text(header, "SOPClassUID"),
        sop_instance_uids=tuple(uids.get(plane, "") for plane in range(depth)),
        modality=text(header, "Modality"),
        series_description=text(header, "SeriesDescription"),
    )


def _voxels(frames: Sequence[Frame], grid: Grid) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """float32 voxels ``(slice, row, column)``, and remarks on their values.

    Slices are decoded where they belong. What a tilted stack leaves uncovered gets the smallest value of the series.
    """
    voxels_DHW = np.empty(grid.shape, np.float32)
    rows, columns = frames[0].instance.size
    windows = [(slice(down, down + rows), slice(right, right + columns)) for down, right in grid.shifts.tolist()]
    targets = [voxels_DHW[plane][window] for plane, window in zip(grid.planes.tolist(), windows, strict=True)]
    read_into(frames, targets)
    remarks = []
    if text(frames[0].instance.header, "PhotometricInterpretation") == "MONOCHROME1":
        total = np.float32(min(target.min() for target in targets) + max(target.max() for target in targets))
        for target in targets:
            np.subtract(total, target, out=target)
        remarks.append("The series is MONOCHROME1 (bright is low); its values were inverted within their range.")
    if (rows, columns) != grid.shape[1:]:
        lowest = min(target.min() for target in targets)
        for plane, (down, right) in zip(grid.planes.tolist(), windows, strict=True):
            for margin in (np.s_[: down.start], np.s_[down.stop :], np.s_[:, : right.start], np.s_[:, right.stop :]):
                voxels_DHW[plane][margin] = lowest
    for low, high in zip(grid.planes[:-1].tolist(), grid.planes[1:].tolist(), strict=True):
        for plane in range(low + 1, high):
            share = np.float32((plane - low) / (high - low))
            voxels_DHW[plane] = voxels_DHW[low] * (1 - share) + voxels_DHW[high] * share
    if real_world_mapping(frames[0]) is not None:
        unit = unit_of(frames[0]) or "unknown"
        remarks.append(f"The images have no rescale; their Real World Value Mapping was applied (unit {unit}).")
    return voxels_DHW, tuple(remarks)
