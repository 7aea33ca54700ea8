"""The command ``apprentice``. Commands import what is heavy (torch, the web server, plots) when they run."""

from __future__ import annotations

import logging
import sqlite3
from typing import NoReturn

import structlog
import typer

from dicom_io.errors import DicomIoError
from learner.cli import check, demo, look, models, next_cases, serve, simulate
from learner.errors import ApprenticeError
from learner.logs import configure_logs

app = typer.Typer(
    name="apprentice",
    help="A PACS node that learns to segment by watching a radiologist draw on a few slices. Research use only.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(serve.serve)
app.command(hidden=True)(serve.trainer)
app.command()(look.tasks)
app.command()(look.rounds)
app.command("next")(next_cases.next_cases)
app.command()(look.retry)
app.command()(look.training)
app.command()(models.versions)
app.command()(models.compare)
app.command()(models.rollback)
app.command()(check.doctor)
app.command()(check.lint)
app.command()(simulate.simulate)
app.command()(demo.demo)
app.command()(look.version)


def main() -> None:
    """Entry point of the console script: known errors are one line on standard error and exit code 1."""
    configure_logs("text")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))  # `serve` says more
    try:
        app()
    except (ApprenticeError, DicomIoError) as error:
        _end(str(error))
    except sqlite3.Error as error:
        _end(f"the node's store cannot be used ({error}); check its folder's rights and its disk")
    except OSError as error:
        if error.filename is None:
            raise
        _end(f"{error.filename}: {error.strerror}; check the path and its rights")


def _end(message: str) -> NoReturn:
    typer.echo(f"apprentice: {message}", err=True)
    raise SystemExit(1) from None
