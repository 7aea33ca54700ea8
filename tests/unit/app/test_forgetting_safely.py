"""Forgetting survives being killed, work that is in hand, and an archive that is down; it never touches another study."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from learning_fakes import CountingTrainer, Stream, example, keys
from slices import make_slices, uids

from dicom_io.errors import PacsRefused, PacsUnavailable
from dicom_io.pacs.memory import MemoryArchive
from learner import operations
from learner.app import learn as learning
from learner.app.compute import Computation
from learner.app.forgetting import PAUSE_S, ForgottenStudies, Purge
from learner.app.gate import GateSettings
from learner.app.respond import Respond, RespondSettings
from learner.app.results import ResultFile
from learner.domain.case import Round, RoundState
from learner.domain.job import JobKind
from learner.ports import CaseRecord, LearnReport, ResultRecord
from learner.storage.store import LocalStore

NEVER_HELD = GateSettings(cases=0)


def named(text: str) -> str:
    """Of a case, the name of its example, by which trainers of these tests know it; of anything else, a hash."""
    return text.partition("/5.")[2] or hashlib.sha256(text.encode()).hexdigest()


class Hands:
    """A clock that tests set."""

    time = 1_000_000.0

    def now(self) -> float:
        return self.time


class Killed(BaseException):
    """The process is no more."""


def purge_of(
    store: LocalStore, archive: MemoryArchive | None = None, clock: Hands | None = None, forgets: list[str] | None = None
) -> Purge:
    def forget_examples(wanted: Collection[str]) -> int:
        if forgets is not None:
            forgets.extend(sorted(wanted))
        return len(wanted)

    return Purge(store, archive or MemoryArchive(), clock or Hands(), forget_examples)


def three_studies(folder: Path, names: Collection[str] = ("a", "b", "c"), settings: GateSettings = NEVER_HELD) -> Stream:
    """A case a study, ``1.a`` and so on, each answered and learned from."""
    stream = Stream(folder, settings)
    for name in names:
        stream.add(example(name), study=f"1.{name}")
        stream.run()
    return stream


def one_result(archive: MemoryArchive) -> str:
    """Puts an object into the archive; returns its series."""
    (file,) = make_slices(1)
    archive.store(file)
    return str(uids(file)[1])


def marked(store: LocalStore) -> list[str]:
    return [one.name for one in reversed(store.checkpoints.versions("liver")) if one.from_forgotten]


STEPS = ("forgotten.reduce", "remove_leftovers", "scrub", "forgotten.note_purged", "empty_log", "forgotten.settle")


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", STEPS)
def test_a_purge_that_is_killed_goes_on_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    stream = three_studies(tmp_path, ["a", "babirusa", "c"])
    store = stream.store
    store.take()
    ForgottenStudies(store, named).order("1.babirusa", why="asked")
    owner, _, name = step.rpartition(".")
    target = store.forgotten if owner else store
    original: Callable[..., Any] = getattr(target, name)

    def dies(*args: Any) -> None:
        if after:
            original(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(target, name, dies)
        with pytest.raises(Killed):
            purge_of(store).run_once()
    store.close()
    again, forgets = LocalStore(tmp_path), list[str]()
    again.take()
    stream.store = again
    assert purge_of(again, forgets=forgets).run_once()
    stream.learn = stream.new_process()
    stream.run()
    assert purge_of(again).run_once()
    (order,) = again.forgotten.all()
    assert (order.study_uid, order.keys, order.purged_at is None) == ("", (), False)
    assert again.forgotten.unfinished() == ()
    assert sorted(path.name for path in (tmp_path / "rounds").iterdir()) == ["00000001.npz", "00000003.npz"]
    assert marked(again) == ["liver-2", "liver-3", "liver-4"]
    assert stream.learned == ["a", "c"]
    assert not any(b"babirusa" in path.read_bytes() for path in tmp_path.glob("apprentice.sqlite*"))


def test_what_is_deleted_is_gone_from_the_database_s_files(tmp_path: Path) -> None:
    store = three_studies(tmp_path, ["aardvark", "b"]).store
    for round_id in (1, 2):
        store.records.note_facts(round_id, annotation_uid=f"2.25.77{round_id}", secret=f"bile duct {round_id}" * 500)
    store.records.set_patient("1.aardvark", "hash of a patient")
    store.records.set_series_digest("5.other", "1.aardvark", "digest of another series")
    (tmp_path / "apprentice.sqlite.schema-7").write_bytes(b"kept before an upgrade: aardvark")
    ForgottenStudies(store, lambda text: hashlib.sha256(text.encode()).hexdigest()).order("1.aardvark", why="asked")
    assert purge_of(store).run_once()
    found = b"".join(path.read_bytes() for path in tmp_path.glob("apprentice.sqlite*"))
    for gone in (b"2.25.771", b"bile duct 1", b"hash of a patient", b"5.other", b"aardvark"):
        assert gone not in found
    assert b"bile duct 2" in found


class Answers:
    """Computes an answer, while which somebody orders that its study be forgotten."""

    def __init__(self, store: LocalStore) -> None:
        self.store = store
        self.files = make_slices(1)

    def answer(self, _round: Round) -> Computation:
        case = self.store.records.case("liver", "1.1", "5.1")
        ForgottenStudies(self.store, named).order("1.1", why="asked")
        self.store.records.case("liver", "1.1", "5.1")  # made once more by the work in hand
        drawn = example("5.1").annotation
        record = CaseRecord(drawn, drawn, np.ones((2, 3, 4), dtype=np.uint8), None)
        result = ResultFile("prediction", *uids(self.files[0]), self.files[0])
        return Computation(case.case_id, "liver", 1, "Somebody", "", [result], record, example("5.1"), {"slices": 2})


def test_an_answer_in_hand_is_not_recorded_and_its_files_go(tmp_path: Path) -> None:
    store, archive, clock = LocalStore(tmp_path), MemoryArchive(), Hands()
    round_id = store.records.open_round("trigger", "9.1")
    assert round_id is not None
    store.records.note_facts(round_id, study_instance_uid="1.1")
    store.jobs.add(JobKind.RESPOND, round_id)
    respond = Respond(archive, archive, store, Answers(store), RespondSettings(), clock)  # type: ignore[arg-type]
    assert respond.run_once()
    assert len([path for path in tmp_path.rglob("*") if path.suffix in {".npz", ".dcm"}]) == 3
    assert purge_of(store).run_once()
    assert not respond.run_once()
    assert [path for path in tmp_path.rglob("*") if path.suffix in {".npz", ".dcm"}] == []
    assert (store.queries.cases_of_study("1.1"), store.queries.jobs("ready", "leased", "parked")) == ([], [])
    assert store.records.find_round(round_id).state is RoundState.FORGOTTEN
    assert list(archive.scan()) == []


@pytest.mark.parametrize("study", ["1.a", "1.b"])
def test_a_learn_job_in_hand_is_not_recorded_with_what_is_forgotten(tmp_path: Path, study: str) -> None:
    """Neither the job of the study's own example, nor one that goes on from a version that learned from it."""
    orders: list[str] = []

    class Slow(CountingTrainer):
        def learn(self, example: Any, steps: int, between_steps: Callable[[], None]) -> LearnReport:
            if orders:
                ForgottenStudies(stream.store, named).order(orders.pop(), why="asked")
            return super().learn(example, steps, between_steps)

    stream = Stream(tmp_path, NEVER_HELD, trainer=Slow)
    stream.add(example("a"), study="1.a")
    stream.run()
    orders.append(study)
    stream.add(example("b"), study="1.b")
    stream.run()
    assert stream.learned == (["b"] if study == "1.a" else ["a"])
    assert marked(stream.store) == (["liver-1", "liver-2", "liver-3"] if study == "1.a" else [])
    purge_of(stream.store).run_once()
    assert list((tmp_path / "examples").iterdir()) == []
    recorded = {tmp_path / one.path for one in stream.store.checkpoints.history("liver")}
    assert set((tmp_path / "checkpoints" / "liver").iterdir()) == recorded


