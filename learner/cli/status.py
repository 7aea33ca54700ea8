"""``apprentice status``: the running node at a glance, as it tells it itself."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import typer

from learner.cli.console import DEFAULT_CONFIGURATION, AsJson, Configuration, console, fail, print_json, table
from learner.settings import load_settings


def status(config: Configuration = DEFAULT_CONFIGURATION, as_json: AsJson = False) -> None:
    """Show the running node: archive, trainer, what waits, what was given up, what serves; exit code 1 if none answers."""
    import httpx2  # noqa: PLC0415 - heavy

    from learner.doctor.site import Site  # noqa: PLC0415 - HTTP client

    site = Site(load_settings(config))
    try:
        with site.node() as client:
            answer = client.get("/api/status")
    except httpx2.RequestError as error:
        fail(f"no node answers at {site.node_url} ({type(error).__name__}); `apprentice serve` starts it")
    if not answer.is_success:
        fail(f"{site.node_url} answered {answer.status_code}; `apprentice doctor --only node` tells more")
    if as_json:
        print_json(answer.json())
    else:
        _show(answer.json())


def _show(told: dict[str, Any]) -> None:
    shown = table(f"PACS Apprentice {told['version']}", "what", "how it is")
    for what, how in _rows(told):
        shown.add_row(what, how)
    console().print(shown)
    serving = table("Tasks", "task", "serving", "steps")
    for task in told["tasks"]:
        version = task.get("serving") or {}
        serving.add_row(task["task_id"], version.get("name", "none yet"), str(version.get("steps", "")))
    console().print(serving)
    if any(job["state"] == "parked" for job in told["jobs"]):
        typer.echo("jobs were given up: `apprentice doctor --only jobs` tells why, and what to do")


def _rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    node = told["node"]
    archive = node["archive_error"] or f"read at {_moment(node['last_intake_at'])}"
    restarts = node["trainer_restarts"]
    free = f"{node.get('disk_free_mb', '?')} MiB free"
    trainer = _trainer(told)
    jobs = [f"{job['count']} {job['kind']} {job['state']}" for job in told["jobs"] if job["state"] != "done"]
    rounds = [f"{count} {state}" for state, count in sorted(told["rounds"].items())]
    return [
        ("archive", archive),
        ("store", node.get("store_error") or free),
        ("last nudge", _moment(node.get("last_nudge_at"))),
        ("trainer", f"{trainer}, started again {restarts} times" if restarts else trainer),
        ("rounds", ", ".join(rounds) or "none yet"),
        ("open jobs", ", ".join(jobs) or "none"),
    ]


def _trainer(told: dict[str, Any]) -> str:
    node = told["node"]
    if not node["trainer_alive"]:
        return "does not run"
    if node.get("learning_waits"):
        return "waits for disk space"
    return "paused" if told["training_paused"] else "runs"


def _moment(posix_time: float | None) -> str:
    if posix_time is None:
        return "never yet"
    return datetime.fromtimestamp(posix_time).astimezone().strftime("%Y-%m-%d %H:%M:%S")
