"""Finished and unfinished runs under one folder: nothing is computed twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from learner.evaluation.results import CaseResult, TestResult, case_from, test_from
from learner.evaluation.run import Makers, Progress, Run
from learner.evaluation.run_folder import RunFolder
from learner.evaluation.settings import RunSettings
from learner.evaluation.streams import Stream, make_stream


@dataclass(frozen=True, eq=False)
class Finished:
    """What a run came to.

    Attributes:
        settings: of the run.
        stream: its cases.
        path: its folder.
        cases: one per case of the stream, in order; none where all cases were there at once.
        tests: of all times at which the network was tested.
        facts: seconds, peak memory, and a digest of the code that made it.
    """

    settings: RunSettings
    stream: Stream
    path: Path
    cases: tuple[CaseResult, ...]
    tests: tuple[TestResult, ...]
    facts: dict[str, Any]


def stream_of(settings: RunSettings) -> Stream:
    """The cases that the settings come to.

    Raises:
        ConfigurationError: if the folders do not hold what the settings ask for.
    """
    return make_stream(settings.tasks, settings.order, settings.sites, settings.seed, settings.part, settings.length)


def folder_of(settings: RunSettings, runs: Path) -> Path:
    """Where a run of these settings lies."""
    return runs / settings.digest(stream_of(settings))


def compute(
    settings: RunSettings, folder: Path, makers: Makers, notify: Callable[[Progress], None], *, fresh: bool = False
) -> Finished:
    """The run of these settings: as it stands if it is finished, else from where it was broken off.

    Args:
        settings: what to run.
        folder: of the run.
        makers: makes trainer and front end.
        notify: called after each unit.
        fresh: begin again even if there is something.

    Raises:
        ConfigurationError: if the folders do not hold what the settings ask for.
        StoreError: if the run's folder cannot be used.
        DicomIoError: if a DICOM object cannot be read.
    """
    stream = stream_of(settings)
    files = RunFolder(folder)
    with files.locked():
        if fresh:
            files.clear()
        Run(settings, stream, files, makers, notify).execute()
    return _finished(settings, stream, files)


def read(settings: RunSettings, folder: Path) -> Finished | None:
    """A run if it is finished."""
    if not (folder / "finished.json").is_file():
        return None
    return _finished(settings, stream_of(settings), RunFolder(folder))


def _finished(settings: RunSettings, stream: Stream, files: RunFolder) -> Finished:
    cases = () if settings.mode.at_once else tuple(case_from(record) for record in files.cases())
    tests = tuple(test_from(record) for record in files.tests())
    facts = json.loads((files.path / "finished.json").read_text(encoding="utf-8"))
    return Finished(settings, stream, files.path, cases, tests, facts)
