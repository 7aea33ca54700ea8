"""``apprentice backup`` and ``apprentice restore``: all that a node knows, in one file, and back."""

from __future__ import annotations

import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from learner.cli.console import DEFAULT_CONFIGURATION, AsJson, Configuration, console, data_folder, print_json, working
from learner.settings import load_settings
from learner.storage.backup import Manifest, make_backup
from learner.storage.restore import restore_backup, verify_backup

_STOPPED = 128 + signal.SIGTERM
Target = Annotated[
    Path,
    typer.Argument(help="File to write, or a folder in which one is named after the moment; with --verify the file to read."),
]
Verify = Annotated[bool, typer.Option("--verify", help="Make none; read this one to its end and check every hash.")]
Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder that is empty or does not exist yet; `node.data` of the settings if left out."),
]


def backup(
    target: Target, verify: Verify = False, config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False
) -> None:
    """Copy all that the node knows into one file, while it runs; or check such a file. It is patient data."""
    _clean_up_when_stopped()
    if verify:
        with working("reading the backup"):
            file, manifest = target, verify_backup(target)
        _tell(file, manifest, "is whole: every file is as it was written", as_json=as_json)
        return
    folder = data_folder(config)
    with working("copying"):
        file, manifest = make_backup(folder, target)
    _tell(file, manifest, "written", as_json=as_json)


def restore(
    backup_file: Annotated[Path, typer.Argument(metavar="BACKUP", help="File that `apprentice backup` wrote.", dir_okay=False)],
    data: Data = None,
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Make a data folder of a backup: all of it, checked, or nothing."""
    _clean_up_when_stopped()
    folder = data if data is not None else load_settings(config).node.data
    with working("checking and copying"):
        manifest = restore_backup(backup_file, folder.resolve())
    _tell(folder, manifest, "restored", as_json=as_json)


def _tell(where: Path, manifest: Manifest, what: str, *, as_json: bool) -> None:
    if as_json:
        about = {name: value for name, value in asdict(manifest).items() if name != "files"}
        print_json({"path": str(where), **about, "files": len(manifest.files), "bytes": manifest.size})
        return
    size = f"{len(manifest.files)} files, {manifest.size / 2**20:.1f} MiB"
    console().print(f"{where} {what}; {size}, of {manifest.made_at}, version {manifest.program}, schema {manifest.schema}")


def _clean_up_when_stopped() -> None:
    """SIGTERM ends the command as an exception does, so that nothing half done stays."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(_STOPPED))
