"""Commands about versions of models: what there is, which is better, and back to an earlier one."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from learner import operations
from learner.cli.console import (
    DEFAULT_CONFIGURATION,
    AsJson,
    Configuration,
    at_the_shell,
    console,
    fail,
    open_store,
    print_json,
    table,
    working,
)
from learner.domain.checkpoint import Checkpoint
from learner.http.models import CheckpointView, ComparisonView
from learner.storage.store import LocalStore

Model = Annotated[str, typer.Argument(help="Name of the model: that of its task, unless the task's file names another.")]
Version = Annotated[str, typer.Argument(help="Name of a version, or its number.")]


def versions(model: Model, config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """List the versions of a model and what the gate said of them, newest first."""
    _, store = open_store(config)
    found = store.checkpoints.versions(model)
    if not found:
        fail(f"there is no version of a model {model} yet; `apprentice tasks` lists what serves each task")
    if as_json:
        print_json([CheckpointView.of(one).model_dump(mode="json") for one in found])
        return
    shown = table(f"Versions of {model}", "version", "state", "steps", "made", "round", "slices", "Dice", "served then", "gate")
    for one in found:
        made = datetime.fromtimestamp(one.created_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        origin = one.facts.get("origin")
        begun = f", from bundle {origin['bundle']} {origin['version']}" if isinstance(origin, dict) else ""
        forgotten = ", learned from a forgotten study" if one.from_forgotten else ""
        state = f"{one.state}{', pinned' if one.pinned else ''}{'' if one.kept else ', no file'}{begun}{forgotten}"
        ours, theirs = (gate_dice(one, column) for column in ("candidate", "serving"))
        judged = (str(one.gate.get("slices", "")), ours, theirs, str(one.gate.get("reason", "not judged yet")))
        shown.add_row(one.name, state, str(one.steps), made, str(one.round_id), *judged)
    console().print(shown)


def gate_dice(checkpoint: Checkpoint, column: str) -> str:
    """Mean Dice of each label over all held cases, from the gate's verdict; empty before it was judged."""
    figures = checkpoint.gate.get("figures")
    values = [f[column] for f in figures if not f["site"]] if isinstance(figures, list) else []
    return " ".join("-" if value is None else f"{value:.3f}" for value in values)


def compare(
    model: Model, one: Version, other: Version, config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False
) -> None:
    """Compare two versions of a model on the drawn cases that are held back from training."""
    from learner import wiring  # noqa: PLC0415 - reads DICOM libraries

    settings, store = open_store(config)
    tasks = wiring.build_tasks(settings, store)
    with working("comparing on the cases that are held back"):
        view = ComparisonView.of(wiring.compare(settings, store, tasks, model, (one, other)))
    if as_json:
        print_json(view.model_dump(mode="json"))
        return
    first, second = (operations.find_version(store, model, name).name for name in (one, other))
    shown = table("Dice of the network alone", "task", "label", "site", "cases", "slices", first, second, "tolerance")
    for figure in view.figures:
        serving = "" if figure.serving is None else f"{figure.serving:.3f}"
        numbers = (str(figure.cases), str(figure.slices), serving, f"{figure.candidate:.3f}", f"{figure.tolerance:.3f}")
        shown.add_row(figure.task_id, str(figure.label), figure.site[:8] or "all", *numbers)
    console().print(shown)
    typer.echo(f"{second} {'would pass' if view.serve else 'would not pass'} the gate if {first} served: {view.reason}")


def rollback(
    model: Model,
    version: Annotated[str, typer.Argument(help="Name or number of the version; what served before if left out.")] = "",
    retrain: Annotated[bool, typer.Option("--retrain", help="Training goes on from it, too.")] = False,
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Let an earlier version of a model serve, until a later one is clearly better."""
    _, store = open_store(config)
    before = store.checkpoints.serving(model)
    now = operations.roll_back(store, model, version, retrain=retrain, by=at_the_shell())
    if as_json:
        print_json(CheckpointView.of(now).model_dump(mode="json"))
        return
    typer.echo(f"{now.name} serves{_instead(before)}; training goes on from {_head(store, model)}")


def _instead(before: Checkpoint | None) -> str:
    return f" instead of {before.name}" if before is not None else ""


def _head(store: LocalStore, model: str) -> str:
    head = store.checkpoints.head(model)
    return head.name if head is not None else "nothing"
