"""Bytes of an image to its header and the place of its pixels; nothing is decoded and no pixel is copied.

A series of 300 slices is mostly pixels, so a file is parsed up to Pixel Data only, and the pixels are used where they lie in
the file. What cannot be part of a volume is refused here with the reason that the technologist at the scanner would give.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from pydicom.dataset import Dataset
from pydicom.filereader import data_element_offset_to_value, read_dataset, read_preamble
from pydicom.uid import UID

from dicom_io.datasets import UNDEFINED_LENGTH, UNREADABLE, Allowance, Metered, integer, items, parse, refuse_many_items, text
from dicom_io.errors import InvalidObject, SeriesNotAVolume, UnsupportedObject
from dicom_io.limits import MAX_ELEMENTS, refuse_excess

SINGLE_FRAME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.128": "Positron Emission Tomography Image Storage",
}
MULTI_FRAME_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.2.1": "Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.2.2": "Legacy Converted Enhanced CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.1": "Enhanced MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.4.4": "Legacy Converted Enhanced MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.130": "Enhanced PET Image Storage",
    "1.2.840.10008.5.1.4.1.1.128.1": "Legacy Converted Enhanced PET Image Storage",
}
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_REFUSED_IMAGE_TYPES = {
    "LOCALIZER": ("it is a localizer (scout)", "Choose the series that was planned on it."),
    "MOSAIC": (
        "it is a mosaic: all slices of a volume stand side by side in one image",
        "Export it without mosaic, as Enhanced MR or with one image for each slice.",
    ),
    "SCREEN SAVE": ("it is a screenshot", "Choose the series that it was taken from."),
}
"""Values of Image Type (0008,0008) of images that are no slices of a volume, with the reason and the remedy."""
_FIRST_OVERLAY = 0x60000000
_FIRST_PIXELS, _PIXEL_DATA = 0x7FE00008, 0x7FE00010
"""Float Pixel Data, the first of three kinds of pixels, and Pixel Data, the one that is read."""


@dataclass(frozen=True, eq=False)
class Instance:
    """One image object.

    Attributes:
        header: its dataset without pixels and overlays.
        uid: SOP Instance UID.
        transfer_syntax: of the pixels.
        pixel_vr: VR of Pixel Data, OB or OW.
        pixels: the value of Pixel Data (7FE0,0010) where it lies in the file; encapsulated as it is.
        offsets: values of the Extended Offset Table and of its lengths, where there is one.
    """

    header: Dataset = field(repr=False)  # it names the patient
    uid: str
    transfer_syntax: UID
    pixel_vr: str
    pixels: memoryview
    offsets: tuple[bytes, bytes] | None = None

    @cached_property
    def name(self) -> str:
        """The subject of error messages."""
        return f"instance {self.uid} of series {text(self.header, 'SeriesInstanceUID')}"

    @cached_property
    def is_multi_frame(self) -> bool:
        """Whether it has functional groups (PS3.3 section C.7.6.16), if of a single frame."""
        return text(self.header, "SOPClassUID") in MULTI_FRAME_CLASSES

    @cached_property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return integer(self.header, "Rows"), integer(self.header, "Columns")

    @cached_property
    def frame_count(self) -> int:
        """Number of Frames (0028,0008)."""
        return max(1, integer(self.header, "NumberOfFrames", 1))


def read_instances(files: Iterable[bytes]) -> tuple[list[Instance], list[str]]:
    """The images of one series, each once, and what is to be remarked.

    Raises:
        InvalidObject: one of them is damaged.
        UnsupportedObject: one of them is of a kind that is not read.
        SeriesNotAVolume: none, several series, or images that are no slices of a volume.
    """
    kept: dict[str, Instance] = {}
    repeated, allowance = 0, Allowance()
    for file in files:
        instance = _read_instance(file, allowance)
        known = kept.setdefault(instance.uid, instance)
        if known is instance:
            continue
        if not _is_repetition(known, instance):
            raise SeriesNotAVolume(
                f"series {text(instance.header, 'SeriesInstanceUID')}",
                f"two different images share the SOP Instance UID {instance.uid}",
                "Correct the UIDs where the images were made or anonymised, and send them again.",
            )
        repeated += 1
    instances = list(kept.values())
    if not instances:
        raise SeriesNotAVolume("series", "it holds no instance", "Send the images.")
    _refuse_several_series(instances)
    for instance in instances:
        _refuse_unreadable_kind(instance)
    _refuse_mixed_kinds(instances)
    return instances, [f"{repeated} instance(s) came twice and were read once."] if repeated else []


def _is_repetition(known: Instance, other: Instance) -> bool:
    try:
        return bool(known.pixels == other.pixels and known.header == other.header)
    except UNREADABLE:  # comparing reads every value
        return False


def _after_meta(tag: int, _vr: str | None, _length: int) -> bool:
    return int(tag) >> 16 != 0x0002


class _UpToPixels:
    """A ``stop_when`` for pydicom that stops at the pixels, and refuses an element too many."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, tag: int, _vr: str | None, _length: int) -> bool:
        self._count += 1
        refuse_excess("file", "elements", self._count, MAX_ELEMENTS)
        return int(tag) >= _FIRST_PIXELS


