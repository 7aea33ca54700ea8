"""A study's table and the figures that it has goals for; kept as JSON of a few kilobytes, shown as markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Figure:
    """A figure beside its goal.

    Attributes:
        name: what it is.
        goal: what it should be, in words.
        value: what it is.
        met: whether it is what it should be; None where that is not for a number to say.
        where: data, slice axis and slice budget.
    """

    name: str
    goal: str
    value: str
    met: bool | None
    where: str


@dataclass(frozen=True)
class Table:
    """What a study found.

    Attributes:
        title: one line.
        columns: heads.
        rows: as many cells as there are heads.
        figures: figures beside their goals.
        notes: what a reader has to know, one sentence each.
        command: how to make it again.
        code: digests of the code that made the runs.
        rank: place among all studies.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    command: str = ""
    code: tuple[str, ...] = field(default=())
    rank: int = 99

    def markdown(self, level: int = 2) -> str:
        """Heading, command, table, notes."""
        lines = [f"{'#' * level} {self.title}", ""]
        if self.command:
            lines += ["```sh", self.command, "```", ""]
        lines += markdown_table(self.columns, self.rows)
        lines += ["", *(f"- {note}" for note in self.notes)]
        if self.code:
            lines.append(f"- Code of the runs: {', '.join(self.code)}.")
        return "\n".join(lines).rstrip() + "\n"

    def write(self, folder: Path, name: str) -> Path:
        """Writes ``name.json`` and ``name.md``; returns the second."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        (folder / f"{name}.md").write_text(self.markdown(), encoding="utf-8")
        return folder / f"{name}.md"


def read_table(file: Path) -> Table:
    """The table that ``Table.write`` wrote as JSON."""
    content = json.loads(file.read_text(encoding="utf-8"))
    figures = tuple(Figure(**figure) for figure in content.pop("figures", ()))
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in content.items()}
    return Table(**{**plain, "rows": tuple(tuple(row) for row in content["rows"]), "figures": figures})


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a markdown table."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


_PREFACE = (
    "Made by `./run bench science results` from the files in `benchmarks/results/`; not edited by hand. Values are means over"
    " seeds with 95 % intervals (Student's t) where there is more than one. What the measures mean stands in"
    " [docs/evaluation.md](../docs/evaluation.md)."
)


def results_page(tables: Sequence[Table]) -> str:
    """``RESULTS.md``: every figure beside its goal, then every table."""
    words = {True: "yes", False: "no", None: ""}
    heads = ("figure", "goal", "value", "met", "data, axis, slices", "command")
    rows = [(f.name, f.goal, f.value, words[f.met], f.where, f"`{table.command}`") for table in tables for f in table.figures]
    lines = [
        "# Results of the science",
        "",
        _PREFACE,
        "",
        *markdown_table(heads, rows),
        "",
    ]
    return "\n".join(lines) + "\n" + "\n".join(table.markdown() for table in tables)
