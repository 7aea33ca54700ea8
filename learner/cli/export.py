"""``apprentice export``: a network and its annotations in forms that other software reads."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from learner import operations
from learner.cli.console import DEFAULT_CONFIGURATION, AsJson, Configuration, fail, open_store, print_json

_PARTS = ("bundle", "onnx", "nnunet")
Task = Annotated[str, typer.Argument(help="Name of the task.")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write into; made if it does not exist.", file_okay=False)]
Version = Annotated[str, typer.Option("--version", help="Name or number of a version; the one that serves if left out.")]
What = Annotated[str, typer.Option("--what", help="Parts, with commas between: bundle, onnx, nnunet.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier export in that folder.")]
Orientation = Annotated[
    str,
    typer.Option(help="Where columns, rows and slices of the images point, such as LPS; looked up in the archive if left out."),
]


def export(
    task: Task,
    out: Out,
    version: Version = "",
    what: What = "bundle,onnx,nnunet",
    force: Force = False,
    orientation: Orientation = "",
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Export a task's network as MONAI bundle and ONNX, and its annotations in nnU-Net's layout, with a model card."""
    parts = tuple(part.strip() for part in what.split(",") if part.strip())
    if not parts or set(parts) - set(_PARTS):
        fail(f"--what {what!r} is not understood; name some of {', '.join(_PARTS)}, with commas between")
    from learner import wiring  # noqa: PLC0415 - reads DICOM libraries
    from learner.export.exporting import CARD, ExportOrder, Surroundings, check_orientation, export, pick_version  # noqa: PLC0415 - torch
    from learner.wiring.archive import build_archive, build_receiving  # noqa: PLC0415

    settings, store = open_store(config)
    found = wiring.build_tasks(settings, store).get(task)
    if found is None:
        fail(f"there is no task {task}; `apprentice tasks` lists them")
    checkpoint = operations.find_version(store, found.model_id, version) if version else pick_version(store, found)
    order = ExportOrder(found, checkpoint, parts, out, force, check_orientation(orientation))
    inbox = settings.pacs.kind == "inbox"  # the receiver of C-MOVE belongs to the running node: here C-GET is asked
    archive: Any = build_receiving(settings, store)[0] if inbox else build_archive(settings.pacs)
    propagator = wiring.build_propagator(found.propagator or settings.answer.propagator)
    replay = settings.node.data / "replay" / found.model_id
    with closing(archive):
        report = export(order, Surroundings(store, archive, propagator, wiring.case_key(settings.node.data), replay))
    left_out = report.left_out if report is not None else []
    cases = len(report.cases) if report is not None else 0
    if as_json:
        facts = {"folder": str(out), "version": checkpoint.name, "parts": list(parts), "cases": cases}
        print_json(facts | {"left_out": [{"case": one.name, "why": one.why} for one in left_out]})
        return
    annotations = f", {cases} annotated case(s)" if report is not None else ""
    typer.echo(f"{checkpoint.name} of task {task} exported to {out}{annotations}; {out / CARD} says how to use it")
    for one in left_out:
        typer.echo(f"{one.name}: {one.why}", err=True)
