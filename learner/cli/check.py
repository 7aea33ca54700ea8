"""Commands that check: the site, and objects against the display rules of the common viewers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dicom_io.errors import DicomIoError
from learner.cli.console import DEFAULT_CONFIGURATION, AsJson, Configuration, console, print_json, table

if TYPE_CHECKING:
    from dicom_io.viewer_lint.folder import SourceFolder

_STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}
_REPORT_VERSION = 1
"""Of the form of the lint report as JSON; raised when a field changes its meaning or goes."""
_UNREADABLE = 2
"""Exit code where a file, or the images that it belongs to, cannot be read."""


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
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Results or annotations: SEG, map, SR, KO, RTSTRUCT.")],
    source: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder with their images; other series may be in it too.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check objects against what OHIF, 3D Slicer, Weasis and Stone show; exit code 1 for an error, 2 for an unreadable file."""
    from dicom_io.viewer_lint.folder import SourceFolder  # noqa: PLC0415 - DICOM libraries

    reports = list(_reports(files, None if source is None else SourceFolder.open(source)))
    if as_json:
        print_json({"version": _REPORT_VERSION, "files": reports})
    else:
        for report in reports:
            _show(report, compared=source is not None)
    if any(report["error"] for report in reports):
        raise typer.Exit(_UNREADABLE)
    if any(finding["severity"] == "error" for report in reports for finding in report["findings"]):
        raise typer.Exit(1)


def _reports(paths: Sequence[Path], folder: SourceFolder | None) -> Iterator[dict[str, Any]]:
    """What is found in each file, or why it cannot be read."""
    from dicom_io.viewer_lint import lint as examine  # noqa: PLC0415 - DICOM libraries

    objects = {path: _read(path) for path in paths}
    siblings = Counter(series for _, series, error in objects.values() if not error)
    for path, (file, series, error) in objects.items():
        report: dict[str, Any] = {"file": str(path), "source": None, "error": error, "findings": []}
        if not error:
            images = None
            try:
                images = None if folder is None else folder.source_of(file)
            except (OSError, DicomIoError) as fault:
                report["error"] = f"its images cannot be compared: {_one_line(fault)}"
            found = examine(file, images, siblings=siblings[series])
            report["source"] = None if images is None else images.volume.series.series_instance_uid
            report["findings"] = [asdict(finding) for finding in found]
        yield report


def _read(path: Path) -> tuple[bytes, str, str | None]:
    """A file, its Series Instance UID, and why it cannot be read."""
    from dicom_io.viewer_lint import series_of  # noqa: PLC0415 - DICOM libraries

    try:
        file = path.read_bytes()
        return file, series_of(file), None
    except (OSError, DicomIoError) as error:
        return b"", "", _one_line(error)


def _one_line(error: OSError | DicomIoError) -> str:
    said = error.strerror or type(error).__name__ if isinstance(error, OSError) else str(error)
    return " ".join(said.split())


def _show(report: dict[str, Any], *, compared: bool) -> None:
    """One file: a line where nothing is wrong or something cannot be read, a table of what is found."""
    if report["error"]:
        typer.echo(f"apprentice: {report['file']}: {report['error']}", err=True)
    elif compared and report["source"] is None:
        typer.echo(f"{report['file']}: the folder holds no series that it names; nothing was compared")
    if report["findings"]:
        console().print(_table(report))
    elif not report["error"]:
        typer.echo(f"{report['file']}: no rule is broken")


def _table(report: dict[str, Any]) -> Table:
    shown = table(report["file"], "rule", "", "viewers", "what", "reason", "remedy")
    for finding in report["findings"]:
        level = Text(finding["severity"], style=_STYLE[finding["severity"]])
        words = [finding["rule"], ", ".join(finding["viewers"]), finding["what"], finding["reason"], finding["remedy"]]
        rule, viewers, what, reason, remedy = map(Text, words)
        shown.add_row(rule, level, viewers, what, reason, remedy)
    return shown
