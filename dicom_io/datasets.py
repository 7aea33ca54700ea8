"""Bytes to pydicom datasets, and values out of them however badly they were written.

Archives are full of values that break the standard's rules of form (a date with dots, a number of 20 characters). pydicom
warns of each; nothing here depends on the form, so the warnings are silenced for as long as a codec works, and what cannot be
read as what it should be counts as absent.
"""

from __future__ import annotations

import logging
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO

import numpy as np
import numpy.typing as npt
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_partial, read_preamble
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as ItemSequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from dicom_io.codes import Code
from dicom_io.errors import InvalidObject, UnsupportedObject
from dicom_io.limits import MAX_ELEMENTS, MAX_INFLATED_BYTES, MAX_ITEMS, MAX_READS, refuse_excess
from dicom_io.snomed import current

UNDEFINED_LENGTH = 0xFFFFFFFF
_ITEM_BYTES = 8
_ITEM, _ITEM_BIG_ENDIAN = _ITEMS = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"
_MAYBE_SEQUENCE = ("SQ", "UN", None)
_PIXELS = 0x7FE00000
_LARGEST_NUMBER = 1e100
"""What is larger, infinite or no number measures nothing; below it, products of three stay finite."""
_STEP_BYTES = 1 << 14
"""Deflated bytes that are inflated at once, to at most 17 MB."""
_TOLD_UIDS = ("InstanceUID", "ClassUID", "ReferenceUID", "SyntaxUID")
_UID = re.compile(r"[0-9.]{1,128}")
"""Longer than the standard's 64 characters, because such UIDs are met."""
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
    ArithmeticError,
    AssertionError,
    struct.error,
    zlib.error,
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


def parse(file: bytes, allowance: Allowance | None = None) -> Dataset:
    """The dataset of a DICOM Part 10 file (PS3.10 section 7).

    Args:
        file: its bytes.
        allowance: what several files may take together; one of its own where left out.

    Raises:
        InvalidObject: if the bytes are no DICOM file or end too early. Names the SOP Instance UID where that can be read.
        UnsupportedObject: if it exceeds the limits of :mod:`dicom_io.limits`, or its transfer syntax is unknown.
    """
    allowance = allowance or Allowance()
    with lenient():
        try:
            if DeflatedExplicitVRLittleEndian.encode() in file:
                _refuse_inflation(file)
            dataset = read_partial(Metered(file, allowance), stop_when=_ElementCount())
            if len(file) > _ITEM_BYTES * MAX_ITEMS:
                refuse_many_items(dataset, allowance)
            is_cut_off = _is_cut_off(dataset)
        except InvalidDicomError as error:
            raise InvalidObject("file", "these bytes are no DICOM file", "Send DICOM Part 10 files.") from error
        except RecursionError as error:
            raise InvalidObject(_name_of(file), "its sequences lie too deep within each other", "Save it again.") from error
        except UNREADABLE as error:
            raise InvalidObject(_name_of(file), "the file ends too early or is damaged", "Send the object again.") from error
        if not text(dataset, "SOPInstanceUID"):
            raise InvalidObject(_name_of(file), "the file ends before it says what it is", "Send the object again.")
        if is_cut_off:
            problem = f"the file ends too early ({len(file)} bytes are there)"
            raise InvalidObject(f"instance {text(dataset, 'SOPInstanceUID')}", problem, "Send the object again.")
        syntax = text(dataset.file_meta, "TransferSyntaxUID")
        if not UID(syntax).is_transfer_syntax:
            problem = f"its transfer syntax {syntax or 'is missing or'} is unknown"
            raise UnsupportedObject(f"instance {text(dataset, 'SOPInstanceUID')}", problem, "Send it uncompressed.")
    return dataset


class Allowance:
    """How much is left to be read: of one object, or of all objects of a series together."""

    def __init__(self) -> None:
        self.pieces, self.items = MAX_READS, MAX_ITEMS

    def check(self) -> None:
        """Refuses what has gone beyond it, by UnsupportedObject."""
        if self.pieces < 0 or self.items < 0:
            problem = f"more than {MAX_ITEMS} sequence items or {MAX_READS} pieces are not read"
            raise UnsupportedObject("file", problem, "Split the object.")


class Metered(BytesIO):
    """A file that is read in so many pieces at most. pydicom takes two or three for each element, one for each item."""

    def __init__(self, file: bytes, allowance: Allowance) -> None:
        super().__init__(file)
        self._allowance = allowance

    def read(self, size: int | None = -1, /) -> bytes:
        """As ``BytesIO.read``; raises UnsupportedObject after too many pieces."""
        piece = super().read(size)
        self._allowance.pieces -= 1
        if piece[:4] in _ITEMS:
            self._allowance.items -= 1
            self._allowance.check()
        elif self._allowance.pieces < 0:
            self._allowance.check()
        return piece


