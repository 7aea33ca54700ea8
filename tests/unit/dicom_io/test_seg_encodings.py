"""SEG in every encoding: types, bits, compression, and what is refused."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from annotation_phantoms import Frame, frames_on_slices, seg
from dicom_phantoms import blobs, make_series
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.encoders import JPEG2000LosslessEncoder, JPEGLSLosslessEncoder, RLELosslessEncoder
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from dicom_io.errors import EmptyAnnotation, InvalidObject, UnsupportedObject
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series

SHAPE = (4, 33, 35)  # an odd number of pixels, so that frames of single bits begin within bytes
SOURCE = read_series(make_series(SHAPE, angles=(0.3, -0.2, 0.1)))
LABELS = blobs(SHAPE)
MASKS = {1: LABELS == 1, 2: LABELS == 2}
ENCODERS = {
    RLELossless: (RLELosslessEncoder, "pylibjpeg"),
    JPEGLSLossless: (JPEGLSLosslessEncoder, "pyjpegls"),
    JPEG2000Lossless: (JPEG2000LosslessEncoder, "pylibjpeg"),
}


def label_frames(labels_DHW: np.ndarray = LABELS) -> list[Frame]:
    return [
        Frame(frame.pixels_HW * labels_DHW[index], 0, frame.position, frame.orientation, frame.spacing, frame.images)
        for index, frame in enumerate(frames_on_slices(SOURCE, {1: np.ones(SHAPE, bool)}))
    ]


def encoder(syntax: str, bits: int):  # noqa: ANN201 - a closure for seg()
    def encode(frame_HW: np.ndarray) -> bytes:
        rows, columns = frame_HW.shape
        compressor, plugin = ENCODERS[syntax]
        return compressor.encode(
            frame_HW.tobytes(),
            encoding_plugin=plugin,
            rows=rows,
            columns=columns,
            number_of_frames=1,
            samples_per_pixel=1,
            bits_allocated=bits,
            bits_stored=bits,
            pixel_representation=0,
            photometric_interpretation="MONOCHROME2",
        )

    return encode


def masks_of(file: bytes) -> dict[int, np.ndarray]:
    return {segment.number: segment.mask_DHW for segment in read_annotation(file, SOURCE).segments}


def test_frames_of_single_bits_may_begin_within_a_byte() -> None:
    for number, mask_DHW in masks_of(seg(frames_on_slices(SOURCE, MASKS))).items():
        assert np.array_equal(mask_DHW, MASKS[number])


@pytest.mark.parametrize("syntax", ENCODERS)
@pytest.mark.parametrize(("kind", "bits"), [("BINARY", 8), ("LABELMAP", 8), ("LABELMAP", 16), ("FRACTIONAL", 8)])
def test_compressed_frames(syntax: str, kind: str, bits: int) -> None:
    if kind == "LABELMAP":
        frames = label_frames()
    else:
        frames = frames_on_slices(SOURCE, {n: m * (200 if kind == "FRACTIONAL" else 1) for n, m in MASKS.items()})
    file = seg(frames, kind, bits=bits, syntax=syntax, encode=encoder(syntax, bits))
    for number, mask_DHW in masks_of(file).items():
        assert np.array_equal(mask_DHW, MASKS[number])


def test_single_bits_in_run_lengths() -> None:
    def pack(frame_HW: np.ndarray) -> bytes:
        packed = np.packbits(frame_HW.ravel(), bitorder="little")
        return encoder(RLELossless, 8)(packed[None])

    for number, mask_DHW in masks_of(seg(frames_on_slices(SOURCE, MASKS), syntax=RLELossless, encode=pack)).items():
        assert np.array_equal(mask_DHW, MASKS[number])


def test_a_deflated_object() -> None:
    file = seg(frames_on_slices(SOURCE, MASKS), syntax=DeflatedExplicitVRLittleEndian)
    assert np.array_equal(masks_of(file)[2], MASKS[2])


def test_a_big_endian_label_map() -> None:
    built: list[Dataset] = []
    seg(label_frames(LABELS * np.uint16(300)), "LABELMAP", numbers=(300, 600), bits=16, edit=built.append)
    (dataset,) = built
    dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = BytesIO()
    dataset.save_as(buffer, implicit_vr=False, little_endian=False, enforce_file_format=True)
    found = masks_of(buffer.getvalue())
    assert np.array_equal(found[300], MASKS[1])
    assert np.array_equal(found[600], MASKS[2])


@pytest.mark.parametrize("bits", [8, 16])
def test_a_label_map_with_gaps_a_palette_and_a_background_item(bits: int) -> None:
    numbers = (3, 250) if bits == 8 else (7, 40_000)
    labels_DHW = np.choose(LABELS, [0, *numbers]).astype(np.uint16)

    def palette(dataset: Dataset) -> None:
        dataset.PhotometricInterpretation = "PALETTE COLOR"
        dataset.RedPaletteColorLookupTableDescriptor = [256, 0, 8]
        dataset.RedPaletteColorLookupTableData = bytes(range(256))

    frames = label_frames(labels_DHW)
    found = masks_of(seg(frames, "LABELMAP", numbers=(0, *numbers, numbers[1] - 1), bits=bits, edit=palette))
    assert list(found) == sorted((*numbers, numbers[1] - 1)), "the background item is no segment"
    assert np.array_equal(found[numbers[0]], MASKS[1])
    assert np.array_equal(found[numbers[1]], MASKS[2])
    assert not found[numbers[1] - 1].any()


def test_labels_that_nothing_describes_are_left_out_and_said_and_padding_is_not() -> None:
    frames = label_frames(np.where(LABELS == 0, 9, LABELS))

    def padded(dataset: Dataset) -> None:
        dataset.PixelPaddingValue = 9

    drawing = read_annotation(seg(frames, "LABELMAP", numbers=(1,), edit=padded), SOURCE)
    assert np.array_equal(drawing.segments[0].mask_DHW, MASKS[1])
    assert drawing.remarks == ("Left out: pixels with segment numbers that it does not define (2).",)


def test_fractions_count_from_half_the_stated_maximum() -> None:
    fractions = np.linspace(0, 200, int(np.prod(SHAPE))).reshape(SHAPE).astype(np.uint8)
    found = masks_of(seg(frames_on_slices(SOURCE, {1: fractions}), "FRACTIONAL", numbers=(1,)))
    assert np.array_equal(found[1], fractions >= 100)


def test_a_single_frame_may_have_all_groups_shared() -> None:
    def move(dataset: Dataset) -> None:
        dataset.SharedFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence
        del dataset.PerFrameFunctionalGroupsSequence
        del dataset.NumberOfFrames

    mask = np.zeros(SHAPE, bool)
    mask[3, 4:9, 5:20] = True
    assert np.array_equal(masks_of(seg(frames_on_slices(SOURCE, {2: mask}), edit=move))[2], mask)


def test_refusals_name_their_reason() -> None:
    frames = frames_on_slices(SOURCE, MASKS)

    def changed(**values: object):  # noqa: ANN202 - a closure for seg()
        def edit(dataset: Dataset) -> None:
            for keyword, value in values.items():
                setattr(dataset, keyword, value)

        return edit

    for edit, error, reason in (
        (changed(DimensionOrganizationType="TILED_FULL"), UnsupportedObject, "tiled"),
        (changed(TotalPixelMatrixRows=33), UnsupportedObject, "tiled"),
        (changed(SegmentationType="SURFACE"), UnsupportedObject, "SURFACE is unknown"),
        (changed(LossyImageCompression="01"), UnsupportedObject, "with loss"),
        (changed(NumberOfFrames=len(frames) + 1), InvalidObject, "announces 5"),
        (changed(NumberOfFrames=2_000_000_000), UnsupportedObject, "pixels are more than"),
        (changed(Rows=65_535, Columns=65_535, NumberOfFrames=1), InvalidObject, "announces 1"),
        (changed(Rows=0), InvalidObject, "no pixels"),
        (changed(SegmentSequence=None), InvalidObject, "defines no segment"),
    ):
        with pytest.raises(error, match=reason):
            read_annotation(seg(frames, edit=edit), SOURCE)


def test_lossy_labels_are_refused() -> None:
    def lossy(dataset: Dataset) -> None:
        dataset.BitsAllocated = 8
        dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"] * int(dataset.NumberOfFrames))

    with pytest.raises(UnsupportedObject, match="with loss"):
        read_annotation(seg(label_frames(), "LABELMAP", syntax=JPEGBaseline8Bit, edit=lossy), SOURCE)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_damaged_compressed_frames_are_invalid(syntax: str) -> None:
    for broken in (b"\0\0\0\0", b"\xff\x4f\xff\x51" + b"\xff" * 60):

        def breaking(dataset: Dataset, frame: bytes = broken) -> None:
            dataset.PixelData = encapsulate([frame] * int(dataset.NumberOfFrames))

        with pytest.raises((InvalidObject, EmptyAnnotation)):
            read_annotation(seg(label_frames(), "LABELMAP", syntax=syntax, encode=encoder(syntax, 8), edit=breaking), SOURCE)


def test_inspecting_decodes_nothing() -> None:
    def undecodable(dataset: Dataset) -> None:
        dataset.PixelData = encapsulate([b"\0\0"] * int(dataset.NumberOfFrames))

    header = inspect(
        seg(label_frames(), "LABELMAP", syntax=JPEGLSLossless, encode=encoder(JPEGLSLossless, 8), edit=undecodable)
    )
    assert header.referenced_sop_instance_uids == SOURCE.volume.series.sop_instance_uids
