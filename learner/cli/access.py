"""``apprentice access``: who may use the node. Changes its store, whether it runs or not, and hold from the next request on."""

from __future__ import annotations

import sys
from dataclasses import asdict
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from learner.cli.console import (
    DEFAULT_CONFIGURATION,
    AsJson,
    Configuration,
    at_the_shell,
    console,
    examples,
    fail,
    print_json,
    table,
)
from learner.domain.user import Role
from learner.settings import load_settings
from learner.storage.store import LocalStore

app = typer.Typer(help="Manage who may use the node: users with passwords, and tokens for machines.", no_args_is_help=True)


class GivenRole(StrEnum):
    """Roles that can be given, from least to most."""

    READER = "reader"
    OPERATOR = "operator"
    ADMIN = "admin"


Name = Annotated[str, typer.Argument(help="Name of the user or token.")]
RoleOption = Annotated[
    GivenRole,
    typer.Option(
        "--role",
        help="reader: see and draw. operator: retry, pause training too. admin: roll versions back and forget studies too.",
    ),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--password-file", help="File with the password, `-` for standard input; asked for if left out."),
]


@app.command(
    "add-user",
    epilog=examples(
        'apprentice access add-user "Eva Reader" --role reader',
        "apprentice access add-user ops --role operator --password-file /run/secrets/ops",
    ),
)
def add_user(
    name: Name,
    role: RoleOption,
    password_file: PasswordFile = None,
    no_password: Annotated[bool, typer.Option("--no-password", help="For one whom a proxy signs in.")] = False,
    config: Configuration = DEFAULT_CONFIGURATION,
) -> None:
    """Add a user. What they save in the viewer is recorded as theirs."""
    if no_password and password_file is not None:
        fail("--no-password and --password-file exclude each other")
    accounts = _store(config).accounts
    accounts.add_user(name, Role(role), "" if no_password else _password(password_file), by=at_the_shell())
    console().print(f"user {name} may sign in as {role}")


@app.command("set-password", epilog=examples('apprentice access set-password "Eva Reader"'))
def set_password(name: Name, password_file: PasswordFile = None, config: Configuration = DEFAULT_CONFIGURATION) -> None:
    """Give a user another password; whoever is signed in as them must sign in again."""
    _store(config).accounts.set_password(name, _password(password_file), by=at_the_shell())
    console().print(f"user {name} has another password")


@app.command("set-role", epilog=examples('apprentice access set-role "Eva Reader" --role operator'))
def set_role(name: Name, role: RoleOption, config: Configuration = DEFAULT_CONFIGURATION) -> None:
    """Give a user or a token another role."""
    _store(config).accounts.set_role(name, Role(role), by=at_the_shell())
    console().print(f"{name} is {role} now")


@app.command("add-token", epilog=examples("apprentice access add-token prometheus --role reader"))
def add_token(name: Name, role: RoleOption, config: Configuration = DEFAULT_CONFIGURATION) -> None:
    """Make a token for a machine (plugin, Prometheus, a script) and print it, this once."""
    token = _store(config).accounts.add_token(name, Role(role), by=at_the_shell())
    typer.echo(token)
    typer.echo(f"apprentice: token {name} is {role}; it is not shown again: write it into a file of mode 600", err=True)


@app.command("list", epilog=examples("apprentice access list --json"))
def list_(config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """List users and tokens; never a secret."""
    found = _store(config).accounts.all()
    if as_json:
        print_json([asdict(account) for account in found])
        return
    shown = table("Users and tokens", "name", "kind", "role", "signs in", "added")
    for account in found:
        way = {"token": "token", "external": "issuer"}.get(account.kind, "password" if account.has_password else "proxy")
        added = datetime.fromtimestamp(account.created_at).astimezone().strftime("%Y-%m-%d %H:%M")
        shown.add_row(account.name, account.kind, account.role, way, added)
    console().print(shown)


@app.command(epilog=examples("apprentice access remove prometheus"))
def remove(name: Name, config: Configuration = DEFAULT_CONFIGURATION) -> None:
    """Remove a user or a token, at once; what the user drew stays theirs."""
    accounts = _store(config).accounts
    accounts.remove(name, by=at_the_shell())
    console().print(f"{name} is removed")
    if not accounts.exist():
        typer.echo("apprentice: no account is left; on loopback, without api.token_file, the node asks nobody now", err=True)


def _store(config: Path) -> LocalStore:
    """The node's store; made if the node did not run yet, because users come first."""
    node = load_settings(config).node
    return LocalStore(node.data, key_file=node.encryption_key_file)


def _password(file: Path | None) -> str:
    if file is None:
        if not sys.stdin.isatty():
            fail("no terminal to ask for the password; use --password-file")
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    text = sys.stdin.read() if str(file) == "-" else file.read_text(encoding="utf-8")
    return text.rstrip("\r\n")
