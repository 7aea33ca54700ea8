"""Runs on generated cases, with a learner of a few numbers."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from learners import Bench

from learner.errors import ConfigurationError
from learner.evaluation import summary
from learner.evaluation.modes import Mode, Order, ReaderKind
from learner.evaluation.plots import write_plots
from learner.evaluation.report import write_report
from learner.evaluation.results import CaseResult
from learner.evaluation.run import Progress
from learner.evaluation.runs import Finished, compute, folder_of, read
from learner.evaluation.settings import ReaderSettings, RunSettings, read_tasks
from learner.evaluation.streams import TaskData

CASE_FIELDS = [
    "case",
    "drawn_slices",
    "object_slices",
    "contour_share",
    "extent_marks",
    "rounds",
    "network_dice_before",
    "proxy_dice",
    "answer_dice",
    "seconds_per_answer",
]


@pytest.fixture
def settings(blob_folders: Path) -> RunSettings:
    task = TaskData("blob", blob_folders / "images", blob_folders / "labels", slices=4, stream=4, test=2)
    return RunSettings((task,), seed=1, test_every=2)


def play(settings: RunSettings, folder: Path) -> tuple[Finished, Bench]:
    bench = Bench()
    return compute(settings, folder, bench.makers, lambda _: None), bench


def untimed(run: Finished) -> list[CaseResult]:
    quiet = [tuple(replace(entry, seconds=0.0) for entry in case.curve) for case in run.cases]
    unclocked = {"seconds_per_answer": 0.0, "seconds_learning": 0.0, "rss_mb": 0.0, "peak_mb": 0.0}
    return [replace(case, curve=curve, **unclocked) for case, curve in zip(run.cases, quiet, strict=True)]


def test_the_loop_answers_learns_and_tests(settings: RunSettings, tmp_path: Path) -> None:
    run, bench = play(settings, tmp_path / "run")
    assert [case.case for case in run.cases] == ["blob0", "blob1", "blob2", "blob3"]
    assert run.cases[0].network_dice_before is None
    for case, example in zip(run.cases, bench.trainers[0].examples, strict=True):
        assert (case.drawn_slices, case.extent_marks, case.rounds) == (4, 2, 2)
        assert [entry.effort.drawn_slices for entry in case.curve] == [2, 4]
        assert case.curve[-1].effort.clicks == 2
        assert 0.3 < case.contour_share < 0.7
        assert len(example.annotation.planes_of(axis=0)) == 6
        assert case.curve[-1].effort.reading_seconds < case.whole.reading_seconds
        assert min(case.answer_dice.values()) > 0.85
        assert min(case.answer_nsd.values()) > 0.85
        assert 0 <= case.calibration.error < 0.5
        assert case.seconds_per_answer > 0
        assert min(case.rss_mb, case.peak_mb) > 0
    assert min(run.cases[3].network_dice_before.values()) > 0.7
    assert sorted({(t.after, t.case) for t in run.tests}) == [(2, "blob4"), (2, "blob5"), (4, "blob4"), (4, "blob5")]
    assert all((t.nsd is not None) == (t.after == 4) for t in run.tests)


def test_no_test_case_is_learned_from(settings: RunSettings, tmp_path: Path) -> None:
    for mode in (Mode.SPARSE, Mode.OFFLINE):
        _, bench = play(replace(settings, mode=mode), tmp_path / mode)
        images = [example.image_DHW for example in bench.trainers[0].examples]
        tests = [settings.tasks[0].folders.load(name).image_DHW for name in ("blob4", "blob5")]
        assert len(images) == 4
        assert not any(np.array_equal(image, test) for image in images for test in tests)


class BrokenOff(Exception):
    """Somebody pulled the plug."""


@pytest.mark.parametrize("unit", [1, 2, 3])
def test_a_run_that_was_broken_off_ends_as_if_it_had_not_been(settings: RunSettings, tmp_path: Path, unit: int) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == unit:
            raise BrokenOff

    whole, _ = play(settings, tmp_path / "whole")
    with pytest.raises(BrokenOff):
        compute(settings, tmp_path / "broken", Bench().makers, stop)
    assert read(settings, tmp_path / "broken") is None
    with (tmp_path / "broken" / "cases.jsonl").open("a") as file:
        file.write('{"case": "half a li')
    resumed, bench = play(settings, tmp_path / "broken")
    assert len(bench.trainers[0].examples) == 4 - unit
    assert untimed(resumed) == untimed(whole)
    assert resumed.tests == whole.tests


def test_a_finished_run_is_not_played_again(settings: RunSettings, tmp_path: Path) -> None:
    first, _ = play(settings, folder_of(settings, tmp_path))
    again, bench = play(settings, folder_of(settings, tmp_path))
    assert bench.trainers == []
    assert again.cases == first.cases
    assert not list(first.path.glob("state-*"))
    fresh = Bench()
    compute(settings, folder_of(settings, tmp_path), fresh.makers, lambda _: None, fresh=True)
    assert len(fresh.trainers[0].examples) == 4


def test_the_digest_names_what_decides_the_figures(settings: RunSettings, tmp_path: Path) -> None:
    task = settings.tasks[0]
    others = [
        replace(settings, seed=2),
        replace(settings, mode=Mode.FULL),
        replace(settings, training=(("proxy_weight", 0.0),)),
        replace(settings, reader=ReaderSettings(jitter=1.0)),
        replace(settings, tasks=(replace(task, stream=3),)),
        replace(settings, tasks=(replace(task, slices=3),)),
    ]
    folders = {folder_of(s, tmp_path) for s in [settings, *others]}
    assert len(folders) == 7
    assert str(task.images.parent) not in json.dumps(settings.described())


def test_modes_make_as_many_updates(settings: RunSettings, tmp_path: Path) -> None:
    steps = {}
    for mode in (Mode.FULL, Mode.OFFLINE, Mode.CONVERGED, Mode.JOINT):
        _, bench = play(replace(settings, mode=mode, converged_factor=3, first_steps=20), tmp_path / mode)
        steps[mode] = bench.trainers[0].steps
        assert all(example.annotation.known_DHW.all() for example in bench.trainers[0].examples)
    assert steps == {Mode.FULL: 80, Mode.OFFLINE: 80, Mode.CONVERGED: 240, Mode.JOINT: 80}


def test_without_learning_there_is_no_network(settings: RunSettings, tmp_path: Path) -> None:
    run, bench = play(replace(settings, mode=Mode.ANSWERS_ONLY), tmp_path / "run")
    assert bench.trainers == []
    assert run.tests == ()
    assert all(case.network_dice_before is None and case.answer_dice == case.proxy_dice for case in run.cases)


def test_a_satisfied_reader_stops(settings: RunSettings, tmp_path: Path) -> None:
    eager = replace(settings, rounds=4, satisfied_at=0.5)
    run, _ = play(eager, tmp_path / "run")
    assert all(case.rounds < 4 for case in run.cases)
    assert all(summary.overall(case.answer_dice) >= 0.5 for case in run.cases)


@pytest.mark.parametrize("kind", [ReaderKind.LAZY, ReaderKind.JITTER])
def test_other_readers(settings: RunSettings, tmp_path: Path, kind: ReaderKind) -> None:
    run, bench = play(replace(settings, reader=ReaderSettings(kind)), tmp_path / "run")
    drawn = 2 if kind is ReaderKind.LAZY else 4
    assert all(case.drawn_slices == drawn for case in run.cases)
    assert all(case.extent_marks == (0 if kind is ReaderKind.LAZY else 2) for case in run.cases)
    truth = settings.tasks[0].folders.load("blob0").labels_DHW
    annotation = bench.trainers[0].examples[0].annotation
    same = np.array_equal(annotation.labels_DHW[annotation.known_DHW], truth[annotation.known_DHW])
    assert same == (kind is ReaderKind.LAZY)


def test_a_stream_that_is_played_again_is_varied(settings: RunSettings, tmp_path: Path) -> None:
    run, bench = play(replace(settings, length=6), tmp_path / "run")
    assert [case.case for case in run.cases] == ["blob0", "blob1", "blob2", "blob3", "blob0", "blob1"]
    first, again = bench.trainers[0].examples[0], bench.trainers[0].examples[4]
    assert first.key != again.key
    assert not np.array_equal(first.image_DHW, again.image_DHW)


def test_tasks_one_after_the_other(settings: RunSettings, tmp_path: Path) -> None:
    task = replace(settings.tasks[0], stream=2)
    two = replace(settings, tasks=(task, replace(task, name="other")), order=Order.TASKS, test_every=99)
    run, _ = play(two, tmp_path / "run")
    scores = summary.stage_matrix(run.tests, run.stream.stage_ends)
    assert run.stream.stages == ("blob", "other")
    assert np.isnan(scores).tolist() == [[False, True], [False, False]]
    path, _ = write_report(run, tmp_path / "report.json")
    stages = json.loads(path.read_text())["stages"]
    assert stages["names"] == ["blob", "other"]
    assert stages["R"][0][1] is None
    assert stages["BWT"] == pytest.approx(0.0)
    assert [file.name for file in write_plots(run, tmp_path, "r")] == ["r-learning.png", "r-interaction.png", "r-stages.png"]


def test_the_report_keeps_its_form(settings: RunSettings, tmp_path: Path) -> None:
    run, _ = play(settings, tmp_path / "run")
    path, table = write_report(run, tmp_path / "deep" / "report.json")
    document = json.loads(path.read_text())
    assert list(document)[:3] == ["cases", "network_test", "settings"]
    assert all(list(case)[: len(CASE_FIELDS)] == CASE_FIELDS for case in document["cases"])
    assert set(document["network_test"]["dice"]) == set(document["cases"][0]["answer_dice"]) == {"1", "2"}
    assert document["cases"][0]["network_dice_before"] is None
    assert set(document["network_test"]["learning_curve"]) == {"2", "4"}
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    assert float(rows[3]["answer_dice_2"]) == document["cases"][3]["answer_dice"]["2"]
    assert rows[0]["network_dice_before_1"] == ""


def test_what_makes_no_sense_is_refused(settings: RunSettings, tmp_path: Path) -> None:
    for wrong in ({"rounds": 0}, {"steps": -1}, {"length": 0}, {"tasks": ()}, {"tasks": settings.tasks * 2}):
        with pytest.raises(ConfigurationError):
            replace(settings, **wrong)
    scribbling = replace(settings, reader=ReaderSettings(ReaderKind.SCRIBBLES))
    with pytest.raises(ConfigurationError, match="no folder of scribbles"):
        play(scribbling, tmp_path / "run")


def test_tasks_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "tasks.toml"
    file.write_text('[[task]]\nname = "a"\nimages = "i"\nlabels = "l"\naxis = 1\ntest = 3\npatient = "(p\\\\d+)"\n')
    (task,) = read_tasks(file)
    assert (task.images, task.axis, task.test, task.patient_of("p12_x")) == (tmp_path / "i", 1, 3, "p12")
    for wrong, named in (
        ("x = 1", "no field 'x'"),
        ("", "no table"),
        ('[[task]]\nname="a"', "lacks a field"),
        ("[", "cannot be read"),
    ):
        text = file.read_text() + wrong if wrong == "x = 1" else wrong
        other = tmp_path / "wrong.toml"
        other.write_text(text)
        with pytest.raises(ConfigurationError, match=named):
            read_tasks(other)
