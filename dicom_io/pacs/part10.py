"""The least that an adapter must know of a file before it sends it: that it is whole, and what it is."""

from __future__ import annotations

import io
import struct
import zlib
from typing import BinaryIO

from pydicom import Dataset, dcmread
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial

from dicom_io.datasets import lenient, text
from dicom_io.errors import PacsRefused

_SOP_INSTANCE_UID = 0x00080018
_ISSUER_OF_PATIENT_ID = 0x00100021
_NEEDED = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
_UNREADABLE = (
    *(InvalidDicomError, BytesLengthException, struct.error, zlib.error, EOFError, OSError),
    *(ValueError, KeyError, TypeError, AttributeError, NotImplementedError, IndexError),
)


def is_uid(text: str) -> bool:
    """Whether it is a UID by its form (PS3.5, section 9.1), so that it can stand in a path or a query."""
    return len(text) <= 64 and text.isascii() and all(part.isdecimal() for part in text.split("."))


def read_whole(file: bytes) -> Dataset:
    """The data set of a DICOM Part 10 file.

    Args:
        file: the file's bytes.

    Raises:
        PacsRefused: it is no DICOM file, it is cut off, or lacks a UID without which no archive can keep it.
    """
    stream = _Watched(file)
    try:
        with lenient():  # pydicom logs bad values as they are
            dataset = dcmread(stream)
            missing = [name for name in _NEEDED if not dataset.get(name)]
    except _UNREADABLE as error:  # pydicom raises all of these for bytes that are no DICOM
        raise PacsRefused("DICOM file", "it cannot be read", "Send a whole DICOM Part 10 file.") from error
    if not stream.ended_between_elements:
        raise PacsRefused("DICOM file", "it is cut off", "Send the whole file.")
    if missing or "TransferSyntaxUID" not in dataset.file_meta:
        raise PacsRefused("DICOM file", f"it lacks {', '.join(missing) or 'TransferSyntaxUID'}", "Send a valid object.")
    return dataset


def sop_instance_uid(file: bytes) -> str:
    """SOP Instance UID of a Part 10 file, without reading the rest; empty if it cannot be read."""
    try:
        with lenient():
            return str(
                read_partial(io.BytesIO(file), lambda tag, _vr, _length: tag > _SOP_INSTANCE_UID).get("SOPInstanceUID", "")
            )
    except _UNREADABLE:
        return ""


def patient_of(file: BinaryIO) -> tuple[str, str]:
    """Patient ID and its issuer of a Part 10 file, without reading the rest; empty if they cannot be read."""
    try:
        with lenient():
            dataset = read_partial(file, lambda tag, _vr, _length: tag > _ISSUER_OF_PATIENT_ID)
            return text(dataset, "PatientID"), text(dataset, "IssuerOfPatientID")
    except _UNREADABLE:
        return "", ""


class _Watched(io.BytesIO):
    """Bytes that notice where reading ended. pydicom takes a file that is cut off for a shorter one, and says nothing.

    A whole file ends with one read that finds nothing where the next element would begin. Whoever reads on after the end,
    or meets it in the middle of something, has a file that is cut off.
    """

    def __init__(self, file: bytes) -> None:
        super().__init__(file)
        self.ended_between_elements = False
        self._short = False

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if size is None or size < 0:  # a deflated data set is read in one go; zlib knows whether it is whole
            self.ended_between_elements = True
        elif len(data) < size:
            self.ended_between_elements = not data and not self._short
            self._short = True
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._short = False
        self.ended_between_elements = False
        return super().seek(offset, whence)
