"""Every transfer syntax that can be encoded here is read back to the values that went in."""

from __future__ import annotations

import base64
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import gdcm
import numpy as np
import numpy.typing as npt
import pytest
from dicom_phantoms import edited, make_series
from enhanced_phantoms import make_enhanced
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    HTJ2K,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from dicom_io.errors import InvalidObject, UnsupportedObject
from dicom_io.read_series import read_series

SHAPE = (3, 40, 48)
HTJ2K_CODESTREAM = base64.b64decode(
    "/0//UQApQAAAAAAUAAAAEAAAAAAAAAAAAAAAFAAAABAAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCIkJCQkJCQkJCQkJCQiIiI/2QA"
    "FwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAPQAAf+TwAAmcf4FB3QAwAASgEoCB3QAwAASwAATwAASgJkBB3QAsCD8AII0APsAR3QAwAATwAAVkAAEgP9P"
    "/QACtAAfvh9OHewAEIG/lgD9C9MAwAAWnAABa8AAEoD/f8fw/jscDgVwhWzguIH6MbgA/3//A/oBc+AdwAcKQAhmEIAKMfoxuwD08GJ0AMAALo4AAXVwAAlA/3+D"
    "AIH+/wMBBv7/BwIU/g/gBRG7Ws6cANTgBoIWKlStsAH/f/9//3//fwEeAAESQAEWgAEawAF8QPAEJBCACCEIAKIAGgANFSpUrbMB/v8iVAD/2Q=="
)
"""``htj2k_image()`` as encoded by OpenJPH 0.26.3 (reversible, RPCL)."""


def htj2k_image() -> npt.NDArray[np.uint16]:
    return (np.indices((16, 20)).sum(0) ** 2 % 4096).astype(np.uint16)


def stored() -> npt.NDArray[np.uint16]:
    return np.random.default_rng(0).integers(0, 4096, SHAPE, np.uint16)


def twelve_bits(dataset: Dataset, _: int) -> None:
    dataset.BitsStored, dataset.HighBit = 12, 11


def eight_bits(dataset: Dataset, index: int) -> None:
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelData = ((np.indices(SHAPE[1:]).sum(0) + 5 * index) * 3).astype(np.uint8).tobytes()


def recoded(file: bytes, syntax: UID) -> bytes:
    """The same file in another uncompressed transfer syntax."""
    source = dcmread(BytesIO(file))
    dataset = Dataset.from_json(source.to_json())  # pydicom changes the byte order of no dataset that it read
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    dataset.file_meta = source.file_meta
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = BytesIO()
    implicit, little_endian = syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian
    dataset.save_as(buffer, enforce_file_format=True, implicit_vr=implicit, little_endian=little_endian)
    return buffer.getvalue()


def compressed(file: bytes, syntax: UID) -> bytes:
    with edited(file) as (dataset, encode):
        dataset.compress(syntax, generate_instance_uid=False)
        return encode()


def by_gdcm(file: bytes, syntax: int, folder: Path) -> bytes:
    (folder / "in.dcm").write_bytes(file)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(folder / "in.dcm"))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(folder / "out.dcm"))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return (folder / "out.dcm").read_bytes()


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("make", [make_series, make_enhanced])
def test_uncompressed_syntaxes(syntax: UID, make: Callable[..., list[bytes]]) -> None:
    files = [recoded(file, syntax) for file in make(SHAPE, voxels_DHW=stored(), edit=twelve_bits)]
    assert np.array_equal(read_series(files).volume.voxels_DHW, stored())


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("make", [make_series, make_enhanced])
def test_lossless_syntaxes(syntax: UID, make: Callable[..., list[bytes]]) -> None:
    files = [compressed(file, syntax) for file in make(SHAPE, voxels_DHW=stored(), edit=twelve_bits)]
    assert np.array_equal(read_series(files).volume.voxels_DHW, stored())


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, JPEG2000Lossless])
def test_signed_values_survive_compression(syntax: UID) -> None:
    def signed(dataset: Dataset, _: int) -> None:
        dataset.PixelRepresentation = 1

    values = np.random.default_rng(0).integers(-1024, 3000, SHAPE, np.int16)
    files = [compressed(file, syntax) for file in make_series(SHAPE, voxels_DHW=values.view(np.uint16), edit=signed)]
    assert np.array_equal(read_series(files).volume.voxels_DHW, values)


