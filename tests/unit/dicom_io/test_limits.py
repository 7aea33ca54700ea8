from __future__ import annotations

import struct
import zlib
from io import BytesIO

import pytest
from dicom_phantoms import edited, make_series
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import DeflatedExplicitVRLittleEndian

from dicom_io import datasets, limits
from dicom_io.datasets import number, numbers, parse, text
from dicom_io.errors import DicomIoError, InvalidObject, SeriesNotAVolume, UnsupportedObject
from dicom_io.read_series import read_series

PLAIN = make_series((2, 4, 4))[0]
ITEM, NO_LENGTH = b"\xfe\xff\x00\xe0", b"\xff\xff\xff\xff"


def without_pixels() -> bytes:
    with edited(PLAIN) as (dataset, encode):
        del dataset.PixelData
        return encode()


def sequence(length: bytes, value: bytes) -> bytes:
    """A Per-Frame Functional Groups Sequence to append to a file."""
    return struct.pack("<HH2sH", 0x5200, 0x9230, b"SQ", 0) + length + value


def deflated(file: bytes, more: int = 0) -> bytes:
    """The file in the deflated syntax, with so many more bytes of pixels."""
    dataset = dcmread(BytesIO(file))
    dataset.PixelData = dataset.PixelData + bytes(more)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    buffer = BytesIO()
    dcmwrite(buffer, dataset, enforce_file_format=True)
    return buffer.getvalue()


def test_a_deflated_object_is_read_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert text(parse(deflated(PLAIN)), "Modality") == "MR"
    monkeypatch.setattr(datasets, "MAX_INFLATED_BYTES", 1 << 20)
    assert text(parse(deflated(PLAIN, 1 << 19)), "Modality") == "MR"
    bomb = deflated(PLAIN, 1 << 21)
    assert len(bomb) < 1 << 13
    with pytest.raises(UnsupportedObject, match="bytes inflated from it are more than the 1048576"):
        parse(bomb)


def test_a_bomb_is_refused_before_it_is_inflated_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zlib, "decompress", lambda *_args, **_kwargs: pytest.fail("inflated in one piece"))
    with pytest.raises(UnsupportedObject, match="inflated"):
        parse(deflated(PLAIN, limits.MAX_INFLATED_BYTES + 1))


def test_a_broken_deflate_stream_is_damaged() -> None:
    file = deflated(PLAIN)
    with pytest.raises(InvalidObject):
        parse(file[: len(file) // 2])


def test_a_flood_of_items_is_refused() -> None:
    flood = (ITEM + bytes(4)) * (limits.MAX_ITEMS + 1)
    with pytest.raises(UnsupportedObject, match="sequence items"):
        parse(without_pixels() + sequence(struct.pack("<I", len(flood)), flood))


@pytest.mark.parametrize("limit", ["MAX_READS", "MAX_ITEMS"])
def test_a_flood_of_items_of_undefined_length_is_refused(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(datasets, limit, 5_000)
    with pytest.raises((InvalidObject, UnsupportedObject)):  # pydicom takes what is raised at an item for a damaged file
        parse(without_pixels() + sequence(NO_LENGTH, (ITEM + bytes(4)) * 5_000))


def test_the_images_of_a_series_share_one_allowance(monkeypatch: pytest.MonkeyPatch) -> None:
    """No image has too many items, all of them together have."""
    monkeypatch.setattr(datasets, "MAX_ITEMS", 5_000)
    flood = (ITEM + bytes(4)) * 1_000
    header = without_pixels()
    file = header + sequence(struct.pack("<I", len(flood)), flood) + PLAIN[len(header) :]
    with pytest.raises(SeriesNotAVolume):
        read_series([file])
    with pytest.raises(UnsupportedObject, match="sequence items"):
        read_series([file] * 6)


def test_a_flood_of_elements_is_refused() -> None:
    flood = b"".join(struct.pack("<HH2sH", 0x0071, number, b"CS", 0) for number in range(limits.MAX_ELEMENTS))
    with pytest.raises(UnsupportedObject, match="elements"):
        parse(without_pixels() + flood)


def test_deep_nesting_is_an_error_with_a_name() -> None:
    head = struct.pack("<HH2sH", 0x5200, 0x9230, b"SQ", 0) + NO_LENGTH + ITEM + NO_LENGTH
    with pytest.raises(InvalidObject, match="too deep"):
        parse(without_pixels() + head * 10_000)


@pytest.mark.parametrize(("syntax", "what"), [("1.2.3.4", "1.2.3.4 is unknown"), ("", "is missing")])
def test_an_unknown_transfer_syntax_is_refused(syntax: str, what: str) -> None:
    before, after = PLAIN.split(b"1.2.840.10008.1.2.1\0", 1)
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    file = before[:-2] + struct.pack("<H", len(uid)) + uid + after
    with pytest.raises(UnsupportedObject, match=what):
        parse(file)


def test_a_patient_in_the_place_of_a_uid_is_not_told() -> None:
    dataset = Dataset()
    with datasets.lenient():
        dataset.add_new("SOPInstanceUID", "UI", "Doe^Jane")
    dataset.add_new("SeriesInstanceUID", "UI", "1.2.3")
    assert text(dataset, "SOPInstanceUID") == ""
    assert text(dataset, "SeriesInstanceUID") == "1.2.3"


@pytest.mark.parametrize("value", ["nan", "inf", "-1e308", "1e101"])
def test_numbers_that_measure_nothing_count_as_absent(value: str) -> None:
    dataset = Dataset()
    with datasets.lenient():
        dataset.add_new("ImagePositionPatient", "DS", ["1", value, "3"])
        dataset.add_new("SliceThickness", "DS", value)
    assert numbers(dataset, "ImagePositionPatient", 3) is None
    assert number(dataset, "SliceThickness", 7.0) == 7.0


def test_errors_can_be_logged_whatever_the_object_holds() -> None:
    error = DicomIoError("instance 1.2", "type \x1b[31m\nX" + "y" * 5000 + " is unknown", "Send it again.")
    assert str(error).isprintable()
    assert len(str(error)) < 500
