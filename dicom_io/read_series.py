"""An image series as a volume: single-frame MR, CT and PET, in any orientation, in any transfer syntax that pydicom decodes.

A series is taken for a volume only when it *is* one regular stack. Everything else is refused with the reason that the
technologist at the scanner would give, because a learner that guesses teaches itself the wrong anatomy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut

from dicom_io.datasets import UNREADABLE, integer, items, lenient, number, numbers, parse, text
from dicom_io.errors import InvalidObject, SeriesNotAVolume, UnsupportedObject
from dicom_io.geometry import Geometry
from dicom_io.identifiers import derived_uid
from dicom_io.volume import AcquiredSlice, ImageSeries, SeriesReference, Volume

FloatArray = npt.NDArray[np.float64]

READABLE_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.128": "Positron Emission Tomography Image Storage",
}
SPACING_TOLERANCE = 0.1
"""How far a slice may lie from its place in the regular stack, as a share of the slice distance."""
TILT_TOLERANCE_DEGREES = 1.0
"""Greatest angle between the stacking direction and the slice normal."""
ORIENTATION_TOLERANCE = 1e-3
"""Greatest difference of direction cosines within a series."""


@dataclass(frozen=True, eq=False)
class _Slice:
    """One instance: its dataset with pixel data, and where it lies (mm along the normal and LPS)."""

    dataset: Dataset
    uid: str
    position: FloatArray
    orientation: FloatArray
    spacing: FloatArray


def read_series(files: Iterable[bytes]) -> ImageSeries:
    """The volume of an image series.

    Slices are sorted by their position along the normal, cross(row direction, column direction) of Image Orientation
    (Patient) (PS3.3 section C.7.6.2.1.1), ascending. Rescale Slope and Intercept (or the Modality LUT) are applied;
    MONOCHROME1 is inverted within the range of the volume.

    Args:
        files: the instances of one series as DICOM Part 10 files, in any order.

    Returns:
        float32 voxels ``(slice, row, column)``, their geometry, and one header without pixel data for each slice.

    Raises:
        InvalidObject: an instance is damaged, has no geometry or cannot be decoded.
        UnsupportedObject: multi-frame, colour, or no MR, CT or PET image.
        SeriesNotAVolume: no regular stack of slices; the message says why.
    """
    with lenient():
        datasets, remarks = _without_repetition([parse(file) for file in files])
        if not datasets:
            raise SeriesNotAVolume("series", "it holds no instance", "Send the images.")
        name = _series_name(datasets)
        parts = [_slice_of(dataset) for dataset in datasets]
        _refuse_mixture(name, parts)
        ordered = _sorted_along_normal(parts)
        step = _regular_step(name, ordered)
        geometry, more = _geometry(ordered, step)
        voxels_DHW, inverted = _voxels(ordered)
        first = ordered[0].dataset
        reference = SeriesReference(
            study_instance_uid=text(first, "StudyInstanceUID"),
            series_instance_uid=text(first, "SeriesInstanceUID"),
            sop_class_uid=text(first, "SOPClassUID"),
            sop_instance_uids=tuple(part.uid for part in ordered),
            modality=text(first, "Modality"),
            series_description=text(first, "SeriesDescription"),
        )
        volume = Volume(voxels_DHW, geometry, reference, unit=text(first, "RescaleType"))
        headers = tuple(_header(part.dataset) for part in ordered)
        slices = tuple(
            AcquiredSlice(part.uid, 0, (x, y, z), plane)
            for plane, part in enumerate(ordered)
            for x, y, z in (part.position.tolist(),)
        )
    return ImageSeries(volume, headers, slices, geometry.shape[1:], (*remarks, *more, *inverted))


def _without_repetition(datasets: Sequence[Dataset]) -> tuple[list[Dataset], list[str]]:
    """Instances with different SOP Instance UIDs; an exact repetition is left out with a remark."""
    kept: dict[str, Dataset] = {}
    repeated = 0
    for dataset in datasets:
        uid = text(dataset, "SOPInstanceUID")
        if uid not in kept:
            kept[uid] = dataset
        elif kept[uid] == dataset:
            repeated += 1
        else:
            raise SeriesNotAVolume(
                f"series {text(dataset, 'SeriesInstanceUID')}",
                f"two different images share the SOP Instance UID {uid}",
                "Correct the UIDs where the images were made or anonymised, and send them again.",
            )
    remarks = [f"{repeated} instance(s) came twice and were read once."] if repeated else []
    return list(kept.values()), remarks


def _series_name(datasets: Sequence[Dataset]) -> str:
    """The subject of error messages; refuses instances of several series."""
    for dataset in datasets:
        if not text(dataset, "SeriesInstanceUID"):
            name = f"instance {text(dataset, 'SOPInstanceUID')}"
            raise InvalidObject(name, "it has no Series Instance UID, or the file ends before it", "Send the image again.")
    uids = sorted({text(dataset, "SeriesInstanceUID") for dataset in datasets})
    if len(uids) > 1:
        raise SeriesNotAVolume(
            f"series {uids[0]}", f"instances of {len(uids)} series came together", "Read one series at a time."
        )
    return f"series {uids[0]}"


def _slice_of(dataset: Dataset) -> _Slice:
    """One instance with its geometry; refuses what no volume is made of."""
    uid = text(dataset, "SOPInstanceUID")
    name = f"instance {uid} of series {text(dataset, 'SeriesInstanceUID')}"
    _refuse_unreadable_kind(dataset, name)
    position = numbers(dataset, "ImagePositionPatient", 3)
    orientation = numbers(dataset, "ImageOrientationPatient", 6)
    spacing = numbers(dataset, "PixelSpacing", 2)
    if position is None or orientation is None or spacing is None or spacing.min() <= 0:
        problem = "Image Position, Image Orientation or Pixel Spacing is missing or malformed"
        raise InvalidObject(name, problem, "Send the original images of the scanner.")
    row, column = orientation[:3], orientation[3:]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    deviations = np.array([lengths[0] - 1, lengths[1] - 1, float(np.dot(row, column))])
    if np.abs(deviations).max() > 1e-2:
        raise InvalidObject(name, "Image Orientation is no pair of perpendicular directions", "Send the original images.")
    orientation = np.concatenate([row / lengths[0], column / lengths[1]])
    return _Slice(dataset, uid, position, orientation, spacing)


def _refuse_unreadable_kind(dataset: Dataset, name: str) -> None:
    """Refuses other classes, multi-frame, colour, localizers and instances without pixels."""
    class_uid = text(dataset, "SOPClassUID")
    if integer(dataset, "NumberOfFrames", 1) > 1:
        remedy = "Send the series as single-frame images; scanners and archives can convert it."
        raise UnsupportedObject(name, "multi-frame images are not read yet", remedy)
    if class_uid not in READABLE_CLASSES:
        problem = f"instances of class {class_uid} are no MR, CT or PET images"
        raise UnsupportedObject(name, problem, "Choose a series of cross-sectional images.")
    if "PixelData" not in dataset:
        raise InvalidObject(name, "the file ends before its pixels", "Send the image again.")
    if integer(dataset, "SamplesPerPixel", 1) != 1 or text(dataset, "PhotometricInterpretation") not in {
        "MONOCHROME1",
        "MONOCHROME2",
    }:
        raise UnsupportedObject(name, "it is a colour image, perhaps a screenshot", "Choose the greyscale series.")
    if "LOCALIZER" in text(dataset, "ImageType").upper().split("\\"):
        raise SeriesNotAVolume(name, "it is a localizer (scout)", "Choose the series that was planned on it.")


def _refuse_mixture(name: str, slices: Sequence[_Slice]) -> None:
    """Refuses a single slice and instances that differ in size, spacing, orientation or frame of reference."""
    if len(slices) < 2:
        raise SeriesNotAVolume(name, "it holds one slice only", "A volume needs at least two; wait for the others.")
    first = slices[0]
    for part in slices:
        for keyword in ("Rows", "Columns", "FrameOfReferenceUID", "SOPClassUID", "StudyInstanceUID"):
            if text(part.dataset, keyword) != text(first.dataset, keyword):
                raise SeriesNotAVolume(name, f"its slices differ in {keyword}", "Split it into series of one kind.")
        if np.abs(part.orientation - first.orientation).max() > ORIENTATION_TOLERANCE:
            raise SeriesNotAVolume(
                name, "its slices have different orientations", "Split it by orientation; it may be a localizer."
            )
        if np.abs(part.spacing - first.spacing).max() > ORIENTATION_TOLERANCE * first.spacing.max():
            raise SeriesNotAVolume(name, "its slices differ in Pixel Spacing", "Split it into series of one field of view.")


def _normal(part: _Slice) -> FloatArray:
    """Unit vector across the slice: cross(row direction, column direction)."""
    return np.asarray(np.cross(part.orientation[:3], part.orientation[3:]))


def _sorted_along_normal(slices: Sequence[_Slice]) -> list[_Slice]:
    normal = _normal(slices[0])

    def place(part: _Slice) -> tuple[float, str]:
        return float(part.position @ normal), part.uid

    return sorted(slices, key=place)


def _regular_step(name: str, ordered: Sequence[_Slice]) -> FloatArray:
    """The vector from one slice to the next, in LPS mm; refuses stacks that have none."""
    normal = _normal(ordered[0])
    positions = np.stack([part.position for part in ordered])
    along = positions @ normal
    _refuse_repeated_positions(name, along)
    step = np.asarray((positions[-1] - positions[0]) / (len(ordered) - 1), dtype=np.float64)
    distance = float(step @ normal)
    angle = float(np.degrees(np.arctan2(np.linalg.norm(step - distance * normal), distance)))
    if angle > TILT_TOLERANCE_DEGREES:
        raise SeriesNotAVolume(
            name,
            f"the stack leans by {angle:.1f} degrees: the gantry was tilted",
            "Reformat it at the scanner to slices perpendicular to their stacking direction.",
        )
    _refuse_uneven_gaps(name, along)
    places = positions[0] + np.arange(len(ordered))[:, None] * step
    off = float(np.linalg.norm(positions - places, axis=1).max())
    if off > SPACING_TOLERANCE * distance:
        raise SeriesNotAVolume(
            name,
            f"a slice lies {off:.2f} mm beside its place in the stack, more than {SPACING_TOLERANCE:.0%} of {distance:.2f} mm",
            "Choose a series with one slice distance, or reformat it.",
        )
    return step


def _refuse_repeated_positions(name: str, along: FloatArray) -> None:
    """Refuses several slices at one place: dynamic series, echoes, diffusion weightings."""
    gaps = np.diff(along)
    if float(along[-1] - along[0]) < 1e-3 or gaps.min() < 1e-3:
        places = 1 + int((gaps >= 1e-3).sum())
        raise SeriesNotAVolume(
            name,
            f"{len(along)} slices lie at {places} positions: it holds several volumes (phases, echoes or weightings)",
            "Split it into one series for each volume.",
        )


def _refuse_uneven_gaps(name: str, along: FloatArray) -> None:
    """Refuses missing slices and a changing slice distance, and says which it is."""
    gaps = np.diff(along)
    base = float(np.median(gaps)) if len(gaps) > 2 else float(gaps.min())
    wide = gaps / base
    uneven = np.abs(wide - 1) > SPACING_TOLERANCE
    if not uneven.any():
        return
    whole = np.abs(wide - np.round(wide)) <= SPACING_TOLERANCE * np.maximum(1, np.round(wide))
    missing = int((np.round(wide[uneven]) - 1).sum())
    if whole.all() and (wide > 1 - SPACING_TOLERANCE).all() and 3 * missing <= len(gaps):
        after = int(np.flatnonzero(uneven)[0]) + 1
        problem = f"{missing} slice(s) are missing, the first after slice {after} of {len(along)}"
        raise SeriesNotAVolume(name, problem, "Send the missing images from the scanner or archive.")
    problem = f"the slice distance changes between {gaps.min():.2f} and {gaps.max():.2f} mm (tolerance {SPACING_TOLERANCE:.0%})"
    raise SeriesNotAVolume(name, problem, "Choose a series with one slice distance, or reformat it.")


def _geometry(ordered: Sequence[_Slice], step: FloatArray) -> tuple[Geometry, tuple[str, ...]]:
    """The grid of sorted slices, with the frame of reference of the source or a derived one."""
    first = ordered[0]
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = first.orientation[3:] * first.spacing[0]
    affine[:3, 2] = first.orientation[:3] * first.spacing[1]
    affine[:3, 3] = first.position
    shape = (len(ordered), integer(first.dataset, "Rows"), integer(first.dataset, "Columns"))
    if min(shape) < 1:
        raise InvalidObject(f"instance {first.uid}", "it has no rows or columns", "Send the original images.")
    frame = text(first.dataset, "FrameOfReferenceUID")
    if frame:
        return Geometry(shape, affine, frame), ()
    derived = derived_uid("frame-of-reference", text(first.dataset, "SeriesInstanceUID"))
    remark = "The series has no frame of reference; one was derived from its UID, and annotations are matched by image alone."
    return Geometry(shape, affine, derived, frame_of_reference_is_derived=True), (remark,)


def _voxels(ordered: Sequence[_Slice]) -> tuple[npt.NDArray[np.float32], tuple[str, ...]]:
    """float32 voxels ``(slice, row, column)`` after rescale, and what is to be remarked."""
    first = ordered[0].dataset
    voxels_DHW = np.empty((len(ordered), integer(first, "Rows"), integer(first, "Columns")), np.float32)
    for index, part in enumerate(ordered):
        voxels_DHW[index] = _pixels(part)
    if text(first, "PhotometricInterpretation") != "MONOCHROME1":
        return voxels_DHW, ()
    voxels_DHW = np.float32(voxels_DHW.min() + voxels_DHW.max()) - voxels_DHW
    return voxels_DHW, ("The series is MONOCHROME1 (bright is low); its values were inverted within their range.",)


def _pixels(part: _Slice) -> npt.NDArray[np.float32]:
    """Decoded and rescaled pixels ``(row, column)``."""
    dataset = part.dataset
    name = f"instance {part.uid} of series {text(dataset, 'SeriesInstanceUID')}"
    try:
        stored = dataset.pixel_array
        if items(dataset, "ModalityLUTSequence"):
            return np.asarray(apply_modality_lut(stored, dataset), dtype=np.float32)
    except UNREADABLE as error:
        reason = "its pixels end too early or cannot be decoded"
        raise InvalidObject(name, reason, "Send the image again, uncompressed if need be.") from error
    slope, intercept = number(dataset, "RescaleSlope", 1.0), number(dataset, "RescaleIntercept", 0.0)
    return np.asarray(stored.astype(np.float32) * np.float32(slope or 1.0) + np.float32(intercept))


def _header(dataset: Dataset) -> Dataset:
    """The dataset without its pixels and overlays; what pydicom cached of them goes too."""
    header = Dataset()
    header.update({tag: dataset.get_item(tag) for tag in dataset.keys() if tag.group < 0x6000})  # noqa: SIM118 - raw elements
    implicit, little_endian = dataset.original_encoding
    header.set_original_encoding(implicit, little_endian, dataset.original_character_set)
    return header
