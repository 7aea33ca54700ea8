"""Checks of what is in the archive: whether tasks match anything, and which annotations are ignored."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice

from dicom_io.errors import PacsError
from dicom_io.pacs.port import SeriesStatus
from learner.app.intake import ANNOTATION_MODALITIES
from learner.doctor.findings import Findings, ok, warning
from learner.doctor.site import TIMEOUT_S, Site
from learner.domain.case import Round, RoundState
from learner.domain.task import MatchingRule
from learner.storage.store import LocalStore
from learner.wiring.archive import build_archive

_SCANNED = 5000
_REFUSED = 200
_REASONS = 5
_UID = re.compile(r"\b\d+(?:\.\d+){3,}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{8}){4}\b")
_UNREAD = frozenset({"PR"})
"""Modalities of drawings that are not read."""


def matching(site: Site) -> Findings:
    """Every task matches a series of the archive. Looks at some thousand series at most."""
    if not site.tasks or not site.is_orthanc:  # others are polled, which takes too long for a look
        return
    series = [one for one in _scanned(site) if one.modality not in ANNOTATION_MODALITIES]
    if not series:
        yield ok("the archive holds no images yet")
        return
    for task in site.tasks:
        count = sum(task.match.matches(one) for one in series)
        if count:
            yield ok(f"task {task.task_id} matches {count} of {len(series)} image series")
        else:
            what = f"task {task.task_id} matches none of {len(series)} image series"
            yield warning(what, f"Correct section match of its file: {_what_fails(task.match, series)}.")


def _what_fails(rule: MatchingRule, series: Sequence[SeriesStatus]) -> str:
    """The part of a rule that the fewest series fulfil by itself, and what they say instead."""
    everything = MatchingRule(tuple({one.modality for one in series}), min_slices=1)
    parts = {"modalities": replace(everything, modalities=rule.modalities)}
    parts["min_slices"] = replace(everything, min_slices=rule.min_slices)
    for name in ("series_description", "body_part", "protocol_name", "study_description"):
        if pattern := getattr(rule, name):
            parts[name] = replace(everything, **{name: pattern})
    counts = {name: sum(one.matches(status) for status in series) for name, one in parts.items()}
    name = min(counts, key=lambda part: counts[part])
    if counts[name]:
        return "each part of it matches some series, all parts together match none"
    if name == "modalities":
        there = ", ".join(sorted({one.modality for one in series}))
        return f"no series has modality {'/'.join(rule.modalities)}; there are {there}"
    return f"no series fulfils {name} = {getattr(rule, name)!r}"


def ignored(site: Site) -> Findings:
    """Annotations that were refused, and why; those that wait; and those in the archive that the node does not know of."""
    if not site.database.exists():
        return
    with site.store() as store:
        found = [*_refused(store), *_waiting(store)]
        found += _not_read(site, store) if site.is_orthanc else []
    yield from found or [ok("none is ignored")]


def _refused(store: LocalStore) -> Findings:
    """Refused rounds by their reason, which is the same for many but for the UIDs in it."""
    refused = store.queries.rounds(state=RoundState.REFUSED, limit=_REFUSED)
    newest: dict[str, Round] = {}
    for round_ in refused:
        newest.setdefault(_UID.sub("...", round_.reason), round_)
    counts = Counter(_UID.sub("...", round_.reason) for round_ in refused)
    for reason, count in counts.most_common(_REASONS):
        number = newest[reason].round_id
        remedy = f"Do what the reason says, then `apprentice retry {number}`; `apprentice rounds --state refused` lists all."
        yield warning(f"{_many(count, 'annotation')} ignored: {reason}", remedy)


def _waiting(store: LocalStore) -> Findings:
    count = len(store.queries.rounds(state=RoundState.WAITING, limit=_REFUSED))
    if count:
        remedy = "Send their image series to the archive; `apprentice rounds --state waiting` lists them."
        yield warning(f"{_many(count, 'annotation')} waiting for images that the archive does not have, or not all of", remedy)


def _not_read(site: Site, store: LocalStore) -> Findings:
    """What stands in the archive and has no round."""
    try:
        series = _scanned(site)
    except PacsError:
        return  # said of the archive already
    drawn = [one for one in series if one.modality in ANNOTATION_MODALITIES]
    others = [one for one in drawn if not store.records.is_own_series(one.series_instance_uid)]
    unknown = sum(store.queries.find_trigger(name) is None for one in others for name in one.instance_ids)
    if unknown:
        what = f"{_many(unknown, 'annotation object')} in the archive and not taken in"
        yield warning(what, "Start `apprentice serve`; if it runs, `apprentice status` tells what keeps it from reading.")
    unread = sum(one.modality in _UNREAD for one in series)
    if unread:
        what = f"{_many(unread, 'series', 'series')} of presentation states in the archive; they are not read as drawings"
        yield warning(what, "Let readers save a SEG, an SR with closed contours or an RTSTRUCT (docs/drawing.md).")


def _many(count: int, one: str, several: str = "") -> str:
    return f"1 {one} is" if count == 1 else f"{count} {several or one + 's'} are"


def _scanned(site: Site) -> list[SeriesStatus]:
    """Series of the archive, some thousand at most."""
    pacs = site.settings.pacs.model_copy(update={"timeout_s": TIMEOUT_S})
    with closing(build_archive(pacs)) as archive:
        return list(islice(archive.scan(), _SCANNED))
