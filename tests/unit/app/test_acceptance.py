"""Accepting and withdrawing, from what a reader says to the round that follows; a real round trip through DICOM, in memory."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from node_harness import SEGMENTS, now, phantom
from pydicom import dcmread

from dicom_io.annotation import PlaneKind
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.read_series import read_series
from dicom_io.viewer_lint import Severity, lint
from learner.app.acceptance import Acceptance, NothingToAccept
from learner.app.compute import Compute
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.app.withdrawal import NothingToWithdraw, NotTheirDrawing, withdraw
from learner.demo.reader import Reader
from learner.domain.audit import Event
from learner.domain.case import Case, Round, RoundState
from learner.domain.contract import ContractNames
from learner.domain.gate import score_case
from learner.domain.task import Label, MatchingRule, Task
from learner.propagation import make_propagator
from learner.storage.store import LocalStore, SystemClock

LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (1, 2, 3))
TASK = Task("prostate", "Prostate", (LABEL,), MatchingRule(("MR",)))
EVERY = list(range(12))


class Clinic:
    """An archive with one series, and nodes that answer what is drawn on it."""

    def __init__(self, folder: Path, archive: MemoryArchive | None = None) -> None:
        files, self.truth_DHW = phantom(slices=12, size=32)
        self.archive = archive or MemoryArchive()
        for file in files if archive is None else ():
            self.archive.store(file)
        self.archive.settle()
        self.store, tasks = LocalStore(folder), TaskBook([TASK])
        self.images = read_series(files)
        self.intake = Intake(self.archive, self.store, tasks)
        images = SeriesImages(self.archive, 2**24)
        choice = TaskChoice(tasks, self.store, from_annotations=False)
        subjects = Subjects(self.archive, self.store, images, choice, ContractNames())
        networks = ServingNetworks(self.store, lambda *_: pytest.fail("there is no model"))
        compute = Compute(subjects, self.store, make_propagator("chained-flow"), networks, str)
        self.respond = Respond(self.archive, self.archive, self.store, compute, RespondSettings(), SystemClock())
        self.acceptance = Acceptance(self.archive, self.archive, self.store, images, tasks, "reviewed", SystemClock())

    def drawn(self, *slices: int, name: str = "A") -> Round:
        self.archive.store(Reader(self.images, self.truth_DHW, SEGMENTS, name).draw(list(slices), now()))
        return self.worked()

    def worked(self) -> Round:
        self.intake.catch_up()
        self.intake.reconcile()
        while self.respond.run_once():
            pass
        return self.store.queries.rounds()[0]

    def accepted(self, of: Round, slices: list[int] | None = None, reader: str = "B") -> Round:
        self.acceptance.accept(self.case, of.round_id, slices, reader)
        return self.worked()

    @property
    def case(self) -> Case:
        return self.store.records.find_case(1)

    def kinds(self, round_: Round) -> dict[int, str]:
        return {index: str(kind) for _, index, kind in round_.facts["planes"]}  # type: ignore[attr-defined]

    def acceptances(self) -> list[bytes]:
        found = [one for one in self.archive.scan() if " accepted r" in one.series_description]
        return [self.archive.fetch(name) for one in found for name in one.instance_ids]


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    return Clinic(tmp_path)


def test_accepted_slices_are_confirmed_as_they_were_shown_and_no_others(clinic: Clinic) -> None:
    first = clinic.drawn(3, 6, 8)
    shown_DHW = clinic.store.files.get_record(first.round_id).labels_DHW
    second = clinic.accepted(first, [0, 5])
    assert (second.state, second.number, second.reader) == (RoundState.ANSWERED, 2, "B")
    assert clinic.kinds(second) == {0: "confirmed", 3: "drawn", 5: "confirmed", 6: "drawn", 8: "drawn"}
    assert second.facts["accepted"] is True
    reactions = clinic.store.records.find_round(first.round_id).facts["reactions"]
    assert reactions == {str(second.round_id): {"kind": "confirmed", "share": 0.0, "slices": 2}}
    (entry,) = clinic.store.audit.entries(events=[Event.ACCEPTED])
    assert (entry.round_id, entry.facts["by"], entry.facts["slices"]) == (first.round_id, "B", 2)
    drawing = clinic.store.files.get_record(second.round_id).drawing
    assert drawing is not None
    assert drawing.planes_of() == (0, 5)
    assert np.array_equal(drawing.labels_DHW[5], shown_DHW[5])
    assert shown_DHW[5].any()
    assert not drawing.labels_DHW[0].any()
    assert drawing.known_LDHW[0, [0, 5]].all()


def test_a_whole_answer_is_accepted_and_what_was_drawn_stays_drawn(clinic: Clinic) -> None:
    first = clinic.drawn(3, 6, 8)
    second = clinic.accepted(first)
    assert clinic.kinds(second) == {index: "drawn" if index in (3, 6, 8) else "confirmed" for index in EVERY}
    assert second.facts["guidance"] == []
    before, after = (clinic.store.files.get_record(r.round_id).labels_DHW for r in (first, second))
    assert np.array_equal(before, after)


def test_an_acceptance_is_nothing_that_a_version_is_judged_by(clinic: Clinic) -> None:
    first = clinic.drawn(3, 6)
    example = clinic.store.files.get_example(clinic.accepted(first).round_id)
    perfect = np.stack([clinic.truth_DHW == 0, clinic.truth_DHW == 1]).astype(np.float32)
    assert score_case(example, perfect).slices == 2  # type: ignore[arg-type]


def test_the_object_says_who_accepted_and_that_a_machine_drew(clinic: Clinic) -> None:
    clinic.accepted(clinic.drawn(3, 6, 8), [4, 5], reader="Doe^Jane")
    (file,) = clinic.acceptances()
    dataset = dcmread(BytesIO(file))
    assert str(dataset.ContentCreatorName) == "Doe^Jane"
    assert [(s.SegmentLabel, s.SegmentAlgorithmType) for s in dataset.SegmentSequence] == [
        ("Prostate", "SEMIAUTOMATIC"),
        ("reviewed", "MANUAL"),
    ]
    assert dataset.NumberOfFrames == 4
    assert not [finding for finding in lint(file, clinic.images) if finding.severity is Severity.ERROR]


@pytest.mark.parametrize("slices", [[0, 4, 5], None])
def test_a_node_that_lost_its_data_reads_it_as_accepted_and_never_as_drawn(
    clinic: Clinic, tmp_path: Path, slices: list[int] | None
) -> None:
    clinic.accepted(clinic.drawn(3, 6, 8), slices)
    for series in list(clinic.archive.scan()):
        if series.modality != "MR" and " accepted r" not in series.series_description:
            clinic.archive.delete_series(series.series_instance_uid)
    again = Clinic(tmp_path / "again", clinic.archive)
    found = again.worked()
    assert (found.state, found.facts["drawn_slices"]) == (RoundState.ANSWERED, [])
    assert again.kinds(found) == dict.fromkeys(slices or EVERY, str(PlaneKind.CONFIRMED))


def test_the_same_acceptance_twice_is_one_object(clinic: Clinic) -> None:
    first = clinic.drawn(3, 6, 8)
    for _ in range(2):
        clinic.acceptance.accept(clinic.case, first.round_id, [5], "B")
    assert len(clinic.acceptances()) == 1


def test_only_the_newest_answer_is_accepted_and_only_what_is_not_known(clinic: Clinic) -> None:
    with pytest.raises(NothingToAccept, match="no answer"):
        clinic.acceptance.accept(Case(9, "prostate", "1.1", "1.2"), 1, None, "")
    first = clinic.drawn(3, 6)
    for slices, why in (([3], "drawn or accepted already"), ([12], "no such slices"), ([], "no such slices")):
        with pytest.raises(NothingToAccept, match=why):
            clinic.acceptance.accept(clinic.case, first.round_id, slices, "")
    clinic.drawn(8)
    with pytest.raises(NothingToAccept, match="newer answer"):
        clinic.acceptance.accept(clinic.case, first.round_id, [5], "")
    assert clinic.acceptances() == []


def test_a_withdrawn_drawing_counts_no_more_though_its_object_stays(clinic: Clinic) -> None:
    first, second = clinic.drawn(3, 6), clinic.drawn(8)
    withdraw(clinic.store, second, "A")
    third = clinic.worked()
    assert (third.state, third.facts["drawn_slices"], third.facts["withdrawn_round"]) == (RoundState.ANSWERED, [3, 6], 2)
    assert clinic.worked().round_id == third.round_id, "the object is still there, and is not taken in again"
    assert [r.round_id for r in clinic.store.records.in_effect()] == [first.round_id]
    with pytest.raises(NothingToWithdraw):
        withdraw(clinic.store, clinic.store.records.find_round(second.round_id), "A")


def test_an_acceptance_is_withdrawn_like_a_drawing(clinic: Clinic) -> None:
    second = clinic.accepted(clinic.drawn(3, 6, 8), [5])
    withdraw(clinic.store, second, "B")
    third = clinic.worked()
    assert clinic.kinds(third) == {3: "drawn", 6: "drawn", 8: "drawn"}
    assert clinic.kinds(clinic.accepted(third, [5]))[5] == "confirmed", "and may be said again"


def test_with_the_last_drawing_its_answer_goes(clinic: Clinic) -> None:
    withdraw(clinic.store, clinic.drawn(3, 6), "")
    assert clinic.worked().state is RoundState.UNCHANGED
    assert not [one for one in clinic.archive.scan() if "prediction" in one.series_description]


def test_a_drawing_is_taken_back_by_its_reader_alone(clinic: Clinic) -> None:
    drawn = clinic.drawn(3, 6, name="A")
    with pytest.raises(NotTheirDrawing):
        withdraw(clinic.store, drawn, "B")
    withdraw(clinic.store, drawn, "a")
