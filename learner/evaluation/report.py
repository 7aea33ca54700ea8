"""The report of a simulation: JSON in a stable form, and the same per case as CSV."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, fields
from pathlib import Path

Dice = dict[int, float]


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case of the stream. The fields are a stable form: scripts of others read them.

    Attributes:
        case: name.
        drawn_slices: how many slices the reader drew.
        object_slices: how many slices show the object.
        contour_share: contour voxels on drawn slices over those of all slices.
        extent_marks: how many slices the reader marked as empty, counted apart from drawn ones.
        rounds: rounds of drawing.
        network_dice_before: Dice per label of the network alone before anything was drawn; None for the first case.
        proxy_dice: Dice per label of the propagation alone after the last round.
        answer_dice: Dice per label of the answer after the last round.
        seconds_per_answer: mean over the rounds.
    """

    case: str
    drawn_slices: int
    object_slices: int
    contour_share: float
    extent_marks: int
    rounds: int
    network_dice_before: Dice | None
    proxy_dice: Dice
    answer_dice: Dice
    seconds_per_answer: float


@dataclass(frozen=True, slots=True)
class SimulationReport:
    """What a simulation found.

    Attributes:
        cases: one per case of the stream, in order.
        network_test: Dice per label of the network alone, mean over the test cases; empty without test cases.
        settings: what was simulated.
    """

    cases: tuple[CaseResult, ...]
    network_test: Dice
    settings: dict[str, object]

    def to_json(self) -> str:
        """The report as JSON."""
        document = {
            "cases": [{f.name: _rounded(getattr(case, f.name)) for f in fields(case)} for case in self.cases],
            "network_test": {"dice": _rounded(self.network_test)},
            "settings": self.settings,
        }
        return json.dumps(document, indent=1)

    def write(self, path: Path) -> tuple[Path, Path]:
        """Writes the JSON file, and the cases as CSV beside it; returns both paths."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.to_json() + "\n", encoding="utf-8")
        table = path.with_suffix(".csv")
        rows = [_row(case) for case in self.cases]
        columns = list(dict.fromkeys(column for row in rows for column in row))
        with table.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(rows)
        return path, table


def _rounded(value: object) -> object:
    """Floats to five digits; label numbers to strings, as JSON has no other keys."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {str(key): _rounded(item) for key, item in value.items()}
    return value


def _row(case: CaseResult) -> dict[str, object]:
    row: dict[str, object] = {}
    for field in fields(case):
        value = _rounded(getattr(case, field.name))
        if isinstance(value, dict):
            row |= {f"{field.name}_{key}": item for key, item in value.items()}
        elif value is not None:
            row[field.name] = value
    return row
