"""Bytes to pydicom datasets, and values out of them however badly they were written.

Archives are full of values that break the standard's rules of form (a date with dots, a number of 20 characters). pydicom
warns of each; nothing here depends on the form, so the warnings are silenced for as long as a codec works, and what cannot be
read as what it should be counts as absent.
"""

from __future__ import annotations

import logging
import struct
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.multival import MultiValue

from dicom_io.codes import Code
from dicom_io.errors import InvalidObject

UNDEFINED_LENGTH = 0xFFFFFFFF
_PYDICOM_LOG = logging.getLogger("pydicom")
UNREADABLE = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    RuntimeError,
    LookupError,
    OverflowError,
    MemoryError,
    struct.error,
)
"""What pydicom and its decoders are known to raise on bytes that are not what they claim to be."""


def _is_severe(record: logging.LogRecord) -> bool:
    """Malformed values are logged by pydicom as they are, a birth date among them; that has no place in a log."""
    return record.levelno >= logging.ERROR


class _Silence:
    """Counts the codecs at work; the warning filters are changed by the first and restored by the last.

    ``warnings.catch_warnings`` alone is not safe with threads: two that overlap restore in the wrong order.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._catcher = warnings.catch_warnings()

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._catcher = warnings.catch_warnings()
                self._catcher.__enter__()
                _PYDICOM_LOG.addFilter(_is_severe)
                warnings.simplefilter("ignore", UserWarning)  # the category of all of pydicom's and highdicom's remarks
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                self._catcher.__exit__(None, None, None)
                _PYDICOM_LOG.removeFilter(_is_severe)


_SILENCE = _Silence()


@contextmanager
def lenient() -> Iterator[None]:
    """While it lasts, values that break the standard's rules of form pass without a warning. Reentrant, thread-safe."""
    _SILENCE.enter()
    try:
        yield
    finally:
        _SILENCE.leave()


def parse(file: bytes) -> Dataset:
    """The dataset of a DICOM Part 10 file (PS3.10 section 7).

    Raises:
        InvalidObject: if the bytes are no DICOM file or end too early. Names the SOP Instance UID where that can be read.
    """
    with lenient():
        try:
            dataset = dcmread(BytesIO(file))
        except InvalidDicomError as error:
            raise InvalidObject("file", "these bytes are no DICOM file", "Send DICOM Part 10 files.") from error
        except UNREADABLE as error:
            raise InvalidObject(_name_of(file), "the file ends too early or is damaged", "Send the object again.") from error
        if not text(dataset, "SOPInstanceUID"):
            raise InvalidObject(_name_of(file), "the file ends before it says what it is", "Send the object again.")
        if _is_cut_off(dataset):
            problem = f"the file ends too early ({len(file)} bytes are there)"
            raise InvalidObject(f"instance {text(dataset, 'SOPInstanceUID')}", problem, "Send the object again.")
    return dataset


def _name_of(file: bytes) -> str:
    """What can still be named of a damaged file."""
    try:
        head = read_partial(BytesIO(file), stop_when=lambda tag, _vr, _length: tag >= 0x00080060)
        found = text(head, "SOPInstanceUID") or str(head.file_meta.get("MediaStorageSOPInstanceUID", ""))
    except UNREADABLE:
        found = ""
    return f"instance {found}" if found else "file"


def _is_cut_off(dataset: Dataset) -> bool:
    """Whether the last element holds fewer bytes than it announces; pydicom reads such a file without complaint."""
    tags = sorted(dataset.keys())
    if not tags:
        return True
    last: DataElement | RawDataElement | None = dataset.get_item(tags[-1])  # pydicom's own annotation is narrower
    if not isinstance(last, RawDataElement) or last.length == UNDEFINED_LENGTH:
        return False
    return len(last.value or b"") < last.length


def text(dataset: Dataset, keyword: str) -> str:
    """The value as text without padding; empty where it is absent or unreadable. Several values are joined by a backslash."""
    try:
        value = dataset.get(keyword)
    except UNREADABLE:
        return ""
    if value is None:
        return ""
    if isinstance(value, MultiValue):
        return "\\".join(str(part) for part in value)
    return str(value).strip(" \0")


def numbers(dataset: Dataset, keyword: str, count: int) -> npt.NDArray[np.float64] | None:
    """``count`` finite numbers as float64, shape ``(count,)``, or None where there are not that many."""
    try:
        value = dataset.get(keyword)
        parts = np.asarray(value if isinstance(value, MultiValue | list) else [value], dtype=np.float64)
    except UNREADABLE:
        return None
    if parts.shape != (count,) or not np.isfinite(parts).all():
        return None
    return np.asarray(parts)


def number(dataset: Dataset, keyword: str, default: float = 0.0) -> float:
    """One finite number, or ``default``."""
    found = numbers(dataset, keyword, 1)
    return default if found is None else float(found[0])


def integer(dataset: Dataset, keyword: str, default: int = 0) -> int:
    """One whole number, or ``default``."""
    return int(number(dataset, keyword, default))


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none where it is absent, empty or unreadable."""
    try:
        value = dataset.get(keyword)
    except UNREADABLE:
        return ()
    return tuple(value) if value else ()


def first_item(dataset: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence, or an empty dataset."""
    found = items(dataset, keyword)
    return found[0] if found else Dataset()


def code_of(item: Dataset) -> Code | None:
    """The coded concept of one item of a code sequence (PS3.3 section 8.8), or None where it is incomplete."""
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    scheme = text(item, "CodingSchemeDesignator")
    if not value or not scheme:
        return None
    return Code(value, scheme, text(item, "CodeMeaning"))


def coded(dataset: Dataset, keyword: str) -> Code | None:
    """The coded concept of the first item of a code sequence, or None."""
    return code_of(first_item(dataset, keyword))
