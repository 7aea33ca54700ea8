"""How commands speak: results on standard output, faults in one line on standard error, JSON where it is asked for.

Exit codes, of every command: 0 done; 1 not done, the line on standard error says why; 2 wrong usage; 70 a fault of the program;
130 interrupted. ``doctor`` and ``lint`` have codes of their own besides, said in their help.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, dataclass, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_type_hints

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from learner.errors import ConfigurationError
from learner.settings import Settings, load_settings
from learner.storage.store import LocalStore

_PIPED_WIDTH = 2000
_Options = TypeVar("_Options")
NOT_DONE, WRONG_USAGE, PROGRAM_FAULT, INTERRUPTED = 1, 2, 70, 130
"""Exit codes."""
DEFAULT_CONFIGURATION = Path("config/apprentice.toml")
Configuration = Annotated[
    Path, typer.Option("--config", "-c", envvar="APPRENTICE_CONFIG", help="Settings file.", show_default=True, dir_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def console() -> Console:
    """Standard output; where it is no terminal, plain and as wide as it takes, one row a line."""
    return Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)


@dataclass
class Speech:
    """How this call of the command speaks.

    Attributes:
        debug: whether errors come with their traceback.
    """

    debug: bool = False


def examples(*commands: str) -> str:
    """The end of a command's help."""
    return "Examples:\n\n" + "\n\n".join(f"  {command}" for command in commands)


def takes(options: type[_Options]) -> Callable[[Callable[[_Options], None]], Callable[..., None]]:
    """Makes a command of a function of one dataclass, whose fields are annotated as arguments of a command are."""

    def make(run: Callable[[_Options], None]) -> Callable[..., None]:
        def command(**values: Any) -> None:
            run(options(**values))

        hints = get_type_hints(options, include_extras=True)
        command.__name__, command.__doc__, command.__module__ = run.__name__, run.__doc__, run.__module__
        command.__annotations__ = hints
        command.__signature__ = Signature(  # type: ignore[attr-defined]  # what typer asks for
            [
                Parameter(
                    field.name,
                    Parameter.KEYWORD_ONLY,
                    default=Parameter.empty if field.default is MISSING else field.default,
                    annotation=hints[field.name],
                )
                for field in fields(options)  # type: ignore[arg-type]  # it is a dataclass
            ]
        )
        return command

    return make


@contextmanager
def working(what: str) -> Iterator[Callable[[str], None]]:
    """Shows on a terminal that something goes on, until it is done; takes what goes on now."""
    shown = Console(stderr=True, markup=False, highlight=False)
    with shown.status(what) as status:
        yield status.update


def at_the_shell() -> str:
    """Who types a command, for the audit record: the machine's user."""
    try:
        return f"{getpass.getuser()} (command line)"
    except (KeyError, OSError):  # a number without a name, as in some containers
        return "(command line)"


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
    _check_store(settings)
    node, keep = settings.node, settings.learning.keep_checkpoints
    return settings, LocalStore(node.data, keep_checkpoints=keep, key_file=node.encryption_key_file)


def data_folder(configuration: Path) -> Path:
    """The data folder that settings name, its database left alone.

    Raises:
        ConfigurationError: it holds no node's store.
    """
    settings = load_settings(configuration)
    _check_store(settings)
    return settings.node.data


def _check_store(settings: Settings) -> None:
    if not (settings.node.data / "apprentice.sqlite").exists():
        raise ConfigurationError(
            f"{settings.node.data} holds no node's store yet; run `apprentice serve` once, or set node.data"
        )
