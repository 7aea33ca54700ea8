"""Pixels of a dataset, decoded so that no stream can take the process down.

Decoders of compressed pixels are libraries in C and C++ that abort, read beyond their buffers or run for minutes when a stream
is damaged: GDCM 3.2.6 ended the process on one damaged JPEG 2000 stream in fifty. So one child process decodes them, with
limited memory and time; a stream that ends it is refused, and the next one gets a new child.
"""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.uid import RLELossless

from dicom_io.datasets import integer, text
from dicom_io.limits import DECODER_MEMORY_BYTES, DECODER_SECONDS, refuse_many_pixels

_OPTIONS = (
    ("rows", "Rows", 0),
    ("columns", "Columns", 0),
    ("samples_per_pixel", "SamplesPerPixel", 1),
    ("bits_allocated", "BitsAllocated", 0),
    ("bits_stored", "BitsStored", 0),
    ("pixel_representation", "PixelRepresentation", 0),
    ("planar_configuration", "PlanarConfiguration", 0),
)
"""pydicom's name, the keyword, and what stands where it is absent."""
_ITEM = b"\xfe\xff\x00\xe0"
_PROGRAM = Path(__file__).with_name("decoder_process.py")


class _Decoder:
    """The child process: started when first needed, and again after a stream has ended it. Safe with threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def decode(self, frame: bytes, syntax: str, options: dict[str, Any]) -> npt.NDArray[np.generic]:
        """Pixels ``(row, column)`` or ``(row, column, sample)`` of one frame.

        Raises:
            ValueError: it cannot be decoded.
        """
        with self._lock:
            process = self._running()
            try:
                return _exchange(process, frame, {"syntax": syntax, "size": len(frame), "options": options})
            except (OSError, EOFError, json.JSONDecodeError) as error:
                self._end()
                raise ValueError("the decoder did not survive these pixels") from error

    def close(self) -> None:
        with self._lock:
            self._end()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            command = [sys.executable, "-P", str(_PROGRAM), str(DECODER_MEMORY_BYTES), str(DECODER_SECONDS)]
            self._process = subprocess.Popen(  # noqa: S603 - our own program
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            atexit.register(self.close)
        return self._process

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        atexit.unregister(self.close)
        process.kill()
        process.communicate()


def _exchange(process: subprocess.Popen[bytes], frame: bytes, request: dict[str, Any]) -> npt.NDArray[np.generic]:
    """One request and its answer; EOFError where the child ended instead."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.write(frame)
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise EOFError("the decoder ended")
    answer = json.loads(line)
    if "error" in answer:
        raise ValueError(f"no decoder reads these pixels ({answer['error']})")
    dtype, options = np.dtype(answer["dtype"]), request["options"]
    if dtype.kind not in "uif" or answer["shape"][:2] != [options["rows"], options["columns"]]:
        raise ValueError("the decoder answers with other pixels than announced")
    pixels = np.empty(answer["shape"], dtype)
    if process.stdout.readinto(pixels.reshape(-1).view(np.uint8).data) != pixels.nbytes:  # type: ignore[attr-defined]
        raise EOFError("the decoder ended")
    return pixels


_DECODER = _Decoder()


def pixel_array(dataset: Dataset, name: str) -> npt.NDArray[np.generic]:
    """What pydicom's ``Dataset.pixel_array`` is, with the limits of :mod:`dicom_io.limits` kept.

    Args:
        dataset: an image or a segmentation with its pixel data and file meta information.
        name: the object, for messages.

    Returns:
        Stored values ``(row, column)`` for one frame, ``(frame, row, column)`` for several, with a last axis for the samples
        of colour.

    Raises:
        UnsupportedObject: it announces more pixels than are read.
        ValueError, and what else ``dicom_io.datasets.UNREADABLE`` names: the pixels end too early or cannot be decoded.
    """
    shape = (integer(dataset, "NumberOfFrames", 1), integer(dataset, "Rows"), integer(dataset, "Columns"))
    refuse_many_pixels(name, shape)
    if min(shape) < 1:
        raise ValueError("no rows, columns or frames")
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == RLELossless:  # pydicom's own decoder; the other one panics on damaged streams, which no caller expects
        dataset.pixel_array_options(decoding_plugin="pydicom")
        return np.asarray(dataset.pixel_array)
    if not syntax.is_encapsulated:
        return np.asarray(dataset.pixel_array)
    return _decompressed(dataset, shape[0], syntax)


def _decompressed(dataset: Dataset, count: int, syntax: str) -> npt.NDArray[np.generic]:
    """The first ``count`` frames, decoded by the child process."""
    options: dict[str, Any] = {option: integer(dataset, keyword, default) for option, keyword, default in _OPTIONS}
    options |= {"photometric_interpretation": text(dataset, "PhotometricInterpretation")}
    options |= {"number_of_frames": 1, "pixel_keyword": "PixelData"}
    if dataset.PixelData.count(_ITEM) <= count:  # the offset table is one more
        raise EOFError("fewer frames than announced")
    encoded = generate_frames(dataset.PixelData, number_of_frames=count, extended_offsets=_extended_offsets(dataset))
    pixels: npt.NDArray[np.generic] | None = None
    index = -1
    for index, frame in enumerate(islice(encoded, count)):
        decoded = _DECODER.decode(frame, str(syntax), options)
        if pixels is None:
            pixels = np.empty((count, *decoded.shape), decoded.dtype)
        pixels[index] = decoded
    if pixels is None or index + 1 < count:
        raise EOFError("fewer frames than announced")
    return pixels[0] if count == 1 else pixels


def _extended_offsets(dataset: Dataset) -> tuple[bytes, bytes] | None:
    """Extended Offset Table and its lengths (PS3.3 section C.7.6.3.1.8), where given."""
    if "ExtendedOffsetTable" not in dataset or "ExtendedOffsetTableLengths" not in dataset:
        return None
    return dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths
