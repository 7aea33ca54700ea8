"""What readers say of one case over several rounds: added up, taken back, disagreed upon, refused. In memory, no network."""

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
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from learner.app.compute import Compute
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.refusal import Refusals
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.demo.reader import Reader
from learner.domain.case import Round, RoundState
from learner.domain.contract import ContractNames
from learner.domain.task import Label, MatchingRule, Task
from learner.propagation import make_propagator
from learner.storage.store import LocalStore, SystemClock

LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (1, 2, 3))
TASK = Task("prostate", "Prostate", (LABEL,), MatchingRule(("MR",)))


class Ward:
    """An archive with one series, readers of it, and a node that answers them."""

    def __init__(self, folder: Path, *task: Task, from_annotations: bool = False, archive: MemoryArchive | None = None) -> None:
        self.archive, self.store = archive or MemoryArchive(), LocalStore(folder)
        self.tasks = tasks = TaskBook(task or [TASK])
        files, self.truth_DHW = phantom(slices=12, size=32)
        for file in files:
            self.archive.store(file)
        self.archive.settle()
        self.images = read_series(files)
        self.intake = Intake(self.archive, self.store, tasks)
        choice = TaskChoice(tasks, self.store, from_annotations=from_annotations)
        subjects = Subjects(self.archive, self.store, SeriesImages(self.archive, 2**24), choice, ContractNames())
        networks = ServingNetworks(self.store, lambda *_: pytest.fail("there is no model"))
        compute = Compute(subjects, self.store, make_propagator("chained-flow"), networks, str)
        self.respond = Respond(
            self.archive, self.archive, self.store, compute, RespondSettings(), SystemClock(), Refusals(self.archive, tasks)
        )

    def reader(self, name: str, truth_DHW: np.ndarray | None = None) -> Reader:
        return Reader(self.images, self.truth_DHW if truth_DHW is None else truth_DHW, SEGMENTS, name)

    def stored(self, file: bytes) -> Round:
        """An object is stored and dealt with."""
        self.archive.store(file)
        return self.worked()

    def worked(self) -> Round:
        """The latest round, once everything that arrived is dealt with."""
        self.intake.catch_up()
        self.intake.reconcile()
        while self.respond.run_once():
            pass
        return self.store.queries.rounds()[0]

    def deleted(self, file: bytes) -> Round:
        self.archive.delete_series(str(dcmread(BytesIO(file)).SeriesInstanceUID))
        return self.worked()

    def shown(self, kind: str = "SEG") -> list[bytes]:
        """Results of that modality in the archive."""
        own = [series for series in self.archive.scan() if self.store.records.is_own_series(series.series_instance_uid)]
        return [self.archive.fetch(one) for series in own if series.modality == kind for one in series.instance_ids]


@pytest.fixture
def ward(tmp_path: Path) -> Ward:
    return Ward(tmp_path)


def test_a_withdrawn_drawing_leaves_what_the_others_said(ward: Ward) -> None:
    first, second = (ward.reader("A").draw(slices, now()) for slices in ([3, 6], [8]))
    assert ward.stored(first).facts["drawn_slices"] == [3, 6]
    assert ward.stored(second).facts["drawn_slices"] == [3, 6, 8]
    round_ = ward.deleted(first)
    assert (round_.state, round_.number) == (RoundState.ANSWERED, 3)
    assert (round_.facts["drawn_slices"], round_.facts["withdrawn_round"]) == ([8], 1)
    assert ward.store.records.find_round(1).facts["withdrawn"] is True
    again = ward.stored(first)
    assert (again.state, again.facts["drawn_slices"]) == (RoundState.ANSWERED, [3, 6, 8])


def test_a_drawing_saved_twice_stays_while_one_of_the_two_is_there(ward: Ward) -> None:
    first, again = (ward.reader("A").draw([3, 6], now()) for _ in range(2))
    ward.stored(first)
    assert ward.stored(again).state is RoundState.UNCHANGED
    ward.deleted(first)
    states = {r.trigger_uid: (r.state, r.facts.get("drawn_slices")) for r in ward.store.queries.rounds()}
    assert states["withdrawal of round 1"] == (RoundState.ANSWERED, [3, 6])
    assert list(states.values()).count((RoundState.ANSWERED, [3, 6])) == 3, "the first, the second, and the withdrawal"
    assert ward.deleted(again).state is RoundState.UNCHANGED
    assert ward.shown() == []


def test_when_the_last_drawing_is_withdrawn_its_answer_goes_too(ward: Ward) -> None:
    drawing = ward.reader("A").draw([3, 6], now())
    ward.stored(drawing)
    assert ward.shown()
    round_ = ward.deleted(drawing)
    assert round_.state is RoundState.UNCHANGED
    assert ward.shown() == []


