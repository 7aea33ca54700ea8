"""Checks of any archive: whether it answers, whom it lets in, its clock, its DICOMweb service."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from dicom_io.errors import PacsError
from learner.doctor.findings import Findings, Found, error, ok, warning
from learner.doctor.site import TIMEOUT_S, Site, json_object, json_strings
from learner.wiring.archive import build_archive

_LARGEST_SKEW_S = 30.0
_OLDEST_ORTHANC = (1, 9, 4)
_WELL_KNOWN = ("orthanc", "orthanc")
_NO_RIGHTS = (401, 403)


@dataclass(frozen=True, slots=True)
class _Request:
    """One request that the node makes of Orthanc, in a form that changes nothing."""

    method: str
    path: str
    what_for: str
    options: dict[str, Any] = field(default_factory=dict)


_NEEDED = (
    _Request("GET", "/changes", "to find what arrived", {"params": {"limit": 1}}),
    _Request("GET", "/series", "to find what its log lost", {"params": {"since": 0, "limit": 1}}),
    _Request("POST", "/tools/lookup", "to find objects by their UID", {"content": b"1.2.3"}),
    _Request(
        "POST", "/tools/bulk-content", "to look at series", {"json": {"Resources": [], "Level": "Series", "Metadata": False}}
    ),
)


def reachable(site: Site) -> Findings:
    """The archive answers and lets the node in; an Orthanc is new enough."""
    pacs = site.settings.pacs
    if pacs.kind == "inbox":
        yield ok(f"what is sent to {pacs.calling_aet} at port {site.settings.scp.port}")
        return
    if not site.is_orthanc:
        yield _asked(site)
        return
    try:
        with site.archive() as client:
            answer = client.get("/system")
    except (httpx2.RequestError, httpx2.InvalidURL) as fault:
        yield _no_answer(site, fault)
        return
    if answer.is_success:
        yield _version(str(json_object(answer).get("Version", "")))
    elif answer.status_code in _NO_RIGHTS:
        yield error(f"it answered {answer.status_code}", "Correct pacs.user and pacs.password_file.")
    else:
        yield error(f"it answered {answer.status_code} to /system", "Check that pacs.url is Orthanc's REST API.")


def _asked(site: Site) -> Found:
    """An archive that is no Orthanc is asked for what a node would ask it first."""
    pacs = site.settings.pacs.model_copy(update={"timeout_s": TIMEOUT_S})
    try:
        with closing(build_archive(pacs)) as asked:
            asked.series_of("1.2.3")
    except PacsError as fault:
        return error(str(fault), "Correct section pacs of the settings.")
    return ok(f"it answers queries by {pacs.kind}")


def _no_answer(site: Site, fault: Exception) -> Found:
    """Why there is no answer; a certificate is told apart from an Orthanc that is down."""
    url, said = site.settings.pacs.url, str(fault)
    if "CERTIFICATE_VERIFY_FAILED" in said or "certificate" in said.lower():
        reason = said.partition("certificate verify failed: ")[2].partition(" (_ssl")[0] or "it is not trusted"
        remedy = "Renew the archive's certificate, or name in pacs.tls_ca_file who signed it."
        return error(f"the certificate of {url} is refused: {reason}", remedy)
    return error(f"{url} does not answer ({type(fault).__name__})", "Start Orthanc, or correct pacs.url.")


def _version(version: str) -> Found:
    if version == "mainline":
        return ok("Orthanc, built from its mainline")
    numbers = tuple(int(part) for part in version.split(".") if part.isdecimal())
    if not numbers:
        return error("it does not name Orthanc's version", "Check that pacs.url is Orthanc's REST API.")
    if numbers < _OLDEST_ORTHANC:
        return error(f"Orthanc {version}", f"Update it to {'.'.join(map(str, _OLDEST_ORTHANC))} or newer.")
    return ok(f"Orthanc {version}")


def rights(site: Site) -> Findings:
    """The node may do what it needs to; nobody may without a password, or with one that everybody knows."""
    if not site.is_orthanc:
        return
    with site.archive() as client:
        refused = [one for one in _NEEDED if not client.request(one.method, one.path, **one.options).is_success]
    for one in refused:
        what = f"the archive refuses {one.method} {one.path}, which the node needs {one.what_for}"
        yield error(what, "Allow it to pacs.user in the proxy or plugin that guards Orthanc (docs/existing-pacs.md).")
    if not refused:
        yield ok("the node may read what it needs; `--write` tries storing and deleting")
    pacs = site.settings.pacs
    if _lets_in(site, None):
        if pacs.user or pacs.token_file:
            what = "it asks nobody for a password: whoever reaches it may read and delete"
            yield warning(what, "Set AuthenticationEnabled to true in Orthanc's configuration.")
        else:
            what = "it asks nobody for a password"
            remedy = "Set AuthenticationEnabled in Orthanc's configuration, with a user of the node's own (pacs.user)."
            yield warning(what, remedy)
    elif _lets_in(site, _WELL_KNOWN):
        what = "user orthanc with Orthanc's well-known password is let in"
        yield error(what, "Change RegisteredUsers in Orthanc's configuration.")


def _lets_in(site: Site, credentials: tuple[str, str] | None) -> bool:
    """Whether the archive answers to these credentials."""
    with site.archive() as client:
        auth = httpx2.BasicAuth(*credentials) if credentials else None
        return client.get("/system", auth=auth).is_success


def clock(site: Site) -> Findings:
    """The archive's clock; slower than 30 s is a clock, not a network."""
    kind = site.settings.pacs.kind
    if kind not in ("orthanc", "dicomweb"):
        return
    with site.archive() as client:
        theirs = _orthancs_time(client) if site.is_orthanc else _time_of(client.get(site.settings.pacs.dicomweb_root))
    if theirs is None:
        return
    skew = abs((datetime.now(UTC) - theirs).total_seconds())
    if skew > _LARGEST_SKEW_S:
        yield warning(f"this machine and the archive differ by {skew:.0f} s", "Let both follow the same NTP server.")
    else:
        yield ok(f"differs from the archive's by {skew:.0f} s")


