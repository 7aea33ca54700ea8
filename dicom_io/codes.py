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
        """Whether both name the same concept; codes that are read are of SNOMED CT already (:mod:`dicom_io.snomed`)."""
        return (self.value, self.scheme) == (other.value, other.scheme)

    @property
    def is_generic(self) -> bool:
        """Whether it says no more than that there is something: viewers write such a code where nobody chose one."""
        return (self.value, self.scheme) in _GENERIC


_GENERIC = frozenset(
    {
        ("85756007", "SCT"),  # Tissue: OHIF's and 3D Slicer's default
        ("91723000", "SCT"),  # Anatomical structure
        ("123037004", "SCT"),  # Body structure
        ("113343008", "SCT"),  # Organ
        ("38266002", "SCT"),  # Entire body
        ("49755003", "SCT"),  # Morphologically abnormal structure
        ("260787004", "SCT"),  # Physical object
        ("111030", "DCM"),  # Image region
        ("CORNERSTONEFREETEXT", "CORNERSTONEJS"),  # OHIF: whatever the reader typed
        ("CORNERSTONEFREETEXT", "CST4"),  # the same of older builds
    }
)

ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
"""Segmented property category of PS3.16 CID 7150 that tasks use most."""