def test_a_held_case_marks_nothing_and_its_example_goes(tmp_path: Path) -> None:
    (held,) = keys("hold", 1)
    stream = three_studies(tmp_path, [*keys("good", 1), held], GateSettings(cases=2, every=2))
    assert len(stream.held) == 1
    assert len(list((tmp_path / "examples").iterdir())) == 1
    ForgottenStudies(stream.store, named).order(f"1.{held}", why="asked")
    purge_of(stream.store).run_once()
    stream.run()
    assert (stream.held, marked(stream.store), list((tmp_path / "examples").iterdir())) == ([], [], [])
    assert stream.store.forgotten.all()[0].keys != ()
    assert purge_of(stream.store).run_once()
    assert stream.store.forgotten.all()[0].keys == ()


def test_versions_beside_the_one_that_learned_from_it_are_not_marked(tmp_path: Path) -> None:
    stream = three_studies(tmp_path, ["a", "b"])
    operations.roll_back(stream.store, "liver", "liver-1", retrain=True)
    stream.add(example("c"), study="1.c")
    stream.run()
    ForgottenStudies(stream.store, named).order("1.b", why="asked")
    stream.run()
    assert marked(stream.store) == ["liver-2"]


def test_nothing_of_other_studies_changes_whatever_is_forgotten(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    names = [*keys("hold", 6), *keys("good", 10)]
    rng.shuffle(names)
    stream = three_studies(tmp_path, names, GateSettings(cases=3, every=2))
    store = stream.store
    gone = set(rng.choice(names, 6, replace=False))

    def others() -> dict[str, object]:
        rounds = [one for one in store.queries.rounds(limit=1000) if one.state is not RoundState.FORGOTTEN]
        cases = {name: store.queries.cases_of_study(f"1.{name}") for name in names if name not in gone}
        mine = {case.case_id for found in cases.values() for case in found}
        lessons = [one for one in store.lessons.of_model("liver") if one.case_id in mine]
        files = {
            one.round_id: (tmp_path / "rounds" / f"{one.round_id:08d}.npz").read_bytes()
            for one in rounds
            if one.case_id in mine
        }
        return {"cases": cases, "lessons": lessons, "rounds": [one for one in rounds if one.case_id in mine], "files": files}

    before = others()
    for name in sorted(gone):
        ForgottenStudies(store, named).order(f"1.{name}", why="asked")
        purge_of(store).run_once()
    assert others() == before
    held = {f"{number:08d}.npz" for number in stream.held}
    assert {path.name for path in (tmp_path / "examples").iterdir()} == held
    stream.run()
    assert others() == before
    assert set(stream.learned) <= set(names) - gone


def test_what_was_carried_to_another_study_names_it_no_more(tmp_path: Path) -> None:
    store = three_studies(tmp_path, ["a", "b"]).store
    store.records.note_facts(2, prior={"case": 1, "study_instance_uid": "1.a"}, slices=7)
    ForgottenStudies(store, named).order("1.a", why="asked")
    assert store.records.find_round(2).facts == {"slices": 7}


def test_results_in_the_archive_are_deleted_once_it_answers(tmp_path: Path) -> None:
    store, archive, clock = three_studies(tmp_path).store, MemoryArchive(), Hands()
    series = one_result(archive)
    store.records.add_results([ResultRecord("8.1", series, 1, "prediction", "outbox/8.1.dcm", sent=True)])
    archive.outage = PacsUnavailable("archive", "no answer", "Start it.")
    ForgottenStudies(store, named).order("1.a", why="asked")
    purge = purge_of(store, archive, clock)
    assert not purge.run_once()
    (order,) = store.forgotten.all()
    assert (order.purged_at is not None, order.results) == (True, (series,))
    archive.outage = None
    assert not purge.run_once()
    clock.time += PAUSE_S
    assert purge.run_once()
    assert list(archive.scan()) == []
    assert (store.forgotten.all()[0].results, store.forgotten.all()[0].left) == ((), 0)


@pytest.mark.parametrize("how", ["kept", "cannot", "refuses"])
def test_results_may_stay_in_the_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    store, archive = three_studies(tmp_path).store, MemoryArchive()
    series = one_result(archive)
    store.records.add_results([ResultRecord("8.1", series, 1, "prediction", "outbox/8.1.dcm", sent=True)])
    monkeypatch.setattr(archive, "can_delete", how != "cannot")
    if how == "refuses":
        archive.outage = PacsRefused("archive", "no right", "Give it.")
    ForgottenStudies(store, named).order("1.a", why="asked", results=how != "kept")
    assert purge_of(store, archive).run_once()
    archive.outage = None
    assert [one.series_instance_uid for one in archive.scan()] == [series]
    (order,) = store.forgotten.all()
    assert (order.results, order.left) == ((), 0 if how == "kept" else 1)


def test_a_fault_is_told_and_tried_again_and_answers_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, clock = three_studies(tmp_path).store, Hands()
    ForgottenStudies(store, named).order("1.a", why="asked")
    purge = purge_of(store, clock=clock)
    with monkeypatch.context() as patch:
        patch.setattr(store, "scrub", lambda: (_ for _ in ()).throw(OSError("disk full")))
        assert not purge.run_once()
    assert not purge.run_once()
    clock.time += PAUSE_S
    assert purge.run_once()


def test_a_model_is_trained_anew_in_turns_and_goes_on_where_it_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "TURN_STEPS", 1)
    stream = three_studies(tmp_path)
    ForgottenStudies(stream.store, named).order("1.b", why="asked")
    operations.retrain(stream.store, "liver")
    assert stream.learn.run_once()  # it is forgotten first
    assert stream.learn.run_once()
    assert stream.learned == ["a"]
    stream.learn = stream.new_process()
    stream.add(example("d"), study="1.d")
    stream.learn.run_once()  # a new drawing goes before
    assert stream.learned == ["a", "d"]
    stream.run()
    head = stream.store.checkpoints.head("liver")
    assert head is not None
    assert (head.from_forgotten, [one.state for one in stream.store.queries.jobs("ready", "leased")]) == (False, [])
    (anew,) = [one for one in stream.store.checkpoints.versions("liver") if "learned_cases" in one.facts]
    assert (anew.parent, anew.facts["learned_cases"]) == ("", [1, 3])
    ForgottenStudies(stream.store, named).order("1.c", why="asked")
    assert {anew.name, head.name} <= set(marked(stream.store))


