"""Ablations, calibration, estimates, memory, latency, and the paper's own protocol."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from study.data import Options, heart, hippocampus, prostate
from study.engine import Results, Row, Study
from study.online import network, per_label, surface, where
from study.table import Figure, Table

from learner.evaluation import summary
from learner.evaluation.modes import Mode, Order
from learner.evaluation.runs import Finished
from learner.evaluation.settings import Scalar
from learner.evaluation.summary import estimate

ABLATIONS: dict[str, dict[str, Scalar]] = {
    "all as it is": {},
    "partial loss on drawn slices only": {"proxy_weight": 0.0},
    "no temporal smoothing": {"temporal_smoothing": 0.0},
    "no spatial smoothing": {"spatial_smoothing": 0.0},
    "no weighting by confidence": {"confidence_weighting": 0},
    "no replay": {"replay_share": 0.0},
    "no refresh of stored proxies": {"refresh": 0},
    "logit replay": {"logit_replay": 0.5},
}


def _with(options: Options, changes: dict[str, Scalar]) -> Options:
    return replace(options, training=(*options.training, *changes.items()))


def ablation_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """60 cases, one seed each."""
    task = hippocampus(options, stream=60)
    return [Row(name, _with(options, changes).run(task), 1) for name, changes in ABLATIONS.items()]


def ablation_table(options: Options, results: Results) -> Table:
    """What each part is worth; and both ends without their fusion, from the run as it is."""
    base, rows = results["all as it is"][0], []
    for name, runs in results.items():
        run = runs[0]
        answers = summary.overall(summary.answer_dice(run.cases[-30:]))
        change = network([run]).mean - network([base]).mean
        rows.append((name, per_label([run]), f"{change:+.3f}", f"{answers:.3f}", f"{answers - _answers(base):+.3f}"))
    late = base.cases[-30:]
    ends = {
        "no fusion: propagation alone": summary.mean_dice([case.proxy_dice for case in late]),
        "no fusion: network alone": summary.mean_dice([case.network_dice_before for case in late]),
    }
    values = {name: summary.overall(dice) for name, dice in ends.items()}
    rows += [(name, "", "", f"{value:.3f}", f"{value - _answers(base):+.3f}") for name, value in values.items()]
    columns = ("what is changed", "network, test Dice by label", "change", "answers, last 30 cases", "change")
    place = where(replace(options, seeds=1), hippocampus(options))
    notes = (f"{len(base.stream.cases)} stream cases; {place}. One seed: small differences say little.",)
    return Table("Ablations", columns, tuple(rows), (), notes)


def _answers(run: Finished) -> float:
    return summary.overall(summary.answer_dice(run.cases[-30:]))


def three_sets(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """The product on each set; runs that other studies have made already."""
    others = (prostate(options), heart(options))
    shuffled = [Row(task.name, options.run(task, order=Order.SHUFFLE)) for task in others]
    return [Row("hippocampus", options.run(hippocampus(options))), *shuffled]


def offline_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """Full truth at once: how fast each kind of network learns, apart from drawing and propagation."""
    sets = ((hippocampus(options, stream=60), {}), (prostate(options), {"order": Order.SHUFFLE}))
    sets = (*sets, (heart(options), {"order": Order.SHUFFLE}))
    return [Row(task.name, options.run(task, mode=Mode.OFFLINE, **changes)) for task, changes in sets]


def offline_table(options: Options, results: Results) -> Table:
    """The network alone on each set."""
    rows = [(name, per_label(runs), str(network(runs)), surface(runs)) for name, runs in results.items()]
    notes = (f"{options.steps} updates a case on the truth of all slices; tested on the part '{options.part}'.",)
    return Table("Offline", ("data", "Dice by label", "mean", "NSD at 2 mm"), tuple(rows), (), notes)


def calibration_table(options: Options, results: Results) -> Table:  # noqa: ARG001 - a table
    """Expected calibration error near the object."""
    rows, goals = [], []
    for name, runs in results.items():
        late = [run.cases[len(run.cases) // 2 :] for run in runs]
        answers = estimate([_error(summary.answer_calibration(cases).error) for cases in late])
        alone = estimate([_error(summary.test_calibration(run.tests).error) for run in runs])
        place = f"{name}, axis {runs[0].settings.tasks[0].axis}, {runs[0].settings.tasks[0].slices} slices"
        rows.append((name, str(answers), str(alone)))
        goals.append(Figure(f"ECE near the object, answers, {name}", "<= 0.05", str(answers), answers.mean <= 0.05, place))
    notes = (
        "Voxels within 5 mm of the truth's or the answer's object, included; of answers, only where nothing was drawn.",
        "Answers of the last half of the stream; 15 bins over all voxels together.",
    )
    return Table("Calibration", ("data", "answers", "network alone, test cases"), tuple(rows), tuple(goals), notes)


def _error(value: float | None) -> float:
    return float("nan") if value is None else value


def estimate_table(options: Options, results: Results) -> Table:  # noqa: ARG001 - a table
    """Estimated against true Dice of the answers."""
    rows, goals = [], []
    for name, runs in results.items():
        every = [np.array(summary.estimate_errors(run.cases)) for run in runs]
        last = [np.array(summary.estimate_errors(run.cases, last_round=True)) for run in runs]
        error = estimate([float(np.abs(e).mean()) for e in last])
        task = runs[0].settings.tasks[0]
        rounds = estimate([float(np.abs(e).mean()) for e in every])
        bias = estimate([float(e.mean()) for e in last])
        rows.append((name, str(error), str(rounds), str(bias)))
        place = f"{name}, axis {task.axis}, {task.slices} slices"
        goals.append(Figure(f"estimated against true Dice, {name}", "<= 0.03", str(error), error.mean <= 0.03, place))
    columns = ("data", "mean absolute error, last round", "the same, all rounds", "mean of estimate minus truth, last round")
    return Table("Estimated Dice", columns, tuple(rows), tuple(goals), ("Per label and case; from slices left out.",))


MEMORY_CASES = 500


def memory_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """500 cases: the stream again and again, varied; a replay memory that is full early."""
    task = hippocampus(options, test=0)
    length = min(MEMORY_CASES, 5 * options.cases) if options.cases else MEMORY_CASES
    return [Row("500 cases", options.run(task, length=length, replay_mb=64, test_every=10_000), 1)]


def memory_table(options: Options, results: Results) -> Table:  # noqa: ARG001 - a table
    """Resident memory along the stream."""
    run = results["500 cases"][0]
    memory = np.array([case.rss_mb for case in run.cases])
    parts = np.array_split(memory, 10)
    rows = [
        (f"{int(100 * n / 10)} to {int(100 * (n + 1) / 10)} %", f"{p.mean():.0f}", f"{p.max():.0f}")
        for n, p in enumerate(parts)
    ]
    flat = bool(parts[-1].mean() <= 1.05 * parts[2].mean())
    value = f"{parts[2].mean():.0f} MiB in the third tenth, {parts[-1].mean():.0f} in the last"
    goal = Figure("memory of the learner over 500 cases", "flat after warm-up", value, flat, "hippocampus")
    notes = (f"{len(memory)} cases in one process, unless the run was broken off; replay memory of 64 MiB on disk.",)
    return Table("Memory", ("part of the stream", "mean MiB", "largest MiB"), tuple(rows), (goal,), notes)


def latency_table(options: Options, results: Results) -> Table:  # noqa: ARG001 - a table
    """``prostatex.py``, 50 times."""
    runs = options.cases or 50
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "latency.json"
        script = Path(__file__).resolve().parents[1] / "prostatex.py"
        command = [
            sys.executable,
            str(script),
            "--data",
            str(options.data / "prostatex"),
            "--runs",
            str(runs),
            "--out",
            str(out),
        ]
        subprocess.run(command, check=True)
        content = json.loads(out.read_text(encoding="utf-8"))
    seconds = np.array([float(run["seconds_to_answer"]) for run in content["runs"]])
    median, worst = float(np.median(seconds)), float(seconds.max())
    rows = ((str(len(seconds)), f"{median:.2f}", f"{worst:.2f}", str(content["machine"]["cores"])),)
    met = median <= 5 and worst <= 10
    value = f"median {median:.2f} s, worst {worst:.2f} s"
    goal = Figure(
        "annotation stored to answer stored",
        "<= 5 s median, <= 10 s worst",
        value,
        met,
        f"ProstateX, 384x384x19, 4 slices, {len(seconds)} runs",
    )
    notes = (
        "Stored as soon as the archive has all images: the drawing waits for the prediction that the node makes of these.",
    )
    return Table("Time to the answer", ("runs", "median s", "worst s", "CPU cores"), rows, (goal,), notes)


def paper_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """The paper's crop and grid: boxes from the truth, 55x55x30, 150 updates a case."""
    task = replace(prostate(options, slices=5), boxed=True)
    changes = {"order": Order.SHUFFLE, "steps": 150 if options.steps == 20 else options.steps}
    budgets = [Row(f"{k} slices", options.run(replace(task, slices=k), **changes), 1) for k in (3, 5, 8, 11)]
    return [*budgets, Row("offline", options.run(task, mode=Mode.OFFLINE, **changes), 1)]


