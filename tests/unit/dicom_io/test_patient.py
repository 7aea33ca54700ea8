"""Who is one patient, and who is nobody."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import pytest
from node_harness import phantom
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.patient import identity, same_patient
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries


@pytest.mark.parametrize("name", ["", " ", "0", "0000", "-", "X", "xxxx", "Anonymous", "ANON123", "anonymized", "deidentified"])
def test_an_identifier_that_many_share_stands_for_nobody(name: str) -> None:
    assert identity(name, "hospital") == ""


@pytest.mark.parametrize(
    "name", ["unknown", "N/A", "none", "NULL", "test", "Test-Patient", "phantom 3", "patient", "No ID", "QA"]
)
def test_words_for_nobody_stand_for_nobody(name: str) -> None:
    assert identity(name, "") == ""


def test_identifiers_are_told_apart_by_who_gave_them() -> None:
    assert identity(" 4711 ", "A") == identity("4711", "A ")
    assert len({identity("4711", "A"), identity("4711", "B"), identity("4711", ""), identity("4712", "A")}) == 4
    assert identity("Nobel-1", ""), "a name that only begins like a word for nobody"


def series(**attributes: str) -> ImageSeries:
    files, _ = phantom(slices=4, size=16)
    read = read_series(files)
    header: Dataset = dcmread(BytesIO(files[0]), stop_before_pixels=True)
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    return replace(read, headers=(header, *read.headers[1:]))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {}, True),
        ({}, {"PatientID": "DEMO-0002"}, False),
        ({"PatientID": ""}, {"PatientID": ""}, False),
        ({"PatientID": "0"}, {"PatientID": "0"}, False),
        ({"IssuerOfPatientID": "A"}, {"IssuerOfPatientID": "B"}, False),
        ({"IssuerOfPatientID": "A"}, {}, True),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19600101"}, False),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": ""}, True),
        ({"PatientSex": "F"}, {"PatientSex": "M"}, False),
    ],
)
def test_headers_decide_whether_two_series_are_of_one_patient(one: dict[str, str], other: dict[str, str], same: bool) -> None:
    assert same_patient(series(**one), series(**other)) is same
