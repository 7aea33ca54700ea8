"""The drawing that is saved: until answers are as good as the network of offline training on everything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from study.data import Options, heart, hippocampus, prostate
from study.engine import Results, Row, Study
from study.online import network, percent, where
from study.table import Figure, Table

from learner.evaluation import summary as figures
from learner.evaluation.modes import Mode, Order
from learner.evaluation.runs import Finished
from learner.evaluation.streams import TaskData
from learner.evaluation.summary import estimate

MOST = {"hippocampus": 12, "prostate": 10, "heart": 8}
"""Most slices that a reader draws who stops when satisfied."""
GOALS = {"hippocampus": 0.80, "prostate": 0.75, "heart": 0.65}


def _sets(options: Options) -> tuple[TaskData, ...]:
    return (hippocampus(options), prostate(options), heart(options))


def _shuffled(task: TaskData) -> dict[str, object]:
    """The order of a set's stream: the names of PROMISE12 follow its sites."""
    return {"order": Order.NAME if task.name == "hippocampus" else Order.SHUFFLE}


def offline_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """What answers are to reach."""
    return [Row(f"{task.name} offline", options.run(task, mode=Mode.OFFLINE, **_shuffled(task))) for task in _sets(options)]


def satisfied_rows(options: Options, results: Results) -> list[Row]:
    """Readers who draw slice by slice until the answer is as good as offline's network; with and without learning."""
    rows = []
    for task in _sets(options):
        target = round(network(results[f"{task.name} offline"]).mean, 3)
        drawing = replace(task, slices=MOST[task.name])
        for mode in (Mode.SPARSE, Mode.ANSWERS_ONLY):
            settings = options.run(drawing, mode=mode, rounds=drawing.slices, satisfied_at=target, **_shuffled(task))
            rows.append(Row(f"{task.name}, {mode}", settings, None if mode is Mode.SPARSE else 1))
    return rows


def satisfied_table(options: Options, results: Results) -> Table:
    """What is drawn until answers are as good as offline's network."""
    rows, goals = [], []
    for task in _sets(options):
        for mode in (Mode.SPARSE, Mode.ANSWERS_ONLY):
            runs = results[f"{task.name}, {mode}"]
            rows.append((task.name, "learns" if mode is Mode.SPARSE else "propagation alone", *_satisfied_cells(runs)))
        spared = estimate([1 - _saved_at_answer(run)[0] for run in results[f"{task.name}, {Mode.SPARSE}"]])
        goal, place = GOALS[task.name], where(options, replace(task, slices=MOST[task.name]))
        name = f"drawing saved, answers, {task.name}"
        goals.append(Figure(name, f">= {goal:.0%}", percent(spared), spared.mean >= goal, place))
    columns = (
        "data",
        "tool",
        "answers reach",
        "contour drawn",
        "slices drawn a case",
        "cases never satisfied",
        "reading time, s",
    )
    notes = (
        "The reader states both ends, then draws one slice after the other, where guidance asks for it.",
        "Satisfied: the mean Dice of labels is that of the network that was trained offline on all contours.",
        "Cases never satisfied count as drawn whole.",
        f"Offline's networks made {options.steps} updates a case: of prostate and heart, few cases, more would be better.",
        "Reading time a case by a model whose constants are assumed (docs/evaluation.md), beside that of drawing every slice.",
    )
    return Table("Drawing saved until answers are as good", columns, tuple(rows), tuple(goals), notes)


def _satisfied_cells(runs: Sequence[Finished]) -> tuple[str, ...]:
    pairs = [_saved_at_answer(run) for run in runs]
    slices = float(np.mean([case.curve[-1].effort.drawn_slices for run in runs for case in run.cases if case.curve]))
    drawn, whole = (float(np.mean(v)) for v in zip(*[figures.reading_seconds(run.cases) for run in runs], strict=True))
    return (
        f"{runs[0].settings.satisfied_at:.3f}",
        percent(estimate([share for share, _ in pairs])),
        f"{slices:.1f}",
        f"{np.mean([missed for _, missed in pairs]):.0%}",
        f"{drawn:.0f} of {whole:.0f}",
    )


def _saved_at_answer(run: Finished) -> tuple[float, float]:
    """Share of the contour that was drawn until satisfied, and of cases that never were; those count as drawn whole."""
    target = run.settings.satisfied_at
    reached = [case for case in run.cases if case.curve and figures.overall(case.answer_dice) >= target]
    whole = sum(case.whole.contour_mm for case in run.cases if case.whole)
    drawn = sum(case.curve[-1].effort.contour_mm for case in reached)
    drawn += sum(case.whole.contour_mm for case in run.cases if case.whole and case not in reached)
    return drawn / whole, 1 - len(reached) / len(run.cases)


STUDIES = {
    "satisfied": Study("Drawing saved until answers are as good", (offline_rows, satisfied_rows), satisfied_table, 3),
}
