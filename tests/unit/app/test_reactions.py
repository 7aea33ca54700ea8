"""What a reader did with an answer: recorded from the objects that come back, and noted in the round that it was about."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from node_harness import SEGMENTS, now
from pydicom import dcmread
from test_rounds_of_a_case import Ward

from dicom_io.codes import Code
from dicom_io.errors import UnsupportedObject
from dicom_io.read_annotation import read_annotation
from learner.demo.reader import Reader
from learner.domain.audit import Event
from learner.domain.case import Round, RoundState
from learner.operations import retry_round


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def answered(ward: Ward) -> np.ndarray:
    """A case with a first answer; its prediction."""
    assert ward.stored(ward.reader("Eva").draw([3, 8], now())).state is RoundState.ANSWERED
    (file,) = ward.shown()
    return read_annotation(file, ward.images).segments[0].mask_DHW


def reactions(ward: Ward, round_id: int = 1) -> dict[str, Any]:
    facts = ward.store.records.find_round(round_id).facts
    return facts.get("reactions", {})  # type: ignore[return-value]


def saved(ward: Ward, mask_DHW: np.ndarray, name: str = "Bob") -> Round:
    """A reader saves a mask, on all slices on which there is any of it."""
    slices = [int(i) for i in np.flatnonzero(mask_DHW.any(axis=(1, 2)))]
    return ward.stored(ward.reader(name, mask_DHW.astype(np.uint8)).draw(slices, now()))


def test_saved_again_as_it_was(ward: Ward) -> None:
    assert saved(ward, answered(ward)).state is RoundState.UNCHANGED
    assert reactions(ward) == {"2": {"kind": "unchanged", "share": 0.0, "slices": 0}}


def test_mended_on_a_slice(ward: Ward) -> None:
    mask_DHW = answered(ward)
    edited_DHW = mask_DHW.copy()
    edited_DHW[5, 2:5, 2:5] = True
    changed = np.count_nonzero(edited_DHW != mask_DHW)
    assert changed
    saved(ward, edited_DHW)
    told = reactions(ward)["2"]
    assert (told["kind"], told["slices"]) == ("edited", 1)
    assert told["share"] == pytest.approx(changed / np.count_nonzero(mask_DHW), abs=1e-3)
    (entry,) = ward.store.audit.entries(events=[Event.REACTION])
    assert (entry.round_id, entry.facts["where"], entry.facts["reader"]) == (1, "2", "Bob")


def test_slices_of_ones_own(ward: Ward) -> None:
    answered(ward)
    ward.stored(ward.reader("Bob", np.roll(ward.truth_DHW, 3, axis=1)).draw([5, 6], now()))
    told = reactions(ward)["2"]
    assert (told["kind"], told["slices"]) == ("drawn anew", 2)
    assert 0.1 < told["share"] <= 1.0


def test_a_deleted_prediction_is_a_rejected_answer(ward: Ward) -> None:
    answered(ward)
    (file,) = ward.shown()
    ward.archive.delete_series(str(dcmread(BytesIO(file)).SeriesInstanceUID))
    ward.worked()
    ward.worked()
    assert reactions(ward) == {"archive": {"kind": "rejected", "share": 0.0, "slices": 0}}
    assert len(ward.store.audit.entries(events=[Event.REACTION])) == 1


def test_a_study_that_was_deleted_as_a_whole_rejects_nothing(ward: Ward) -> None:
    answered(ward)
    for series in list(ward.archive.scan()):
        ward.archive.delete_series(series.series_instance_uid)
    ward.worked()
    assert reactions(ward) == {}


def test_an_answer_after_which_nothing_came_has_no_reaction(ward: Ward) -> None:
    answered(ward)
    ward.worked()
    assert reactions(ward) == {}
    assert ward.store.audit.entries(events=[Event.REACTION]) == ()


def test_the_record_says_who_drew_with_what_and_what_it_was_made_from(ward: Ward) -> None:
    answered(ward)
    ward.stored(ward.reader("Bob").draw([5], now()))
    first, second = ward.store.audit.entries(events=[Event.ANSWERED])
    assert (first.facts["reader"], second.facts["reader"]) == ("Eva", "Bob")
    assert first.facts["station"]["manufacturer"]
    assert second.facts["made_from"] == [first.facts["annotation"], second.facts["annotation"]]
    assert second.facts["said"] == {"drawn": [[0, 5]]}
    assert second.facts["propagator"]
    results = [r.sop_instance_uid for r in ward.store.records.results_of(2)]
    assert sorted(uid for uids in second.facts["results"].values() for uid in uids) == sorted(results)
    assert [e.round_id for e in ward.store.audit.entries(events=[Event.DELIVERED])] == [1, 2]
    assert ward.store.audit.verify().intact


def test_a_drawing_taken_back_and_one_not_understood_stand_in_the_record(ward: Ward) -> None:
    first = ward.reader("Eva").draw([3, 8], now())
    ward.stored(first)
    spleen = replace(SEGMENTS[0], name="Spleen", type=Code("78961009", "SCT", "Spleen"))
    ward.stored(Reader(ward.images, ward.truth_DHW, (spleen,), "Bob").draw([3], now()))
    (refused,) = ward.store.audit.entries(events=[Event.REFUSED])
    assert (refused.facts["reader"], refused.facts["code"]) == ("Bob", UnsupportedObject.code)
    ward.deleted(first)
    (entry,) = ward.store.audit.entries(events=[Event.WITHDRAWN])
    assert (entry.round_id, entry.facts) == (1, {"by": "", "where": "archive"})
    retry_round(ward.store, refused.round_id or 0, "Admin")
    assert ward.store.audit.newest(1)[0].facts == {"by": "Admin"}


def test_a_nudge_that_is_played_again_withdraws_nothing_that_is_there_and_nothing_twice(ward: Ward) -> None:
    first = ward.reader("Eva").draw([3, 8], now())
    instance = ward.stored(first).trigger_uid
    assert [ward.intake.look_for_deleted([instance, "none", "'; DROP TABLE rounds;--"]) for _ in range(20)] == [0] * 20
    ward.archive.delete_series(str(dcmread(BytesIO(first)).SeriesInstanceUID))
    assert [ward.intake.look_for_deleted([instance]) for _ in range(20)] == [1] + [0] * 19
    assert len(ward.store.audit.entries(events=[Event.WITHDRAWN])) == 1
