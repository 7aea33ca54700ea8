"""Multi-frame results on the acquired slices of their source (PS3.3 section C.7.6.16).

A SEG of a long series has thousands of frames. What a frame says depends on its slice and its segment alone, so each is encoded
once, and the sequence of frames is put together from bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.tag import Tag

from dicom_io.codes import Code
from dicom_io.identifiers import derived_uid
from dicom_io.result_dataset import RESEARCH_USE, concept, content_description, encode_into, result_dataset
from dicom_io.results import MANUFACTURER, ResultIdentity
from dicom_io.source_headers import decimals, instance_references, pixel_measures, plane_orientation, reference
from dicom_io.volume import ImageSeries

_SOURCE_IMAGE = Code("121322", "DCM", "Source image for image processing operation")
_PER_FRAME_GROUPS, _FRAME_CONTENT, _DIMENSION_INDEX_VALUES = 0x52009230, 0x00209111, 0x00209157
_SEGMENT_IDENTIFICATION, _REFERENCED_SEGMENT_NUMBER = 0x0062000A, 0x0062000B
_PLANE_POSITION, _IMAGE_POSITION = 0x00209113, 0x00200032
_ITEM = 0xFFFEE000
_ALL_TO_COME = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, order=True)
class Frame:
    """Which segment on which slice a frame shows.

    Attributes:
        segment: Segment Number; 0 where the object has no segments.
        place: index of the acquired slice.
    """

    segment: int
    place: int


@dataclass(frozen=True, slots=True)
class PixelElement:
    """The element that holds the pixels of all frames: PixelData of VR OB, FloatPixelData of VR OF."""

    tag: int
    vr: bytes
    length: int


def multi_frame_dataset(
    source: ImageSeries, identity: ResultIdentity, sop_class_uid: str, modality: str, manufacturer: str = MANUFACTURER
) -> Dataset:
    """What multi-frame results share: the source's grid and frame of reference, and which images they were made of."""
    dataset = result_dataset(source.headers[0], identity, sop_class_uid, modality, manufacturer)
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = source.volume.geometry.frame_of_reference_uid, ""
    series = Dataset()
    series.SeriesInstanceUID = source.volume.series.series_instance_uid
    series.ReferencedInstanceSequence = instance_references(source)
    dataset.ReferencedSeriesSequence = [series]
    dataset.Rows, dataset.Columns = source.acquired_size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.LossyImageCompression, dataset.PresentationLUTShape = "00", "IDENTITY"
    dataset.BurnedInAnnotation, dataset.ImageComments = "NO", RESEARCH_USE
    dataset.ContentDescription, dataset.ContentCreatorName = content_description(identity), ""
    shared = Dataset()
    shared.PlaneOrientationSequence = [plane_orientation(source)]
    shared.PixelMeasuresSequence = [pixel_measures(source)]
    dataset.SharedFunctionalGroupsSequence = [shared]
    return dataset


