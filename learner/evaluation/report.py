"""The report of ``apprentice simulate``: JSON in a stable form, and the same per case as CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from learner.evaluation import summary
from learner.evaluation.continual import average_accuracy, backward_transfer, forgetting
from learner.evaluation.results import CaseResult, as_record, rounded
from learner.evaluation.runs import Finished

_STABLE = (
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
)


def document(run: Finished) -> dict[str, object]:
    """The report as plain data: cases, the network's test, settings, and figures of the whole run."""
    last = summary.last_tests(run.tests)
    test: dict[str, object] = {"dice": summary.mean_dice([t.dice for t in last])}
    if last:
        test |= {"nsd": summary.mean_dice([t.nsd for t in last]), "ece": summary.test_calibration(last).error}
        test["learning_curve"] = {str(after): dice for after, dice in summary.learning_curve(run.tests).items()}
    content = {
        "cases": [as_record(case) for case in run.cases],
        "network_test": test,
        "settings": _settings(run),
        "summary": _summary(run),
        "stages": _stages(run),
    }
    return {name: rounded(value) for name, value in content.items()}


def _settings(run: Finished) -> dict[str, object]:
    """What was run; of one task, its data stand beside the run's settings."""
    described = run.settings.described()
    first = run.settings.tasks[0]
    stream, test = len(run.stream.cases), len(run.stream.tests)
    one = {"images": first.images.name, "labels": first.labels.name, "slices": first.slices, "axis": first.axis}
    return {**one, **described, "stream": stream, "test": test, "code": run.facts.get("code")}


def _summary(run: Finished) -> dict[str, object]:
    """Figures over all cases of the stream; empty where all cases were there at once."""
    if not run.cases:
        return {}
    errors = summary.estimate_errors(run.cases)
    drawn, whole = summary.reading_seconds(run.cases)
    return {
        "answer_dice": summary.answer_dice(run.cases),
        "slices_drawn_share": summary.drawn_share(run.cases),
        "contour_share": summary.contour_share(run.cases),
        "reading_seconds": drawn,
        "reading_seconds_of_drawing_all": whole,
        "area_under_interaction_curve": summary.area_under(summary.interaction_curve(run.cases)),
        "ece": summary.answer_calibration(run.cases).error,
        "estimate_error": sum(map(abs, errors)) / len(errors) if errors else None,
        "peak_mb": run.facts.get("peak_mb"),
    }


def _stages(run: Finished) -> dict[str, object]:
    """The matrix R and its figures; of runs with several stages only."""
    if len(run.stream.stages) < 2 or run.settings.mode.at_once or not run.tests:
        return {}
    scores = summary.stage_matrix(run.tests, run.stream.stage_ends)
    return {
        "names": list(run.stream.stages),
        "R": [[None if value != value else value for value in row] for row in scores.tolist()],  # noqa: PLR0124 - nan
        "ACC": average_accuracy(scores),
        "BWT": backward_transfer(scores),
        "forgetting": forgetting(scores),
    }


def write_report(run: Finished, path: Path) -> tuple[Path, Path]:
    """Writes the JSON file, and the cases as CSV beside it; returns both paths."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document(run), indent=1) + "\n", encoding="utf-8")
    table = path.with_suffix(".csv")
    rows = [_row(case) for case in run.cases]
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path, table


def _row(case: CaseResult) -> dict[str, object]:
    """One line of the CSV file: the stable fields, then what can be said in one cell each."""
    effort = case.curve[-1].effort if case.curve else None
    values: dict[str, object] = {name: getattr(case, name) for name in _STABLE}
    values |= {"task": case.task, "site": case.site, "answer_nsd": case.answer_nsd}
    values |= {"contour_mm": effort.contour_mm if effort else None, "clicks": effort.clicks if effort else None}
    values |= {"reading_seconds": effort.reading_seconds if effort else None, "seconds_learning": case.seconds_learning}
    values["estimated_dice"] = case.curve[-1].estimated_dice if case.curve else None
    row: dict[str, object] = {}
    for name, value in values.items():
        plain = rounded(value)
        if isinstance(plain, dict):
            row |= {f"{name}_{key}": item for key, item in plain.items()}
        elif plain is not None:
            row[name] = plain
    return row