def _orthancs_time(client: httpx2.Client) -> datetime | None:
    """Orthanc tells UTC to the second."""
    try:
        return datetime.strptime(client.get("/tools/now").text.strip(), "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


def _time_of(answer: httpx2.Response) -> datetime | None:
    """The time at which a server answered (RFC 9110, section 6.6.1)."""
    try:
        return parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None


def dicomweb(site: Site) -> Findings:
    """The DICOMweb service: of Orthanc's plugin, or of any archive where the node or its viewer uses it."""
    settings = site.settings
    needed = settings.pacs.store_by == "dicomweb" or settings.pacs.kind == "dicomweb" or settings.viewer.folder is not None
    if not (site.is_orthanc or needed):
        return
    level = error if needed else warning
    with site.archive() as client:
        version = ""
        if site.is_orthanc:
            if "dicom-web" not in json_strings(client.get("/plugins")):
                what = "Orthanc's DICOMweb plugin is not loaded: web viewers cannot read, pacs.store_by = dicomweb cannot store"
                yield level(what, "Install orthanc-dicomweb and name libOrthancDicomWeb.so in Orthanc's Plugins.")
                return
            version = f" (plugin {json_object(client.get('/plugins/dicom-web')).get('Version', 'of unknown version')})"
        root = settings.pacs.dicomweb_root.strip("/")
        asked = client.get(f"/{root}/studies", params={"limit": 1}, headers={"Accept": "application/dicom+json"})
    if asked.is_success:
        yield ok(f"it answers at /{root}/{version}")
    else:
        what = f"it answered {asked.status_code} to a query at /{root}/"
        yield level(what, "Let pacs.dicomweb_root be the Root in section DicomWeb of Orthanc's configuration, and Enable true.")
