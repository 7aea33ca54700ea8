"""The reference of the command line as Markdown, made from the commands themselves.

``python -m learner.cli_reference > docs/cli.md`` writes it anew; a test holds the file against the code.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from enum import Enum
from typing import Any, get_args

import typer

from learner.cli import app
from learner.doctor import CHECKS

_HEAD = """\
# Command line

Made from the commands by `python -m learner.cli_reference > docs/cli.md`; do not edit it here.

`apprentice --help` lists the commands, `apprentice COMMAND --help` tells about one. Results go to standard output, errors to
standard error, in one line that says what to do. Where standard output is no terminal, and where `NO_COLOR` is set, there are
no colours; in a pipe there are no frames either, one row a line. `--json` stands on every command that prints data; its fields
stay from version to version.

`apprentice --install-completion` sets up completion for the shell that calls it (bash, zsh, fish, PowerShell); begin a new
shell then. `apprentice --show-completion` prints it instead.

## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | not done; the line on standard error says why and what to do |
| 2 | wrong usage: a command, option or value that there is not |
| 70 | a fault of the program; `apprentice --debug COMMAND` shows the traceback, please report it |
| 130 | interrupted by Ctrl-C |

Two commands say more by it:

| command | 0 | 1 | 2 |
|---|---|---|---|
| `doctor` | all is well | a warning | an error, or a setting that cannot be read |
| `lint` | no rule of level error is broken | one is | a file cannot be read |
"""


def reference() -> str:
    """The whole reference."""
    parts = [_HEAD, "## `apprentice`\n", *_table(typer.main.get_command(app))]
    for name, command in commands().items():
        if not command.hidden:
            parts += [f"## `apprentice {name}`\n", *_command(command)]
    return "\n".join([*parts, *_checks()])


def commands() -> dict[str, Any]:
    """All commands by name, those of a group with its name in front."""
    group: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {one}": what for one, what in inner.items()}
    return found


def _command(command: Any) -> Iterator[str]:
    yield " ".join(str(command.help).split()) + "\n"
    yield from _table(command)
    if command.epilog:
        yield "```sh"
        yield from (line.strip() for line in command.epilog.splitlines()[1:] if line.strip())
        yield "```\n"


def _table(command: Any) -> Iterator[str]:
    rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
    if rows:
        yield "| argument or option | default | meaning |"
        yield "|---|---|---|"
        yield from rows
        yield ""


def _row(parameter: Any) -> str:
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.param_type_name == "argument":
        names = str(parameter.metavar or parameter.name).upper()
    choices = _choices(parameter)
    words = [str(parameter.help or "")]
    if choices:
        words.append(f"One of {', '.join(f'`{choice}`' for choice in choices)}.")
    if parameter.envvar:
        words.append(f"Environment: `{parameter.envvar}`.")
    shown = "required" if parameter.required else _default(parameter)
    return f"| `{names}` | {shown} | {' '.join(words).replace('|', chr(92) + '|').strip()} |"


def _choices(parameter: Any) -> list[str]:
    """The values that a parameter can have, where they are counted."""
    annotation = parameter.type_descriptor.annotation
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, Enum)]
    return [str(choice.value) for kind in kinds for choice in kind]


def _default(parameter: Any) -> str:
    value = getattr(parameter.default, "value", parameter.default)
    if value is None or value is False or value == "" or callable(value):
        return ""
    return f"`{'on' if value is True else value}`"


def _checks() -> Iterator[str]:
    yield "## Checks of `doctor`\n"
    yield "The names stay from version to version. *slow*: left out with `--quick`; *writes*: only with `--write`.\n"
    yield "| check | what it looks at | |"
    yield "|---|---|---|"
    for check in CHECKS:
        how = " ".join(word for word, holds in (("slow", check.is_slow), ("writes", check.writes)) if holds)
        yield f"| `{check.name}` | {check.about} | {how} |"
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
