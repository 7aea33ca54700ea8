"""Commands that check: the site, and a result against the display rules of the common viewers."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from learner.cli.console import DEFAULT_CONFIGURATION, AsJson, Configuration, console, fail, print_json, table

_STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}


def doctor(config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """Check settings, archive, plugin, node and hardware, with a remedy for what is wrong; exit code 1 for an error."""
    from learner.doctor import Level, examine  # noqa: PLC0415 - HTTP client

    findings = list(examine(config))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        shown = table("Doctor", "check", "", "what", "remedy")
        for finding in findings:
            level = Text(finding.level, style=_STYLE[finding.level])
            shown.add_row(Text(finding.name), level, Text(finding.what), Text(finding.remedy))
        console().print(shown)
    if any(finding.level is Level.ERROR for finding in findings):
        raise typer.Exit(1)


def lint(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A result object (SEG, Parametric Map, SR, KO).")],
    source: Annotated[Path | None, typer.Option(exists=True, file_okay=False, help="Folder with the image series.")] = None,
    as_json: AsJson = False,
) -> None:
    """Check a result object against what the common viewers show; exit code 1 for an error."""
    from dicom_io.read_series import read_series  # noqa: PLC0415 - DICOM libraries
    from dicom_io.viewer_lint import Severity  # noqa: PLC0415
    from dicom_io.viewer_lint import lint as examine  # noqa: PLC0415

    images = None
    if source is not None:
        files = [path.read_bytes() for path in sorted(source.rglob("*")) if path.is_file() and _is_dicom(path)]
        if not files:
            fail(f"{source} holds no DICOM file; name the folder of the image series")
        images = read_series(files)
    findings = examine(file.read_bytes(), images)
    if as_json:
        print_json([asdict(finding) for finding in findings])
    elif findings:
        shown = table(str(file.name), "rule", "", "what", "remedy")
        for finding in findings:
            level = Text(finding.severity, style=_STYLE.get(finding.severity, ""))
            shown.add_row(Text(finding.rule), level, Text(finding.what), Text(finding.remedy))
        console().print(shown)
    else:
        typer.echo("no rule is broken")
    if any(finding.severity is Severity.ERROR for finding in findings):
        raise typer.Exit(1)


def _is_dicom(path: Path) -> bool:
    """Whether a file is a DICOM Part 10 file (PS3.10 section 7.1)."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
