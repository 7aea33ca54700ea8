"""``apprentice demo``: a real Orthanc, real images, and a reader who is played."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    once: Annotated[bool, typer.Option("--once", help="End when all is played; otherwise the node runs until Ctrl-C.")] = False,
    json: Annotated[Path | None, typer.Option(dir_okay=False, help="JSON file for the figures.")] = None,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="PNG file for the plot; plot.png in the work folder.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Your own images and labels (NIfTI or DICOM).")
    ] = None,
    work: Annotated[Path, typer.Option(file_okay=False, help="Where the demo's node lives.")] = Path("var/demo"),
    cache: Annotated[Path, typer.Option(file_okay=False, help="Where fetched images are kept.")] = Path(".cache/demo-data"),
    viewer: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="OHIF's built files, for the node to serve.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Go on with the node of the last run.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of each case.")] = 3,
    slices: Annotated[int, typer.Option(min=1, help="Slices drawn in each round.")] = 3,
    cases: Annotated[int | None, typer.Option(min=1, help="Cases at most; all if left out.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Training steps after each round.")] = 40,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of answering and of training.")] = 2,
) -> None:
    """Watch a PACS learn: send images to a real Orthanc, draw on a few slices, and measure what comes back."""
    from learner.demo.play import run_demo  # noqa: PLC0415 - plots, images
    from learner.demo.report import DemoOptions  # noqa: PLC0415

    options = DemoOptions(
        once=once,
        keep=keep,
        json=json,
        plot=plot,
        data=data,
        folder=work,
        cache=cache,
        viewer=viewer,
        rounds=rounds,
        slices=slices,
        cases=cases,
        steps=steps,
        threads=threads,
    )
    run_demo(options)
