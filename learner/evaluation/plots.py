"""Plots of a run as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from learner.evaluation import summary
from learner.evaluation.results import CaseResult
from learner.evaluation.runs import Finished

_WINDOW = 10
"""Cases that a point of the learning curve is a mean of."""


def write_plots(run: Finished, folder: Path, name: str) -> list[Path]:
    """Writes what a run has to show: learning curve, interaction curve, and the matrix R of runs with stages.

    Args:
        run: a finished run.
        folder: where to write; made if absent.
        name: beginning of the files' names.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    if run.cases or run.tests:
        written.append(_save(_learning_curve(run), folder / f"{name}-learning.png"))
    if any(case.curve for case in run.cases):
        written.append(_save(_interaction_curve(run), folder / f"{name}-interaction.png"))
    if len(run.stream.stages) > 1 and run.tests and not run.settings.mode.at_once:
        written.append(_save(_matrix(run), folder / f"{name}-stages.png"))
    return written


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    figure.savefig(path)
    return path


def _axes(title: str, across: str, up: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.subplots()
    axes.set(title=title, xlabel=across, ylabel=up)
    axes.grid(alpha=0.3)
    return figure, axes


def _learning_curve(run: Finished) -> Figure:
    """Running means over the stream, and the test's means."""
    figure, axes = _axes("Learning over the stream", "cases", "Dice, mean over labels")
    for name, values in (
        ("answer", [summary.overall(case.answer_dice) for case in run.cases]),
        ("propagation alone", [summary.overall(case.proxy_dice) for case in run.cases]),
        ("network before drawing", [_before(case) for case in run.cases]),
    ):
        if any(np.isfinite(values)) and not run.settings.mode.whole_truth:
            axes.plot(range(1, len(values) + 1), _running_mean(values), label=f"{name} (mean of {_WINDOW})")
    curve = {after: summary.overall(dice) for after, dice in summary.learning_curve(run.tests).items() if dice}
    if curve:
        axes.plot(list(curve), list(curve.values()), "o-", color="black", label="network alone, test cases")
    axes.legend(loc="lower right")
    return figure


def _before(case: CaseResult) -> float:
    return summary.overall(case.network_dice_before) if case.network_dice_before else float("nan")


def _running_mean(values: list[float]) -> list[float]:
    parts = (values[max(0, end - _WINDOW) : end] for end in range(1, len(values) + 1))
    return [float(np.nanmean(part)) if np.isfinite(part).any() else float("nan") for part in parts]


def _interaction_curve(run: Finished) -> Figure:
    """Dice of answers over the share of contour drawn, of the first and the last third of the stream."""
    figure, axes = _axes("What drawing buys", "contour drawn, % of all", "Dice of the answer, mean over labels")
    third = max(1, len(run.cases) // 3)
    for name, cases in (("first third of the stream", run.cases[:third]), ("last third", run.cases[-third:])):
        shares, dice = zip(*summary.interaction_curve(cases), strict=True)
        axes.plot([100 * share for share in shares], dice, "o-", label=name)
    axes.legend(loc="lower right")
    return figure


def _matrix(run: Finished) -> Figure:
    """R[i, j] as an image with its numbers."""
    scores = summary.stage_matrix(run.tests, run.stream.stage_ends)
    figure = Figure(figsize=(4.8, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.imshow(np.ma.masked_invalid(scores), vmin=0, vmax=1, cmap="viridis")
    names, places = list(run.stream.stages), range(len(scores))
    axes.set(title="R: Dice after a stage", xlabel="tested on", ylabel="after", xticks=places, yticks=places)
    axes.set_xticklabels(names)
    axes.set_yticklabels(names)
    for i, j in np.argwhere(np.isfinite(scores)):
        axes.text(j, i, f"{scores[i, j]:.3f}", ha="center", va="center", color="white" if scores[i, j] < 0.6 else "black")
    return figure
