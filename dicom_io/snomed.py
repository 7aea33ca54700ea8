"""Retired SNOMED codes as those in use: codes of both systems name the same concepts (PS3.16 section 8.1.1)."""

from __future__ import annotations

from dataclasses import replace

from pydicom.sr._snomed_dict import mapping

from dicom_io.codes import Code

_RETIRED = frozenset({"SRT", "SNM3", "99SDM"})
"""Coding Scheme Designators that mean SNOMED-RT (PS3.16 Table 8-1, with the notes on earlier editions)."""
_CURRENT: dict[str, str] = mapping["SRT"]


def current(code: Code) -> Code:
    """The SNOMED CT code of a SNOMED-RT one; any other code, and one without an equivalent, as it is."""
    value = _CURRENT.get(code.value) if code.scheme in _RETIRED else None
    return code if value is None else replace(code, value=value, scheme="SCT")
