"""Pixels of a SEG object, frame by frame: only what is drawn is ever unpacked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import RLELossless
from scipy.ndimage import find_objects

from dicom_io.annotation import BoolArray
from dicom_io.datasets import UNREADABLE, integer, text
from dicom_io.errors import InvalidObject, UnsupportedObject
from dicom_io.limits import refuse_many_pixels
from dicom_io.pixels import pixel_array

Stored = npt.NDArray[np.generic]
Shape = tuple[int, int, int]

_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
_SAVE_AGAIN = "Save and send it again."


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of a frame that has all of its foreground of one segment.

    Attributes:
        segment: Segment Number (LABELMAP); 0 where the frame, not the pixel, says the segment.
        row: first row of the patch in the frame.
        column: first column.
        mask_HW: bool ``(row, column)``.
    """

    segment: int
    row: int
    column: int
    mask_HW: BoolArray


@dataclass(frozen=True, eq=False)
class SegPixels:
    """The frames of a SEG object.

    Attributes:
        shape: frames, rows, columns.
        name: the object, for messages.
        background: LABELMAP: numbers that mean no segment.
    """

    shape: Shape
    name: str
    background: frozenset[int]
    _stored: Callable[[], Iterator[tuple[int, Stored] | None]]
    _kind: str
    _threshold: int

    def patches(self) -> Iterator[tuple[int, Patch]]:
        """Index of the frame and patch, frames in order; none of frames without foreground.

        Raises:
            InvalidObject: the pixels end too early or cannot be decoded.
        """
        try:
            for index, found in enumerate(self._stored()):
                if found is not None:
                    for patch in self._foreground(*found):
                        yield index, patch
        except UNREADABLE as error:
            raise InvalidObject(self.name, "its pixels end too early or cannot be decoded", _SAVE_AGAIN) from error

    def drawn(self) -> BoolArray:
        """Which frames have foreground, ``(frame,)``; errors as in :meth:`patches`."""
        drawn = np.zeros(self.shape[0], bool)
        for index, _ in self.patches():
            drawn[index] = True
        return drawn

    def _foreground(self, row: int, values_HW: Stored) -> Iterator[Patch]:
        if self._kind == "LABELMAP":
            for number, box in enumerate(find_objects(values_HW), start=1):
                if box is not None and number not in self.background:
                    yield Patch(number, row + box[0].start, box[1].start, np.asarray(values_HW[box] == number))
            return
        mask_HW = values_HW >= np.array(self._threshold, values_HW.dtype)
        if mask_HW.any():
            yield Patch(0, row, 0, np.asarray(mask_HW))


def seg_pixels(dataset: Dataset, name: str) -> SegPixels:
    """The pixels of a parsed SEG dataset; nothing is decoded yet.

    FRACTIONAL values of at least half of Maximum Fractional Value are foreground. LABELMAP values are segment numbers whatever
    the photometric interpretation (PS3.3 section C.8.20.2.3); 0 and Pixel Padding Value are background.

    Args:
        dataset: a Segmentation or Label Map Segmentation object with its pixel data.
        name: the object, for messages.

    Raises:
        InvalidObject: it holds fewer pixels than it announces, or none.
        UnsupportedObject: its segmentation type is none of the three, it is tiled or compressed with loss, or its frames are
            larger than what is read.
    """
    kind = text(dataset, "SegmentationType").upper()
    _refuse_unreadable_kind(dataset, name, kind)
    shape = (integer(dataset, "NumberOfFrames", 1), integer(dataset, "Rows"), integer(dataset, "Columns"))
    if min(shape) < 1 or "PixelData" not in dataset:
        raise InvalidObject(name, "it holds no pixels, or the file ends before them", _SAVE_AGAIN)
    refuse_many_pixels(name, shape)
    bits = integer(dataset, "BitsAllocated", 1)
    background = frozenset({0, integer(dataset, "PixelPaddingValue")}) if kind == "LABELMAP" else frozenset[int]()
    threshold = (max(1, integer(dataset, "MaximumFractionalValue", 255)) + 1) // 2 if kind == "FRACTIONAL" else 1
    syntax = dataset.file_meta.TransferSyntaxUID
    if bits == 1 and not syntax.is_encapsulated:
        stored = partial(_packed, np.frombuffer(_long_enough(dataset, name, shape, 1), np.uint8), shape)
    elif bits == 1 and syntax == RLELossless:
        stored = partial(_packed_rle, dataset.PixelData, shape)
    elif not syntax.is_encapsulated and bits in {8, 16}:
        dtype = np.dtype(f"u{bits // 8}").newbyteorder("<" if syntax.is_little_endian else ">")
        pixels = np.frombuffer(_long_enough(dataset, name, shape, bits), dtype, int(np.prod(shape, dtype=object)))
        stored = partial(_whole, lambda: pixels, shape)
    else:
        stored = partial(_whole, lambda: pixel_array(dataset, name), shape)
    return SegPixels(shape, name, background, stored, kind, threshold)


