"""Unique identifiers that follow from what they identify, so that storing twice stores one object."""

from __future__ import annotations

import hashlib
import re

_UID = re.compile(r"^(0|[1-9]\d*)(\.(0|[1-9]\d*))+$")
UID_LENGTH = 64
"""Greatest length of a UID in characters (PS3.5 section 9.1)."""


def derived_uid(*parts: str) -> str:
    """A UID under the UUID root 2.25 (PS3.5 section B.2) that is a function of ``parts`` alone.

    Args:
        *parts: what the object is, most general first, for instance series UID, round number, kind.

    Returns:
        ``2.25.`` and a 128-bit number of at most 39 digits. Two different lists of parts never share a UID in practice.
    """
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()
    value = bytearray(digest[:16])
    value[6] = (value[6] & 0x0F) | 0x80  # UUID version 8: custom
    value[8] = (value[8] & 0x3F) | 0x80  # variant of RFC 9562
    return f"2.25.{int.from_bytes(value, 'big')}"


def is_valid_uid(text: str) -> bool:
    """Whether ``text`` is a UID as PS3.5 section 9.1 has it."""
    return len(text) <= UID_LENGTH and _UID.match(text) is not None
