"""What one sees while the demo plays: a table that grows, and what is being waited for.

On a terminal both are drawn anew several times a second. Elsewhere (a pipe, a log of CI) each row is printed once, as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from learner.demo.report import RoundRow

_COLUMNS = (
    ("case", "left"),
    ("round", "right"),
    ("stored as", "left"),
    ("drawn\n(series, structure)", "right"),
    ("answer", "right"),
    ("network\nbefore", "right"),
    ("propagation", "right"),
    ("seconds", "right"),
)


class Screen:
    """The table of rounds and a line on what goes on. Use it as a context.

    Args:
        console: where to draw.
        title: over the table.
    """

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._rows: list[RoundRow] = []
        self._title = title
        self._progress = Progress(
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console
        )
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=5, transient=False)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        else:
            self._console.print(
                f"{self._title}: " + " | ".join(name.replace("\n", " ") for name, _ in _COLUMNS), soft_wrap=True
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def add(self, row: RoundRow) -> None:
        """One more round is over."""
        first = not any(one.case == row.case for one in self._rows)
        self._rows.append(row)
        if not self._console.is_terminal:
            if first:
                self._console.print(f"{row.case}: {row.subject}; {row.remark}", soft_wrap=True, highlight=False, markup=False)
            self._console.print(" | ".join(cells(row)), soft_wrap=True, highlight=False)

    @contextmanager
    def busy(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """Shows what is done or waited for, with a bar.

        Args:
            what: in words.
            total: number of steps; a bar without an end where it is not known.

        Yields:
            What to call with the number of steps done.
        """
        task = self._progress.add_task(what, total=total)
        try:
            yield lambda done: self._progress.update(task, completed=done)
        finally:
            self._progress.remove_task(task)

    def refresh(self) -> None:
        """Draws anew at once, on a terminal."""
        if self._console.is_terminal:
            self._live.refresh()

    def _render(self) -> Group:
        return Group(self._table(), self._progress) if self._progress.tasks else Group(self._table())

    def _table(self) -> Table:
        table = Table(title=self._title, title_justify="left", caption="Dice; network and propagation for comparison")
        for name, justify in _COLUMNS:
            table.add_column(name, justify="right" if justify == "right" else "left", min_width=26 if name == "case" else None)
        before = ""
        for row in self._rows:
            first = row.case != before
            if first and before:
                table.add_section()
            who = Text.assemble(row.case, "\n", (f"{row.subject}; {row.remark}", "dim")) if first else Text("")
            table.add_row(who, *cells(row)[1:])
            before = row.case
        return table


def cells(row: RoundRow) -> tuple[str, ...]:
    """A row as text, in the order of the columns."""
    before = "-" if row.network_dice_before is None else f"{row.network_dice_before:.3f}"
    return (
        row.case,
        str(row.round),
        row.manner,
        f"{row.drawn_slices} ({row.drawn_share:.0%}, {row.drawn_object_share:.0%})",
        f"{row.answer_dice:.3f}",
        before,
        f"{row.propagation_dice:.3f}",
        f"{row.seconds:.1f}",
    )
