"""Studies whose images are gone from the archive, for sites where that means that they are to be forgotten."""

from __future__ import annotations

from collections.abc import Collection

import structlog

from dicom_io.errors import NotInPacs
from dicom_io.pacs.port import Source
from learner.app.forgetting import DELETED, ForgottenStudies
from learner.ports import Store

_ASKED_FOR = 50
"""Most studies that the archive is asked for after one scan; the others come after the next ones."""
_NEWEST = 10
"""Of so many of the newest studies one at least must be there, or it is another archive, or one that lost its index."""
_log = structlog.get_logger(__name__)


def is_there(source: Source, series_instance_uid: str, instance_id: str = "") -> bool:
    """Whether a series, and an instance of it if one is named, is in the archive.

    Raises:
        PacsUnavailable, PacsRefused.
    """
    try:
        series = source.find_series(series_instance_uid)
    except NotInPacs:
        return False
    return not instance_id or instance_id in series.instance_ids


class VanishedStudies:
    """Finds studies none of whose images are in the archive any more, and orders that they be forgotten.

    Args:
        source: the archive.
        store: which studies are known.
        forgotten: takes the orders.
    """

    def __init__(self, source: Source, store: Store, forgotten: ForgottenStudies) -> None:
        self._source = source
        self._store = store
        self._forgotten = forgotten
        self._next = 0

    def forget(self, met: Collection[str], only: Collection[str] | None = None) -> int:
        """Looks for studies that are gone.

        Args:
            met: image series that a scan has just met.
            only: the studies to look at; None for all that are known.

        Returns:
            How many are to be forgotten now.

        Raises:
            PacsUnavailable, PacsRefused: what was found until then is ordered.
        """
        known: dict[str, list[str]] = {}
        for study, series in self._store.records.image_series():
            known.setdefault(study, []).append(series)
        missed = [study for study, series in known.items() if not any(uid in met for uid in series)]
        candidates = missed if only is None else [study for study in missed if study in only]
        if not candidates or not self._is_our_archive(known, met):
            return 0
        gone = [study for study in self._in_turn(candidates) if not self._any_there(known[study])]
        for study in gone:
            self._forgotten.order(study, why=DELETED, results=False)
        return len(gone)

    def _in_turn(self, studies: list[str]) -> list[str]:
        """Some of many; the next ones after the next scan, as archives may scan no more than the latest days."""
        begin = self._next % len(studies)
        self._next = begin + _ASKED_FOR if len(studies) > _ASKED_FOR else 0
        return (studies[begin:] + studies[:begin])[:_ASKED_FOR]

    def _is_our_archive(self, known: dict[str, list[str]], met: Collection[str]) -> bool:
        """Whether the archive has anything of what the node knows; one that was exchanged, or is empty, has not."""
        if any(uid in met for series in known.values() for uid in series):
            return True
        if any(self._any_there(series) for series in list(known.values())[:_NEWEST]):
            return True
        if len(known) == 1:
            return True
        _log.error(
            "the archive has nothing of what this node knows, so that nothing is forgotten; "
            "look at pacs.url, or name the studies to `apprentice forget`",
            studies=len(known),
        )
        return False

    def _any_there(self, series_instance_uids: Collection[str]) -> bool:
        return any(is_there(self._source, uid) for uid in series_instance_uids)
