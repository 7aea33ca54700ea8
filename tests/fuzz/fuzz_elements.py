"""DICOM elements as a tree of bytes that can be wrong in every way; pydicom's writer would refuse most of it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO

from pydicom import dcmread
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element

LONG_VRS = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"))
UNDEFINED = 0xFFFFFFFF
_ITEM, _ITEM_END, _SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"


@dataclass
class Element:
    """One element: a value as bytes, or the items of a sequence.

    Attributes:
        tag: group and element as one number.
        vr: two characters, any.
        value: the value's bytes; for encapsulated pixels the items with their delimiter.
        items: the items of a sequence, None for a value.
        length: what the length field says instead of the truth.
        undefined: whether sequence and items have undefined length.
    """

    tag: int
    vr: str
    value: bytes = b""
    items: list[list[Element]] | None = None
    length: int | None = None
    undefined: bool = False

    @property
    def keyword(self) -> str:
        return keyword_for_tag(self.tag)

    def encoded(self) -> bytes:
        """In Explicit VR Little Endian."""
        value = self.value if self.items is None else b"".join(self._item(item) for item in self.items)
        length = len(value)
        if self.undefined:
            length, value = UNDEFINED, value + (_SEQUENCE_END if self.items is not None else b"")
        length = length if self.length is None else self.length
        head = struct.pack("<HH", self.tag >> 16, self.tag & 0xFFFF) + self.vr.encode("latin-1")[:2].ljust(2, b"\0")
        if self.vr in LONG_VRS:
            return head + b"\0\0" + struct.pack("<I", length & 0xFFFFFFFF) + value
        return head + struct.pack("<H", min(length, 0xFFFF)) + value[:0xFFFF]

    def _item(self, item: list[Element]) -> bytes:
        body = encoded(item)
        if self.undefined:
            return _ITEM + b"\xff\xff\xff\xff" + body + _ITEM_END
        return _ITEM + struct.pack("<I", len(body)) + body


def padded(value: bytes) -> bytes:
    """Of even length, as values of text are."""
    return value + b" " * (len(value) % 2)


def encoded(elements: list[Element]) -> bytes:
    return b"".join(element.encoded() for element in elements)


def part10(meta: Dataset, body: bytes) -> bytes:
    """A file whose meta information is that of a valid one."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    for element in meta:
        write_data_element(buffer, element)
    return b"\0" * 128 + b"DICM" + buffer.getvalue() + body


@dataclass
class Tree:
    """A file as meta information and elements."""

    meta: Dataset
    elements: list[Element] = field(default_factory=list)

    @classmethod
    def of(cls, file: bytes) -> Tree:
        """Reads a valid file; sequences that cannot be read stay as bytes."""
        dataset = dcmread(BytesIO(file))
        return cls(dataset.file_meta, _elements(dataset))

    def lists(self) -> Iterator[list[Element]]:
        """Every list of elements: that of the dataset and those of all items."""
        waiting = [self.elements]
        while waiting:
            elements = waiting.pop()
            yield elements
            for element in elements:
                waiting.extend(element.items or ())

    def every(self) -> Iterator[Element]:
        for elements in self.lists():
            yield from elements

    def named(self, keyword: str) -> list[Element]:
        return [element for element in self.every() if element.keyword == keyword]


def _elements(dataset: Dataset) -> list[Element]:
    found = []
    for element in dataset:
        if element.VR == "SQ":
            found.append(Element(element.tag, "SQ", items=[_elements(item) for item in element.value]))
            continue
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = True, False
        write_data_element(buffer, element)
        raw = buffer.getvalue()
        begin = 12 if element.VR in LONG_VRS else 8
        undefined = element.is_undefined_length
        found.append(Element(element.tag, element.VR, raw[begin:], undefined=undefined))
    return found
