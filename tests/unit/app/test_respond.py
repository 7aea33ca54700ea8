"""What becomes of a trigger whose answer cannot be made, or not yet, or not delivered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slices import make_slices, uids

from dicom_io.errors import (
    DicomIoError,
    EmptyAnnotation,
    InvalidObject,
    NotInPacs,
    PacsClosed,
    PacsError,
    PacsRefused,
    PacsUnavailable,
)
from dicom_io.pacs.memory import MemoryArchive
from learner.app.compute import Computation
from learner.app.respond import Respond, RespondSettings
from learner.app.results import ResultFile
from learner.app.subject import NothingNew, SourceAwaited
from learner.domain.case import Round, RoundState
from learner.domain.job import JobKind
from learner.domain.result_kinds import REFUSAL
from learner.errors import CorruptFile
from learner.operations import retry_round
from learner.ports import CaseRecord
from learner.storage.store import LocalStore


class Hands:
    """A clock that tests set."""

    time = 1000.0

    def now(self) -> float:
        return self.time


class Scene:
    """A store with one trigger, an archive, and a computation that a test writes."""

    def __init__(self, folder: Path, trigger: str = "trigger", series_uid: str = "9.1") -> None:
        self.clock = Hands()
        self.store = LocalStore(folder, clock=self.clock)
        self.archive = MemoryArchive()
        self.images = make_slices(3)
        self.source = uids(self.store_source())[1]
        self.outcome: Callable[[Round], Computation] = self.computed
        round_id = self.store.records.open_round(trigger, series_uid)
        assert round_id is not None
        self.round_id = round_id
        self.store.jobs.add(JobKind.RESPOND, round_id)
        self.respond = Respond(self.archive, self.archive, self.store, self, RespondSettings(attempts=3), self.clock)  # type: ignore[arg-type]

    def store_source(self) -> bytes:
        """The images that are answered."""
        (file,) = make_slices(1, series_uid="2.25.51", study_uid="2.25.1")
        self.archive.store(file)
        return file

    def answer(self, round_: Round) -> Computation:
        return self.outcome(round_)

    def raises(self, error: Exception) -> None:
        def outcome(_round: Round) -> Computation:
            raise error

        self.outcome = outcome

    def computed(self, _round: Round) -> Computation:
        case = self.store.records.case("liver", "2.25.1", self.source)
        sop_uid, series_uid = uids(self.images[0])
        result = ResultFile("prediction", sop_uid, series_uid, self.images[0])
        record = CaseRecord(None, None, np.zeros((2, 3, 4), dtype=np.uint8), None)
        return Computation(case.case_id, "liver", 1, "", "", [result], record, None, {"slices": 2})

    @property
    def state(self) -> str:
        return self.store.records.find_round(self.round_id).state

    @property
    def job(self) -> tuple[str, str]:
        (view,) = self.store.queries.jobs()
        return view.state, view.reason


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_an_answer_stands_in_the_archive_and_its_seconds_are_known(scene: Scene) -> None:
    assert scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("answered", "done")
    assert scene.archive.fetch(uids(scene.images[0])[0]) == scene.images[0]
    assert scene.store.records.find_round(scene.round_id).facts == {"slices": 2, "seconds_to_answer": 0.0}
    assert not scene.respond.run_once()


def test_what_cannot_be_understood_is_refused_with_its_reason(scene: Scene) -> None:
    scene.raises(EmptyAnnotation("object 1.2", "nothing is drawn", "Draw."))
    scene.respond.run_once()
    round_ = scene.store.records.find_round(scene.round_id)
    assert (round_.state, round_.reason) == (RoundState.REFUSED, "object 1.2: nothing is drawn. Draw.")
    assert scene.job[0] == "done"


class Reports:
    """Writes a report of every refusal."""

    def __init__(self, file: bytes) -> None:
        self.file = file

    def report(self, _round: Round, error: DicomIoError) -> ResultFile:
        assert error.remedy == "Draw."
        return ResultFile(REFUSAL, *uids(self.file), self.file)


def test_idle_time_is_used_while_there_is_nothing_to_answer(scene: Scene) -> None:
    idle: list[str] = []
    scene.respond = Respond(
        scene.archive,
        scene.archive,
        scene.store,
        scene,  # type: ignore[arg-type]
        RespondSettings(),
        scene.clock,
        idle=lambda: idle.append("idle"),
    )
    assert scene.respond.run_once()
    assert idle == []
    assert not scene.respond.run_once()
    assert idle == ["idle"]


def test_a_refusal_is_told_in_the_study_and_taken_back_once_the_round_is_answered(scene: Scene) -> None:
    (report,) = make_slices(1)
    scene.respond = Respond(
        scene.archive,
        scene.archive,
        scene.store,
        scene,
        RespondSettings(),
        scene.clock,
        Reports(report),  # type: ignore[arg-type]
    )
    scene.raises(EmptyAnnotation("object 1.2", "nothing is drawn", "Draw."))
    scene.archive.outage = PacsUnavailable("archive", "no answer", "Start it.")
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("refused", "ready")
    scene.archive.outage = None
    scene.clock.time += 60
    scene.respond.run_once()
    sop_uid, series_uid = uids(report)
    assert (scene.state, scene.job[0], scene.archive.fetch(sop_uid)) == ("refused", "done", report)
    assert scene.store.records.is_own_object(sop_uid)
    retry_round(scene.store, scene.round_id)
    scene.outcome = scene.computed
    scene.respond.run_once()
    assert scene.state == "answered"
    with pytest.raises(NotInPacs):
        scene.archive.find_series(series_uid)


@pytest.mark.parametrize(
    ("error", "state"),
    [(NothingNew("same"), "unchanged"), (NotInPacs("1.2", "gone", "Send it."), "withdrawn")],
)
def test_rounds_without_an_answer_are_closed(scene: Scene, error: Exception, state: str) -> None:
    scene.raises(error)
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == (state, "done")


def test_an_annotation_waits_for_its_images(scene: Scene) -> None:
    scene.raises(SourceAwaited("5.1", "its series is missing"))
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("waiting", "blocked")


def test_images_that_became_stable_in_the_meantime_are_not_waited_for(scene: Scene) -> None:
    """The log told of them between the look at the archive and the decision to wait."""
    for file in scene.images:
        scene.archive.store(file)
    scene.archive.settle()
    scene.raises(SourceAwaited(uids(scene.images[0])[1], "its series is still arriving"))
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("queued", "ready")


def test_an_archive_that_is_down_is_tried_again_later(scene: Scene) -> None:
    scene.archive.outage = PacsUnavailable("archive", "no answer", "Start it.")
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("computed", "ready")
    assert not scene.respond.run_once()
    scene.archive.outage = None
    scene.clock.time += 60
    scene.raises(AssertionError("what was decided is not computed again"))
    assert scene.respond.run_once()
    assert scene.state == "answered"


def test_an_archive_that_refuses_parks_the_job_where_an_operator_sees_it(scene: Scene) -> None:
    scene.archive.outage = PacsRefused("/instances", "too large", "Raise the limit.")
    scene.respond.run_once()
    assert scene.job[0] == "parked"
    assert "Raise the limit." in scene.job[1]
    scene.archive.outage = None
    scene.store.jobs.reopen(JobKind.RESPOND, scene.round_id)
    scene.respond.run_once()
    assert scene.state == "answered"


def test_an_unexpected_fault_is_tried_a_few_times_and_then_parked(scene: Scene) -> None:
    scene.raises(MemoryError())
    for _attempt in range(3):
        scene.clock.time += 60
        assert scene.respond.run_once()
    assert scene.job == ("parked", "unexpected MemoryError; the log has the traceback of round 1")
    assert scene.state == "queued"


@pytest.mark.parametrize(
    "error", [PacsUnavailable("archive", "no answer", "Start it."), PacsClosed("archive", "it answered 401", "Check.")]
)
def test_faults_of_the_archive_use_up_no_attempt(scene: Scene, error: PacsError) -> None:
    """However long it is away: an unexpected failure after that has all of its attempts still."""
    scene.archive.outage = error
    for _ in range(12):
        scene.clock.time += 60
        assert scene.respond.run_once()
        (view,) = scene.store.queries.jobs()
        assert (view.state, view.attempts, view.reason) == ("ready", 0, str(error))
        assert scene.store.overview.trouble()[0] == 1, "the page shows why it waits"
    scene.archive.outage = None
    scene.clock.time += 60
    scene.respond.run_once()
    assert scene.state == "answered"


def test_what_cannot_be_read_is_fetched_once_more_before_it_is_refused(scene: Scene) -> None:
    scene.raises(InvalidObject("object 1.2", "it is cut off", "Send it again."))
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("queued", "ready")
    scene.clock.time += 60
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("refused", "done")


def test_each_object_is_fetched_once_more(scene: Scene) -> None:
    for cut_off in ("drawing", "image", "other image"):
        scene.raises(InvalidObject(cut_off, "it is cut off", "Send it again."))
        scene.respond.run_once()
        assert (scene.state, scene.job[0]) == ("queued", "ready")
        scene.clock.time += 600
    scene.raises(InvalidObject("drawing", "it is cut off", "Send it again."))
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("refused", "done")


def test_what_was_cut_off_on_its_way_is_answered(scene: Scene) -> None:
    scene.raises(InvalidObject("object 1.2", "it is cut off", "Send it again."))
    scene.respond.run_once()
    scene.outcome = scene.computed
    scene.clock.time += 60
    scene.respond.run_once()
    assert scene.state == "answered"


def test_an_object_that_is_listed_and_not_given_was_not_deleted(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "2.25.51.1", "2.25.51")
    scene.raises(NotInPacs("/instances/x", "the archive has no such object", "It was deleted."))
    scene.respond.run_once()
    assert scene.state == "queued"
    scene.archive.delete_series("2.25.51")
    scene.clock.time += 60
    scene.respond.run_once()
    assert scene.state == "withdrawn"


def test_a_study_deleted_between_computation_and_delivery_does_not_come_back_as_results_alone(scene: Scene) -> None:
    def computed(round_: Round) -> Computation:
        answer = scene.computed(round_)
        scene.archive.delete_series(scene.source)
        return answer

    scene.outcome = computed
    scene.respond.run_once()
    assert (scene.state, scene.job[0]) == ("withdrawn", "done")
    assert list(scene.archive.scan()) == []
    assert list((scene.store.folder / "outbox").iterdir()) == []
    scene.store_source()
    scene.outcome = scene.computed
    retry_round(scene.store, scene.round_id)
    scene.respond.run_once()
    assert scene.state == "answered"
    assert scene.archive.fetch(uids(scene.images[0])[0]) == scene.images[0]


@pytest.mark.parametrize("hours", [-7, 7])
def test_a_clock_that_jumps_delays_nothing_and_makes_no_time_negative(scene: Scene, hours: float) -> None:
    scene.archive.outage = PacsUnavailable("archive", "no answer", "Start it.")
    scene.respond.run_once()
    scene.archive.outage = None
    scene.clock.time += 3600 * hours
    assert scene.respond.run_once(), "it is not waited for until the clock is where it was"
    assert scene.state == "answered"
    assert scene.store.records.find_round(scene.round_id).facts["seconds_to_answer"] == max(0.0, 3600.0 * hours)
    assert scene.store.queries.answer_seconds([1.0]).total_s >= 0


def test_a_job_that_ends_its_process_again_and_again_is_given_up_and_others_go_on(scene: Scene) -> None:
    """Killed for want of memory, say: nobody is left to say that it failed, but each beginning is counted."""

    class Killed(BaseException):
        pass

    def killed(_round: Round) -> Computation:
        raise Killed

    scene.outcome = killed
    for _ in range(3):
        with pytest.raises(Killed):
            scene.respond.run_once()
        scene.store.jobs.release_all(JobKind.RESPOND)
    assert scene.respond.run_once()
    assert scene.job[0] == "parked"
    assert "ended 3 times" in scene.job[1]
    retry_round(scene.store, scene.round_id)
    scene.outcome = scene.computed
    scene.respond.run_once()
    assert scene.state == "answered"


def test_pauses_grow_while_the_archive_is_down_and_are_never_the_same_twice(scene: Scene) -> None:
    scene.archive.outage = PacsUnavailable("archive", "no answer", "Start it.")
    pauses = []
    for _attempt in range(12):
        scene.clock.time += 100
        assert scene.respond.run_once()
        row = scene.store._database.row("SELECT not_before FROM jobs")
        assert row is not None
        pauses.append(row["not_before"] - scene.clock.time)
    assert pauses[0] < 1.1
    assert all(45 <= pause <= 60 for pause in pauses[-4:])
    assert len(set(pauses)) == len(pauses)


def test_a_damaged_file_parks_the_job_with_its_remedy_at_once(scene: Scene) -> None:
    scene.raises(CorruptFile("00000001.npz is damaged; restore the data folder from its backup"))
    assert scene.respond.run_once()
    assert scene.job == ("parked", "00000001.npz is damaged; restore the data folder from its backup")
