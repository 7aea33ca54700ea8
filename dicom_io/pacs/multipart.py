"""Bodies of type ``multipart/related`` (RFC 2387, RFC 2046 section 5.1), taken apart while they arrive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.message import Message

_LONGEST_HEADER = 64 * 1024


class BrokenMultipart(ValueError):
    """The body has no boundary, or ends before its closing delimiter."""


def boundary_of(content_type: str) -> bytes:
    """The boundary that a Content-Type names, quoted or not.

    Raises:
        BrokenMultipart: it is no multipart, or names none.
    """
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_param("boundary")
    if header.get_content_maintype() != "multipart" or not isinstance(boundary, str) or not boundary:
        raise BrokenMultipart("no multipart body")
    return boundary.encode("latin-1")


def parts(chunks: Iterable[bytes], boundary: bytes) -> Iterator[bytes]:
    """The content of each part, in order, without its header. Holds one part and one chunk in memory.

    Args:
        chunks: the body in pieces of any size.
        boundary: what separates the parts.

    Raises:
        BrokenMultipart: the body ends before the closing delimiter.
    """
    delimiter = b"\r\n--" + boundary
    buffer = bytearray(b"\r\n")  # the first delimiter may stand at the very beginning
    searched, inside = 0, False
    for chunk in chunks:
        buffer += chunk
        while (found := buffer.find(delimiter, searched)) >= 0:
            after = found + len(delimiter)
            if len(buffer) < after + 2:
                break  # what follows tells whether it was the last one
            if inside:
                yield _content(bytes(buffer[:found]))
            if buffer[after : after + 2] == b"--":
                return
            del buffer[:after]
            searched, inside = 0, True
        else:
            searched = max(0, len(buffer) - len(delimiter))
            continue
        searched = found
    raise BrokenMultipart("the body ends before its closing delimiter")


def _content(part: bytes) -> bytes:
    """What follows the empty line; the header begins with the rest of the delimiter's line."""
    end = part.find(b"\r\n\r\n", 0, _LONGEST_HEADER)
    if end < 0:
        raise BrokenMultipart("a part has no header")
    return part[end + 4 :]
