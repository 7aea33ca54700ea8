"""Online against offline: hippocampus, answers, prostates site after site."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from study.data import PROSTATE_SITES, Options, hippocampus, prostate
from study.engine import Results, Row, Study
from study.table import Figure, Table

from learner.evaluation import summary as figures
from learner.evaluation.modes import Mode, Order, ReaderKind
from learner.evaluation.runs import Finished
from learner.evaluation.settings import RunSettings
from learner.evaluation.streams import TaskData
from learner.evaluation.summary import Estimate, estimate


def final(run: Finished) -> dict[int, float]:
    """Mean test Dice per label of the network alone at the end."""
    return figures.mean_dice([t.dice for t in figures.last_tests(run.tests)])


def network(runs: Sequence[Finished]) -> Estimate:
    """Mean over labels and test cases, over seeds."""
    return estimate([figures.overall(final(run)) for run in runs])


def per_label(runs: Sequence[Finished], dice: str = "network") -> str:
    """Test Dice of the network, or Dice of the answers, for each label."""
    values = [final(run) if dice == "network" else figures.answer_dice(run.cases) for run in runs]
    return " / ".join(str(estimate([value[label] for value in values])) for label in sorted(values[0]))


def surface(runs: Sequence[Finished]) -> str:
    """Test NSD at 2 mm of the network, mean over labels."""
    values = [figures.mean_dice([t.nsd for t in figures.last_tests(run.tests)]) for run in runs]
    return str(estimate([figures.overall(value) for value in values]))


def difference(runs: Sequence[Finished], others: Sequence[Finished]) -> Estimate:
    """Test Dice of the one minus that of the other, seed by seed."""
    return estimate([figures.overall(final(a)) - figures.overall(final(b)) for a, b in zip(runs, others, strict=False)])


def percent(value: Estimate) -> str:
    """A share as per cent, with its interval where there is one."""
    apart = f" +- {100 * value.half_width:.1f}" if value.half_width is not None else ""
    return f"{100 * value.mean:.1f}{apart} %"


def where(options: Options, task: TaskData) -> str:
    """Data, axis and budget as a table states them."""
    seeds = f"{options.seeds} seeds" if options.seeds > 1 else "1 seed"
    return f"{task.name}, axis {task.axis}, at most {task.slices} slices, {seeds}"


# --- hippocampus

NEAR = 0.010
"""So much less test Dice than offline's is near it."""
LAST = 50
"""Cases at the end of the stream over which answers count."""


def hippocampus_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """The same stream in three modes."""
    task = hippocampus(options)
    return [Row(str(mode), options.run(task, mode=mode)) for mode in (Mode.SPARSE, Mode.FULL, Mode.OFFLINE)]


def converged_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """Offline with three times as many updates; one seed."""
    settings = options.run(hippocampus(options), mode=Mode.CONVERGED, converged_factor=3, test_every=140)
    return [Row(str(Mode.CONVERGED), settings, seeds=1)]


def hippocampus_table(options: Options, results: Results) -> Table:
    """Test Dice by mode."""
    task, offline = hippocampus(options), results["offline"]
    rows = []
    for mode, runs in results.items():
        drawn = f"{np.mean([figures.contour_share(run.cases) for run in runs]):.1%}" if mode == "sparse" else "100 %"
        gap = "" if mode == "offline" else f"{difference(runs, offline)}"
        rows.append((mode, drawn, per_label(runs), surface(runs), gap))
    columns = ("mode", "contour drawn", "test Dice by label", "test NSD at 2 mm", "minus offline")
    stream = results["sparse"][0].stream
    notes = (
        f"{len(stream.cases)} stream cases, {len(stream.tests)} test cases; {options.steps} updates a case; one order.",
        f"Axis {task.axis}, at most {task.slices} slices a case; both ends stated, one click each.",
        "`converged` makes three times as many updates, with one seed.",
        "Contour drawn: its millimetres over those of all contours of the stream.",
        f"Drawing saved: until the network's test Dice is within {NEAR:.3f} of offline's. The test set chooses the moment.",
    )
    return Table("Online against offline: hippocampus", columns, tuple(rows), _hippocampus_goals(options, results), notes)


def _hippocampus_goals(options: Options, results: Results) -> tuple[Figure, ...]:
    sparse, offline, place = results["sparse"], results["offline"], where(options, hippocampus(options))
    online, full = difference(sparse, offline), difference(results["full"], offline)
    least = min(np.mean([final(run)[label] for run in sparse]) for label in final(sparse[0]))
    shares = [near_offline(run, of) for run, of in zip(sparse, offline, strict=True)]
    reached = [1 - share for share in shares if share is not None]
    spared = estimate(reached) if len(reached) == len(shares) else None
    saved = percent(spared) if spared is not None else f"reached with {len(reached)} of {len(shares)} seeds"
    return (
        Figure("network from sparse drawing minus offline", ">= -0.010", str(online), online.mean >= -0.010, place),
        Figure("network from sparse drawing, both labels", ">= 0.87", per_label(sparse), bool(least >= 0.87), place),
        Figure("full truth online, one pass, minus offline", ">= -0.005", str(full), full.mean >= -0.005, place),
        Figure("drawing saved, network", ">= 75 % (paper: 62 %)", saved, spared is not None and spared.mean >= 0.75, place),
        _answers_goal(sparse, place),
    )


