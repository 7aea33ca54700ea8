"""``apprentice encryption``: files of the data folder encrypted at rest; see docs/security.md."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from learner.cli.console import (
    DEFAULT_CONFIGURATION,
    NOT_DONE,
    AsJson,
    Configuration,
    console,
    data_folder,
    examples,
    print_json,
    table,
    working,
)
from learner.errors import ConfigurationError
from learner.settings import load_settings
from learner.storage.encryption import Amount, Applied, folder_states, make_key
from learner.storage.encryption import apply as apply_encryption
from learner.storage.vault import Vault

app = typer.Typer(help="Encrypt images, drawings and networks in the data folder.", no_args_is_help=True)
InTheClear = Annotated[bool, typer.Option("--in-the-clear", help="Decrypt all files instead.")]


@app.command("make-key", epilog=examples("apprentice encryption make-key /etc/pacs-apprentice/encryption-key"))
def make_key_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write, which must not exist.", dir_okay=False)],
    as_json: AsJson = False,
) -> None:
    """Write a new key into a file, as age-keygen does, and print its public half."""
    recipient = make_key(file)
    if as_json:
        print_json({"path": str(file), "recipient": recipient})
    else:
        typer.echo(recipient)
    typer.echo(
        f"apprentice: {file} is the key: set node.encryption_key_file to it, and keep a copy of it apart from the node and its "
        "backups; without it nobody reads what is encrypted",
        err=True,
    )


@app.command(epilog=examples("apprentice encryption status", "apprentice encryption status --json"))
def status(config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """Show how many files are encrypted, by folder, and to which keys; whether a node runs or not."""
    data = data_folder(config)
    vault = Vault(data, load_settings(config).node.encryption_key_file)
    states, recipients = folder_states(data), vault.recipients()
    writes_to, fault = _first_key(vault)
    if as_json:
        folders = {name: asdict(state) for name, state in states.items()}
        print_json(
            {"folders": folders, "recipients": list(recipients), "writes_to": writes_to or None, "key_fault": fault or None}
        )
        return
    shown = table("Files on disk", "folder", "in the clear", "encrypted")
    for name, state in states.items():
        shown.add_row(name, _told(state.clear), _told(state.encrypted))
    console().print(shown)
    if fault:
        typer.echo(f"apprentice: {fault}", err=True)
    else:
        console().print(f"files are written {f'encrypted to {writes_to}' if writes_to else 'in the clear'}")
    for recipient in recipients:
        console().print(f"files may be encrypted to {recipient}")


def _first_key(vault: Vault) -> tuple[str, str]:
    """The recipient that files are written to, empty for none; and why the key cannot be told, as where systemd keeps it."""
    try:
        return vault.recipient, ""
    except ConfigurationError as error:
        return "", str(error)


@app.command(epilog=examples("apprentice encryption apply", "apprentice encryption apply --in-the-clear"))
def apply(in_the_clear: InTheClear = False, config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """Encrypt every file to the first key: those in the clear, and those of other keys. The node has to be stopped."""
    data, key_file = data_folder(config), load_settings(config).node.encryption_key_file
    with working("looking at the files") as update:
        applied = apply_encryption(
            data, key_file, in_the_clear=in_the_clear, told=lambda done, total: update(f"{done} of {total} files")
        )
    if as_json:
        print_json(asdict(applied))
    else:
        _tell(applied, in_the_clear=in_the_clear)
    for name in applied.damaged:
        typer.echo(f"apprentice: {name} is encrypted, and damaged; it is left as it is", err=True)
    if applied.damaged:
        raise typer.Exit(NOT_DONE)


def _tell(applied: Applied, *, in_the_clear: bool) -> None:
    what = "decrypted" if in_the_clear else "encrypted"
    console().print(f"{applied.rewritten} files {what}; {applied.left} were so already")
    if in_the_clear and not applied.recipients:
        console().print("unset node.encryption_key_file before the node starts, or it encrypts what it writes")


def _told(amount: Amount) -> str:
    return f"{amount.files} files, {amount.size / 2**20:.1f} MiB" if amount.files else "-"