def _refuse_unreadable_kind(dataset: Dataset, name: str, kind: str) -> None:
    if kind not in {"BINARY", "FRACTIONAL", "LABELMAP"}:
        raise UnsupportedObject(name, f"segmentation type {kind or 'missing'} is unknown", "Save it as BINARY.")
    tiled = text(dataset, "DimensionOrganizationType").upper().startswith("TILED")
    if tiled or "TotalPixelMatrixRows" in dataset or "ImageOrientationSlide" in dataset:
        raise UnsupportedObject(name, "it is a tiled segmentation of a slide", "Draw on cross-sectional images.")
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if kind != "FRACTIONAL" and (syntax in _LOSSY or text(dataset, "LossyImageCompression") == "01"):
        raise UnsupportedObject(name, "its pixels are compressed with loss, so that labels are not exact", "Save it without.")


def _long_enough(dataset: Dataset, name: str, shape: Shape, bits: int) -> bytes:
    """Native pixel data, once they are known to hold all frames."""
    size, value = shape[0] * shape[1] * shape[2], dataset.PixelData
    if not isinstance(value, bytes) or 8 * len(value) < size * bits:
        held = 8 * len(value or b"") // (shape[1] * shape[2] * bits)
        raise InvalidObject(name, f"it holds {held} frames and announces {shape[0]}", _SAVE_AGAIN)
    return value


def _whole(pixels: Callable[[], Stored], shape: Shape) -> Iterator[tuple[int, Stored] | None]:
    """Frames of stored values; None for those without any."""
    stored = pixels()
    if stored.size != shape[0] * shape[1] * shape[2]:
        raise EOFError("other pixels than announced")
    for values_HW in stored.reshape(shape):
        native = np.uint8 if values_HW.dtype.itemsize == 1 else np.uint16
        yield (0, values_HW.astype(native, copy=False)) if values_HW.any() else None


def _packed(packed: npt.NDArray[np.uint8], shape: Shape) -> Iterator[tuple[int, Stored] | None]:
    """Frames of single bits, one after the other without padding (PS3.5 section 8.1.1)."""
    count, rows, columns = shape
    for index in range(count):
        yield _unpacked(packed, index * rows * columns, rows, columns)


def _unpacked(packed: npt.NDArray[np.uint8], start: int, rows: int, columns: int) -> tuple[int, Stored] | None:
    """The rows of one frame from the first to the last with foreground, and the first one's index."""
    first, lead = divmod(start, 8)
    occupied = np.flatnonzero(packed[first : (start + rows * columns + 7) // 8])
    if not len(occupied):
        return None
    top = max(0, 8 * int(occupied[0]) - lead) // columns
    bottom = min(rows, (8 * int(occupied[-1]) + 7 - lead) // columns + 1)
    if top >= bottom:
        return None  # what is set belongs to the neighbouring frame
    begin, end = start + top * columns, start + bottom * columns
    bits = np.unpackbits(packed[begin // 8 : (end + 7) // 8], bitorder="little")
    return top, bits[begin % 8 : begin % 8 + end - begin].reshape(bottom - top, columns)


def _packed_rle(pixel_data: bytes, shape: Shape) -> Iterator[tuple[int, Stored] | None]:
    """Frames of packed bits that were run-length encoded as bytes; pydicom decodes whole bytes only."""
    count, rows, columns = shape
    width = (rows * columns + 7) // 8
    decoder = get_decoder(RLELossless)
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
    decoded = 0
    for frame in generate_frames(pixel_data, number_of_frames=count):
        if decoded == count:
            break
        packed, _ = decoder.as_array(_encapsulated(frame), index=0, decoding_plugin="pydicom", **options)
        yield _unpacked(packed.reshape(-1), 0, rows, columns)
        decoded += 1
    if decoded < count:
        raise EOFError("fewer frames than announced")


def _encapsulated(frame: bytes) -> bytes:
    """One frame as encapsulated pixel data with an empty offset table (PS3.5 section A.4)."""
    padded = frame + b"\0" * (len(frame) % 2)
    return b"\xfe\xff\x00\xe0\0\0\0\0" + b"\xfe\xff\x00\xe0" + len(padded).to_bytes(4, "little") + padded
