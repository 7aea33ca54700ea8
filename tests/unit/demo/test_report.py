from __future__ import annotations

import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from learner.demo.errors import DemoError
from learner.demo.report import DemoOptions, DemoReport, RoundRow, write_json, write_plot
from learner.demo.table import Screen


def row(number: int, case: str = "one", before: float | None = None) -> RoundRow:
    return RoundRow(
        case=case,
        subject="an egg",
        remark="as shipped",
        round=number,
        manner="SEG",
        drawn=tuple(range(3 * number)),
        left=(),
        drawn_slices=3 * number,
        series_slices=40,
        object_slices=36,
        drawn_share=3 * number / 40,
        drawn_object_share=3 * number / 36,
        answer_dice=0.9,
        answer_dice_per_label={"1": 0.9},
        network_dice_before=before,
        propagation_dice=0.8,
        seconds=4.25,
    )


REPORT = DemoReport((row(1), row(2), row(1, "two", 0.75)), ("a line",))


def test_json_has_one_object_a_round_and_the_settings(tmp_path: Path) -> None:
    path = tmp_path / "new" / "figures.json"
    write_json(REPORT, DemoOptions(once=True, json=path), path)
    content = json.loads(path.read_text())
    assert [one["round"] for one in content["rounds"]] == [1, 2, 1]
    assert content["rounds"][1]["drawn_share"] == pytest.approx(0.15)
    assert content["rounds"][2]["network_dice_before"] == 0.75
    assert content["settings"]["once"] is True
    assert content["log_errors"] == ["a line"]


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    write_plot(REPORT, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    write_plot(DemoReport((), ()), tmp_path / "empty.png")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DemoError, match="--json"):
        write_json(REPORT, DemoOptions(), tmp_path / "file" / "figures.json")


def test_without_a_terminal_each_row_is_one_line() -> None:
    output = StringIO()
    with Screen(Console(file=output, force_terminal=False, width=60), "Eggs") as screen:
        screen.add(row(1))
        with screen.busy("waiting"):
            screen.add(row(2, before=0.75))
    lines = output.getvalue().splitlines()
    assert len(lines) == 4
    assert lines[1] == "one: an egg; as shipped"
    assert lines[2].split(" | ") == ["one", "1", "SEG", "3 (8%, 8%)", "0.900", "-", "0.800", "4.2"]
    assert lines[3].split(" | ")[5] == "0.750"


def test_on_a_terminal_the_table_and_what_is_waited_for_are_shown() -> None:
    output = StringIO()
    with Screen(Console(file=output, force_terminal=True, width=140), "Eggs") as screen:
        screen.add(row(1))
        screen.add(row(1, "two", 0.75))
        with screen.busy("waiting for the answer", 5) as done:
            done(3)
            screen.refresh()
    told = output.getvalue()
    assert "waiting for the answer" in told
    assert "0.750" in told
    assert "as shipped" in told


def test_options_begin_at_one() -> None:
    with pytest.raises(DemoError, match="begin at 1"):
        DemoOptions(rounds=0)