class _ElementCount:
    """A ``stop_when`` that never stops, but refuses an element too many."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, _tag: BaseTag, _vr: str | None, _length: int) -> bool:
        self._count += 1
        refuse_excess("file", "elements", self._count, MAX_ELEMENTS)
        return False


def refuse_many_items(dataset: Dataset, allowance: Allowance) -> None:
    """Refuses sequences that pydicom has not taken apart yet and would be long about; counting their bytes is not long."""
    for tag in dataset.keys():  # noqa: SIM118 - raw elements
        element: DataElement | RawDataElement | None = dataset.get_item(tag, keep_deferred=True)
        if isinstance(element, RawDataElement) and element.VR in _MAYBE_SEQUENCE and tag < _PIXELS:
            value = element.value or b""
            allowance.items -= max(value.count(_ITEM), value.count(_ITEM_BIG_ENDIAN))
            allowance.check()


def _refuse_inflation(file: bytes) -> None:
    """Refuses a deflated dataset (PS3.5 section A.5) that is too large: inflates it step by step, as pydicom does not."""
    stream = BytesIO(file)
    read_preamble(stream, force=False)
    meta = read_dataset(stream, is_implicit_VR=False, is_little_endian=True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    if text(meta, "TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
        return
    inflater, size, amount = zlib.decompressobj(-zlib.MAX_WBITS), 0, 0
    while deflated := stream.read(_STEP_BYTES):
        step = inflater.decompress(deflated)
        size += len(step)
        amount += step.count(_ITEM) if _ITEM[:1] in step else 0  # one byte is looked for much faster than four
        refuse_excess("file", "bytes inflated from it", size, MAX_INFLATED_BYTES)
        refuse_excess("file", "sequence items", amount, MAX_ITEMS)


def _name_of(file: bytes) -> str:
    """What can still be named of a damaged file."""
    try:
        head = read_partial(BytesIO(file), stop_when=lambda tag, _vr, _length: tag >= 0x00080060)
        found = text(head, "SOPInstanceUID") or text(head.file_meta, "MediaStorageSOPInstanceUID")
    except UNREADABLE:
        found = ""
    return f"instance {found}" if found else "file"


def _is_cut_off(dataset: Dataset) -> bool:
    """Whether the last element holds fewer bytes than it announces; pydicom reads such a file without complaint."""
    tags = sorted(dataset.keys())
    if not tags:
        return True
    last: DataElement | RawDataElement | None = dataset.get_item(
        tags[-1], keep_deferred=True
    )  # pydicom's own annotation is narrower
    if not isinstance(last, RawDataElement) or last.length == UNDEFINED_LENGTH:
        return False
    return len(last.value or b"") < last.length


def text(dataset: Dataset, keyword: str) -> str:
    """The value as text without padding; empty where it is absent or unreadable. Several values are joined by a backslash.

    A UID of the kinds that errors tell counts as unreadable when it holds anything but digits and dots: in a damaged file it
    may be the patient's name.
    """
    try:
        value = dataset.get(keyword)
    except UNREADABLE:
        return ""
    if value is None or isinstance(value, ItemSequence):
        return ""
    if keyword.endswith(_TOLD_UIDS):
        uid = str(value).strip(" \0")
        return uid if _UID.fullmatch(uid) else ""
    if isinstance(value, MultiValue | list):
        return "\\".join(str(part) for part in value)
    return str(value).strip(" \0")


def numbers(dataset: Dataset, keyword: str, count: int) -> npt.NDArray[np.float64] | None:
    """``count`` numbers as float64, shape ``(count,)``, or None where there are not that many, or one is no sensible number."""
    try:
        value = dataset.get(keyword)
        parts = np.asarray(value if isinstance(value, MultiValue | list) else [value], dtype=np.float64)
    except UNREADABLE:
        return None
    if parts.shape != (count,) or not (np.abs(parts) < _LARGEST_NUMBER).all():
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
    return tuple(value) if isinstance(value, ItemSequence) else ()


def first_item(dataset: Dataset, keyword: str) -> Dataset:
    """The first item of a sequence, or an empty dataset."""
    found = items(dataset, keyword)
    return found[0] if found else Dataset()


def code_of(item: Dataset) -> Code | None:
    """The concept of one item of a code sequence (PS3.3 section 8.8), SNOMED-RT as SNOMED CT; None where it is incomplete."""
    value = text(item, "CodeValue") or text(item, "LongCodeValue") or text(item, "URNCodeValue")
    scheme = text(item, "CodingSchemeDesignator")
    if not value or not scheme:
        return None
    return current(Code(value, scheme, text(item, "CodeMeaning")))


def coded(dataset: Dataset, keyword: str) -> Code | None:
    """The coded concept of the first item of a code sequence, or None."""
    return code_of(first_item(dataset, keyword))
