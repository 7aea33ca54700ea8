"""Questions by C-FIND, study root model (PS3.4, section C.4.1), on one association that stays open between them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack

from pydicom import Dataset
from pynetdicom.association import Association
from pynetdicom.presentation import build_context

from dicom_io.datasets import lenient, text
from dicom_io.errors import PacsRefused
from dicom_io.pacs.association import TRIED_AGAIN, Interrupted, Peer, again, association, status_of
from dicom_io.pacs.polling import UNIQUE_KEYS, Found

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
_PENDING = (0xFF00, 0xFF01)


class DimseQuery:
    """A :class:`~dicom_io.pacs.polling.Find` on a query SCP, for any number of threads, one after the other.

    A poll is many small questions, and opening an association costs more than any of them. It is opened when it is needed, and
    anew where it ended: archives, and we, close one on which nothing is said for a while.

    Args:
        peer: the archive.
    """

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._lock = threading.Lock()
        self._open = ExitStack()
        self._association: Association | None = None

    def __call__(self, level: str, keys: Mapping[str, str], asked: Sequence[str]) -> list[Found]:
        """Everything that matches. See :class:`dicom_io.pacs.polling.Find`."""
        identifier = Dataset()
        identifier.QueryRetrieveLevel = level
        for keyword in (*asked, UNIQUE_KEYS[level]):
            setattr(identifier, keyword, "")
        for keyword, value in keys.items():
            setattr(identifier, keyword, value)
        with self._lock:
            rows = again(lambda: self._ask(identifier))
        return [row for row in rows if row.get(UNIQUE_KEYS[level])]

    def close(self) -> None:
        """Releases the association."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        self._association = None
        self._open.close()

    def _ask(self, identifier: Dataset) -> list[Found]:
        found: list[Found] = []
        keywords = [element.keyword for element in identifier]
        try:
            if self._association is None or not self._association.is_established:
                self._close()
                self._association = self._open.enter_context(association(self._peer, [build_context(STUDY_ROOT_FIND)]))
            opened = self._association
            for answer, row in responses(self._peer, lambda: opened.send_c_find(identifier, STUDY_ROOT_FIND)):
                if status_of(self._peer, answer) in _PENDING and row is not None:
                    with lenient():
                        found.append({keyword: value for keyword in keywords if (value := text(row, keyword))})
        except BaseException:
            self._close()
            raise
        return found


Answers = Iterator[tuple[Dataset, Dataset | None]]


def responses(peer: Peer, ask: Callable[[], Answers]) -> Answers:
    """Answers of an association that holds until the last one.

    Raises:
        Interrupted: it does not.
        PacsRefused: the service was not accepted.
    """
    try:
        yield from ask()
    except RuntimeError as error:
        raise Interrupted(peer.name, "the association broke off", TRIED_AGAIN) from error
    except ValueError as error:
        raise PacsRefused(peer.name, "it does not offer this service", "Allow it in the archive's configuration.") from error
