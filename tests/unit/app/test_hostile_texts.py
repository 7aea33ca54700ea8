"""Texts of DICOM objects that mean something elsewhere - paths, SQL, markup - are texts here: in files, tables and names."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import pytest
from node_harness import now
from pydicom import dcmread
from pydicom.uid import generate_uid
from test_rounds_of_a_case import Ward

from dicom_io.datasets import lenient
from learner.domain.audit import Event
from learner.domain.case import Round, RoundState

PATHS = ("../../../evil", "/tmp/evil", "..\\..\\evil", "evil\0.dcm", "%2e%2e%2fevil")
SQL = "x'); DROP TABLE rounds; DELETE FROM audit_words;--"
TABLES = {"rounds", "cases", "results", "jobs", "checkpoints", "audit", "audit_words", "accounts"}


def sent(ward: Ward, **texts: str) -> Round:
    """A drawing with other texts: of the object by keyword, of its segments by ``Segment...``."""
    file = ward.reader("Eva").draw([3, 8], now())
    dataset, buffer = dcmread(BytesIO(file)), BytesIO()
    with lenient():
        for keyword, text in texts.items():
            for item in dataset.SegmentSequence if keyword.startswith("Segment") else (dataset,):
                setattr(item, keyword, text)
            if keyword == "SegmentLabel":
                del dataset.SegmentSequence[0].SegmentedPropertyTypeCodeSequence
        dataset.save_as(buffer, enforce_file_format=False)
    return ward.stored(buffer.getvalue())


def files_of(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("text", PATHS)
def test_no_text_of_an_object_becomes_part_of_a_path(text: str, tmp_path: Path) -> None:
    ward = Ward(tmp_path / "deep" / "data", from_annotations=True)
    sent(ward, **dict.fromkeys(("SegmentLabel", "ContentLabel", "SeriesDescription", "SOPInstanceUID"), text))
    assert files_of(tmp_path)
    assert not [name for name in files_of(tmp_path) if "evil" in name or not name.startswith("deep/data/")]
    assert all(re.fullmatch(r"[a-z0-9-]+", task.task_id) for task in ward.tasks)


@pytest.mark.parametrize("keyword", ["ContentCreatorName", "StationName", "Manufacturer", "SeriesDescription", "SegmentLabel"])
def test_sql_in_a_text_is_a_text(keyword: str, tmp_path: Path) -> None:
    ward = Ward(tmp_path, from_annotations=True)
    text = SQL[:64]
    round_ = sent(ward, **{keyword: text})
    found = {row["name"] for row in ward.store._database.rows("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert found >= TABLES
    assert ward.store.audit.verify().intact
    if keyword in ("ContentCreatorName", "StationName", "Manufacturer"):
        assert round_.state is RoundState.ANSWERED
        (entry,) = ward.store.audit.entries(events=[Event.ANSWERED])
        assert text in (entry.facts["reader"], *entry.facts["station"].values())


def test_a_uid_that_is_sql_finds_nothing_and_harms_nothing(tmp_path: Path) -> None:
    ward = Ward(tmp_path)
    sent(ward, SOPInstanceUID=generate_uid())
    for text in (SQL, "' OR '1'='1", "1.2%"):
        assert ward.store.queries.find_trigger(text) is None
        assert ward.store.queries.find_result(text) is None
        assert not ward.store.records.is_own_object(text)
        assert ward.store.audit.purge([text]) == 0
    assert len(ward.store.queries.rounds()) == 1