def encode_frames(
    dataset: Dataset, source: ImageSeries, frames: Sequence[Frame], pixels: Iterable[bytes], element: PixelElement, method: Code
) -> bytes:
    """The dataset with its frames as a DICOM Part 10 file.

    Args:
        dataset: all but the frames; its dimensions are added.
        source: the image series.
        frames: ascending, by segment and then by slice.
        pixels: chunks of the pixels, in the order of the frames.
        element: which element they fill, and how many bytes they are together; a pad byte is added to an odd length.
        method: how the frames were derived from their source images (PS3.16 CID 7203).

    Raises:
        ValueError: the chunks do not add up to the length.
    """
    dataset.NumberOfFrames = len(frames)
    _describe_dimensions(dataset, with_segments=frames[0].segment > 0)
    buffer = BytesIO()
    encode_into(buffer, dataset)
    buffer.write(struct.pack("<HH2sHI", *_halves(_PER_FRAME_GROUPS), b"SQ", 0, _ALL_TO_COME))
    buffer.writelines(_frame_items(source, frames, method))
    buffer.write(struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    buffer.write(struct.pack("<HH2sHI", *_halves(element.tag), element.vr, 0, element.length + element.length % 2))
    begin = buffer.tell()
    buffer.writelines(pixels)
    if buffer.tell() - begin != element.length:
        raise ValueError(f"{buffer.tell() - begin} bytes of pixels where {element.length} were announced")
    buffer.write(b"\0" * (element.length % 2))
    return buffer.getvalue()


def _describe_dimensions(dataset: Dataset, *, with_segments: bool) -> None:
    """Frames are told apart by segment and position (PS3.3 section C.7.6.17)."""
    uid = derived_uid("dimension-organization", dataset.SOPInstanceUID)
    pointers = [(_IMAGE_POSITION, _PLANE_POSITION, "Image Position Patient")]
    if with_segments:
        pointers.insert(0, (_REFERENCED_SEGMENT_NUMBER, _SEGMENT_IDENTIFICATION, "Referenced Segment Number"))
    organization = Dataset()
    organization.DimensionOrganizationUID = uid
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = []
    for pointer, group, label in pointers:
        item = Dataset()
        item.DimensionOrganizationUID, item.DimensionDescriptionLabel = uid, label
        item.DimensionIndexPointer, item.FunctionalGroupPointer = Tag(pointer), Tag(group)
        dataset.DimensionIndexSequence.append(item)


def _frame_items(source: ImageSeries, frames: Sequence[Frame], method: Code) -> Iterable[bytes]:
    """The items of Per-frame Functional Groups Sequence; their elements in the order of their tags."""
    places = sorted({frame.place for frame in frames})
    rank = {place: index for index, place in enumerate(places, start=1)}
    derivations = {place: _derivation(source, place, method) for place in places}
    positions = {place: _position(source, place) for place in places}
    segments = {segment: _segment(segment) for segment in {frame.segment for frame in frames}}
    for frame in frames:
        values = (frame.segment, rank[frame.place]) if frame.segment else (rank[frame.place],)
        indices = struct.pack(f"<HH2sH{len(values)}I", *_halves(_DIMENSION_INDEX_VALUES), b"UL", 4 * len(values), *values)
        content = _sequence(_FRAME_CONTENT, indices)
        yield _item(derivations[frame.place] + content + positions[frame.place] + segments[frame.segment])


def _derivation(source: ImageSeries, place: int, method: Code) -> bytes:
    """Derivation Image Sequence: the slice that a frame was made of, pixel upon pixel."""
    image = reference(source, source.slices[place])
    image.SpatialLocationsPreserved = "YES"
    image.PurposeOfReferenceCodeSequence = [concept(_SOURCE_IMAGE)]
    derivation, group = Dataset(), Dataset()
    derivation.SourceImageSequence, derivation.DerivationCodeSequence = [image], [concept(method)]
    group.DerivationImageSequence = [derivation]
    return _elements(group)


def _position(source: ImageSeries, place: int) -> bytes:
    position, group = Dataset(), Dataset()
    position.ImagePositionPatient = decimals(source.slices[place].position)
    group.PlanePositionSequence = [position]
    return _elements(group)


def _segment(segment: int) -> bytes:
    number = struct.pack("<HH2sHH", *_halves(_REFERENCED_SEGMENT_NUMBER), b"US", 2, segment)
    return _sequence(_SEGMENT_IDENTIFICATION, number) if segment else b""


def _elements(dataset: Dataset) -> bytes:
    """The elements of a dataset in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return buffer.getvalue()


def _sequence(tag: int, elements: bytes) -> bytes:
    """A sequence of one item."""
    item = _item(elements)
    return struct.pack("<HH2sHI", *_halves(tag), b"SQ", 0, len(item)) + item


def _item(elements: bytes) -> bytes:
    return struct.pack("<HHI", *_halves(_ITEM), len(elements)) + elements


def _halves(tag: int) -> tuple[int, int]:
    """Group and element number."""
    return tag >> 16, tag & 0xFFFF
