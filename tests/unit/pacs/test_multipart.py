"""Multipart bodies: any pieces, any boundary, and the end that is missing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dicom_io.pacs.multipart import BrokenMultipart, boundary_of, parts

BOUNDARY = b"b0undary"


def body(contents: list[bytes], preamble: bytes = b"") -> bytes:
    head = b"Content-Type: application/dicom\r\n\r\n"
    return (
        preamble + b"".join(b"\r\n--" + BOUNDARY + b"\r\n" + head + one for one in contents) + b"\r\n--" + BOUNDARY + b"--\r\n"
    )


def pieces(whole: bytes, size: int) -> list[bytes]:
    return [whole[start : start + size] for start in range(0, len(whole), size)]


@given(st.lists(st.binary(max_size=40) | st.just(b"\r\n--b0und") | st.just(b"\r\n\r\n--"), max_size=4), st.integers(1, 60))
def test_the_parts_come_back_whatever_the_pieces(contents: list[bytes], size: int) -> None:
    assert list(parts(pieces(body(contents), size), BOUNDARY)) == contents
    assert list(parts(pieces(body(contents)[2:], size), BOUNDARY)) == contents, "without an empty line at the beginning"
    assert list(parts(pieces(body(contents, b"a preamble"), size), BOUNDARY)) == contents


@pytest.mark.parametrize("cut", [4, 12, 20, 40])
def test_a_body_that_ends_early_is_not_whole(cut: int) -> None:
    with pytest.raises(BrokenMultipart):
        list(parts([body([b"one", b"two"])[:-cut]], BOUNDARY))


def test_a_part_without_a_header_is_none() -> None:
    with pytest.raises(BrokenMultipart):
        list(parts([b"--" + BOUNDARY + b"\r\nx\r\n--" + BOUNDARY + b"--"], BOUNDARY))


@pytest.mark.parametrize(
    "header", ['multipart/related; type="application/dicom"; boundary=b0undary', 'Multipart/Related; boundary="b0undary"']
)
def test_the_boundary_is_found(header: str) -> None:
    assert boundary_of(header) == BOUNDARY


@pytest.mark.parametrize("header", ["", "application/dicom", "multipart/related", 'text/plain; boundary="x"'])
def test_no_boundary_is_said(header: str) -> None:
    with pytest.raises(BrokenMultipart):
        boundary_of(header)