def _read_instance(file: bytes, allowance: Allowance) -> Instance:
    """One image; what cannot be taken from the file in place is left to the reader of whole objects, and to its errors."""
    stream = Metered(file, allowance)
    try:
        read_preamble(stream, force=False)
        meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=_after_meta)
        syntax = UID(text(meta, "TransferSyntaxUID"))
        if syntax.is_deflated:
            return _of_whole(parse(file, allowance))
        dataset = read_dataset(stream, syntax.is_implicit_VR, syntax.is_little_endian, stop_when=_UpToPixels())
        at = stream.tell()
        implicit, little_endian = dataset.original_encoding
        order: Literal["little", "big"] = "little" if little_endian else "big"
        if _tag_at(file, at, order) != _PIXEL_DATA or not text(dataset, "SOPInstanceUID"):
            return _of_whole(parse(file, allowance))
        refuse_many_items(dataset, allowance)
        vr = "OW" if implicit else file[at + 4 : at + 6].decode("ascii")
        start = at + data_element_offset_to_value(bool(implicit), vr)
        length = int.from_bytes(file[start - (2 if vr not in {"OB", "OW", "UN"} else 4) : start], order)
    except UNREADABLE:
        return _of_whole(parse(file, allowance))
    pixels = memoryview(file)[start:] if length == UNDEFINED_LENGTH else memoryview(file)[start : start + length]
    if length != UNDEFINED_LENGTH and len(pixels) < length:
        problem = f"the file ends too early ({len(file)} bytes are there)"
        raise InvalidObject(f"instance {text(dataset, 'SOPInstanceUID')}", problem, "Send the object again.")
    return _instance(dataset, syntax, vr, pixels)


def _tag_at(file: bytes, at: int, order: Literal["little", "big"]) -> int:
    group, element = (int.from_bytes(file[place : place + 2], order) for place in (at, at + 2))
    return group << 16 | element


def _of_whole(dataset: Dataset) -> Instance:
    """An instance of a dataset that was read with its pixels."""
    uid = text(dataset, "SOPInstanceUID")
    _refuse_unreadable_class(dataset, f"instance {uid} of series {text(dataset, 'SeriesInstanceUID')}")
    try:
        element = dataset["PixelData"]
        vr, pixels = element.VR, memoryview(element.value)
    except UNREADABLE as error:
        name = f"instance {uid} of series {text(dataset, 'SeriesInstanceUID')}"
        raise InvalidObject(name, "the file ends before its pixels", "Send the image again.") from error
    syntax = UID(text(getattr(dataset, "file_meta", Dataset()), "TransferSyntaxUID"))
    return _instance(dataset, syntax, vr, pixels)


def _instance(dataset: Dataset, syntax: UID, vr: str, pixels: memoryview) -> Instance:
    header = Dataset({tag: dataset.get_item(tag, keep_deferred=True) for tag in dataset.keys() if int(tag) < _FIRST_OVERLAY})  # noqa: SIM118 - raw
    implicit, little_endian = dataset.original_encoding
    header.set_original_encoding(implicit, little_endian, dataset.original_character_set)
    offsets = None
    if "ExtendedOffsetTable" in dataset and "ExtendedOffsetTableLengths" in dataset:
        offsets = dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
    return Instance(header, text(dataset, "SOPInstanceUID"), syntax, vr, pixels, offsets)


