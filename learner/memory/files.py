"""Files of examples: immutable, named by the hash of their content, free of pickle and of identity."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.errors import CorruptFile, StoreError

_FORMAT = 1
_SUFFIX = ".npz"


class ExampleFiles:
    """A folder of examples.

    The image is quantised to 16 bits between its extremes, soft labels, confidence and agreement to 8 bits, known masks are
    packed bits; who drew and which object it came from are left out. Reading gives what was written up to that, the same every
    time.

    Args:
        folder: made if absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, example: Example) -> tuple[str, int]:
        """Writes the example aside, syncs, and renames it into place.

        Returns:
            The file's name and its size in bytes.

        Raises:
            StoreError: if the folder cannot be written.
        """
        content = _encode(example)
        name = hashlib.sha256(content).hexdigest() + _SUFFIX
        target = self._folder / name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                self._place(content, target)
        except OSError as error:
            raise StoreError(f"the replay memory cannot be written: {error}") from error
        return name, len(content)

    def _place(self, content: bytes, target: Path) -> None:
        descriptor, aside = tempfile.mkstemp(dir=self._folder, suffix=".part")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(target)
        except OSError:
            Path(aside).unlink(missing_ok=True)
            raise
        folder = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def read(self, name: str) -> Example:
        """The example of a file.

        Raises:
            CorruptFile: if the content does not have the hash that names it, or is no example.
            StoreError: if the file is missing or cannot be read.
        """
        try:
            content = (self._folder / name).read_bytes()
        except OSError as error:
            raise StoreError(f"replay file {name} cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() + _SUFFIX != name:
            raise CorruptFile(f"replay file {name} does not have the content that its name says")
        try:
            return _decode(content)
        except (ValueError, KeyError, TypeError, OSError, zipfile.BadZipFile) as error:
            raise CorruptFile(f"replay file {name} holds no example: {error}") from error

    def remove_all_but(self, wanted: set[str]) -> int:
        """Removes files that are not wanted, what a killed writer left aside included; returns how many."""
        if not self._folder.is_dir():
            return 0
        unwanted = [p for p in self._folder.iterdir() if p.suffix in {_SUFFIX, ".part"} and p.name not in wanted]
        for path in unwanted:
            path.unlink(missing_ok=True)
        return len(unwanted)


def _encode(example: Example) -> bytes:
    image = np.nan_to_num(example.image_DHW)
    low, high = float(image.min(initial=0)), float(image.max(initial=0))
    step = max((high - low) / 65535.0, 1e-30)
    header = {
        "format": _FORMAT,
        "key": example.key,
        "task": example.task_id,
        "round": example.round_number,
        "spacing": list(example.spacing_DHW),
        "low": low,
        "step": step,
        "method": example.proxy.method,
        "labels": example.annotation.label_count,
        "planes": [[plane.axis, plane.index, plane.kind.value] for plane in example.annotation.planes],
    }
    optional = {} if example.agreement_DHW is None else {"agreement": _to_bytes(example.agreement_DHW)}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        header=np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8),
        image=np.round((image.astype(np.float64) - low) / step).astype(np.uint16),
        soft=_to_bytes(example.proxy.soft_CDHW[1:]),
        confidence=_to_bytes(example.proxy.confidence_DHW),
        labels=example.annotation.labels_DHW,
        known=np.packbits(example.annotation.known_LDHW),
        **optional,
    )
    return buffer.getvalue()


def _to_bytes(shares: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def _decode(content: bytes) -> Example:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes().decode())
        if header["format"] != _FORMAT:
            raise ValueError(f"format {header['format']} is unknown")
        stored: npt.NDArray[np.uint16] = arrays["image"]
        image = (stored.astype(np.float64) * header["step"] + header["low"]).astype(np.float32)
        foreground = arrays["soft"].astype(np.float32) / 255
        labels: npt.NDArray[np.uint8] = arrays["labels"]
        size = header["labels"] * labels.size
        known = np.unpackbits(arrays["known"], count=size).reshape(header["labels"], *labels.shape).astype(bool)
        confidence = arrays["confidence"].astype(np.float32) / 255
        agreement = arrays["agreement"].astype(np.float32) / 255 if "agreement" in arrays else None
    background = np.clip(1 - foreground.sum(axis=0, keepdims=True), 0, 1)
    soft = np.concatenate([background, foreground])
    soft = (soft / np.maximum(soft.sum(axis=0), 1e-6)).astype(np.float32)
    planes = tuple(Plane(int(axis), int(index), PlaneKind(kind)) for axis, index, kind in header["planes"])
    spacing = header["spacing"]
    return Example(
        key=str(header["key"]),
        task_id=str(header["task"]),
        round_number=int(header["round"]),
        image_DHW=image,
        spacing_DHW=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
        annotation=SparseAnnotation(labels, known, planes),
        proxy=ProxyMask(soft, confidence, str(header["method"])),
        agreement_DHW=agreement,
    )
