"""Runs of a study: computed in processes of their own, each where it was broken off; none twice."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from study.data import Options
from study.kept import keep, restore
from study.table import Table

from learner.evaluation.run import Progress
from learner.evaluation.runs import Finished, compute, folder_of, read
from learner.evaluation.settings import RunSettings
from learner.wiring import evaluation_makers


@dataclass(frozen=True)
class Row:
    """Runs that differ by their seed only.

    Attributes:
        name: of the row.
        settings: of the run with seed 0.
        seeds: how many; None for as many as are asked for.
    """

    name: str
    settings: RunSettings
    seeds: int | None = None


Results = dict[str, list[Finished]]
Phase = Callable[[Options, Results], Sequence[Row]]


@dataclass(frozen=True)
class Study:
    """A named study.

    Attributes:
        title: one line.
        phases: rows to run, one phase after the other; later ones may depend on results of earlier ones.
        table: from results to the table.
        rank: place among all studies.
    """

    title: str
    phases: tuple[Phase, ...]
    table: Callable[[Options, Results], Table]
    rank: int


def play(study: Study, options: Options, runs: Path, jobs: int, kept: Path, *, reuse: bool = False) -> Table:
    """Computes what is missing and makes the table.

    Args:
        study: what to play.
        options: what it is asked.
        runs: folder of the runs.
        jobs: how many at the same time.
        kept: folder to which the records of finished runs are added.
        reuse: whether runs that are kept there, of whatever code, are taken from there.
    """
    results: Results = {}
    for phase in study.phases:
        rows = phase(options, results)
        wanted = [(row, replace(row.settings, seed=seed)) for row in rows for seed in range(row.seeds or options.seeds)]
        for _, settings in wanted if reuse else ():
            restore(folder_of(settings, runs), kept)
        _compute_all([(f"{row.name}, seed {s.seed}", s) for row, s in wanted], runs, jobs, kept)
        for row, settings in wanted:
            found = read(settings, folder_of(settings, runs))
            assert found is not None
            results.setdefault(row.name, []).append(found)
    table = study.table(options, results)
    codes = sorted({str(run.facts.get("code", "")) for found in results.values() for run in found})
    return replace(table, code=tuple(codes), rank=study.rank)


def planned(study: Study, options: Options, runs: Path) -> list[tuple[str, RunSettings, bool]]:
    """Runs of the first phase, and whether each is finished."""
    result = []
    for row in study.phases[0](options, {}):
        for seed in range(row.seeds or options.seeds):
            settings = replace(row.settings, seed=seed)
            result.append((f"{row.name}, seed {seed}", settings, read(settings, folder_of(settings, runs)) is not None))
    return result


def _compute_all(wanted: Sequence[tuple[str, RunSettings]], runs: Path, jobs: int, kept: Path) -> None:
    """Each different run once."""
    folders = {folder_of(settings, runs): (name, settings) for name, settings in wanted}
    todo = [(name, settings, folder) for folder, (name, settings) in folders.items() if read(settings, folder) is None]
    if jobs < 2 or len(todo) < 2:
        for name, settings, folder in todo:
            _compute_one(name, settings, folder, kept)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for future in [pool.submit(_compute_one, *item, kept) for item in todo]:
            future.result()


def _compute_one(name: str, settings: RunSettings, folder: Path, kept: Path) -> None:
    compute(settings, folder, evaluation_makers(), _Teller(name))
    keep(folder, kept)


class _Teller:
    """Says on standard error how far a run is, at most every ten seconds."""

    def __init__(self, name: str) -> None:
        self._name, self._began, self._said, self._first = name, time.monotonic(), 0.0, -1

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        self._first = progress.done if self._first < 0 else self._first
        if now - self._said < 10 and progress.done < progress.total:
            return
        self._said = now
        said = f" answer {fmean(progress.case.answer_dice.values()):.3f}" if progress.case else ""
        said = " testing" if progress.testing else said
        pace = (now - self._began) / max(1, progress.done - self._first + 1)
        left = pace * (progress.total - progress.done) / 60
        print(f"[{self._name}] {progress.done}/{progress.total}{said}, about {left:.0f} min left", file=sys.stderr, flush=True)
