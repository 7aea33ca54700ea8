"""docs/conformance.md says what the code does, table by table, both ways."""

from __future__ import annotations

import inspect
import re
import ssl
from pathlib import Path

import pytest
from conformance_tables import (
    COLUMNS,
    WRITERS,
    attribute_rows,
    functional_groups,
    modules_of,
    private_codes,
    table,
    written,
)
from pydicom.datadict import dictionary_description
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import PYDICOM_IMPLEMENTATION_UID, UID, AllTransferSyntaxes, ExplicitVRLittleEndian
from pynetdicom import (
    ALL_TRANSFER_SYNTAXES,
    PYNETDICOM_IMPLEMENTATION_UID,
    PYNETDICOM_IMPLEMENTATION_VERSION,
    AllStoragePresentationContexts,
)

from dicom_io import limits, seg_pixels
from dicom_io.annotation_header import MODALITIES
from dicom_io.pacs import association, commitment, dicomweb_archive, dimse_archive, dimse_query, polling, scp
from dicom_io.pacs.tls import client_tls
from dicom_io.read_series import READABLE_CLASSES
from learner.domain.result_kinds import KINDS
from learner.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "conformance.md").read_text(encoding="utf-8")


def rows(heading: str, place: int = 0) -> list[tuple[str, ...]]:
    """The cells of a table below a heading, without its head; ``place`` counts the tables of a section."""
    section = re.split(rf"^#+ {re.escape(heading)}$", PAGE, flags=re.MULTILINE)[1]
    section = re.split(r"^#+ ", section, flags=re.MULTILINE)[0]
    found = re.findall(r"(?:^\|.*\n)+", section, flags=re.MULTILINE)[place].splitlines()[2:]
    return [tuple(cell.strip().strip("`") for cell in line.strip("|").split("|")) for line in found]


def test_the_images_that_are_read() -> None:
    assert {uid: name for name, uid in rows("Images")} == READABLE_CLASSES
    assert {uid: UID(uid).name for uid in READABLE_CLASSES} == READABLE_CLASSES


def test_the_annotations_that_are_read() -> None:
    assert {uid: modality for _, uid, modality in rows("Annotations")} == MODALITIES
    assert all(UID(uid).name == name for name, uid, _ in rows("Annotations"))


def test_the_transfer_syntaxes_that_are_read() -> None:
    stated = {uid: (name, images, seg) for name, uid, images, seg in rows("Transfer syntaxes")}
    assert set(stated) == {str(uid) for uid in AllTransferSyntaxes if decodes(uid)}
    assert set(stated) == {str(uid) for uid in dimse_archive._WANTED_SYNTAXES}
    assert all(UID(uid).name == name for uid, (name, _, _) in stated.items())
    assert {uid for uid, (_, _, seg) in stated.items() if seg == "refused"} == set(seg_pixels._LOSSY)
    for _, images, seg in stated.values():
        assert images in {"yes", "not tested"}
        assert seg in {"yes", "not tested", "refused"}


def decodes(uid: UID) -> bool:
    try:
        return bool(get_decoder(uid).is_available)
    except NotImplementedError:
        return False


def test_what_is_called_tested_is_named_by_its_test() -> None:
    """By UID, keyword, or GDCM's name of it."""
    names = {
        "1.2.840.10008.1.2.4.50": "JPEGBaselineProcess1",
        "1.2.840.10008.1.2.4.57": "JPEGLosslessProcess14",
        "1.2.840.10008.1.2.4.70": "JPEGLosslessProcess14_1",
        "1.2.840.10008.1.2.4.81": "JPEGLSNearLossless",
        "1.2.840.10008.1.2.4.91": "JPEG2000",
    }
    images, segmentations = (
        (ROOT / "tests/unit/dicom_io" / name).read_text(encoding="utf-8")
        for name in ("test_read_series_syntaxes.py", "test_seg_encodings.py")
    )
    for _, uid, of_images, of_seg in rows("Transfer syntaxes"):
        if uid == ExplicitVRLittleEndian:  # what both write without saying so
            continue
        words = {uid, UID(uid).keyword, names.get(uid, uid)}
        assert (of_images == "yes") == any(re.search(rf"\b{re.escape(word)}\b", images) for word in words), uid
        if of_seg == "yes":
            assert UID(uid).keyword in segmentations


def test_the_limits() -> None:
    stated = {name: int(value) for name, value in rows("Limits")}
    assert stated == {name: getattr(limits, name) for name in dir(limits) if name.startswith("MAX_")}


def test_the_services_that_are_used() -> None:
    stated = {service: (name, uid) for service, name, uid, _ in rows("As user")}
    assert {service: uid for service, (_, uid) in stated.items()} == {
        "C-ECHO": association._VERIFICATION,
        "C-FIND": dimse_query.STUDY_ROOT_FIND,
        "C-GET": dimse_archive._GET,
        "C-MOVE": dimse_archive._MOVE,
    }
    assert all(UID(uid).name.replace("\N{EN DASH}", "-") == name for name, uid in stated.values())


def test_the_query_keys() -> None:
    asked = {polling.STUDY: polling._STUDY_ASKED, polling.SERIES: polling._SERIES_ASKED}
    assert rows("Query keys") == [
        (level, ", ".join(dictionary_description(keyword) for keyword in keywords)) for level, keywords in asked.items()
    ]


