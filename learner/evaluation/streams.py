"""Streams of cases over tasks and sites: who is in the stream, who in the test, and in which order they come.

Splits are by patient: a rule takes a case's patient from its file name, and no patient is on both sides.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from learner.errors import ConfigurationError
from learner.evaluation.folders import LabelledFolders
from learner.evaluation.modes import Order, Part


@dataclass(frozen=True, slots=True)
class TaskData:
    """The data of one task and how it is split.

    Attributes:
        name: of the task, and of its head in the network.
        images: folder of images.
        labels: folder of labels with the same file names.
        axis: array axis of NIfTI files along which slices are drawn.
        slices: most slices drawn per case, in all rounds together.
        stream: how many cases the stream takes, the first in name order; None for all that are not tested on.
        test: how many cases are tested on: the last in name order, rounded up to whole patients.
        test_share: instead of ``test``, the share of the cases of each site, in (0, 1).
        validation: how many of the stream's last cases the validation part takes, rounded up to whole patients.
        cases: CSV file with columns ``case`` (file name without ending, or what follows its letters) and ``site``; or None.
        patient: regular expression whose first group is the patient in a file name without ending.
        scribbles: folder of strokes drawn by people (0 background, 1..L labels, above L unmarked), or None.
        boxed: whether volumes are cropped to the truth's box and resampled to 55x55x30, as the paper's code does. This leaks
            the truth's extent; only for comparison with the paper.

    Raises:
        ConfigurationError: if a number or the expression makes no sense.
    """

    name: str
    images: Path
    labels: Path
    axis: int = 2
    slices: int = 6
    stream: int | None = None
    test: int = 0
    test_share: float = 0.0
    validation: int = 0
    cases: Path | None = None
    patient: str = "(.+)"
    scribbles: Path | None = None
    boxed: bool = False

    def __post_init__(self) -> None:
        if self.axis not in (0, 1, 2):
            raise ConfigurationError(f"task {self.name}: axis {self.axis} is none of 0, 1 and 2")
        if self.slices < 1 or self.test < 0 or self.validation < 0 or not 0 <= self.test_share < 1:
            raise ConfigurationError(f"task {self.name}: it needs a drawn slice, and no negative numbers of cases")
        if self.stream is not None and self.stream < 1:
            raise ConfigurationError(f"task {self.name}: a stream needs a case")
        try:
            groups = re.compile(self.patient).groups
        except re.error as error:
            raise ConfigurationError(f"task {self.name}: patient rule {self.patient!r} cannot be read: {error}") from error
        if groups < 1:
            raise ConfigurationError(f"task {self.name}: patient rule {self.patient!r} has no group")

    @property
    def folders(self) -> LabelledFolders:
        """Where the volumes lie."""
        return LabelledFolders(self.images, self.labels, self.axis)

    def patient_of(self, name: str) -> str:
        """The patient of a case; the case itself where the rule does not apply."""
        found = re.match(self.patient, name)
        return found.group(1) if found else name

    def sites(self, names: Sequence[str]) -> dict[str, str]:
        """Site of each case, empty without a CSV file.

        Raises:
            ConfigurationError: if the file cannot be read, or lacks a case.
        """
        if self.cases is None:
            return dict.fromkeys(names, "")
        try:
            with self.cases.open(encoding="utf-8", newline="") as file:
                rows = {row["case"]: row["site"] for row in csv.DictReader(file)}
        except (OSError, KeyError) as error:
            raise ConfigurationError(f"{self.cases} cannot be read, or has no columns case and site: {error}") from error
        found = {name: rows.get(name, rows.get(re.sub(r"^[A-Za-z_-]+", "", name))) for name in names}
        lacking = [name for name, site in found.items() if site is None]
        if lacking:
            raise ConfigurationError(f"{self.cases} has no row for {len(lacking)} cases, the first being {lacking[0]}")
        return {name: str(site) for name, site in found.items()}


@dataclass(frozen=True, slots=True)
class StreamCase:
    """One case of a stream or of a test.

    Attributes:
        task: its data.
        name: file name without ending.
        site: where it comes from, or empty.
        stage: number of the stage that it belongs to.
        cycle: how often the stream had been played before it came.
    """

    task: TaskData
    name: str
    site: str
    stage: int = 0
    cycle: int = 0

    @property
    def key(self) -> str:
        """What tells it from all others of a run."""
        return f"{self.task.name}/{self.name}" + (f"#{self.cycle}" if self.cycle else "")


@dataclass(frozen=True, slots=True)
class Stream:
    """What a run plays.

    Attributes:
        cases: in the order in which they come.
        tests: what the network is tested on; no patient of these is in ``cases``.
        stages: names of the stages, sites or tasks; one where the order knows no stages.
    """

    cases: tuple[StreamCase, ...]
    tests: tuple[StreamCase, ...]
    stages: tuple[str, ...]

    @property
    def stage_ends(self) -> tuple[int, ...]:
        """After how many cases each stage is over."""
        return tuple(
            max((n for n, case in enumerate(self.cases, start=1) if case.stage == stage), default=0)
            for stage in range(len(self.stages))
        )


def make_stream(
    tasks: Sequence[TaskData], order: Order, sites: Sequence[str], seed: int, part: Part, length: int | None = None
) -> Stream:
    """Splits and orders the cases of tasks.

    Args:
        tasks: in the order in which they come.
        order: of the cases.
        sites: sites in the order in which they come, all others being left out; empty for all, by name.
        seed: of the shuffled order.
        part: what to test on.
        length: how many cases to play, the stream being played again and again; None for once.

    Raises:
        ConfigurationError: if the folders do not hold what the tasks ask for.
    """
    learned: list[StreamCase] = []
    tested: list[StreamCase] = []
    for task in tasks:
        names = task.folders.names()
        site_of = task.sites(names)
        names = tuple(name for name in names if not sites or not site_of[name] or site_of[name] in sites)
        stream, test = split(task, names, site_of, part)
        learned += [StreamCase(task, name, site_of[name]) for name in stream]
        tested += [StreamCase(task, name, site_of[name]) for name in test]
    stages = _stages(tasks, order, sites, learned)
    learned = [_staged(case, order, stages) for case in learned]
    if order is Order.SHUFFLE:
        learned = [learned[i] for i in np.random.default_rng(seed).permutation(len(learned))]
    learned.sort(key=lambda case: case.stage)
    tests = tuple(_staged(case, order, stages) for case in tested)
    return Stream(tuple(_cycled(learned, length)), tests, stages)


def _cycled(cases: Sequence[StreamCase], length: int | None) -> Iterable[StreamCase]:
    wanted = len(cases) if length is None else length
    return (replace(cases[i % len(cases)], cycle=i // len(cases)) for i in range(wanted))


def _stages(tasks: Sequence[TaskData], order: Order, sites: Sequence[str], cases: Sequence[StreamCase]) -> tuple[str, ...]:
    if order is Order.TASKS:
        return tuple(task.name for task in tasks)
    if order is Order.SITES:
        found = {case.site for case in cases}
        return tuple(site for site in sites if site in found) if sites else tuple(sorted(found))
    return ("all",)


def _staged(case: StreamCase, order: Order, stages: Sequence[str]) -> StreamCase:
    name = {Order.TASKS: case.task.name, Order.SITES: case.site}.get(order, stages[0])
    if name not in stages:
        raise ConfigurationError(
            f"task {case.task.name}: all cases of site {name!r} are test cases; the stream has none of them"
        )
    return replace(case, stage=stages.index(name))


def split(
    task: TaskData, names: Sequence[str], site_of: Mapping[str, str], part: Part
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Cases to learn from and cases to test on; no patient is in both.

    Raises:
        ConfigurationError: if there are fewer cases than the task asks for.
    """
    held = _held_out(task, names, site_of)
    patients = {task.patient_of(name) for name in held}
    rest = tuple(name for name in names if task.patient_of(name) not in patients)
    wanted = len(rest) if task.stream is None else task.stream
    if len(rest) < wanted or not rest:
        raise ConfigurationError(
            f"{task.images} holds {len(names)} cases, {len(names) - len(rest)} of them for the test; the stream needs"
            f" {max(wanted, 1)} more"
        )
    stream = rest[:wanted]
    if part is Part.TEST:
        return stream, held
    chosen = _last(task, stream, task.validation)
    patients = {task.patient_of(name) for name in chosen}
    return tuple(name for name in stream if task.patient_of(name) not in patients), chosen


def _held_out(task: TaskData, names: Sequence[str], site_of: Mapping[str, str]) -> tuple[str, ...]:
    if not task.test_share:
        return _last(task, names, task.test)
    result: list[str] = []
    for site in sorted({site_of[name] for name in names}):
        own = [name for name in names if site_of[name] == site]
        result += _last(task, own, round(task.test_share * len(own)))
    return tuple(sorted(result))


def _last(task: TaskData, names: Sequence[str], count: int) -> tuple[str, ...]:
    """The last ``count`` cases, and whatever else there is of their patients."""
    patients = {task.patient_of(name) for name in names[len(names) - min(count, len(names)) :]}
    return tuple(name for name in names if task.patient_of(name) in patients)
