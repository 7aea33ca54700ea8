"""``apprentice audit``: what a version learned from, why an answer looked as it did, and who did what. Reads the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from learner.app.lineage import Ancestor, Lineage, RoundAudit, Source
from learner.cli.console import (
    DEFAULT_CONFIGURATION,
    AsJson,
    Configuration,
    console,
    examples,
    fail,
    open_store,
    print_json,
    table,
)
from learner.cli.models import Model, Version
from learner.domain.audit import Entry
from learner.operations import find_answer

app = typer.Typer(
    help="Tell what a version learned from, why an answer looked as it did, and who did what.", no_args_is_help=True
)


@app.command(epilog=examples("apprentice audit version prostate 12", "apprentice audit version prostate 12 --json"))
def version(model: Model, version: Version, config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """Tell what a version learned from: all versions before it, their annotations, readers, stations, and the gate's word."""
    _, store = open_store(config)
    found = Lineage(store.audit).version(model, version)
    if as_json:
        print_json(asdict(found))
        return
    columns = ("version", "what", "made", "steps", "round", "case", "task", "annotations", "readers", "stations", "gate")
    shown = table(f"What {found.version} learned from", *columns)
    for one in found.lineage:
        shown.add_row(*_ancestor(one))
    console().print(shown)
    for told in found.rolled_back:
        who, before = told["by"] or "nobody who was signed in", told["instead_of"] or "none"
        typer.echo(f"{_moment(told['at'])}: {told['serves']} was made to serve instead of {before} by {who}")


