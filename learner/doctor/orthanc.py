"""Checks of Orthanc's own settings. Most are told by our plugin; without it, what an answer shows."""

from __future__ import annotations

from learner.doctor.findings import Findings, ok, warning
from learner.doctor.site import Site, json_object, json_strings

_SHORTEST_S, _LONGEST_S = 2, 60
_OLDEST_PYTHON_PLUGIN = 4


def stable_age(site: Site) -> Findings:
    """Seconds without a new instance after which a series counts as complete."""
    seconds = site.orthanc_settings.get("StableAge")
    if not site.is_orthanc or not isinstance(seconds, int):
        return
    remedy = "Set StableAge in Orthanc's configuration to 5 to 30, and restart it."
    if seconds < _SHORTEST_S:
        yield warning(f"StableAge is {seconds} s: a series may be taken in before it is complete", remedy)
    elif seconds > _LONGEST_S:
        yield warning(f"StableAge is {seconds} s: so long a new series waits", remedy)
    else:
        yield ok(f"StableAge is {seconds} s")


def settings(site: Site) -> Findings:
    """What makes Orthanc slow, or unsafe."""
    if not site.is_orthanc:
        return
    told = site.orthanc_settings
    found = []
    if _compresses(site):
        what = "Orthanc compresses its answers, which is about twenty times slower than sending them"
        found.append(warning(what, "Set HttpCompressionEnabled to false in Orthanc's configuration."))
    if told.get("TcpNoDelay") is False:
        what = "Orthanc runs without TCP_NODELAY: each C-STORE waits some 40 ms for an acknowledgement"
        found.append(warning(what, "Start Orthanc with TCP_NODELAY=1 in its environment."))
    if told.get("OverwriteInstances") is True:
        what = "an object that is stored twice replaces the first, pixels that were answered included"
        found.append(warning(what, "Set OverwriteInstances to false in Orthanc's configuration."))
    if told.get("ExecuteLuaEnabled") is True:
        what = "whoever has a password of Orthanc may run programs on its machine (ExecuteLuaEnabled)"
        found.append(warning(what, "Set ExecuteLuaEnabled to false in Orthanc's configuration."))
    yield from found or [ok("nothing that slows the node down is known")]


def _compresses(site: Site) -> bool:
    """Whether an answer comes compressed where a client, as most do, says that it may."""
    with site.archive() as client:
        return client.get("/system", headers={"Accept-Encoding": "gzip"}).headers.get("content-encoding", "") == "gzip"


def python_plugin(site: Site) -> Findings:
    """Orthanc's Python plugin, which ours runs in."""
    if not site.is_orthanc:
        return
    with site.archive() as client:
        loaded = "python" in json_strings(client.get("/plugins"))
        version = str(json_object(client.get("/plugins/python")).get("Version", "")) if loaded else ""
    if not loaded:
        what = f"not loaded: the archive is looked at every {site.settings.pacs.poll_s:g} s only"
        yield warning(what, "Install orthanc-python and name libOrthancPython.so in Orthanc's Plugins.")
    elif version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) < _OLDEST_PYTHON_PLUGIN:
        yield warning(f"version {version}", f"Update orthanc-python to {_OLDEST_PYTHON_PLUGIN}.0 or newer.")
    else:
        yield ok(f"version {version or 'unknown'}")