def test_training_anew_is_given_up_where_a_person_rolled_back_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "TURN_STEPS", 1)
    stream = three_studies(tmp_path)
    operations.retrain(stream.store, "liver")
    stream.learn.run_once()
    operations.roll_back(stream.store, "liver", "liver-2", retrain=True)
    stream.run()
    head = stream.store.checkpoints.head("liver")
    assert head is not None
    assert head.name == "liver-2"


def test_marked_versions_that_are_needed_are_not_dropped(tmp_path: Path) -> None:
    stream = three_studies(tmp_path)
    store = stream.store
    ForgottenStudies(store, named).order("1.b", why="asked")
    stream.run()
    head, serving = store.checkpoints.head("liver"), store.checkpoints.serving("liver")
    assert head is not None
    needed = {one.name for one in (head, serving) if one is not None and one.from_forgotten}
    dropped = {one.name for one in operations.drop_marked(store, "liver")}
    assert dropped == {"liver-2", "liver-3", "liver-4"} - needed
    assert store.checkpoints.read(head)
    with pytest.raises(operations.NothingToDrop, match="apprentice retrain liver"):
        operations.drop_marked(store, "liver")


def test_a_model_that_learned_from_nothing_else_begins_anew(tmp_path: Path) -> None:
    stream = three_studies(tmp_path, ["a"])
    store = stream.store
    ForgottenStudies(store, named).order("1.a", why="asked")
    stream.run()
    with pytest.raises(operations.NothingToRetrain, match="--drop-marked"):
        operations.retrain(store, "liver")
    operations.drop_marked(store, "liver")
    assert (store.checkpoints.head("liver"), store.checkpoints.serving("liver")) == (None, None)
    assert [path for path in (tmp_path / "checkpoints").rglob("*") if path.is_file()] == []
    stream.add(example("d"), study="1.d")
    stream.run()
    assert stream.learned == ["d"]
    assert not store.checkpoints.versions("liver")[0].from_forgotten
