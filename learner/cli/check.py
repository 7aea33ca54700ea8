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
from learner.cli.console import DEFAULT_CONFIGURATION, AsJson, Configuration, console, print_json, table, working

if TYPE_CHECKING:
    from dicom_io.viewer_lint.folder import SourceFolder
    from learner.doctor import Finding

_STYLE = {"ok": "green", "warning": "yellow", "error": "bold red"}
_EXIT_CODES = {"ok": 0, "warning": 1, "error": 2}
_REPORT_VERSION = 1
"""Of the form of both reports as JSON; raised when a field changes its meaning or goes."""
_UNREADABLE = 2
"""Exit code where a file, or the images that it belongs to, cannot be read."""


def _check_names(incomplete: str) -> list[tuple[str, str]]:
    """Names of checks, for the shell's completion."""
    from learner.doctor import CHECKS  # noqa: PLC0415 - HTTP client

    return [(check.name, check.about) for check in CHECKS if check.name.startswith(incomplete)]


def doctor(
    config: Configuration = DEFAULT_CONFIGURATION,
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", autocompletion=_check_names, help="Only this check; can be repeated.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes longer than a second or two.")] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Store a test study in the archive, read it back, and delete it.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="List the checks, and run none.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check settings, archive, plugin, viewer, node and hardware, with a remedy for what is wrong.

    Changes nothing without --write. Exit code 0 all is well, 1 a warning, 2 an error, as monitoring plugins have it.
    """
    from learner.doctor import CHECKS, examine, worst  # noqa: PLC0415 - HTTP client

    if list_:
        _list_checks([(check.name, check.about) for check in CHECKS], as_json=as_json)
        return
    with working("doctor") as show:
        steps = examine(config, only=only or (), quick=quick, write=write, begins=lambda check: show(check.about))
        findings = list(steps)
    level = worst(findings)
    if as_json:
        report = {"version": _REPORT_VERSION, "level": level, "findings": [asdict(finding) for finding in findings]}
        print_json(report)
    else:
        console().print(_findings(findings))
    raise typer.Exit(_EXIT_CODES[level])


def _list_checks(checks: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    if as_json:
        print_json([{"name": name, "about": about} for name, about in checks])
        return
    shown = table("Checks", "check", "what it looks at")
    for name, about in checks:
        shown.add_row(name, about)
    console().print(shown)


def _findings(findings: Sequence[Finding]) -> Table:
    shown = table("Doctor", "check", "", "what", "remedy")
    for finding in findings:
        level = Text(finding.level, style=_STYLE[finding.level])
        shown.add_row(Text(finding.name), level, Text(finding.what), Text(finding.remedy))
    return shown


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