def test_the_services_that_are_provided() -> None:
    stated = {uid for _, _, uid in rows("As provider")}
    contexts = {str(one.abstract_syntax): one for one in scp._contexts(commitment=True)}
    storage = {str(one.abstract_syntax) for one in AllStoragePresentationContexts}
    assert contexts.keys() - storage == stated == {scp._VERIFICATION, commitment.PUSH_MODEL}
    assert storage <= contexts.keys()
    for uid in storage:
        assert {str(syntax) for syntax in contexts[uid].transfer_syntax or ()} == {str(one) for one in ALL_TRANSFER_SYNTAXES}
        assert (contexts[uid].transfer_syntax or [""])[0] == ExplicitVRLittleEndian


def test_the_limits_and_answers_of_the_provider() -> None:
    settings = Settings()
    assert [int(value) for _, value in rows("As provider", 1)] == [
        settings.scp.associations,
        settings.scp.max_object_mb,
        scp._MAX_PDU // 1024,
        inspect.signature(scp.StorageScp).parameters["timeout"].default,
    ]
    answers = (scp._SUCCESS, scp._OUT_OF_RESOURCES, scp._MISMATCH, scp._CANNOT_UNDERSTAND)
    assert [int(status, 16) for status, _ in rows("As provider", 2)] == list(answers)


def test_the_dicomweb_services() -> None:
    stated = {service: (request, accepts) for service, request, accepts in rows("DICOMweb")}
    assert set(stated) == {"QIDO-RS", "WADO-RS", "STOW-RS"}
    assert stated["WADO-RS"][1] == dicomweb_archive._DICOM
    assert stated["QIDO-RS"][1] == stated["STOW-RS"][1] == dicomweb_archive._JSON
    keys = {"StudyInstanceUID": "...", "SeriesInstanceUID": "..."}
    levels = (polling.STUDY, polling.SERIES, polling.IMAGE)
    paths = {dicomweb_archive._path(level, given)[0] for level in levels for given in (keys, {})} - {"/studies/.../series/..."}
    assert paths <= set(re.findall(r"/[a-z./]+", stated["QIDO-RS"][0]))


def test_the_identifiers() -> None:
    stated = {where: (uid, name) for where, uid, name in rows("Implementation identifiers")}
    assert stated["associations"] == (PYNETDICOM_IMPLEMENTATION_UID, PYNETDICOM_IMPLEMENTATION_VERSION)
    uid, name = stated["files that are written"]
    for kind in WRITERS:
        meta = written(kind).file_meta
        assert meta.ImplementationClassUID == uid == PYDICOM_IMPLEMENTATION_UID
        assert meta.ImplementationVersionName.startswith(name.partition("`")[0])


def test_the_objects_that_are_written() -> None:
    stated = {kind: (name, uid) for kind, name, uid in rows("Objects that are written")}
    made = {kind: written(kind) for kind in WRITERS}
    assert {uid for _, uid in stated.values()} == {str(dataset.SOPClassUID) for dataset in made.values()}
    assert all((made[kind].SOPClassUID.name, made[kind].SOPClassUID) == pair for kind, pair in stated.items())
    assert {dataset.file_meta.TransferSyntaxUID for dataset in made.values()} == {ExplicitVRLittleEndian}
    assert {dataset.SpecificCharacterSet for dataset in made.values()} == {"ISO_IR 192"}


def test_every_kind_of_result_is_among_them() -> None:
    """A kind that is added to the answers has to be added here."""
    assert set(KINDS) == {
        *("prediction", "residual-bands", "residual-map", "residual-fractional"),
        *("key-objects", "report", "contours", "captures"),
    }


def test_the_attributes_that_are_written() -> None:
    found = list(attribute_rows())
    assert rows("Attributes") == found, f"the table should be:\n{table(iter(found))}"


@pytest.mark.parametrize("kind", WRITERS)
def test_what_the_standard_requires_is_written_and_nothing_else(kind: str) -> None:
    """Types 1 and 2 of the mandatory modules (PS3.3), against the tables that highdicom ships."""
    dataset, known = written(kind), modules_of(kind)
    for keyword, (module, type_, usage) in known.items():
        if usage == "M" and type_ in {"1", "2"} and module != "sr-document-content":  # there they depend on the value type
            assert keyword in dataset, keyword
            assert type_ == "2" or not dataset[keyword].is_empty, keyword
    assert {element.keyword for element in dataset} <= known.keys()


def test_the_other_forms_have_what_the_page_says() -> None:
    keywords = {kind: {element.keyword for element in written(kind)} for kind in WRITERS}
    assert keywords["FRACTIONAL"] - keywords["SEG"] == {"SegmentationFractionalType", "MaximumFractionalValue"}
    assert keywords["SR 3D"] == keywords["SR"]
    assert keywords["bands"] == keywords["SEG"]
    assert set(COLUMNS) < set(WRITERS)


def test_the_functional_groups() -> None:
    found = {kind: functional_groups(kind) for kind in ("SEG", "Map")}
    keywords = {*found["SEG"], *found["Map"]}
    assert {(name, seg, map_) for name, seg, map_ in rows("Functional groups")} == {
        (dictionary_description(keyword), found["SEG"].get(keyword, ""), found["Map"].get(keyword, "")) for keyword in keywords
    }


def test_the_private_codes() -> None:
    assert set(rows("Private codes")) == private_codes()


def test_there_is_no_private_attribute() -> None:
    assert not any(element.tag.is_private for kind in WRITERS for element in written(kind).iterall())


def test_tls_is_1_2_or_newer() -> None:
    assert client_tls().minimum_version == ssl.TLSVersion.TLSv1_2


def test_the_tests_that_are_named_exist_and_hold_tests() -> None:
    named = {path for _, path in rows("What is tested, and by what")} | set(re.findall(r"`(tests/[^`]+\.py)`", PAGE))
    for path in sorted(named):
        assert "def test_" in (ROOT / path).read_text(encoding="utf-8"), path
