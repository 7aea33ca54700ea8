"""Rules for Secondary Captures."""

from __future__ import annotations

from collections.abc import Iterator

from dicom_io.viewer_lint.model import Kind, Rule, Severity, Subject, Viewer

_CAPTURE = (Kind.CAPTURE,)


def _pixels(subject: Subject) -> Iterator[str]:
    if "PixelData" not in subject.dataset or min(subject.size) < 1:
        yield "It holds no picture."


RULES = (
    Rule(
        "capture-pixels",
        Severity.ERROR,
        _CAPTURE,
        tuple(Viewer),
        "There is nothing to show.",
        "Write Pixel Data with Rows and Columns.",
        _pixels,
    ),
)
