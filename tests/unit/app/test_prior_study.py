"""A patient who returns: the first answer to the new series is carried from the study that a reader drew on. In memory."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from node_harness import SEGMENTS, dice, now, phantom, with_attributes
from pydicom import dcmread

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.geometry import Geometry
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.read_series import read_series
from dicom_io.volume import ImageSeries
from learner.app.compute import Compute
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.patients import PatientLinks
from learner.app.priors import PriorStudies
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.demo.reader import Reader
from learner.domain.case import Round, RoundState
from learner.domain.contract import ContractNames
from learner.domain.job import JobKind
from learner.domain.prior import CarriedPrior, PriorStudy
from learner.domain.proxy import ProxyMask
from learner.domain.task import Label, MatchingRule, Task
from learner.propagation import make_propagator
from learner.storage.store import LocalStore, SystemClock

LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (1, 2, 3))
TASK = Task("prostate", "Prostate", (LABEL,), MatchingRule(("MR",)))
FIRST, RETURN = 1, 2
"""Numbers of two visits."""


class InPlace:
    """A carrier that copies what it is given, or that finds no match; remembers what it was asked."""

    def __init__(self, *, matches: bool = True) -> None:
        self.asked: list[PriorStudy] = []
        self._matches = matches

    def carry(self, prior: PriorStudy, image_DHW: np.ndarray, geometry: Geometry, label_count: int) -> CarriedPrior:
        del image_DHW, geometry
        self.asked.append(prior)
        if not self._matches:
            return CarriedPrior(None, 0.1, "the images do not match")
        soft = np.stack([prior.labels_DHW == number for number in range(label_count + 1)]).astype(np.float32)
        return CarriedPrior(ProxyMask(soft, np.full(prior.labels_DHW.shape, 0.6, np.float32), "prior-study"), 0.9)


class Practice:
    """An archive, and a node that answers what arrives in it."""

    def __init__(self, folder: Path, carrier: InPlace | None = None, *, linked: bool = True) -> None:
        self.archive, self.store, self.carrier = MemoryArchive(), LocalStore(folder), carrier or InPlace()
        self.hashed: list[str] = []
        tasks = TaskBook([TASK])
        images = SeriesImages(self.archive, 2**24)
        links = PatientLinks(self.store, self._key) if linked else None
        priors = PriorStudies(links, self.archive, self.store, images) if links is not None else None
        choice = TaskChoice(tasks, self.store, from_annotations=False)
        subjects = Subjects(self.archive, self.store, images, choice, ContractNames(), priors)
        networks = ServingNetworks(self.store, lambda _state, _count: pytest.fail("there is no model"))
        compute = Compute(subjects, self.store, make_propagator("nearest-copy"), networks, str, carrier=self.carrier)
        self.intake = Intake(self.archive, self.store, tasks, links)
        self.respond = Respond(self.archive, self.archive, self.store, compute, RespondSettings(), SystemClock())

    def _key(self, text: str) -> str:
        self.hashed.append(text)
        return f"hash {len(text)} {sum(text.encode())}"

    def visit(self, number: int, patient: str = "P4711", **attributes: str) -> tuple[ImageSeries, np.ndarray]:
        """A study arrives and is complete."""
        files, truth_DHW = phantom(slices=8, size=32, number=number)
        files = [with_attributes(file, PatientID=patient, **attributes) for file in files]
        for file in files:
            self.archive.store(file)
        self.archive.settle()
        self.worked()
        return read_series(files), truth_DHW

    def draw(self, images: ImageSeries, truth_DHW: np.ndarray, *slices: int) -> bytes:
        file = Reader(images, truth_DHW, SEGMENTS, "A").draw(list(slices), now())
        self.archive.store(file)
        self.worked()
        return file

    def delete(self, file: bytes) -> None:
        self.archive.delete_series(str(dcmread(BytesIO(file)).SeriesInstanceUID))

    def worked(self) -> None:
        self.intake.catch_up()
        self.intake.reconcile()
        while self.respond.run_once():
            pass

    def undrawn(self) -> list[Round]:
        """Rounds 0, oldest first."""
        return [r for r in reversed(self.store.queries.rounds()) if r.number == 0]

    def predictions(self, images: ImageSeries) -> list[str]:
        study = images.volume.series.study_instance_uid
        told = [s.series_description for s in self.archive.scan() if s.study_instance_uid == study]
        return [description for description in told if "prediction" in description]


@pytest.fixture
def practice(tmp_path: Path) -> Practice:
    return Practice(tmp_path)


def test_a_returning_patient_is_answered_before_anything_is_drawn_and_without_a_model(practice: Practice) -> None:
    practice.draw(*practice.visit(FIRST), 2, 4, 6)
    assert practice.undrawn() == [], "nothing could be said of the first visit"
    images, truth_DHW = practice.visit(RETURN)
    (round_,) = practice.undrawn()
    assert (round_.state, round_.checkpoint, round_.facts["drawn_slices"]) == (RoundState.ANSWERED, "", [])
    record = practice.store.files.get_record(round_.round_id)
    assert dice(record.labels_DHW, truth_DHW) > 0.85
    assert round_.facts["prior"] == {
        "case": 1,
        "study_instance_uid": practice.carrier.asked[0].study_instance_uid,
        "carried": True,
        "agreement": 0.9,
        "reason": "",
    }
    assert round_.facts["guidance"]
    (description,) = practice.predictions(images)
    assert description.endswith("earlier study")


def test_what_was_carried_is_no_drawing_and_is_not_learned_from(practice: Practice) -> None:
    practice.draw(*practice.visit(FIRST), 2, 4, 6)
    learned = practice.store.jobs.pending(JobKind.LEARN)
    images, truth_DHW = practice.visit(RETURN)
    (round_,) = practice.undrawn()
    record = practice.store.files.get_record(round_.round_id)
    assert (record.annotation, record.drawing) == (None, None)
    assert practice.store.jobs.pending(JobKind.LEARN) == learned
    practice.draw(images, truth_DHW, 3)
    drawn = practice.store.queries.rounds()[0]
    assert (drawn.number, drawn.facts["drawn_slices"], "prior" in drawn.facts) == (1, [3], False)


def test_the_newest_prior_study_is_taken(practice: Practice) -> None:
    first, truth_DHW = practice.visit(FIRST)
    practice.draw(first, truth_DHW, 2, 4, 6)
    second, _ = practice.visit(RETURN)
    practice.draw(second, truth_DHW, 3, 5)
    practice.visit(3)
    assert [prior.case_id for prior in practice.carrier.asked] == [1, 2]


def test_where_the_newest_has_lost_its_images_the_one_before_serves(practice: Practice) -> None:
    first, truth_DHW = practice.visit(FIRST)
    practice.draw(first, truth_DHW, 2, 4, 6)
    second, _ = practice.visit(RETURN)
    practice.draw(second, truth_DHW, 3, 5)
    practice.archive.delete_series(second.volume.series.series_instance_uid)
    practice.visit(3)
    assert [prior.case_id for prior in practice.carrier.asked] == [1, 1]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"patient": "P1"}, {"patient": "P2"}),
        ({"patient": ""}, {"patient": ""}),
        ({"patient": "0"}, {"patient": "0"}),
        ({"patient": "ANONYMOUS"}, {"patient": "ANONYMOUS"}),
        ({"IssuerOfPatientID": "A"}, {"IssuerOfPatientID": "B"}),
        ({"PatientBirthDate": "19500101"}, {"PatientBirthDate": "19710203"}),
    ],
    ids=["others", "empty", "zero", "anonymous", "another issuer", "another birth date"],
)
def test_others_are_not_taken_for_the_same_patient(practice: Practice, one: dict[str, str], other: dict[str, str]) -> None:
    practice.draw(*practice.visit(FIRST, **one), 2, 4, 6)
    practice.visit(RETURN, **other)
    assert practice.carrier.asked == []
    assert all(round_.state is RoundState.UNCHANGED for round_ in practice.undrawn())


def test_the_same_study_is_no_prior_study(practice: Practice) -> None:
    images, truth_DHW = practice.visit(FIRST)
    practice.draw(images, truth_DHW, 2, 4, 6)
    files, _ = phantom(slices=8, size=32, number=RETURN)
    study = images.volume.series.study_instance_uid
    for file in files:
        practice.archive.store(with_attributes(file, PatientID="P4711", StudyInstanceUID=study))
    practice.archive.settle()
    practice.worked()
    assert practice.undrawn() == []


def test_a_withdrawn_drawing_is_not_carried(practice: Practice) -> None:
    file = practice.draw(*practice.visit(FIRST), 2, 4, 6)
    practice.delete(file)
    practice.worked()
    practice.visit(RETURN)
    assert practice.carrier.asked == []
    assert practice.undrawn() == []


def test_a_withdrawal_that_is_not_answered_yet_holds_the_drawing_back(practice: Practice) -> None:
    images, truth_DHW = practice.visit(FIRST)
    file = practice.draw(images, truth_DHW, 2, 4, 6)
    practice.draw(images, truth_DHW, 5)
    study = "1.2.3.4"
    practice.store.records.set_patient(study, practice._key("patient\x1f\x1fP4711"))
    assert len(practice.store.records.drawn_before("prostate", study)) == 1
    practice.delete(file)
    practice.intake.reconcile()
    assert practice.store.records.drawn_before("prostate", study) == ()
    practice.worked()
    (latest,) = practice.store.records.drawn_before("prostate", study)
    assert latest.facts["drawn_slices"] == [5]


def test_another_task_is_not_carried(practice: Practice) -> None:
    practice.draw(*practice.visit(FIRST), 2, 4, 6)
    images, _ = practice.visit(RETURN)
    study = images.volume.series.study_instance_uid
    assert practice.store.records.drawn_before("prostate", study)
    assert practice.store.records.drawn_before("liver", study) == ()


def test_studies_that_do_not_match_leave_the_round_without_an_answer(tmp_path: Path) -> None:
    practice = Practice(tmp_path, InPlace(matches=False))
    practice.draw(*practice.visit(FIRST), 2, 4, 6)
    practice.visit(RETURN)
    (round_,) = practice.undrawn()
    assert (round_.state, round_.reason) == (
        RoundState.UNCHANGED,
        "no model serves this task yet, and the images do not match",
    )


def test_switched_off_nothing_is_linked_or_kept(tmp_path: Path) -> None:
    practice = Practice(tmp_path, linked=False)
    practice.draw(*practice.visit(FIRST), 2, 4, 6)
    practice.visit(RETURN)
    assert practice.undrawn() == []
    assert practice.store._database.rows("SELECT * FROM study_patients") == []


def test_nothing_of_a_patient_is_kept_but_the_keyed_hash(practice: Practice, tmp_path: Path) -> None:
    practice.draw(*practice.visit(FIRST, IssuerOfPatientID="HOSPITAL-9", PatientBirthDate="19500101"), 2, 4, 6)
    practice.visit(RETURN, IssuerOfPatientID="HOSPITAL-9", PatientBirthDate="19500101")
    assert practice.carrier.asked
    rows = practice.store._database.rows("SELECT * FROM study_patients")
    assert {row["patient_key"] for row in rows} == {practice._key("patient\x1fHOSPITAL-9\x1fP4711")}
    practice.store.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("apprentice.sqlite*"))
    assert not [word for word in (b"P4711", b"HOSPITAL-9", b"19500101") if word in kept]
    assert "P4711" not in repr(list(practice.archive.scan()))


def test_a_patient_whose_number_was_corrected_is_linked_anew(practice: Practice) -> None:
    records = practice.store.records
    records.set_patient("1.1", "a")
    records.set_patient("1.1", "b")
    assert [row["patient_key"] for row in practice.store._database.rows("SELECT * FROM study_patients")] == ["b"]
    records.set_patient("1.1", "")
    assert practice.store._database.rows("SELECT * FROM study_patients") == []
