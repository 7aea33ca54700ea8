from __future__ import annotations

import io

import numpy as np
import pytest
from pydicom import DataElement, dcmread
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from slices import make_slices

from dicom_io.errors import PacsRefused
from dicom_io.pacs.part10 import read_whole


def _plain() -> bytes:
    return make_slices(1)[0]


def _encoded(syntax: str) -> bytes:
    dataset = dcmread(io.BytesIO(_plain()))
    if syntax == RLELossless:
        dataset.compress(RLELossless)
    dataset.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return buffer.getvalue()


def _ends_in_a_sequence() -> bytes:
    dataset = dcmread(io.BytesIO(_plain()))
    item = dcmread(io.BytesIO(_plain()), specific_tags=["SOPInstanceUID", "PatientID"])
    item.is_undefined_length_sequence_item = True
    dataset.add_new(0x7FE11001, "SQ", Sequence([item]))
    dataset[0x7FE11001].is_undefined_length = True
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


# pydicom warns of what read_whole refuses anyway
pytestmark = [
    pytest.mark.filterwarnings("ignore:End of file reached"),
    pytest.mark.filterwarnings("ignore:Invalid value for VR UI"),
]
_KINDS = {
    "explicit": _plain,
    "implicit": lambda: _encoded(ImplicitVRLittleEndian),
    "deflated": lambda: _encoded(DeflatedExplicitVRLittleEndian),
    "rle": lambda: _encoded(RLELossless),
    "sequence": _ends_in_a_sequence,
}


@pytest.mark.parametrize("kind", _KINDS)
def test_a_whole_file_is_read(kind: str) -> None:
    assert read_whole(_KINDS[kind]()).Modality == "MR"


@pytest.mark.parametrize("kind", _KINDS)
def test_no_cut_within_an_element_goes_unseen(kind: str) -> None:
    file = _KINDS[kind]()
    # Nothing is lost with the padding of a deflated data set, or the empty length of the last sequence delimiter.
    end_of_content = len(file) - {"deflated": 1, "rle": 4}.get(kind, 0)
    between_elements = set() if kind == "deflated" else _element_starts(file)
    cuts = {int(cut) for cut in np.random.default_rng(1).integers(1, end_of_content, 300)} | {end_of_content - 1}
    for cut in sorted(cuts - between_elements):
        with pytest.raises(PacsRefused):
            read_whole(file[:cut])


def _element_starts(file: bytes) -> set[int]:
    """Where a top-level element may begin: a file cut there is a shorter file, and valid."""
    elements = dcmread(io.BytesIO(file))._dict.values()
    values = [one.file_tell if isinstance(one, DataElement) else one.value_tell for one in elements]
    return {value - header for value in values for header in (8, 12)}


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_file_without_a_uid_is_refused(name: str) -> None:
    dataset = dcmread(io.BytesIO(_plain()))
    delattr(dataset, name)
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    with pytest.raises(PacsRefused, match=name):
        read_whole(buffer.getvalue())


def test_what_is_no_dicom_is_refused() -> None:
    for junk in (b"", b"junk", bytes(200), b"\0" * 128 + b"DICM", b"\0" * 128 + b"DICM" + b"\xff" * 50):
        with pytest.raises(PacsRefused):
            read_whole(junk)
