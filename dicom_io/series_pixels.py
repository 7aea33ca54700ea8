"""Frames to float32 values: decoded, rescaled, written where they belong in the volume.

Uncompressed pixels are used where they lie in the file and become float32 in one pass; everything else is decoded frame by
frame in :mod:`dicom_io.pixels`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_modality_lut

from dicom_io.datasets import UNREADABLE, first_item, integer, items, number, numbers, text
from dicom_io.errors import InvalidObject, UnsupportedObject
from dicom_io.limits import refuse_many_pixels
from dicom_io.pixels import pixel_array
from dicom_io.series_frames import Frame
from dicom_io.series_instances import Instance

Stored = npt.NDArray[np.generic]
FloatSlice = npt.NDArray[np.float32]

GREATEST_COMPRESSION = 2000
"""How many times more pixel bytes than compressed bytes a series may announce. Empty slices reach 4,000, whole series 10; what
announces more is damaged or an attack on the memory."""
_ALWAYS_ALLOWED = 64 * 2**20
"""Pixel bytes that are not held against their compression: small things compress without bounds."""
_DTYPES = {(8, 0): "<u1", (8, 1): "<i1", (16, 0): "<u2", (16, 1): "<i2", (32, 0): "<u4", (32, 1): "<i4"}
"""Of native pixels by Bits Allocated and Pixel Representation."""
_LARGEST_VALUE = 1e30
"""Of slope times stored value, and of the intercept: float32 holds it, and no unit needs it."""


def check_bytes(name: str, frames: Sequence[Frame], shape: tuple[int, int, int]) -> None:
    """Refuses frames whose pixels cannot be there, before anything is allocated for a volume of this shape.

    Raises:
        InvalidObject: fewer bytes than the announced size needs.
        UnsupportedObject: a transfer syntax that no decoder is installed for, or an unusual depth.
    """
    refuse_many_pixels(name, shape)
    announced = compressed = 0
    for instance in {frame.instance.uid: frame.instance for frame in frames}.values():
        _refuse_undecodable(instance)
        rows, columns = instance.size
        size = instance.frame_count * rows * columns * (integer(instance.header, "BitsAllocated") // 8)
        if not instance.transfer_syntax.is_encapsulated:
            if len(instance.pixels) < size:
                raise _damaged(instance)
            continue
        announced += size
        compressed += len(instance.pixels)
    if announced > max(_ALWAYS_ALLOWED, GREATEST_COMPRESSION * compressed):
        problem = f"it announces {announced} bytes of pixels in {compressed} compressed bytes"
        raise InvalidObject(name, problem, "Send the original images.")


def _refuse_undecodable(instance: Instance) -> None:
    depth = integer(instance.header, "BitsAllocated")
    if (depth, 0) not in _DTYPES:
        raise UnsupportedObject(instance.name, f"its pixels have {depth} bits", "Send the scanner's own images.")
    syntax = instance.transfer_syntax
    try:
        if get_decoder(syntax).is_available:
            return
    except UNREADABLE:
        pass
    problem = f"no decoder is installed for its transfer syntax {syntax.name or 'unknown'}"
    raise UnsupportedObject(instance.name, problem, "Send the images uncompressed.")


def _damaged(instance: Instance) -> InvalidObject:
    reason = "its pixels end too early or cannot be decoded"
    return InvalidObject(instance.name, reason, "Send the image again, uncompressed if need be.")


def read_into(frames: Sequence[Frame], targets: Sequence[FloatSlice]) -> None:
    """Writes the values of frames, after rescale, into arrays ``(row, column)``.

    Raises:
        InvalidObject: pixels end too early, cannot be decoded, or have no sensible rescale.
    """
    pairs: dict[str, dict[int, tuple[Frame, FloatSlice]]] = {}
    for frame, target in zip(frames, targets, strict=True):
        pairs.setdefault(frame.instance.uid, {})[frame.index] = frame, target
    for of_instance in pairs.values():
        instance = next(iter(of_instance.values()))[0].instance
        try:
            decoded = 0
            for index, stored in _stored(instance, of_instance):
                _write_values(*of_instance[index], stored)
                decoded += 1
        except UNREADABLE as error:
            raise _damaged(instance) from error
        if decoded < len(of_instance):
            raise _damaged(instance)


def _stored(instance: Instance, indices: Collection[int]) -> Iterator[tuple[int, Stored]]:
    """Stored values ``(row, column)`` of the frames of an image, each with its index."""
    rows, columns = instance.size
    depth, signed = integer(instance.header, "BitsAllocated"), integer(instance.header, "PixelRepresentation")
    syntax = instance.transfer_syntax
    if syntax.is_encapsulated:
        yield from _decoded(instance, indices)
    elif syntax.is_little_endian:
        dtype = np.dtype(_DTYPES[depth, 1 if signed else 0])
        size = rows * columns
        unused = depth - integer(instance.header, "BitsStored", depth)
        for index in indices:
            frame = np.frombuffer(instance.pixels, dtype, size, index * size * dtype.itemsize).reshape(rows, columns)
            # What stands in the unused bits (old overlays) is no part of the value (PS3.5 section 8.1.1).
            yield index, (frame << unused) >> unused if 0 < unused < depth else frame
    else:
        frames = pixel_array(_pixel_dataset(instance, instance.frame_count, bytes(instance.pixels)), instance.name)
        for index in indices:
            yield index, frames[index] if instance.frame_count > 1 else frames


def _decoded(instance: Instance, indices: Collection[int]) -> Iterator[tuple[int, Stored]]:
    """The same for encapsulated pixels (PS3.5 section A.4)."""
    encoded = bytes(instance.pixels)
    if instance.frame_count == 1:
        yield 0, pixel_array(_pixel_dataset(instance, 1, encoded), instance.name)
        return
    frames = generate_frames(encoded, number_of_frames=instance.frame_count, extended_offsets=instance.offsets)
    for index, frame in enumerate(frames):
        if index in indices:
            dataset = _pixel_dataset(instance, 1, encapsulate([frame], has_bot=False))
            yield index, pixel_array(dataset, instance.name)


def _pixel_dataset(instance: Instance, frame_count: int, value: bytes) -> Dataset:
    """What pydicom's decoders need to know of an image."""
    dataset = Dataset()
    dataset.update({tag: instance.header.get_item(tag) for tag in instance.header.keys() if tag.group == 0x0028})  # noqa: SIM118
    implicit, little_endian = instance.header.original_encoding
    dataset.set_original_encoding(implicit, little_endian)
    dataset.NumberOfFrames = frame_count
    dataset.add_new("PixelData", instance.pixel_vr, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = instance.transfer_syntax
    return dataset


def _write_values(frame: Frame, target: FloatSlice, stored: Stored) -> None:
    """Real values by the Modality LUT, else by Rescale Slope and Intercept, else by the Real World Value Mapping."""
    header = frame.instance.header
    if items(header, "ModalityLUTSequence"):
        target[...] = apply_modality_lut(stored, header)
        return
    mapping = real_world_mapping(frame)
    if mapping is not None and (table := _table(mapping)) is not None:
        first = integer(mapping, "RealWorldValueFirstValueMapped")
        target[...] = table[np.clip(stored.astype(np.int64) - first, 0, len(table) - 1)]
        return
    slope, intercept = _scale(frame, mapping)
    target[...] = stored
    if slope != 1:
        target *= np.float32(slope)
    if intercept != 0:
        target += np.float32(intercept)


def _scale(frame: Frame, mapping: Dataset | None) -> tuple[float, float]:
    """Slope and intercept of a frame."""
    if mapping is None:
        slope = number(frame.holder("RescaleSlope"), "RescaleSlope", 1.0) or 1.0
        intercept = number(frame.holder("RescaleIntercept"), "RescaleIntercept")
    else:
        slope = number(mapping, "RealWorldValueSlope", 1.0) or 1.0
        intercept = number(mapping, "RealWorldValueIntercept")
    if abs(slope) * 2**32 > _LARGEST_VALUE or abs(intercept) > _LARGEST_VALUE:
        problem = f"its rescale slope {slope:g} or intercept {intercept:g} is out of range"
        raise InvalidObject(frame.instance.name, problem, "Send the original images.")
    return slope, intercept


def real_world_mapping(frame: Frame) -> Dataset | None:
    """The first Real World Value Mapping (PS3.3 section C.7.6.16.2.11) of a frame that has no rescale; None for others.

    Rescale goes first because viewers and scanners show its values; the mapping is for images that have nothing else.
    """
    if frame.text("RescaleSlope") or items(frame.instance.header, "ModalityLUTSequence"):
        return None
    found = first_item(frame.holder("RealWorldValueMappingSequence"), "RealWorldValueMappingSequence")
    return found or None


def _table(mapping: Dataset) -> npt.NDArray[np.float32] | None:
    """The look-up table of a mapping that is not linear."""
    first = integer(mapping, "RealWorldValueFirstValueMapped")
    last = integer(mapping, "RealWorldValueLastValueMapped")
    if "RealWorldValueLUTData" not in mapping or not 0 <= last - first < 2**16:
        return None
    table = numbers(mapping, "RealWorldValueLUTData", last - first + 1)
    if table is None or np.abs(table).max() > _LARGEST_VALUE:
        return None
    return table.astype(np.float32)


def unit_of(frame: Frame) -> str:
    """The unit of its values: Rescale Type, for PET Units (0054,1001), or that of the Real World Value Mapping; else empty."""
    mapping = real_world_mapping(frame)
    if mapping is not None:
        return text(first_item(mapping, "MeasurementUnitsCodeSequence"), "CodeValue")
    return frame.text("RescaleType") or text(frame.instance.header, "Units")
