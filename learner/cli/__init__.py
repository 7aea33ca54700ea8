"""The command ``apprentice``. Commands import what is heavy (torch, the web server, plots) when they run."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import structlog
import typer

from dicom_io.errors import DicomIoError
from learner.cli import (
    access,
    audit,
    backup,
    begin,
    check,
    demo,
    encryption,
    export,
    forget,
    look,
    models,
    next_cases,
    serve,
    simulate,
    status,
)
from learner.cli.console import NOT_DONE, PROGRAM_FAULT, WRONG_USAGE, Speech, examples
from learner.errors import ApprenticeError
from learner.logs import configure_logs
from learner.version import __version__

_NAME = "apprentice"
app = typer.Typer(
    name=_NAME,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(epilog=examples("apprentice init site", "apprentice doctor -c site/apprentice.toml", "apprentice status"))
def _apprentice(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="APPRENTICE_DEBUG", help="Show errors with their traceback.")
    ] = False,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and end.")
    ] = False,
) -> None:
    """A PACS node that learns to segment by watching a radiologist draw on a few slices. Research use only."""
    if isinstance(context.obj, Speech):
        context.obj.debug = debug


_SETTING_UP, _RUNNING, _LOOKING, _CHECKING = "Set up", "Run", "Look and steer", "Check and measure"
_COMMANDS: tuple[tuple[str, Callable[..., None], tuple[str, ...]], ...] = (
    (_SETTING_UP, begin.init, ("init site", "init site --url http://10.0.0.5:8042 --user apprentice --token")),
    (_SETTING_UP, begin.new_task, begin.NEW_TASK_EXAMPLES),
    (_SETTING_UP, look.version, ("version",)),
    (_RUNNING, serve.serve, ("serve", "serve -c site/apprentice.toml")),
    (_RUNNING, demo.demo, ("demo --once --json figures.json",)),
    (_RUNNING, backup.backup, ("backup /mnt/backup", "backup --verify /mnt/backup/pacs-apprentice-20260115T020000Z.tar")),
    (_RUNNING, backup.restore, ("restore backup.tar --data var/restored",)),
    (_LOOKING, status.status, ("status", "status --json")),
    (_LOOKING, look.tasks, ("tasks --json",)),
    (_LOOKING, look.rounds, ("rounds --state refused", "rounds --limit 5 --json")),
    (_LOOKING, next_cases.next_cases, ("next prostate", "next prostate --json")),
    (_LOOKING, look.retry, ("retry 12",)),
    (_LOOKING, look.training, ("training pause", "training status")),
    (_LOOKING, models.versions, ("versions prostate",)),
    (_LOOKING, models.compare, ("compare prostate 12 15",)),
    (_LOOKING, models.rollback, ("rollback prostate", "rollback prostate 12 --retrain")),
    (_LOOKING, forget.forget, forget.FORGET_EXAMPLES),
    (_LOOKING, forget.retrain, ("retrain prostate", "retrain prostate --drop-marked")),
    (_LOOKING, export.export, ("export prostate --out prostate-v12", "export prostate --out out --what onnx")),
    (_CHECKING, check.doctor, ("doctor", "doctor --quick --json", "doctor --only archive --only dimse")),
    (_CHECKING, check.lint, ("lint prediction.dcm --source study", "lint --json prediction.dcm")),
    (_CHECKING, simulate.simulate, simulate.EXAMPLES),
)
"""Where each command stands in the help, and examples of it, which begin with its name."""

for _panel, _command, _examples in _COMMANDS:
    app.command(
        _examples[0].split()[0], rich_help_panel=_panel, epilog=examples(*(f"{_NAME} {example}" for example in _examples))
    )(_command)
app.add_typer(access.app, name="access", rich_help_panel=_SETTING_UP)
app.add_typer(encryption.app, name="encryption", rich_help_panel=_RUNNING)
app.add_typer(audit.app, name="audit", rich_help_panel=_LOOKING)
app.command(hidden=True)(serve.trainer)


def main() -> None:
    """Entry point of the console script."""
    configure_logs("text")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # `serve` says more
    raise SystemExit(run(sys.argv[1:] or ["--help"]))


def run(arguments: Sequence[str]) -> int:
    """Runs a command; every error is one line on standard error, with its traceback where ``--debug`` asks for it.

    Returns:
        The exit code, see :mod:`learner.cli.console`.
    """
    speech = Speech()
    try:
        code = app(args=list(arguments), prog_name=_NAME, obj=speech, standalone_mode=False)
    except typer.Abort:
        return _said("given up", NOT_DONE)
    except BrokenPipeError:  # `apprentice rounds | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOT_DONE
    except Exception as error:  # noqa: BLE001 - told, and whole with --debug
        if speech.debug:
            traceback.print_exception(error)
        return _said(*_worded(error, list(arguments)))
    return code if isinstance(code, int) else 0


def _worded(error: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    """One line, and the exit code."""
    if isinstance(error, ApprenticeError | DicomIoError):
        return str(error), NOT_DONE
    if isinstance(error, sqlite3.Error):
        return f"the node's store cannot be used ({error}); check its folder's rights and its disk", NOT_DONE
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; check the path and its rights", NOT_DONE
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # a call that is wrong: click's errors, of which typer has its own copies
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else _NAME
        said = str(format_message()).rstrip(".") if arguments else "no command is named"
        return f"{said}; `{command} --help` lists what there is", int(getattr(error, "exit_code", WRONG_USAGE))
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    what = f"a fault of the program ({type(error).__name__} at {where}); `apprentice --debug ...` tells more, please report it"
    return what, PROGRAM_FAULT


def _said(message: str, code: int) -> int:
    typer.echo(f"{_NAME}: {' '.join(message.split())}", err=True)
    return code
