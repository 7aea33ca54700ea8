"""Coded concepts (PS3.3 section 8.8), free of pydicom."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Code:
    """One coded concept.

    Attributes:
        value: Code Value (0008,0100).
        scheme: Coding Scheme Designator (0008,0102), for instance ``SCT`` or ``DCM``.
        meaning: Code Meaning (0008,0104); plays no part in comparison.
    """

    value: str
    scheme: str
    meaning: str

    def __post_init__(self) -> None:
        if not self.value or not self.scheme:
            raise ValueError("a code needs a value and a coding scheme designator")

    def same_concept(self, other: Code) -> bool:
        """Whether both name the same concept; SRT and SNOMED-CT's DICOM designator are told apart (PS3.16 section 8.1)."""
        return (self.value, self.scheme) == (other.value, other.scheme)


ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
"""Segmented property category of PS3.16 CID 7150 that tasks use most."""
