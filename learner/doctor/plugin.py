"""Checks of our own plugin in Orthanc, by a real nudge: it is asked for one, and the node says whether that came."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx2

from learner.doctor.findings import Findings, Found, ok, warning
from learner.doctor.site import Site, json_object
from learner.errors import ConfigurationError

_WAIT_S = 3.0
_AFTER_AN_ABSENCE_S = 33.0
"""A plugin that met no node for a while, as one that started before it, tries half a minute apart at most."""
_LOOK_S = 0.1
_NUDGE_ROUTE, _STATUS_ROUTE = "/apprentice/nudge", "/apprentice/status"
_CHECK_URL = "Start `apprentice serve`; check LearnerUrl and TokenFile in section Apprentice of Orthanc's configuration."


def nudges(site: Site) -> Findings:
    """Our plugin is loaded; what it is asked to tell reaches this very node."""
    if not site.is_orthanc:
        return
    if not site.plugin:
        remedy = "Set PythonScript to orthanc_plugin/main.py in Orthanc's configuration; its log says why it does not load."
        yield warning("not loaded: nothing nudges the node", remedy)
        return
    learner = _part(site.plugin, "learner")
    if learner.get("reachable") is not True:
        yield warning(f"loaded, but it does not reach the node: {learner.get('problem', '')}", _CHECK_URL)
        return
    counters = _part(site.plugin, "plugin")
    if counters.get("dropped"):
        remedy = "Raise QueueSize in section Apprentice, or look why the node was away for long."
        yield warning(f"{counters['dropped']} changes found its queue full; the log has them all the same", remedy)
    if "delivered_at" not in counters:
        remedy = "Copy this version's orthanc_plugin to Orthanc, and restart it."
        yield warning(f"loaded in an older version ({counters.get('version')}), and it reaches the node", remedy)
    else:
        yield _round_trip(site, counters)


def _round_trip(site: Site, before: Mapping[str, Any]) -> Found:
    """Asks for a nudge, and waits until it came."""
    node_before = _nudged_at(site)
    with site.archive() as client:
        started, patience_s = time.monotonic(), _AFTER_AN_ABSENCE_S if before.get("problem") else _WAIT_S
        if not client.post(_NUDGE_ROUTE).is_success:
            remedy = f"Allow POST {_NUDGE_ROUTE} to pacs.user, for `apprentice doctor` alone."
            return warning("loaded, and it reaches the node; it may not be asked for a nudge", remedy)
        while True:
            counters = _part(json_object(client.get(_STATUS_ROUTE)), "plugin")
            took = time.monotonic() - started
            if counters.get("delivered", 0) > before.get("delivered", 0) or took > patience_s:
                break
            time.sleep(_LOOK_S)
    if counters.get("delivered", 0) <= before.get("delivered", 0):
        problem = counters.get("problem") or "it says no reason"
        return warning(f"loaded, but a nudge did not arrive within {patience_s:g} s: {problem}", _CHECK_URL)
    node_after = _nudged_at(site)
    if node_after is not None and node_after == node_before:
        remedy = f"Let LearnerUrl in section Apprentice of Orthanc's configuration be {site.node_url}."
        return warning("loaded, but it nudges another node", remedy)
    return ok(f"version {counters.get('version')}; a nudge took {took:.1f} s")


def _nudged_at(site: Site) -> float | None:
    """When this node was last nudged: 0 for never, None where it does not tell."""
    try:
        with site.node() as client:
            answer = json_object(client.get("/api/status"))
    except (httpx2.RequestError, ConfigurationError):
        return None
    node = answer.get("node")
    return float(node["last_nudge_at"] or 0) if isinstance(node, dict) and "last_nudge_at" in node else None


def _part(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = content.get(name)
    return part if isinstance(part, dict) else {}
