"""Whole objects made to take time and memory: each a valid file that one thing was done to without measure."""

from __future__ import annotations

import struct
import zlib
from random import Random

from fuzz_elements import Tree, encoded, padded, part10
from pydicom.uid import DeflatedExplicitVRLittleEndian


def deflate_bomb(file: bytes, r: Random) -> bytes:
    """A small file that inflates to gigabytes."""
    tree = Tree.of(file)
    tree.meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    pixels = next((element for element in tree.elements if element.keyword == "PixelData"), None)
    if pixels is not None:
        tree.elements.remove(pixels)
    size = r.choice((600, 2000, 3900)) << 20
    body = squeeze.compress(encoded(tree.elements) + struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, size))
    body += squeeze.flush(zlib.Z_FULL_FLUSH)
    block = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    zeros = block.compress(bytes(1 << 20)) + block.flush(zlib.Z_FULL_FLUSH)
    return part10(tree.meta, body + zeros * (size >> 20) + squeeze.flush())


def many_elements(file: bytes, r: Random) -> bytes:
    tree = Tree.of(file)
    count = r.choice((5_000, 150_000, 500_000))
    body = encoded([element for element in tree.elements if element.tag < 0x00700000])
    return part10(
        tree.meta, body + b"".join(struct.pack("<HH2sH", 0x0071 + 2 * (i >> 16), i & 0xFFFF, b"CS", 0) for i in range(count))
    )


def huge_counts(file: bytes, r: Random) -> bytes:
    """Frames, rows and columns that no memory holds."""
    tree = Tree.of(file)
    for element in tree.elements:
        if element.keyword in ("Rows", "Columns"):
            element.value = struct.pack("<H", r.choice((65535, 30000)))
        if element.keyword == "NumberOfFrames":
            element.value = padded(r.choice((b"100000", b"2147483647", b"99999999")))
    return part10(tree.meta, encoded(tree.elements))


def long_contour(file: bytes, r: Random) -> bytes:
    """One contour of a million points and more."""
    tree = Tree.of(file)
    count = r.choice((100_000, 1_000_000))
    for element in tree.every():
        if element.keyword == "GraphicData":
            element.vr, element.value = "OF", struct.pack("<f", r.uniform(1, 40)) * (2 * count)
            break
        if element.keyword == "ContourData":
            element.vr, element.value = "UT", b"\\".join([b"-1.5"] * (3 * count))
            break
    return part10(tree.meta, encoded(tree.elements))


def item_flood(file: bytes, r: Random) -> bytes:
    tree = Tree.of(file)
    element = r.choice([element for element in tree.every() if element.items is not None] or tree.elements)
    element.vr, element.items = "SQ", [[]] * r.choice((10_000, 100_000, 600_000))
    return part10(tree.meta, encoded(tree.elements))


HOSTILE = (deflate_bomb, many_elements, huge_counts, huge_counts, long_contour, item_flood)
