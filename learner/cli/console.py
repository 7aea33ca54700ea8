"""How commands speak: results on standard output, faults in one line on standard error, JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from learner.errors import ConfigurationError
from learner.settings import Settings, load_settings
from learner.storage.store import LocalStore

_PIPED_WIDTH = 2000
DEFAULT_CONFIGURATION = Path("config/apprentice.toml")
Configuration = Annotated[
    Path, typer.Option("--config", "-c", envvar="APPRENTICE_CONFIG", help="Settings file.", show_default=True, dir_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def console() -> Console:
    """Standard output; where it is no terminal, plain and as wide as it takes, one row a line."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


def print_json(content: Any) -> None:
    """Prints JSON."""
    typer.echo(json.dumps(content, indent=2, ensure_ascii=False))


def fail(message: str) -> NoReturn:
    """Ends the command: one line on standard error, exit code 1."""
    typer.echo(f"apprentice: {message}", err=True)
    raise typer.Exit(1)


def table(title: str, *columns: str) -> Table:
    """An empty table."""
    made = Table(title=title, title_justify="left", header_style="bold", box=box.ROUNDED if sys.stdout.isatty() else None)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def open_store(configuration: Path) -> tuple[Settings, LocalStore]:
    """Settings, and the store that they name; it is not made if it does not exist.

    Raises:
        ApprenticeError: one of them cannot be used.
    """
    settings = load_settings(configuration)
    if not (settings.node.data / "apprentice.sqlite").exists():
        raise ConfigurationError(
            f"{settings.node.data} holds no node's store yet; run `apprentice serve` once, or set node.data"
        )
    return settings, LocalStore(settings.node.data, keep_checkpoints=settings.learning.keep_checkpoints)