def paper_table(options: Options, results: Results) -> Table:  # noqa: ARG001 - a table
    """Leaky by design, for comparison only."""
    rows = []
    for name, runs in results.items():
        share = "100 %" if name == "offline" else f"{np.mean([summary.contour_share(run.cases) for run in runs]):.1%}"
        rows.append((name, share, per_label(runs), surface(runs)))
    notes = (
        "As its author's code has it: volumes cropped to the truth's box and resampled to 55x55x30, 150 updates a case.",
        "The crop tells the network where the structure is: comparable with the paper's figures, and with nothing else.",
        "Of that protocol: our network, optimiser and propagation; slices along one axis; PROMISE12 in place of NCI-ISBI2013.",
    )
    return Table("The paper's protocol", ("budget", "contour drawn", "test Dice", "test NSD at 2 mm"), tuple(rows), (), notes)


def _none(options: Options, results: Results) -> Sequence[Row]:  # noqa: ARG001 - a phase
    return ()


STUDIES = {
    "ablations": Study("What each part is worth", (ablation_rows,), ablation_table, 10),
    "offline": Study("How fast networks learn from full truth", (offline_rows,), offline_table, 13),
    "calibration": Study("Calibration near the object", (three_sets,), calibration_table, 9),
    "estimates": Study("Estimated against true Dice", (three_sets,), estimate_table, 8),
    "memory": Study("Memory over 500 cases", (memory_rows,), memory_table, 12),
    "latency": Study("Annotation stored to answer stored", (_none,), latency_table, 11),
    "paper": Study("The paper's own protocol", (paper_rows,), paper_table, 20),
}
