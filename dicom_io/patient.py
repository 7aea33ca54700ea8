"""Whose study it is: when an identifier tells one patient from all others, and when two series are of the same one."""

from __future__ import annotations

import re

from dicom_io.datasets import lenient, text
from dicom_io.volume import ImageSeries

_NOBODY = re.compile(
    r"(anon|de-?ident|dummy|example|n/?a$|no[ _-]?id|none$|not? |null$|patient ?(id)?$|phantom|qa$|qc$|test|unk)", re.IGNORECASE
)
"""How identifiers begin that are given to many, or to nobody."""
_FEWEST_CHARACTERS = 2
_CONTRADICTING = ("IssuerOfPatientID", "PatientBirthDate", "PatientSex")


def identity(patient_id: str, issuer: str) -> str:
    """A text that stands for one patient, to be hashed; empty where an identifier stands for nobody in particular.

    Args:
        patient_id: Patient ID (0010,0020).
        issuer: Issuer of Patient ID (0010,0021), empty where it is not told.
    """
    name = patient_id.strip()
    letters = {character.casefold() for character in name if character.isalnum()}
    is_filler = len(letters) < 2  # "", "0", "0000", "xxx", "---"
    if len(name) < _FEWEST_CHARACTERS or is_filler or _NOBODY.match(name):
        return ""
    return f"{issuer.strip()}\x1f{name}"


def same_patient(one: ImageSeries, other: ImageSeries) -> bool:
    """Whether the headers of two series say that they are of one patient, and nothing in them speaks against it.

    Archives that know patients by Patient ID alone put those of two hospitals together; issuer, birth date and sex do not agree
    then. What is absent on either side says nothing.
    """
    a, b = one.headers[0], other.headers[0]
    with lenient():
        first, second = text(a, "PatientID").strip(), text(b, "PatientID").strip()
        told = [(text(a, keyword).strip(), text(b, keyword).strip()) for keyword in _CONTRADICTING]
    return bool(identity(first, "")) and first == second and not any(x and y and x != y for x, y in told)
