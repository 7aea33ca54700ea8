"""The frames of a SEG object as arrays: pixels, segment, place. Nothing is matched to an image yet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import RLELossless

from dicom_io.datasets import UNREADABLE, first_item, integer, items, numbers, text
from dicom_io.errors import InvalidObject, UnsupportedObject

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Frames:
    """All frames of one SEG object.

    Attributes:
        pixels_NHW: bool (BINARY, thresholded FRACTIONAL) or the stored label (LABELMAP), ``(frame, row, column)``.
        segments: Referenced Segment Number of each frame; 0 for LABELMAP.
        sources: Referenced SOP Instance UIDs of each frame's source images, without repetition.
        positions: Image Position (Patient) in LPS mm, ``(frame, 3)``; NaN where not given.
        orientations: Image Orientation (Patient), ``(frame, 6)``; NaN where not given.
        spacings: Pixel Spacing (row, column) in mm, ``(frame, 2)``; NaN where not given.
        slice_distance: Spacing Between Slices, else the least distance of frames, else Slice Thickness; NaN where unknown.
    """

    pixels_NHW: npt.NDArray[np.uint16] | npt.NDArray[np.bool_]
    segments: npt.NDArray[np.int64]
    sources: tuple[tuple[str, ...], ...]
    positions: FloatArray
    orientations: FloatArray
    spacings: FloatArray
    slice_distance: float


def frames_of(dataset: Dataset, name: str) -> Frames:
    """The frames of a parsed SEG dataset.

    Args:
        dataset: a Segmentation or Label Map Segmentation object with its pixel data.
        name: the object, for messages.

    Raises:
        InvalidObject: it contradicts itself, is cut off or cannot be decoded.
        UnsupportedObject: its segmentation type is none of the three.
    """
    pixels_NHW = _pixels(dataset, name)
    count = len(pixels_NHW)
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    groups = items(dataset, "PerFrameFunctionalGroupsSequence")
    if len(groups) != count:
        problem = f"it has {count} frames but describes {len(groups)}"
        raise InvalidObject(name, problem, "Save the segmentation again, or report it to the maker of the software.")
    shared_place = _Place.of(shared)
    places = [_Place.of(group) for group in groups]
    positions = _stacked([p.position for p in places], shared_place.position, 3)
    orientations = _stacked([p.orientation for p in places], shared_place.orientation, 6)
    spacings = _stacked([p.spacing for p in places], shared_place.spacing, 2)
    segments = [p.segment or shared_place.segment for p in places]
    sources = tuple(p.sources or shared_place.sources for p in places)
    measures = first_item(shared, "PixelMeasuresSequence")
    if not measures and groups:
        measures = first_item(groups[0], "PixelMeasuresSequence")
    distance = _slice_distance(measures, positions, orientations)
    return Frames(pixels_NHW, np.array(segments, np.int64), sources, positions, orientations, spacings, distance)


@dataclass(frozen=True, eq=False)
class _Place:
    """What one functional group says of its frame."""

    segment: int
    sources: tuple[str, ...]
    position: FloatArray | None
    orientation: FloatArray | None
    spacing: FloatArray | None

    @classmethod
    def of(cls, group: Dataset) -> _Place:
        found: dict[str, None] = {}
        for derivation in items(group, "DerivationImageSequence"):
            for image in items(derivation, "SourceImageSequence"):
                if uid := text(image, "ReferencedSOPInstanceUID"):
                    found[uid] = None
        return cls(
            segment=integer(first_item(group, "SegmentIdentificationSequence"), "ReferencedSegmentNumber"),
            sources=tuple(found),
            position=numbers(first_item(group, "PlanePositionSequence"), "ImagePositionPatient", 3),
            orientation=numbers(first_item(group, "PlaneOrientationSequence"), "ImageOrientationPatient", 6),
            spacing=numbers(first_item(group, "PixelMeasuresSequence"), "PixelSpacing", 2),
        )


def _stacked(values: list[FloatArray | None], shared: FloatArray | None, width: int) -> FloatArray:
    """Values of all frames, the shared one where a frame has none, NaN where neither has."""
    fallback = np.full(width, np.nan) if shared is None else shared
    rows = [fallback if value is None else value for value in values]
    return np.stack(rows) if rows else np.empty((0, width))


def _slice_distance(measures: Dataset, positions: FloatArray, orientations: FloatArray) -> float:
    stated = numbers(measures, "SpacingBetweenSlices", 1)
    if stated is not None and abs(stated[0]) > 1e-6:
        return float(abs(stated[0]))
    if len(positions) and np.isfinite(positions).all() and np.isfinite(orientations).all():
        normal = np.cross(orientations[0, :3], orientations[0, 3:])
        along = np.unique(np.round(positions @ normal, 3))
        if len(along) > 1:
            return float(min(b - a for a, b in pairwise(along.tolist())))
    thickness = numbers(measures, "SliceThickness", 1)
    return float(thickness[0]) if thickness is not None and thickness[0] > 0 else float("nan")


def _pixels(dataset: Dataset, name: str) -> npt.NDArray[np.uint16] | npt.NDArray[np.bool_]:
    """Decoded frames: bool for BINARY and FRACTIONAL, stored labels for LABELMAP."""
    kind = text(dataset, "SegmentationType").upper()
    if kind not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
        raise UnsupportedObject(name, f"segmentation type {kind or 'missing'} is unknown", "Save it as BINARY.")
    shape = (integer(dataset, "NumberOfFrames", 1), integer(dataset, "Rows"), integer(dataset, "Columns"))
    if min(shape) < 1 or "PixelData" not in dataset:
        raise InvalidObject(name, "it holds no pixels, or the file ends before them", "Save and send it again.")
    try:
        stored = _stored(dataset, shape)
    except UNREADABLE as error:
        raise InvalidObject(name, "its pixels end too early or cannot be decoded", "Save and send it again.") from error
    if stored.shape != shape:
        raise InvalidObject(name, f"it holds {stored.shape[0]} frames and announces {shape[0]}", "Save and send it again.")
    if kind == "LABELMAP":
        return stored.astype(np.uint16, copy=False)
    if kind == "FRACTIONAL":
        return np.asarray(stored.astype(np.float32) * 2 >= max(1, integer(dataset, "MaximumFractionalValue", 255)))
    return np.asarray(stored != 0)


def _stored(dataset: Dataset, shape: tuple[int, int, int]) -> npt.NDArray[np.generic]:
    """Stored values ``(frame, row, column)``; single bits are unpacked in one go (PS3.5 section 8.1.1)."""
    bits, syntax = integer(dataset, "BitsAllocated", 1), dataset.file_meta.TransferSyntaxUID
    if bits != 1:
        return np.asarray(dataset.pixel_array).reshape(shape)
    if not syntax.is_encapsulated:
        packed = np.frombuffer(dataset.PixelData, dtype=np.uint8)
        size = int(np.prod(shape))
        if 8 * len(packed) < size:
            raise EOFError("pixel data is shorter than its frames")
        return np.unpackbits(packed, count=size, bitorder="little").reshape(shape)
    if syntax == RLELossless:
        return _packed_rle(dataset.PixelData, shape)
    return np.asarray(dataset.pixel_array).reshape(shape)


def _packed_rle(pixel_data: bytes, shape: tuple[int, int, int]) -> npt.NDArray[np.generic]:
    """Frames of packed bits that were run-length encoded as bytes; pydicom decodes whole bytes only."""
    count, rows, columns = shape
    width = (rows * columns + 7) // 8
    encapsulated = list(generate_frames(pixel_data, number_of_frames=count))
    if len(encapsulated) < count:
        raise EOFError("pixel data is shorter than its frames")
    frames = np.empty(shape, np.uint8)
    decoder = get_decoder(RLELossless)
    for index, frame in enumerate(encapsulated[:count]):
        options: Any = {  # pydicom annotates its keyword arguments as one TypedDict that mypy cannot unpack
            "rows": 1,
            "columns": width,
            "number_of_frames": 1,
            "samples_per_pixel": 1,
            "photometric_interpretation": "MONOCHROME2",
            "bits_allocated": 8,
            "bits_stored": 8,
            "pixel_representation": 0,
            "pixel_keyword": "PixelData",
        }
        packed, _ = decoder.as_array(_encapsulated(frame), index=0, **options)
        frames[index] = np.unpackbits(packed.reshape(-1), count=rows * columns, bitorder="little").reshape(rows, columns)
    return frames


def _encapsulated(frame: bytes) -> bytes:
    """One frame as encapsulated pixel data with an empty offset table (PS3.5 section A.4)."""
    padded = frame + b"\0" * (len(frame) % 2)
    return b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + len(padded).to_bytes(4, "little") + padded