def _answers_goal(runs: Sequence[Finished], place: str) -> Figure:
    """Answers of the last cases, and the share of the object's slices drawn on them."""
    last = [run.cases[-LAST:] for run in runs]
    by_label = [estimate([figures.answer_dice(cases)[label] for cases in last]) for label in sorted(last[0][0].answer_dice)]
    share = float(np.mean([figures.drawn_share(cases) for cases in last]))
    met = all(value.mean >= 0.89 for value in by_label) and share <= 0.20
    value = f"{' / '.join(map(str, by_label))} at {share:.1%} of slices"
    return Figure(f"answers, last {LAST} cases", "both labels >= 0.89 at <= 20 % of slices", value, met, place)


def near_offline(run: Finished, offline: Finished) -> float | None:
    """Least share of the stream's contour after which the network is near offline's on the test cases; None if it never is."""
    target = figures.overall(final(offline)) - NEAR
    near = [after for after, dice in figures.learning_curve(run.tests).items() if figures.overall(dice) >= target]
    return figures.contour_share(run.cases[: min(near)], run.cases) if near else None


# --- answers


def answers_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """The product, its readers, and propagation alone."""
    task = hippocampus(options)
    rows = [Row("perfect reader", options.run(task)), Row("without learning", options.run(task, mode=Mode.ANSWERS_ONLY), 1)]
    for kind in (ReaderKind.JITTER, ReaderKind.LAZY):
        base = options.run(task)
        reader = replace(base.reader, kind=kind)
        rows.append(Row(f"{kind} reader", replace(base, reader=reader), 1))
    return rows


def answers_table(options: Options, results: Results) -> Table:  # noqa: ARG001 - a table
    """Answers over the last cases."""
    rows = []
    for name, runs in results.items():
        last = [run.cases[-LAST:] for run in runs]
        labels = sorted(last[0][0].answer_dice)
        by_label = [[figures.answer_dice(cases)[label] for cases in last] for label in labels]
        nsd = estimate([figures.overall(figures.mean_dice([c.answer_nsd for c in cases])) for cases in last])
        area = estimate([figures.area_under(figures.interaction_curve(cases)) for cases in last])
        seconds = float(np.mean([case.seconds_per_answer for cases in last for case in cases]))
        rows.append(
            (
                name,
                f"{np.mean([figures.drawn_share(cases) for cases in last]):.1%}",
                f"{np.mean([figures.contour_share(cases) for cases in last]):.1%}",
                " / ".join(str(estimate(values)) for values in by_label),
                str(nsd),
                str(area),
                f"{seconds:.2f}",
            )
        )
    columns = ("reader", "slices drawn", "contour drawn", "Dice by label", "NSD at 2 mm", "area under the curve", "s an answer")
    notes = ("Slices drawn: of those that show the object.",)
    return Table(f"Answers over the last {LAST} cases", columns, tuple(rows), (), notes)


# --- prostates, site after site


def sites_rows(options: Options, results: Results) -> list[Row]:  # noqa: ARG001 - a phase
    """All cases of three sites, one after the other; nothing is held out, answers count."""
    task = replace(prostate(options), test_share=0.0)
    settings: RunSettings = options.run(task, order=Order.SITES, sites=PROSTATE_SITES)
    return [Row("site after site", settings), Row("without learning", replace(settings, mode=Mode.ANSWERS_ONLY), 1)]


def sites_table(options: Options, results: Results) -> Table:
    """Answers of the last half of each site."""
    rows, goals = [], []
    for name, runs in results.items():
        cells = [name]
        for stage, site in enumerate(PROSTATE_SITES):
            own = [[case for case in run.cases if case.stage == stage] for run in runs]
            late = [cases[len(cases) // 2 :] for cases in own]
            value = estimate([figures.overall(figures.answer_dice(cases)) for cases in late])
            cells += [f"{value} (n={len(late[0])})", f"{np.mean([figures.contour_share(cases) for cases in late]):.1%}"]
            if name == "site after site":
                place = where(options, prostate(options))
                goals.append(Figure(f"answers, PROMISE12 {site}, last half", ">= 0.91", str(value), value.mean >= 0.91, place))
        rows.append(tuple(cells))
    columns = ("mode", *(head for site in PROSTATE_SITES for head in (f"{site}: Dice", "contour drawn")))
    notes = ("Axis 2, 3 slices a case, both ends stated; the network has learned from all cases that came before.",)
    return Table("PROMISE12, site after site", columns, tuple(rows), tuple(goals), notes)


STUDIES = {
    "hippocampus": Study("Online against offline", (hippocampus_rows, converged_rows), hippocampus_table, 1),
    "answers": Study("Answers of the last cases", (answers_rows,), answers_table, 4),
    "promise12-sites": Study("Prostates, site after site", (sites_rows,), sites_table, 5),
}
