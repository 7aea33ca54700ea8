"""The Storage Commitment Push Model as its provider (PS3.4, annex J).

A request is answered at once; what is really there is looked up and reported after that: on an association of our own where the
requester's address is known, otherwise on the one that asked, while it lasts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydicom import Dataset
from pydicom.sequence import Sequence
from pynetdicom import build_role, evt
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from dicom_io.datasets import UNREADABLE, items, text
from dicom_io.errors import PacsError, PacsUnavailable
from dicom_io.pacs.association import TRIED_AGAIN, Interrupted, Peer, association, status_of
from dicom_io.pacs.part10 import is_uid

PUSH_MODEL = "1.2.840.10008.1.20.1"
_INSTANCE = "1.2.840.10008.1.20.1.1"
_REQUEST = 1
_ALL_THERE, _SOME_MISSING = 1, 2
_NO_SUCH_ACTION, _NO_SUCH_INSTANCE, _INVALID_ARGUMENT = 0x0123, 0x0112, 0x0115
_CLASS_CONFLICT = 0x0119
_PAUSES_S = (1.0, 10.0, 60.0)
_THREADS = 4
_log = logging.getLogger(__name__)

Holds = Callable[[str], str]
"""SOP class of an instance that is safely there, empty if it is not."""


class Commitment:
    """Answers requests for storage commitment.

    Args:
        holds: what is there.
        peers: by AE title, who gets reports on an association of our own.
        timeout: seconds to wait for the answer to a report.
    """

    def __init__(self, holds: Holds, peers: Mapping[str, Peer]) -> None:
        self._holds = holds
        self._peers = dict(peers)
        self._stopped = threading.Event()
        self._reporters = ThreadPoolExecutor(_THREADS, thread_name_prefix="commitment")

    def stop(self) -> None:
        """Sends no more reports."""
        self._stopped.set()
        self._reporters.shutdown(cancel_futures=True)

    def request(self, event: evt.Event) -> tuple[int, None]:
        """Handles an N-ACTION (PS3.4, section J.3.2)."""
        request: Any = event.request
        if request.RequestedSOPInstanceUID != _INSTANCE:
            return _NO_SUCH_INSTANCE, None
        if event.action_type != _REQUEST:
            return _NO_SUCH_ACTION, None
        try:
            report = commitment_report(event.action_information, self._holds)
        except (*UNREADABLE, AttributeError):  # whatever a data set can be
            return _INVALID_ARGUMENT, None
        if report is None:
            return _INVALID_ARGUMENT, None
        self._reporters.submit(self._report, event.assoc, report)
        return 0x0000, None

    def _report(self, asked: Association, report: Dataset) -> None:
        """Sends an N-EVENT-REPORT (PS3.4, section J.3.3); by an association of our own it is tried again."""
        peer = self._peers.get(asked.requestor.ae_title)
        for pause in (0.0, *_PAUSES_S):
            if self._stopped.wait(pause):
                return
            try:
                if peer is None:
                    _send(asked, report)
                else:
                    role = build_role(PUSH_MODEL, scp_role=True)
                    with association(peer, [build_context(PUSH_MODEL)], roles=[role]) as opened:
                        status_of(peer, _send(opened, report))
            except PacsError as error:
                _log.warning("storage commitment not reported: %s", error)
                if peer is None:
                    return  # the association that asked is gone
            else:
                return


def commitment_report(request: Dataset, holds: Holds) -> Dataset | None:
    """What is there of what a request names (PS3.4, table J.3-2); None if it is no request.

    Args:
        request: Transaction UID and Referenced SOP Sequence.
        holds: what is there.
    """
    transaction, referenced = text(request, "TransactionUID"), items(request, "ReferencedSOPSequence")
    if not is_uid(transaction) or not referenced:
        return None
    there, failed = [], []
    for item in referenced:
        one = Dataset()
        one.ReferencedSOPClassUID = text(item, "ReferencedSOPClassUID")
        one.ReferencedSOPInstanceUID = text(item, "ReferencedSOPInstanceUID")
        held = holds(one.ReferencedSOPInstanceUID)
        if held == one.ReferencedSOPClassUID:
            there.append(one)
        else:
            one.FailureReason = _CLASS_CONFLICT if held else _NO_SUCH_INSTANCE
            failed.append(one)
    report = Dataset()
    report.TransactionUID = transaction
    if there:
        report.ReferencedSOPSequence = Sequence(there)
    if failed:
        report.FailedSOPSequence = Sequence(failed)
    return report


def _send(opened: Association, report: Dataset) -> Dataset:
    event_type = _SOME_MISSING if "FailedSOPSequence" in report else _ALL_THERE
    try:
        answer, _ = opened.send_n_event_report(report, event_type, PUSH_MODEL, _INSTANCE)
    except RuntimeError as error:
        raise Interrupted("N-EVENT-REPORT", "the association broke off", TRIED_AGAIN) from error
    except ValueError as error:
        raise PacsUnavailable("N-EVENT-REPORT", "the requester does not take it here", TRIED_AGAIN) from error
    return answer