@pytest.mark.parametrize("name", ["JPEGLosslessProcess14", "JPEGLosslessProcess14_1"])
def test_jpeg_lossless(name: str, tmp_path: Path) -> None:
    syntax = getattr(gdcm.TransferSyntax, name)
    files = [by_gdcm(file, syntax, tmp_path) for file in make_series(SHAPE, voxels_DHW=stored(), edit=twelve_bits)]
    assert np.array_equal(read_series(files).volume.voxels_DHW, stored())


@pytest.mark.parametrize("name", ["JPEGBaselineProcess1", "JPEGLSNearLossless", "JPEG2000"])
def test_lossy_syntaxes_are_near(name: str, tmp_path: Path) -> None:
    original = make_series(SHAPE, edit=eight_bits)
    files = [by_gdcm(file, getattr(gdcm.TransferSyntax, name), tmp_path) for file in original]
    difference = read_series(files).volume.voxels_DHW - read_series(original).volume.voxels_DHW
    assert np.abs(difference).max() <= 4


@pytest.mark.parametrize("syntax", [HTJ2K, HTJ2KLossless, HTJ2KLosslessRPCL])
def test_high_throughput_jpeg_2000(syntax: UID) -> None:
    files = []
    for file in make_series((2, 16, 20)):
        with edited(file) as (dataset, encode):
            dataset.PixelData = encapsulate([HTJ2K_CODESTREAM])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
            dataset.file_meta.TransferSyntaxUID = syntax
            files.append(encode())
    assert np.array_equal(read_series(files).volume.voxels_DHW, np.stack([htj2k_image()] * 2))


def test_frames_of_several_fragments_are_found_by_the_offset_table() -> None:
    (file,) = make_enhanced(SHAPE, voxels_DHW=stored(), edit=twelve_bits)
    with edited(file) as (dataset, encode):
        dataset.compress(JPEG2000Lossless, generate_instance_uid=False)
        frames = list(generate_frames(dataset.PixelData, number_of_frames=SHAPE[0]))
        dataset.PixelData = encapsulate(frames, fragments_per_frame=3)
        file = encode()
    assert np.array_equal(read_series([file]).volume.voxels_DHW, stored())


@pytest.mark.parametrize(("keyword", "value"), [("Rows", 65535), ("NumberOfFrames", 10**9), ("Columns", 65535)])
@pytest.mark.parametrize("compression", [None, RLELossless, JPEG2000Lossless])
def test_announced_sizes_that_are_not_there_are_refused_unallocated(keyword: str, value: int, compression: UID | None) -> None:
    files = make_enhanced(SHAPE, voxels_DHW=stored())
    if compression:
        files = [compressed(file, compression) for file in files]
    with edited(files[0]) as (dataset, encode):
        setattr(dataset, keyword, value)
        spoilt = encode()
    with pytest.raises(InvalidObject):
        read_series([spoilt])


def test_compressed_bytes_that_are_cut_off_are_refused() -> None:
    files = [compressed(file, RLELossless) for file in make_series(SHAPE, voxels_DHW=stored())]
    with pytest.raises(InvalidObject, match="too early"):
        read_series([files[0], files[1], files[2][:-200]])


def test_a_syntax_without_a_decoder_is_named() -> None:
    def mpeg(file: bytes) -> bytes:
        with edited(file) as (dataset, encode):
            dataset.PixelData = encapsulate([b"\0\0"])
            dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
            dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"
            return encode()

    with pytest.raises(UnsupportedObject, match="MPEG-4"):
        read_series([mpeg(file) for file in make_series(SHAPE)])