def _refuse_several_series(instances: Sequence[Instance]) -> None:
    uids = set()
    for instance in instances:
        uid = text(instance.header, "SeriesInstanceUID")
        if not uid:
            problem = "it has no Series Instance UID, or the file ends before it"
            raise InvalidObject(f"instance {instance.uid}", problem, "Send the image again.")
        uids.add(uid)
    if len(uids) > 1:
        name = f"series {min(uids)}"
        raise SeriesNotAVolume(name, f"instances of {len(uids)} series came together", "Read one series at a time.")


def _refuse_unreadable_class(header: Dataset, name: str) -> None:
    class_uid = text(header, "SOPClassUID")
    if class_uid in SINGLE_FRAME_CLASSES or class_uid in MULTI_FRAME_CLASSES:
        return
    remedy = "Choose a series of cross-sectional MR, CT or PET images."
    if class_uid.startswith(_SECONDARY_CAPTURE):
        raise UnsupportedObject(name, "it is a secondary capture (a screenshot or a scanned document)", remedy)
    raise UnsupportedObject(name, f"instances of class {class_uid or 'unknown'} are no MR, CT or PET images", remedy)


def _refuse_unreadable_kind(instance: Instance) -> None:
    """Refuses other classes, several frames without functional groups, colour, localizers and mosaics."""
    header, name = instance.header, instance.name
    _refuse_unreadable_class(header, name)
    if not instance.is_multi_frame and instance.frame_count > 1:
        problem = "it has several frames, which images of its class cannot have"
        raise UnsupportedObject(name, problem, "Send single-frame or Enhanced images.")
    interpretation = text(header, "PhotometricInterpretation")
    if integer(header, "SamplesPerPixel", 1) != 1 or interpretation not in {"MONOCHROME1", "MONOCHROME2"}:
        raise UnsupportedObject(name, "it is a colour image, perhaps a screenshot", "Choose the greyscale series.")
    kinds = text(header, "ImageType").upper().split("\\")
    for kind, (problem, remedy) in _REFUSED_IMAGE_TYPES.items():
        if kind in kinds:
            raise SeriesNotAVolume(name, problem, remedy)
    if min(instance.size) < 1:
        raise InvalidObject(name, "it has no rows or columns", "Send the original images.")


def _refuse_mixed_kinds(instances: Sequence[Instance]) -> None:
    """Refuses instances that cannot be of one volume, and a concatenation of which parts are missing."""
    first = instances[0].header
    name = f"series {text(first, 'SeriesInstanceUID')}"
    for instance in instances:
        for keyword in (
            "Rows",
            "Columns",
            "FrameOfReferenceUID",
            "SOPClassUID",
            "StudyInstanceUID",
            "PhotometricInterpretation",
        ):
            if text(instance.header, keyword) != text(first, keyword):
                raise SeriesNotAVolume(name, f"its images differ in {keyword}", "Split it into series of one kind.")
    concatenations: dict[str, list[Dataset]] = {}
    for instance in instances:
        if uid := text(instance.header, "ConcatenationUID"):
            concatenations.setdefault(uid, []).append(instance.header)
    for parts in concatenations.values():
        total = integer(parts[0], "InConcatenationTotalNumber")
        if total > len(parts):
            problem = f"{len(parts)} of the {total} parts of a concatenation are there"
            raise SeriesNotAVolume(name, problem, "Wait for the others, or send them again.")


def functional_groups(instance: Instance) -> tuple[Dataset, Sequence[Dataset]]:
    """The shared item, and one per-frame item for each frame (PS3.3 section C.7.6.16.1).

    Raises:
        InvalidObject: there is not one item for each frame.
    """
    shared = items(instance.header, "SharedFunctionalGroupsSequence")
    per_frame = items(instance.header, "PerFrameFunctionalGroupsSequence")
    if len(per_frame) != instance.frame_count:
        problem = f"it announces {instance.frame_count} frames and describes {len(per_frame)}"
        raise InvalidObject(instance.name, problem, "Send the image again.")
    return shared[0] if shared else Dataset(), per_frame