def test_readers_who_disagree_are_both_heard(ward: Ward) -> None:
    larger_DHW = np.roll(ward.truth_DHW, 3, axis=2)
    ward.stored(ward.reader("A").draw([4, 6], now()))
    round_ = ward.stored(ward.reader("B", larger_DHW).draw([6], now()))
    example = ward.store.files.get_example(round_.round_id)
    assert example.agreement_DHW is not None
    differ_DHW = np.zeros(ward.truth_DHW.shape, bool)
    differ_DHW[6] = ward.truth_DHW[6] != larger_DHW[6]
    assert np.array_equal(example.agreement_DHW < 1, differ_DHW)
    assert np.allclose(example.agreement_DHW[differ_DHW], 0.5, atol=0.01)
    assert set(example.annotation.readers) == {"A", "B"}
    assert np.array_equal(example.annotation.labels_DHW[6], larger_DHW[6]), "the newer drawing is what the answer shows"


def test_a_prediction_saved_again_is_recorded_as_unchanged(ward: Ward) -> None:
    ward.stored(ward.reader("A").draw([3, 6, 8], now()))
    (prediction,) = [file for file in ward.shown() if b"PREDICTION" in file]
    round_ = ward.stored(ward.reader("").edit(prediction, [], now()))
    assert round_.state is RoundState.UNCHANGED
    assert round_.facts["edited"] is True


def test_an_edited_prediction_says_how_much_was_changed(ward: Ward) -> None:
    ward.stored(ward.reader("A").draw([3, 8], now()))
    (prediction,) = [file for file in ward.shown() if b"PREDICTION" in file]
    moved_DHW = np.roll(ward.truth_DHW, 3, axis=1)
    round_ = ward.stored(ward.reader("", moved_DHW).edit(prediction, [5], now()))
    assert (round_.state, round_.facts["edited"], round_.facts["drawn_slices"]) == (RoundState.ANSWERED, True, [3, 5, 8])
    assert 0 < float(str(round_.facts["share_changed"])) < 0.5


def test_a_complete_object_makes_the_whole_case_known(ward: Ward) -> None:
    drawing = dcmread(BytesIO(ward.reader("A").draw(range(3, 9), now())))
    drawing.SeriesDescription = "Prostate, complete"
    buffer = BytesIO()
    drawing.save_as(buffer)
    round_ = ward.stored(buffer.getvalue())
    kinds = {index: kind for axis, index, kind in round_.facts["planes"] if axis == 0}  # type: ignore[attr-defined]
    assert sorted(kinds) == list(range(12))
    assert {kinds[index] for index in (0, 1, 2, 9, 10, 11)} == {PlaneKind.ABSENT}


def test_why_an_object_was_not_understood_stands_in_its_study_until_it_is(ward: Ward) -> None:
    stranger = dcmread(BytesIO(ward.reader("A").draw([3, 6], now())))
    for item in stranger.SegmentSequence:
        item.SegmentLabel = "something else"
        item.SegmentedPropertyTypeCodeSequence[0].CodeValue = "0000"
    buffer = BytesIO()
    stranger.save_as(buffer)
    round_ = ward.stored(buffer.getvalue())
    assert round_.state is RoundState.REFUSED
    (report,) = ward.shown("SR")
    told = [str(item.TextValue) for item in dcmread(BytesIO(report)).ContentSequence if "TextValue" in item]
    assert "none of its 1 segments has the code or the name of a label" in told
    assert any("prostate: Prostate" in line for line in told)
    assert ward.worked().state is RoundState.REFUSED, "the report is no annotation"


def test_what_nobody_is_answered_about_is_not_reported(ward: Ward) -> None:
    """An annotation of images that no task is about is somebody else's."""
    drawing = ward.reader("A").draw([3, 6], now())
    ward.tasks.add(Task("prostate", "Prostate", (LABEL,), MatchingRule(("CT",))))
    assert ward.stored(drawing).state is RoundState.REFUSED
    assert ward.shown("SR") == []


def test_the_answer_shows_every_reader_its_own_slices(ward: Ward) -> None:
    ward.stored(ward.reader("A").draw([3, 6], now()))
    ward.stored(ward.reader("B").draw([8], now()))
    (prediction,) = [file for file in ward.shown() if b"PREDICTION" in file]
    (segment,) = read_annotation(prediction, ward.images).segments
    for index in (3, 6, 8):
        assert np.array_equal(segment.mask_DHW[index], ward.truth_DHW[index] > 0)
