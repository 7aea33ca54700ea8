"""Commands that look at a node and steer it. They read its store, so that they work while the node is down, too."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer

from learner import operations
from learner.app.serving import serving_version
from learner.cli.console import (
    DEFAULT_CONFIGURATION,
    AsJson,
    Configuration,
    at_the_shell,
    console,
    open_store,
    print_json,
    table,
)
from learner.domain.case import Round, RoundState
from learner.http.models import RoundView, TaskView
from learner.storage.store import LocalStore
from learner.version import __version__


class Switch(StrEnum):
    """What may be done to training."""

    PAUSE = "pause"
    RESUME = "resume"
    STATUS = "status"


def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def tasks(config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """List what is segmented and which version of a model serves it."""
    from learner.wiring import build_tasks  # noqa: PLC0415 - reads DICOM libraries

    settings, store = open_store(config)
    checkpoints = store.checkpoints
    views = [TaskView.of(task, serving_version(checkpoints, task)) for task in build_tasks(settings, store)]
    if as_json:
        print_json([view.model_dump(mode="json") for view in views])
        return
    shown = table("Tasks", "task", "title", "labels", "matches", "serving", "steps")
    for view in views:
        labels = ", ".join(f"{label.number} {label.name}" for label in view.labels)
        rule = view.match.model_dump(mode="json", exclude={"modalities"})
        parts = ["/".join(view.match.modalities), *(f"{name} {value}" for name, value in rule.items() if value)]
        serving = (view.serving.name, str(view.serving.steps)) if view.serving is not None else ("none yet", "")
        shown.add_row(view.task_id, view.title, labels, "; ".join(parts), *serving)
    console().print(shown)


def rounds(
    config: Configuration = DEFAULT_CONFIGURATION,
    case: Annotated[int | None, typer.Option(help="Only of this case.")] = None,
    state: Annotated[RoundState | None, typer.Option(help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Newest rounds to list.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List annotations and what became of them, newest first."""
    _, store = open_store(config)
    views = [_view(store, one) for one in store.queries.rounds(case_id=case, state=state, limit=limit)]
    if as_json:
        print_json([view.model_dump(mode="json") for view in views])
        return
    shown = table("Rounds", "round", "case", "task", "nr", "state", "received", "seconds", "drawn", "estimated Dice", "reason")
    for view in views:
        where = (str(view.case.case_id), view.case.task_id) if view.case is not None else ("", "")
        received = datetime.fromtimestamp(view.received_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        seconds = f"{view.answered_at - view.received_at:.1f}" if view.answered_at is not None else ""
        number = str(view.number) if view.number is not None else ""
        shares = (drawn_share(view.facts), estimated_dice(view.facts))
        shown.add_row(str(view.round_id), *where, number, view.state, received, seconds, *shares, view.reason)
    console().print(shown)


def retry(
    round_id: Annotated[int, typer.Argument(metavar="ROUND", min=1, help="Number of the round.")],
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Take up again a round that was refused or withdrawn, or whose job was given up."""
    _, store = open_store(config)
    operations.retry_round(store, round_id, at_the_shell())
    if as_json:
        print_json(_view(store, store.records.find_round(round_id)).model_dump(mode="json"))
        return
    typer.echo(f"round {round_id} is taken up again")


def training(
    switch: Annotated[Switch, typer.Argument(help="What to do.")],
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Hold training back, let it go on, or say which; answers go on either way."""
    _, store = open_store(config)
    if switch is Switch.PAUSE:
        operations.pause_training(store, at_the_shell())
    elif switch is Switch.RESUME:
        operations.resume_training(store, at_the_shell())
    paused = operations.training_paused(store)
    if as_json:
        print_json({"paused": paused})
    else:
        typer.echo("training is paused" if paused else "training is on")


def drawn_share(facts: Mapping[str, object]) -> str:
    """How many slices readers drew, of how many, from a round's facts; empty where nothing is known."""
    drawn, slices = facts.get("drawn_slices"), facts.get("slices")
    if not isinstance(drawn, list) or not isinstance(slices, int) or slices <= 0:
        return ""
    return f"{len(drawn)}/{slices} ({len(drawn) / slices:.0%})"


def estimated_dice(facts: Mapping[str, object]) -> str:
    """The estimated Dice of each label, from a round's facts; empty where there is none."""
    dice = facts.get("estimated_dice")
    if not isinstance(dice, list):
        return ""
    return " ".join(f"{value:.2f}" if isinstance(value, float | int) else "-" for value in dice)


def _view(store: LocalStore, round_: Round) -> RoundView:
    case = store.records.find_case(round_.case_id) if round_.case_id is not None else None
    return RoundView.of(round_, case)
