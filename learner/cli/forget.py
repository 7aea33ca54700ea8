"""Commands that forget: a study, and what models learned from it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated

import typer

from dicom_io.pacs.part10 import is_uid
from learner import operations
from learner.app.forgetting import ASKED, ForgottenStudies
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
)
from learner.cli.models import Model
from learner.domain.checkpoint import Checkpoint
from learner.errors import StoreError
from learner.http.forget_models import ForgottenView
from learner.http.models import CheckpointView
from learner.settings import Settings
from learner.storage.store import LocalStore

FORGET_EXAMPLES = ("forget 1.2.840.113619.2.55.3", "forget 1.2.840.113619.2.55.3 --yes --keep-results", "forget")


def forget(
    study: Annotated[str, typer.Argument(help="Study Instance UID; without one, what was forgotten is listed.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    keep_results: Annotated[bool, typer.Option("--keep-results", help="Leave the study's results in the archive.")] = False,
    lift: Annotated[bool, typer.Option("--lift", help="Let a forgotten study be taken in again.")] = False,
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Forget a study for good: all that was drawn, answered and remembered of it. Or list what was forgotten."""
    from learner.wiring import case_key  # noqa: PLC0415 - reads DICOM libraries

    settings, store = open_store(config)
    forgotten = ForgottenStudies(store, case_key(settings.node.data))
    if study and not is_uid(study):
        fail("that is no Study Instance UID; `GET /api/cases` and the page name those of cases")
    if lift:
        operations.lift(forgotten, study, at_the_shell())
        typer.echo("the study may be taken in again")
    elif study:
        _forget(settings, store, forgotten, study, yes=yes, keep_results=keep_results, as_json=as_json)
    else:
        _list(store, as_json=as_json)


def _forget(
    settings: Settings,
    store: LocalStore,
    forgotten: ForgottenStudies,
    study: str,
    *,
    yes: bool,
    keep_results: bool,
    as_json: bool,
) -> None:
    cases, rounds = len(store.queries.cases_of_study(study)), len(store.queries.rounds_of_study(study))
    if not yes:
        typer.confirm(f"{cases} cases and {rounds} rounds of this study are removed for good. Go on?", abort=True, err=True)
    order = forgotten.order(study, why=ASKED, asked_by=at_the_shell(), results=not keep_results)
    with suppress(StoreError):  # a node has the folder, and does the work
        store.take()
        try:
            _purge(settings, store)
        finally:
            store.close()
    view = ForgottenView.of(next(one for one in store.forgotten.all() if one.place == order.place), store)
    if as_json:
        print_json(view.model_dump(mode="json"))
        return
    done = "nothing of it is left in the store" if view.purged_at is not None else "the running node removes it now"
    typer.echo(f"order {view.order}: {len(view.rounds)} rounds of the study are forgotten; {done}{_to_do(view)}")
    if view.marked:
        typer.echo(f"versions that learned from a forgotten study: {', '.join(view.marked)}; `apprentice retrain` makes others")


def _purge(settings: Settings, store: LocalStore) -> None:
    """What the running node would do."""
    from learner.wiring import build_housekeeping  # noqa: PLC0415 - reads DICOM libraries
    from learner.wiring.archive import build_receiving  # noqa: PLC0415

    archive, _ = build_receiving(settings, store)
    build_housekeeping(settings, store, archive).purge.run_once()


def _to_do(view: ForgottenView) -> str:
    parts = []
    if view.results_to_delete:
        parts.append(f"{view.results_to_delete} series of results are still to be deleted in the archive")
    if view.results_left:
        parts.append(f"{view.results_left} series of results stay in the archive, which does not delete them")
    if not view.trainer_done:
        parts.append("the trainer forgets it in its next job")
    return "".join(f"; {part}" for part in parts)


def _list(store: LocalStore, *, as_json: bool) -> None:
    views = [ForgottenView.of(one, store) for one in store.forgotten.all()]
    if as_json:
        print_json([view.model_dump(mode="json") for view in views])
        return
    shown = table("Forgotten studies", "order", "asked", "by", "why", "rounds", "how far")
    for view in views:
        done = "purged" if view.purged_at is not None else "being purged"
        asked = datetime.fromtimestamp(view.asked_at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        shown.add_row(str(view.order), asked, view.asked_by, view.why, str(len(view.rounds)), done + _to_do(view))
    console().print(shown)


def retrain(
    model: Model,
    drop_marked: Annotated[
        bool,
        typer.Option("--drop-marked", help="Train nothing; remove the versions that learned from a forgotten study."),
    ] = False,
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Train a model anew from what it remembers, as after a study was forgotten; what comes of it has to pass the gate."""
    _, store = open_store(config)
    if drop_marked:
        _told(operations.drop_marked(store, model, at_the_shell()), as_json=as_json)
        return
    operations.retrain(store, model, at_the_shell())
    if as_json:
        print_json({"ordered": True})
    else:
        typer.echo(f"model {model} is trained anew by the running node; `apprentice versions {model}` shows how far it is")


def _told(dropped: Sequence[Checkpoint], *, as_json: bool) -> None:
    if as_json:
        print_json([CheckpointView.of(one).model_dump(mode="json") for one in dropped])
    else:
        typer.echo(f"removed: {', '.join(one.name for one in dropped)}")
