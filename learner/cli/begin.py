"""Commands to begin with: a folder with settings, secrets and a task; and a further task."""

from __future__ import annotations

import json
import os
import re
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from learner.cli.console import DEFAULT_CONFIGURATION, Configuration
from learner.domain.task import NAME
from learner.errors import ConfigurationError
from learner.settings import Settings, load_settings
from learner.settings_template import NewLabel, settings_template, task_template
from learner.task_files import load_task

_PLUGINS = "/usr/share/orthanc/plugins"
_SCRIPT = Path(__file__).resolve().parents[2] / "orthanc_plugin" / "main.py"
NEW_TASK_EXAMPLES = (
    "new-task liver --modality CT --label Liver=10200004",
    "new-task zones --modality MR --series t2 --label 'Peripheral zone=279706003' --label 'Transition zone'",
)
Modalities = Annotated[list[str] | None, typer.Option("--modality", help="Modality of the images; can be repeated. Else MR.")]
Labels = Annotated[
    list[str] | None,
    typer.Option("--label", metavar="NAME[=CODE]", help="A structure, with its SNOMED CT code; can be repeated."),
]


def init(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Folder to make; files that are there are not touched.")],
    url: Annotated[str, typer.Option(help="Address of Orthanc's REST API.")] = Settings().pacs.url,
    user: Annotated[
        str, typer.Option(help="Orthanc's user for this node; its password is asked for, or read from a pipe.")
    ] = "",
    token: Annotated[bool, typer.Option("--token", help="Make a token that every request to the node must carry.")] = False,
) -> None:
    """Write a folder to begin with: commented settings, secrets that nobody else can read, a task, Orthanc's part."""
    files = {"apprentice.toml": folder / "apprentice.toml", "task": folder / "tasks" / "example.toml"}
    files["orthanc"] = folder / "orthanc-plugin.json"
    if there := [path for path in files.values() if path.exists()]:
        raise ConfigurationError(f"{there[0]} is there already; remove it, or name another folder")
    password = _password(user) if user else ""
    (folder / "tasks").mkdir(parents=True, exist_ok=True)
    if password:
        _write_secret(folder / "orthanc-password", password)
    if token:
        _write_secret(folder / "token", secrets.token_urlsafe(32))
    files["apprentice.toml"].write_text(_settings(url, user, token=token), encoding="utf-8")
    files["task"].write_text(task_template("An example: say what it is", ["MR"], "", [NewLabel("Structure")]), encoding="utf-8")
    files["orthanc"].write_text(_orthanc(folder, token=token), encoding="utf-8")
    load_settings(files["apprentice.toml"])
    typer.echo(f"written: {', '.join(str(path.relative_to(folder)) for path in sorted(folder.rglob('*')) if path.is_file())}")
    typer.echo(f"1. Say in {files['task']} what is to be segmented (`apprentice new-task` writes more).")
    typer.echo(f"2. Merge {files['orthanc']} into Orthanc's configuration, and restart Orthanc.")
    typer.echo(f"3. apprentice serve -c {files['apprentice.toml']}")
    typer.echo(f"4. apprentice doctor -c {files['apprentice.toml']}")


def new_task(
    name: Annotated[str, typer.Argument(help="Lower-case letters, digits, - and _; the file's name, too.")],
    config: Configuration = DEFAULT_CONFIGURATION,
    title: Annotated[str, typer.Option(help="One line for people; the labels if left out.")] = "",
    modality: Modalities = None,
    series: Annotated[str, typer.Option(help="Regular expression that Series Description must contain.")] = "",
    label: Labels = None,
) -> None:
    """Write a task file into the settings' folder of tasks, to be refined by hand."""
    if not re.fullmatch(NAME, name):
        raise ConfigurationError(f"{name!r} is no name of a task; take lower-case letters, digits, '-' and '_', 40 at most")
    folder = load_settings(config).tasks.folder
    path = folder / f"{name}.toml"
    if path.exists():
        raise ConfigurationError(f"{path} is there already; edit it, or take another name")
    labels = [NewLabel(*(part.strip() for part in text.split("=", 1))) for text in label or [name]]
    folder.mkdir(parents=True, exist_ok=True)
    shown = title or ", ".join(one.name for one in labels)
    path.write_text(task_template(shown, modality or ["MR"], series, labels), encoding="utf-8")
    try:
        load_task(path)
    except ConfigurationError:
        path.unlink()
        raise
    typer.echo(f"written: {path}; restart the node, then `apprentice doctor --only matching` tells which series it matches")


def _password(user: str) -> str:
    """The password of Orthanc's user: typed unseen, or the first line of a pipe."""
    typed = typer.prompt(f"Password of {user}", hide_input=True) if sys.stdin.isatty() else sys.stdin.readline()
    if not typed.strip():
        raise ConfigurationError(f"the password of {user} is empty; type it, or pipe it in")
    return str(typed).strip()


def _write_secret(path: Path, secret: str) -> None:
    """Writes a file that nobody else could ever read."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(f"{secret}\n")


def _settings(url: str, user: str, *, token: bool) -> str:
    pacs = {"url": url} | ({"user": user, "password_file": "orthanc-password"} if user else {})
    api = {"token_file": "token"} if token else {}
    return settings_template({"node": {"data": "data"}, "pacs": pacs, "api": api, "tasks": {"folder": "tasks"}})


def _orthanc(folder: Path, *, token: bool) -> str:
    """What belongs into Orthanc's configuration."""
    node = f"http://127.0.0.1:{Settings().api.port}"
    section = {"LearnerUrl": node, "PageUrl": f"{node}/"} | ({"TokenFile": str((folder / "token").resolve())} if token else {})
    plugins = [f"{_PLUGINS}/libOrthancPython.so", f"{_PLUGINS}/libOrthancDicomWeb.so"]
    content = {"Plugins": plugins, "PythonScript": str(_SCRIPT), "StableAge": 10, "HttpCompressionEnabled": False}
    return json.dumps(content | {"UnknownSopClassAccepted": True, "Apprentice": section}, indent=2) + "\n"
