"""The comparison of guidance rules, from the JSON file that ``benchmarks/guidance.py`` writes, as a table beside its goals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from study.table import Figure, Table

_RULE = "expected-gain"
_ABOVE_UNIFORM, _OF_ORACLE = 1.3, 0.85


def guidance_table(file: Path) -> Table:
    """Area of Dice gained by each rule, with what the default comes to against even spacing and the oracle.

    Args:
        file: what ``benchmarks/guidance.py --out`` wrote.
    """
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    rows, goals = [], []
    for place, lines in content["tables"].items():
        for line in lines:
            apart = line.get("minus_uniform")
            against = f"{apart[0]:+.3f} ({apart[1]:+.3f} to {apart[2]:+.3f})" if apart else ""
            share = line.get("ratio_to_oracle")
            rows.append((place, line["rule"], f"{line['gain']:.3f}", against, f"{share:.0%}" if share is not None else ""))
            if line["rule"] == _RULE:
                where = f"{place}, {line['cases']} cases, axis 0, {content['budget']} slices after the first, propagation alone"
                ratio, of_oracle = float(line["ratio_to_uniform"]), float(line["ratio_to_oracle"])
                goals.append(
                    Figure(f"guidance, {place}: gain over uniform's", ">= 1.30", f"{ratio:.2f}", ratio >= _ABOVE_UNIFORM, where)
                )
                goals.append(
                    Figure(
                        f"guidance, {place}: share of the oracle's gain",
                        ">= 85 %",
                        f"{of_oracle:.0%}",
                        of_oracle >= _OF_ORACLE,
                        where,
                    )
                )
    columns = ("data", "rule", "area of Dice gained", "minus uniform (95 %, bootstrap)", "share of the oracle's")
    notes = (
        "`uniform` spaces evenly within the extent that the drawn sections make likely; `informed` within the true one.",
        "Held-out cases; what was tuned on which others stands in docs/decisions/0022-guidance.md.",
    )
    command = content["command"].replace("python benchmarks/guidance.py", "./run bench guidance")
    sets = ", ".join(dict.fromkeys(place.split(",")[0] for place in content["tables"]))
    return Table(f"Guidance: {sets}", columns, tuple(rows), tuple(goals), notes, command, (content["propagation"],), 6)
