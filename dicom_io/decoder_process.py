"""The program that decodes compressed frames, one after the other, for :mod:`dicom_io.pixels`; run as a script.

On standard input and output: a line of JSON, then as many bytes as it says. It ends when its input does.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import warnings
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import UID

PREFERRED = ("pylibjpeg", "pyjpegls", "pillow")
"""Decoders to try first. GDCM reads the most, and crashes the most on damaged streams."""


def decoded(frame: bytes, syntax: str, options: dict[str, Any]) -> npt.NDArray[np.generic]:
    """The pixels ``(row, column)`` or ``(row, column, sample)`` of one compressed frame."""
    decoder = get_decoder(UID(syntax))
    plugins = sorted(decoder.available_plugins, key=lambda name: PREFERRED.index(name) if name in PREFERRED else len(PREFERRED))
    failure: Exception = NotImplementedError(f"no decoder for {syntax}")
    for plugin in plugins:
        try:
            pixels, _ = decoder.as_array(encapsulate([frame]), index=0, decoding_plugin=plugin, **options)
        except Exception as error:  # noqa: BLE001 - the next decoder may do better; the last failure is answered
            failure = error
        else:
            return np.ascontiguousarray(pixels)
    raise failure


def _answer(out: BinaryIO, answer: dict[str, Any], pixels: bytes | memoryview = b"") -> None:
    out.write(json.dumps(answer).encode() + b"\n")
    out.write(pixels)
    out.flush()


def main(memory_bytes: int, seconds: float) -> None:
    """Serves requests until the input ends; one that takes more than ``seconds`` of processor time ends the process."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests = sys.stdin.buffer
    answers = os.fdopen(os.dup(1), "wb")
    silence = os.open(os.devnull, os.O_WRONLY)  # the libraries write what they think of a stream
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    warnings.simplefilter("ignore")
    while line := requests.readline():
        request = json.loads(line)
        frame = requests.read(request["size"])
        signal.setitimer(signal.ITIMER_PROF, seconds)
        try:
            pixels = decoded(frame, request["syntax"], request["options"])
        except Exception as error:  # noqa: BLE001 - whatever it is, the stream cannot be decoded
            _answer(answers, {"error": type(error).__name__})
        else:
            _answer(answers, {"dtype": pixels.dtype.str, "shape": pixels.shape}, pixels.data)
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]))
