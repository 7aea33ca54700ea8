"""Damage to the bytes of a file, whatever they mean."""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

SYNTAXES = (
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    RLELossless,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    "1.2.840.10008.1.2.4.201",
    "1.2.3.4",
    "",
)


def truncate(file: bytes, r: Random) -> bytes:
    return file[: r.randrange(len(file) + 1)]


def flip(file: bytes, r: Random) -> bytes:
    out = bytearray(file)
    begin = r.choice((0, 132, 132, max(0, len(out) - 4000)))
    for _ in range(r.choice((1, 2, 8, 64))):
        if begin < len(out):
            out[r.randrange(begin, len(out))] ^= 1 << r.randrange(8)
    return bytes(out)


def overwrite(file: bytes, r: Random) -> bytes:
    if len(file) < 200:
        return file
    at = r.randrange(128, len(file))
    junk = r.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f", r.randbytes(r.choice((1, 4, 100))), b"\xfe\xff\x00\xe0"))
    return file[:at] + junk + file[at + len(junk) :]


def cut(file: bytes, r: Random) -> bytes:
    at = r.randrange(len(file) + 1)
    return file[:at] + file[at + r.choice((1, 2, 8, 1000)) :]


def insert(file: bytes, r: Random) -> bytes:
    at = r.randrange(len(file) + 1)
    return file[:at] + r.randbytes(r.choice((1, 2, 8, 1000))) + file[at:]


def repeat(file: bytes, r: Random) -> bytes:
    at = r.randrange(len(file) + 1)
    return file[:at] + file[at : at + r.choice((8, 100, 5000))] * r.choice((2, 10)) + file[at:]


def wreck_stream(file: bytes, r: Random) -> bytes:
    """Damage in the last part, where pixels and compressed streams are."""
    out = bytearray(file)
    begin = len(out) // 2 if r.random() < 0.5 else max(0, len(out) - 3000)
    for _ in range(r.choice((1, 4, 16))):
        out[r.randrange(begin, len(out))] = r.choice((0, 0xFF, 0x7F, 0x80, r.randrange(256)))
    return bytes(out)


def wreck_marker(file: bytes, r: Random) -> bytes:
    """Damage just after a start-of-image or start-of-codestream marker: sizes, components, depths."""
    places = [at for marker in (b"\xff\xd8\xff", b"\xff\x4f\xff\x51") if (at := file.find(marker, 132)) >= 0]
    if not places:
        return wreck_stream(file, r)
    out = bytearray(file)
    begin = r.choice(places) + 2
    for _ in range(r.choice((1, 2, 6))):
        out[min(len(out) - 1, begin + r.randrange(60))] = r.choice((0, 0xFF, 0x7F, 1, r.randrange(256)))
    return bytes(out)


def other_syntax(file: bytes, r: Random) -> bytes:
    """The same bytes under another transfer syntax."""
    before, head, rest = file.partition(b"\x02\0\x10\0UI")
    if len(rest) < 2:
        return file
    uid = r.choice(SYNTAXES).encode()
    uid += b"\0" * (len(uid) % 2)
    return before + head + struct.pack("<H", len(uid)) + uid + rest[2 + struct.unpack("<H", rest[:2])[0] :]


ON_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    *(truncate, flip, overwrite, wreck_stream, wreck_marker) * 2,
    *(cut, insert, repeat, other_syntax),
)
