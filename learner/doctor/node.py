"""Checks of the running node."""

from __future__ import annotations

from typing import Any

import httpx2

from learner.doctor.findings import Findings, error, ok, warning
from learner.doctor.site import Site, json_object
from learner.version import __version__


def runs(site: Site) -> Findings:
    """The node runs, reads the archive, and is of this version."""
    if site.settings.api.client_ca is not None:
        what = "it asks for clients' certificates, and this command has none: it was not asked"
        yield warning(what, "Ask GET /health/ready with a certificate that api.client_ca signed.")
        return
    try:
        with site.node() as client:
            status, ready = client.get("/api/status"), client.get("/health/ready")
    except httpx2.RequestError as fault:
        yield error(f"it does not answer at {site.node_url} ({type(fault).__name__})", "Start `apprentice serve`.")
        return
    if status.status_code == httpx2.codes.UNAUTHORIZED:
        if site.settings.api.token_file is None:
            what = "it runs, and answers only to users and tokens: there is no token to ask it with"
            yield warning(what, "Name a file with a token in api.token_file (apprentice access add-token).")
        else:
            yield error("it runs with another token", "Restart it after a change of api.token_file.")
        return
    if not status.is_success:
        yield error(f"{site.node_url} answered {status.status_code}", "Look whether another service has the port (api.port).")
        return
    parts = _parts(status)
    if not parts:
        yield error("something else answers at its address", "Set api.port to a free one.")
        return
    version = json_object(status).get("version")
    if parts.get("store_error"):
        yield error(f"it cannot use its own store: {parts['store_error']}", "See the findings on disk and data-folder.")
    if parts.get("archive_error"):
        yield error(f"it cannot read the archive: {parts['archive_error']}", "See the findings on the archive.")
    elif not ready.is_success:
        yield warning("it has not read the archive yet", "Wait until GET /health/ready answers 200; then look at its log.")
    elif version != __version__:
        yield warning(f"version {version} runs, {__version__} is installed", "Restart it.")
    else:
        yield ok(f"version {version} runs and reads the archive")


def trainer(site: Site) -> Findings:
    """The trainer runs, and did not have to be started again; nothing is said where the node may not be asked."""
    if site.settings.api.client_ca is not None:
        return
    with site.node() as client:
        status = client.get("/api/status")
    if status.status_code == httpx2.codes.UNAUTHORIZED:
        return
    parts = _parts(status)
    if not parts.get("trainer_alive"):
        yield error("it does not run: nothing is learned", "Look for `trainer` in the node's log.")
    elif parts.get("trainer_restarts"):
        what = f"it was started again {parts['trainer_restarts']} times"
        yield warning(what, "Look for `trainer` in the node's log, and at the machine's memory.")
    elif parts.get("learning_waits"):
        yield warning(f"nothing is learned: {parts['learning_waits']}", "Free some space, or lower node.min_free_mb.")
    elif json_object(status).get("training_paused"):
        yield warning("training is paused: nothing is learned", "`apprentice training resume` lets it go on.")
    else:
        yield ok("it runs")


def _parts(status: httpx2.Response) -> dict[str, Any]:
    """How the node's parts are; empty where something else answers."""
    parts = json_object(status).get("node")
    return parts if isinstance(parts, dict) else {}
