"""Forgetting: one model over several tasks, and one task over several sites."""

from __future__ import annotations

from dataclasses import replace

from study.data import PROSTATE_SITES, Options, heart, hippocampus, prostate
from study.engine import Results, Row, Study
from study.table import Figure, Table

from learner.evaluation import summary
from learner.evaluation.continual import average_accuracy, backward_transfer, forgetting
from learner.evaluation.modes import Mode, Order
from learner.evaluation.settings import RunSettings
from learner.evaluation.summary import estimate

STREAM_OF_ONE_OF_MANY = 40
"""Stream cases of the hippocampus where it is one task among several."""


def sequences(options: Options) -> dict[str, RunSettings]:
    """The two sequences, with replay."""
    first = hippocampus(options, stream=STREAM_OF_ONE_OF_MANY, test=20)
    flat = replace(options, training=(*options.training, ("dimensions", 2)))
    three = flat.run(first, prostate(options), heart(options), order=Order.TASKS)
    sites = options.run(prostate(options), order=Order.SITES, sites=PROSTATE_SITES)
    return {"three tasks": three, "three prostate sites": sites}


def rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """Each sequence with replay, without, and all at once."""
    modes = (Mode.SPARSE, Mode.NO_REPLAY, Mode.JOINT)
    return [Row(f"{n}: {mode}", replace(s, mode=mode)) for n, s in sequences(options).items() for mode in modes]


def table(options: Options, results: Results) -> Table:
    """ACC, BWT and forgetting."""
    lines, goals = [], []
    for name, settings in sequences(options).items():
        for mode in (Mode.SPARSE, Mode.NO_REPLAY):
            runs = results[f"{name}: {mode}"]
            matrices = [summary.stage_matrix(run.tests, run.stream.stage_ends) for run in runs]
            transfer = estimate([value for m in matrices if (value := backward_transfer(m)) is not None])
            lost = estimate([value for m in matrices if (value := forgetting(m)) is not None])
            last = " / ".join(str(estimate([float(m[-1, j]) for m in matrices])) for j in range(len(matrices[0])))
            lines.append(
                (name, str(mode), str(estimate([average_accuracy(m) for m in matrices])), str(transfer), str(lost), last)
            )
            if mode is Mode.SPARSE:
                budget = ", ".join(f"{task.name} axis {task.axis} {task.slices} slices" for task in settings.tasks)
                goals.append(Figure(f"BWT, {name}", ">= -0.010", str(transfer), transfer.mean >= -0.010, budget))
        joint = [summary.last_tests(run.tests) for run in results[f"{name}: {Mode.JOINT}"]]
        stages = range(len(results[f"{name}: {Mode.JOINT}"][0].stream.stages))
        means = [
            [summary.overall(summary.mean_dice([t.dice for t in tests if t.stage == stage])) for stage in stages]
            for tests in joint
        ]
        accuracy = estimate([sum(values) / len(values) for values in means])
        last = " / ".join(str(estimate([values[stage] for values in means])) for stage in stages)
        lines.append((name, "joint, full truth", str(accuracy), "", "", last))
    columns = ("sequence", "mode", "ACC", "BWT", "forgetting", "Dice per stage at the end")
    notes = (
        "R[i, j]: Dice of the network alone, mean over labels, on the test of stage j after stage i.",
        f"Three tasks: hippocampus ({STREAM_OF_ONE_OF_MANY} stream cases), prostate, heart, in this order, by patient.",
        "Their trunk is one of neighbouring slices (`dimensions = 2`): prostate and heart hardly learn in a 3D one.",
    )
    return Table("Forgetting", columns, tuple(lines), tuple(goals), notes)


STUDIES = {"forgetting": Study("One model over tasks, one task over sites", (rows,), table, 7)}
