"""Which case of a task to draw next."""

from __future__ import annotations

from typing import Annotated

import typer

from learner import operations
from learner.cli.console import DEFAULT_CONFIGURATION, AsJson, Configuration, console, fail, open_store, print_json, table
from learner.http.models import NextCaseView


def next_cases(
    task: Annotated[str, typer.Argument(help="Name of the task.")],
    config: Configuration = DEFAULT_CONFIGURATION,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many cases.")] = 10,
    as_json: AsJson = False,
) -> None:
    """List the cases of a task on which drawing is expected to teach most."""
    from learner.wiring import build_tasks  # noqa: PLC0415 - reads DICOM libraries

    settings, store = open_store(config)
    if task not in (known := [one.task_id for one in build_tasks(settings, store)]):
        fail(f"there is no task {task}; there are {', '.join(known) or 'none'}")
    views = [NextCaseView.of(one) for one in operations.next_cases(store, task, limit)]
    if as_json:
        print_json([view.model_dump(mode="json") for view in views])
        return
    if not views:
        console().print(f"No case of {task} is worth drawing on: none is answered yet, or enough is drawn on all of them.")
        return
    shown = table(f"Next cases of {task}", "case", "score", "expected Dice", "drawn", "why", "series")
    for view in views:
        dice = f"{view.expected_dice:.3f}" if view.expected_dice is not None else ""
        where = (view.reason, view.case.series_instance_uid)
        shown.add_row(str(view.case.case_id), f"{view.score:.3f}", dice, str(view.drawn_slices), *where)
    console().print(shown)