@app.command("round", epilog=examples("apprentice audit round 7", "apprentice audit round 2.25.1234 --json"))
def round_(
    which: Annotated[str, typer.Argument(metavar="ROUND", help="Number of a round, or SOP Instance UID of a result.")],
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Tell why an answer looked as it did: annotations, propagation, network and its share, rules, settings, reactions."""
    _, store = open_store(config)
    found = Lineage(store.audit).round(find_answer(store, which))
    if as_json:
        print_json(asdict(found))
        return
    shown = table(f"Round {found.round_id}", "what", "how it was")
    for what, how in _rows(found):
        shown.add_row(what, how)
    console().print(shown)
    if found.made_from:
        console().print(_sources(found.made_from))
    console().print(_log("What happened", found.history))


@app.command(epilog=examples("apprentice audit log", "apprentice audit log --since 2026-11-01 --json"))
def log(
    since: Annotated[datetime | None, typer.Option(help="From this local date and time on.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="Newest entries to list.")] = 100,
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """List what happened, oldest first: answers, versions, the gate's decisions, and what people did."""
    _, store = open_store(config)
    begin = since.astimezone().timestamp() if since is not None else 0.0
    entries = [one for one in reversed(store.audit.newest(limit)) if one.at >= begin]
    if as_json:
        print_json([asdict(one) for one in entries])
    else:
        console().print(_log("Audit record", entries))


@app.command(epilog=examples("apprentice audit verify", "apprentice audit verify --seen 9f2c...e1"))
def verify(
    seen: Annotated[str, typer.Option(help="Hash that an earlier call printed; the record must hold it still.")] = "",
    config: Configuration = DEFAULT_CONFIGURATION,
    as_json: AsJson = False,
) -> None:
    """Check that the record is as it was written; exit code 1 if not. Keep the printed hash where nobody can change it."""
    _, store = open_store(config)
    found = store.audit.verify()
    problems = [*found.problems]
    if seen and not any(one.digest == seen for one in store.audit.entries()):
        problems.append(f"no entry has the hash {seen}: the record was written anew, or is another node's")
    if as_json:
        print_json({**asdict(found), "problems": problems})
    else:
        for problem in problems:
            typer.echo(problem)
        purged = f", {found.purged} words purged" if found.purged else ""
        typer.echo(f"{found.entries} entries{purged}; the last has the hash {found.head}")
    if problems:
        fail("the audit record is not as it was written; compare with a backup, and with hashes kept elsewhere")


def _ancestor(one: Ancestor) -> tuple[str, ...]:
    gate = "" if one.served is None else f"{'serves' if one.served else 'held off'}: {one.verdict}"
    withdrawn = sum(source.withdrawn for source in one.sources)
    annotations = f"{len(one.sources)}{f', {withdrawn} withdrawn' if withdrawn else ''}" if one.sources else ""
    return (
        one.version,
        f"{one.event} {one.bundle}".strip(),
        _moment(one.at),
        str(one.steps),
        "" if one.round_id is None else str(one.round_id),
        "" if one.case is None else str(one.case),
        one.task,
        annotations,
        "; ".join(_distinct(source.reader for source in one.sources)),
        "; ".join(_distinct(_station(source.station) for source in one.sources)),
        gate,
    )


def _sources(sources: Sequence[Source]) -> Any:
    shown = table("Made from", "annotation", "round", "reader", "station", "planes", "withdrawn")
    for one in sources:
        number = "" if one.round_id is None else str(one.round_id)
        withdrawn = "yes" if one.withdrawn else ""
        shown.add_row(one.annotation, number, one.reader, _station(one.station), str(one.planes), withdrawn)
    return shown


def _rows(found: RoundAudit) -> list[tuple[str, str]]:
    settings = [f"{section}.{name} = {value}" for section, of in found.settings.items() for name, value in of.items()]
    reactions = [
        f"{one['kind']}{_share(one)} {_by(one['reader'])}({_moment(one['at'])})".replace("  ", " ") for one in found.reactions
    ]
    rows = [
        ("case", f"{found.case} of {found.task}, round {found.number}" if found.case is not None else "no answer"),
        ("asked for by", f"annotation {found.trigger.annotation} {_by(found.trigger.reader)}".strip() if found.trigger else ""),
        ("it said", "; ".join(f"{kind}: {_planes(planes)}" for kind, planes in found.said.items())),
        ("rules", ", ".join(f"{name} {value}" for name, value in found.rules.items())),
        ("propagation", found.propagator),
        ("network", f"{found.network}, share {found.trust}" if found.network else ""),
        ("results", "; ".join(f"{kind} {' '.join(uids)}" for kind, uids in found.results.items())),
        ("measured", "; ".join(f"{name} {value}" for name, value in found.measured.items() if name != "guidance")),
        ("reactions", "; ".join(reactions) or ("none so far" if found.case is not None else "")),
        ("learned in", ", ".join(found.learned_in)),
        ("software", found.software),
        ("settings", "; ".join(settings)),
    ]
    return [(what, how) for what, how in rows if how]


def _log(title: str, entries: Sequence[Entry]) -> Any:
    shown = table(title, "entry", "when", "what", "round", "version", "more")
    for one in entries:
        number = "" if one.round_id is None else str(one.round_id)
        shown.add_row(str(one.number), _moment(one.at), str(one.event), number, one.version, _more(one.facts))
    return shown


def _more(facts: Mapping[str, Any]) -> str:
    """What is short enough for a table; the rest is in the JSON."""
    kept = {name: value for name, value in facts.items() if not isinstance(value, dict | list) and value not in ("", None)}
    return ", ".join(f"{name} {value}" for name, value in kept.items())


def _station(station: Mapping[str, str]) -> str:
    return " / ".join(station.values())


def _by(reader: str) -> str:
    return f"by {reader} " if reader else ""


def _share(reaction: Mapping[str, Any]) -> str:
    return f" by {reaction['share']:.1%} on {reaction['slices']} slices" if reaction["share"] else ""


def _planes(planes: Sequence[Sequence[int]]) -> str:
    return ", ".join(f"{('slice', 'row', 'column')[axis]} {index + 1}" for axis, index in planes)


def _distinct(texts: Any) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")
