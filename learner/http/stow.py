"""Which objects a request to store holds (PS3.18 section 10.5), found while it passes through, with little memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

from dicom_io.pacs.multipart import BrokenMultipart, boundary_of
from dicom_io.pacs.part10 import is_uid, sop_instance_uid

_HEAD = 64 * 1024
"""Bytes of a part that are looked at: SOP Instance UID stands behind the file's meta information, a few hundred bytes in."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_FAILED, _REFERENCED_INSTANCE = "00081198", "00081155"


class StoredObjects:
    """SOP Instance UIDs of the parts of a multipart body, in order.

    Args:
        content_type: of the request.

    Raises:
        BrokenMultipart: the body is no multipart.
    """

    def __init__(self, content_type: str) -> None:
        self._delimiter = b"\r\n--" + boundary_of(content_type)
        self._buffer = bytearray(b"\r\n")  # the first delimiter may stand at the very beginning
        self._head: bytearray | None = None  # of the part that is passing; None before the first

    def feed(self, chunk: bytes) -> Iterator[str]:
        """The UIDs of the parts that end within ``chunk``. Of what went before, the head of one part is kept."""
        self._buffer += chunk
        while (found := self._buffer.find(self._delimiter)) >= 0:
            self._keep(found)
            if self._head is not None and (uid := _uid(bytes(self._head))):
                yield uid
            self._head = bytearray()
            del self._buffer[: found + len(self._delimiter)]
        passed = len(self._buffer) - len(self._delimiter) + 1  # what is left may be the beginning of a delimiter
        if passed > 0:
            self._keep(passed)
            del self._buffer[:passed]

    def _keep(self, count: int) -> None:
        if self._head is not None and len(self._head) < _HEAD:
            self._head += self._buffer[: min(count, _HEAD - len(self._head))]


async def watched(
    body: AsyncIterator[bytes], content_type: str, claim: Callable[[str], Awaitable[None]]
) -> AsyncIterator[bytes]:
    """A body as it is; ``claim`` is told of each object before its last bytes are passed on, so before it can be stored."""
    try:
        objects = StoredObjects(content_type)
    except BrokenMultipart:
        objects = None
    async for chunk in body:
        for uid in objects.feed(chunk) if objects is not None else ():
            await claim(uid)
        yield chunk


def refused_objects(answer: bytes) -> set[str]:
    """SOP Instance UIDs that an answer in JSON says were not stored (PS3.18 section 10.5.3); none if it says nothing."""
    try:
        failed: Any = json.loads(answer)[_FAILED]["Value"]
        return {str(item[_REFERENCED_INSTANCE]["Value"][0]) for item in failed}
    except (ValueError, TypeError, KeyError, IndexError):
        return set()


def _uid(part: bytes) -> str:
    """The SOP Instance UID of a part's beginning; empty if it has none."""
    _, found, file = part.partition(b"\r\n\r\n")
    if not found or _DEFLATED in file[:1024]:
        return ""  # nothing inflates what a client sends
    uid = sop_instance_uid(file)
    return uid if is_uid(uid) else ""
