"""Feeds inputs to the readers as the node does, in a process with limits, and judges what comes of them.

On standard input and output: a size of eight bytes, then a pickle. Run as a script by ``fuzz_runner.py``.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import resource
import struct
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dicom_io.annotation import Drawing
from dicom_io.errors import DicomIoError
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.viewer_lint import lint
from dicom_io.volume import ImageSeries

MEMORY_BYTES = 3 << 30
"""Bound of the data segment: what one input may need, most of it for half a gigabyte inflated by pydicom."""
MAX_MESSAGE = 1000
"""Characters; an error is read by people."""


@dataclass(frozen=True)
class Verdict:
    """What came of one input.

    Attributes:
        name: ``read``, ``named CODE`` or ``FINDING what``.
        detail: error texts or traceback.
        seconds: processor time of the slowest call.
        peak_bytes: greatest resident size of the worker while at it.
    """

    name: str
    detail: str
    seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def is_finding(self) -> bool:
        return self.name.startswith("FINDING")


@dataclass(frozen=True)
class Case:
    """One input: the files of an annotation or of a series (then without source)."""

    files: tuple[bytes, ...]
    source: tuple[bytes, ...] = ()


class _Log(logging.Handler):
    """Keeps what is logged, to look for the patient in it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


_SOURCES: dict[tuple[bytes, ...], ImageSeries] = {}


def _source(files: tuple[bytes, ...]) -> ImageSeries:
    """The last source read is kept: most inputs share one."""
    if files not in _SOURCES:
        read = read_series(files)
        _SOURCES.clear()
        _SOURCES[files] = read
    return _SOURCES[files]


def _check_series(series: ImageSeries) -> None:
    assert isinstance(series, ImageSeries)
    assert np.isfinite(series.volume.geometry.affine).all()
    assert np.isfinite(series.volume.voxels_DHW).all(), "voxels are not finite"
    assert len(series.volume.series.sop_instance_uids) == series.volume.geometry.shape[0]


def _check_drawing(drawing: Drawing, source: ImageSeries) -> None:
    assert isinstance(drawing, Drawing)
    for segment in drawing.segments:
        assert segment.mask_DHW.shape == source.volume.geometry.shape
        assert segment.mask_DHW.dtype == bool
    assert any(segment.mask_DHW.any() for segment in drawing.segments), "a drawing without foreground is an EmptyAnnotation"


def _calls(case: Case) -> list[Callable[[], Any]]:
    """What the node calls with such files."""
    if not case.source:
        return [lambda: _check_series(read_series(case.files))]
    file = case.files[0]

    def read() -> None:
        source = _source(case.source)
        _check_drawing(read_annotation(file, source), source)

    return [lambda: inspect(file), read, lambda: lint(file, _source(case.source)), lambda: lint(file, None)]


def _problem_of(error: BaseException, canaries: tuple[str, ...]) -> str:
    """What is wrong with an error, or nothing."""
    if not isinstance(error, DicomIoError):
        return f"{type(error).__name__}"
    if any(canary in str(error) for canary in canaries):
        return "patient in error"
    if len(str(error)) > MAX_MESSAGE or not str(error).isprintable():
        return "unreadable message"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return "memory"
        cause = cause.__cause__ or cause.__context__
    return ""


def judge(case: Case, canaries: tuple[str, ...]) -> Verdict:
    """Runs all calls; the worst of what they come to counts."""
    log, names, details = _Log(), [], []
    logging.getLogger().addHandler(log)
    slowest = 0.0
    try:
        for call in _calls(case):
            began = time.process_time()
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                try:
                    call()
                    names.append("read")
                except BaseException as error:  # noqa: BLE001 - some decoders panic past Exception
                    problem = _problem_of(error, canaries)
                    names.append(f"FINDING {problem}" if problem else f"named {getattr(error, 'code', '')}")
                    details.append("".join(traceback.format_exception(error)) if problem else str(error)[:500])
            slowest = max(slowest, time.process_time() - began)
            if caught:
                names.append(f"FINDING warning {caught[0].category.__name__}")
                details.append(f"{caught[0].filename}:{caught[0].lineno}: {caught[0].message}")
    finally:
        logging.getLogger().removeHandler(log)
    if any(canary in line for line in log.lines for canary in canaries):
        names.append("FINDING patient in log")
    # An annotation is read as what read_annotation() makes of it; the other calls only count when they are findings.
    finding = next((name for name in names if name.startswith("FINDING")), "")
    main = names[0] if len(names) < 2 or not case.source else names[1]
    return Verdict(finding or main, "\n".join(details), slowest)


def _peak(*, reset: bool = False) -> int:
    """Greatest resident size since the last reset, in bytes (Linux)."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
        return 0
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def read_message(stream: BinaryIO) -> Any:
    head = stream.read(8)
    if len(head) < 8:
        raise EOFError
    return pickle.loads(stream.read(struct.unpack("<Q", head)[0]))


def write_message(stream: BinaryIO, message: Any) -> None:
    body = pickle.dumps(message)
    stream.write(struct.pack("<Q", len(body)) + body)
    stream.flush()


def main() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.stdout = io.TextIOWrapper(os.fdopen(os.dup(2), "wb"), write_through=True)
    while True:
        try:
            case, canaries = read_message(sys.stdin.buffer)
        except EOFError:
            return
        _peak(reset=True)
        verdict = judge(case, canaries)
        write_message(answers, Verdict(verdict.name, verdict.detail, verdict.seconds, _peak()))


if __name__ == "__main__":
    sys.modules["fuzz_worker"] = sys.modules["__main__"]  # so that pickles name the module by the name others know
    Case.__module__ = Verdict.__module__ = "fuzz_worker"
    main()
