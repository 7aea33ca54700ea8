"""Which objects a request to store holds: found in pieces of any size, before the last bytes of each pass, in little memory."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slices import make_slices, uids

from dicom_io.pacs.multipart import BrokenMultipart
from learner.http.stow import StoredObjects, refused_objects, watched

KIND = 'multipart/related; type="application/dicom"; boundary=b0undary'
FILES = make_slices(3)
UIDS = [uids(file)[0] for file in FILES]


def body(*files: bytes, preamble: bytes = b"") -> bytes:
    parts = b"".join(b"\r\n--b0undary\r\nContent-Type: application/dicom\r\n\r\n" + file for file in files)
    return (preamble + parts if preamble else parts[2:]) + b"\r\n--b0undary--\r\n"


def found(content: bytes, size: int) -> list[str]:
    objects = StoredObjects(KIND)
    return [uid for start in range(0, len(content), size) for uid in objects.feed(content[start : start + size])]


@given(st.integers(min_value=1, max_value=5000))
@settings(max_examples=15, deadline=None)
def test_every_object_is_found_in_pieces_of_any_size(size: int) -> None:
    assert found(body(*FILES), size) == UIDS


def test_a_preamble_and_quoted_boundaries_are_understood() -> None:
    assert found(body(*FILES, preamble=b"of no meaning"), 100) == UIDS
    quoted = StoredObjects('multipart/related; boundary="b0undary"')
    assert list(quoted.feed(body(FILES[0]))) == UIDS[:1]


def test_an_object_is_told_before_its_last_bytes_are_passed_on() -> None:
    content, told, passed = body(*FILES), [], bytearray()

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 777):
            yield content[start : start + 777]

    async def claim(uid: str) -> None:
        told.append((uid, len(passed)))

    async def run() -> None:
        async for chunk in watched(pieces(), KIND, claim):
            passed.extend(chunk)

    asyncio.run(run())
    assert passed == content
    assert [uid for uid, _ in told] == UIDS
    for file, (_, before) in zip(FILES, told, strict=True):
        assert before < content.index(file) + len(file) + len(b"\r\n--b0undary")


HOSTILE = FILES[0].replace(UIDS[0].encode(), b"1.2'; DROP TABLE x;--".ljust(len(UIDS[0]), b" "))
NO_OBJECTS = [b"", b"no DICOM", b"\0" * 128 + b"DICM", b"\r\n\r\n", FILES[0][:200], HOSTILE]


@pytest.mark.parametrize("part", NO_OBJECTS)
def test_what_is_no_object_is_passed_over(part: bytes) -> None:
    assert found(body(part, FILES[1]), 64) == UIDS[1:2]


def test_a_deflated_object_is_not_inflated() -> None:
    assert found(body(FILES[0].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")), 500) == []


def test_a_body_without_an_end_and_one_that_is_no_multipart() -> None:
    assert found(body(*FILES)[:-20], 500) == UIDS[:2]
    with pytest.raises(BrokenMultipart):
        StoredObjects("application/json")


def test_a_large_object_takes_little_memory() -> None:
    objects, chunk = StoredObjects(KIND), bytes(2**20)
    list(objects.feed(body(FILES[0])[:-14]))
    tracemalloc.start()
    for _ in range(50):
        list(objects.feed(chunk))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20
    assert list(objects.feed(b"\r\n--b0undary--")) == UIDS[:1]


def test_what_the_archive_refused_is_read_from_its_answer() -> None:
    failed = {"00081198": {"vr": "SQ", "Value": [{"00081155": {"vr": "UI", "Value": ["1.2"]}}]}}
    assert refused_objects(json.dumps(failed).encode()) == {"1.2"}
    for other in (b"", b"<xml/>", b"{}", b"[]", b'{"00081198": {"Value": [{}]}}', b'{"00081198": {}}'):
        assert refused_objects(other) == set()
