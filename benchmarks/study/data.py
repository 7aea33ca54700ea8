"""The data sets of the studies, each as a task, and what the studies have in common."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from learner.evaluation.modes import Mode, Part
from learner.evaluation.settings import RunSettings, Scalar
from learner.evaluation.streams import TaskData

DEFAULT_DATA = Path(os.environ.get("PACS_APPRENTICE_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
PROSTATE_SITES = ("RUNMC", "UCL", "BIDMC")


@dataclass(frozen=True)
class Options:
    """What all studies may be asked.

    Attributes:
        data: folder of the data sets.
        seeds: how many seeds, from 0.
        steps: training steps per case.
        axis: slice axis of the hippocampus.
        slices: slices drawn per case of the hippocampus.
        cases: bound on the stream's cases of hippocampus and heart; None for a study's own.
        tests: bound on the test cases of hippocampus and heart; None for all.
        part: what to test on.
        training: training settings other than the defaults, for all runs.
    """

    data: Path = DEFAULT_DATA
    seeds: int = 3
    steps: int = 20
    axis: int = 1
    slices: int = 6
    cases: int | None = None
    tests: int | None = None
    part: Part = Part.TEST
    training: tuple[tuple[str, Scalar], ...] = ()

    def run(self, *tasks: TaskData, mode: Mode = Mode.SPARSE, **changes: object) -> RunSettings:
        """A run of tasks under these options."""
        settings = RunSettings(tasks, mode=mode, part=self.part, steps=self.steps, training=self.training)
        return replace(settings, **changes)  # type: ignore[arg-type]  # fields of RunSettings


def hippocampus(options: Options, slices: int | None = None, stream: int = 140, test: int = 60) -> TaskData:
    """The first 140 cases in name order as a stream, the last 60 as a test; 20 of the stream for validation."""
    folder, wanted = options.data / "hippocampus", options.cases or stream
    return TaskData(
        "hippocampus",
        folder / "images",
        folder / "labels",
        options.axis,
        slices or options.slices,
        min(wanted, stream),
        min(test, options.tests or test),
        validation=min(20, wanted // 3),
    )


def prostate(options: Options, slices: int = 3, test_share: float = 1 / 3) -> TaskData:
    """PROMISE12 with its three sites; the last third of each site is the test. Small, so never shortened."""
    folder = options.data / "promise12"
    return TaskData(
        "prostate",
        folder / "images",
        folder / "labels",
        2,
        slices,
        test_share=test_share,
        validation=6,
        cases=folder / "cases.csv",
    )


def heart(options: Options, slices: int = 3, test: int = 14) -> TaskData:
    """ACDC, two volumes a patient; the last seven patients are the test."""
    folder = options.data / "acdc"
    return TaskData(
        "heart",
        folder / "images",
        folder / "labels",
        2,
        slices,
        stream=options.cases,
        test=min(test, options.tests or test),
        validation=6,
        patient=r"(patient\d+)",
        scribbles=folder / "scribbles",
    )
