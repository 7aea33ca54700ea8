"""docs/cli.md says what the commands do; every command that prints data has --json; examples name options that exist."""

from __future__ import annotations

import inspect
import shlex
from pathlib import Path
from typing import Any

import pytest

from learner import cli
from learner.cli import console
from learner.cli_reference import commands, reference

DOCS = Path(__file__).resolve().parents[2] / "docs"
_WITHOUT_DATA = {"serve", "trainer", "init", "new-task", "version", "simulate", "demo"} | {
    f"access {name}" for name in ("add-user", "set-password", "set-role", "add-token", "remove")
}
"""They print no data, one word, or write their JSON to a file."""
COMMANDS: dict[str, Any] = commands()


def test_the_reference_is_up_to_date() -> None:
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == reference(), "run: python -m learner.cli_reference > docs/cli.md"


def test_every_command_and_exit_code_is_in_the_reference() -> None:
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert [name for name, one in COMMANDS.items() if not one.hidden and f"## `apprentice {name}`" not in text] == []
    codes = (console.NOT_DONE, console.WRONG_USAGE, console.PROGRAM_FAULT, console.INTERRUPTED)
    assert [code for code in codes if f"\n| {code} | " not in text] == []


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - _WITHOUT_DATA))
def test_what_prints_data_prints_json(name: str) -> None:
    assert "--json" in {option for parameter in COMMANDS[name].params for option in parameter.opts}


@pytest.mark.parametrize("name", sorted(name for name, one in COMMANDS.items() if not one.hidden))
def test_every_command_has_examples_that_are_understood(name: str) -> None:
    lines = [line.strip() for line in COMMANDS[name].epilog.splitlines()[1:] if line.strip()]
    assert lines
    known = {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
    for line in lines:
        words = shlex.split(line)
        begun = ["apprentice", *name.split()]
        assert words[: len(begun)] == begun
        assert {word for word in words[len(begun) :] if word.startswith("-")} <= known


def test_every_option_says_what_it_is_for() -> None:
    silent = [(name, one.name) for name, command in COMMANDS.items() for one in command.params if not one.help]
    assert silent == []
    assert inspect.getdoc(cli.run)
