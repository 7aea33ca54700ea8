"""Files of examples: immutable, named by the hash of their content, mapped into memory, free of pickle and of identity."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import struct
import zipfile
from collections.abc import Collection
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from dicom_io.whole_files import PLAIN, Opened, WholeFiles
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.errors import CorruptFile, StoreError
from learner.storage.disk import on_disk, unavailable

_FORMAT = 1
_SUFFIX = ".npz"
_LOCAL_HEADER = struct.Struct("<26xHH")
"""ZIP's local file header (APPNOTE 4.3.7): its last two fields are the lengths of name and extra field, which follow it."""

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]


class StoredExample:
    """An example as it lies on disk: quantised arrays, of which the system reads what is looked at.

    Attributes:
        header: key, task, round, site, reader, spacing and planes.
        image_DHW: uint16; see :meth:`image`.
        soft_LDHW: uint8 soft labels 1..L in 1/255; see :func:`soft_from_bytes`.
        confidence_DHW: uint8, in 1/255.
        agreement_DHW: uint8, in 1/255; None where nobody disagrees.
        recalled_LDHW: uint8, in 1/255, what the network made of the image when it had learned it: no annotation; None if that
            was not kept.

        nbytes: memory that it takes; none where it is mapped.

    Raises:
        ValueError: if the buffer holds no example.
    """

    def __init__(self, file: BinaryIO, buffer: bytes | mmap.mmap) -> None:
        """Finds the arrays.

        Args:
            file: the file, for its directory.
            buffer: the same content; kept.
        """
        arrays = _members(file, buffer)
        self.nbytes = len(buffer) if isinstance(buffer, bytes) else 0
        self.header: dict[str, Any] = json.loads(arrays["header"].tobytes().decode())
        if self.header["format"] != _FORMAT:
            raise ValueError(f"format {self.header['format']} is unknown")
        self.image_DHW: npt.NDArray[np.uint16] = arrays["image"]
        self.soft_LDHW: ByteArray = arrays["soft"]
        self.confidence_DHW: ByteArray = arrays["confidence"]
        self.agreement_DHW: ByteArray | None = arrays.get("agreement")
        self.recalled_LDHW: ByteArray | None = arrays.get("recalled")
        self._labels_DHW: ByteArray = arrays["labels"]
        self._known: ByteArray = arrays["known"]

    @property
    def shape_DHW(self) -> tuple[int, int, int]:
        """Voxels along (slice, row, column)."""
        depth, rows, columns = self.image_DHW.shape
        return depth, rows, columns

    def image(self, stored: npt.NDArray[np.uint16]) -> FloatArray:
        """Voxels, or a part of them, as float32."""
        return np.asarray(stored * self.header["step"] + self.header["low"], dtype=np.float32)

    def annotation(self) -> SparseAnnotation:
        """What was drawn."""
        header, shape = self.header, self.shape_DHW
        known = np.unpackbits(self._known, count=header["labels"] * self._labels_DHW.size)
        planes = tuple(Plane(int(axis), int(index), PlaneKind(kind)) for axis, index, kind in header["planes"])
        return SparseAnnotation(np.array(self._labels_DHW), known.reshape(header["labels"], *shape).astype(np.bool_), planes)

    def example(self) -> Example:
        """The whole example in memory, up to quantisation."""
        header, spacing = self.header, self.header["spacing"]
        soft, confidence = soft_from_bytes(self.soft_LDHW), shares_from_bytes(self.confidence_DHW)
        return Example(
            key=str(header["key"]),
            task_id=str(header["task"]),
            round_number=int(header["round"]),
            image_DHW=self.image(self.image_DHW),
            spacing_DHW=(float(spacing[0]), float(spacing[1]), float(spacing[2])),
            annotation=self.annotation(),
            proxy=ProxyMask(soft, confidence, str(header["method"])),
            agreement_DHW=None if self.agreement_DHW is None else shares_from_bytes(self.agreement_DHW),
            site=str(header.get("site", "")),
            reader=str(header.get("reader", "")),
        )


class ExampleFiles:
    """A folder of examples.

    The image is quantised to 16 bits between its extremes, soft labels, confidence and agreement to 8 bits, known masks are
    packed bits; who drew and which object it came from are left out, but for keyed hashes. Nothing is compressed, so that the
    arrays can be mapped. Reading gives what was written up to that, the same every time.

    Args:
        folder: made if absent.
        files: how files lie on disk. Names are hashes of what they hold; what does not lie there as it is cannot be mapped, and
            is read into memory.
    """

    def __init__(self, folder: Path, files: WholeFiles = PLAIN) -> None:
        self._folder = folder
        self._files = files
        self._verified: set[str] = set()

    def write(self, example: Example, recalled_LDHW: FloatArray | None = None) -> tuple[str, int]:
        """Writes the example aside, syncs, and renames it into place.

        Args:
            example: what to write.
            recalled_LDHW: float32, what the network makes of the image, labels 1..L; kept apart from what was drawn.

        Returns:
            The file's name, and the size of what it holds in bytes.

        Raises:
            StoreError: if the folder cannot be written; StoreUnavailable, if the disk does not take it for now.
        """
        content = encode(example, recalled_LDHW)
        name = hashlib.sha256(content).hexdigest() + _SUFFIX
        target = self._folder / name
        try:
            if not target.exists():
                self._files.write(target, content)
        except OSError as error:
            raise unavailable(error, self._folder) or StoreError(f"the replay memory cannot be written: {error}") from error
        return name, len(content)

    def open(self, name: str) -> StoredExample:
        """The example of a file, mapped where it can be. Its hash is checked the first time that this object opens it.

        Raises:
            CorruptFile: if the content does not have the hash that names it, or is no example.
            StoreError: if the file is missing or cannot be read.
        """
        try:
            with self._files.open(self._folder / name) as file:
                if name not in self._verified and hashlib.file_digest(file, "sha256").hexdigest() + _SUFFIX != name:
                    raise CorruptFile(f"replay file {name} does not have the content that its name says")
                self._verified.add(name)
                return _stored(file)
        except OSError as error:
            found = unavailable(error, self._folder)
            raise found or StoreError(f"replay file {name} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, zipfile.BadZipFile, struct.error) as error:
            raise CorruptFile(f"replay file {name} holds no example: {error}") from error

    def remove_cases(self, keys: Collection[str]) -> int:
        """Removes the files of cases, and files that hold no example, whichever index names them; returns how many."""
        removed = 0
        for path in self._folder.glob(f"*{_SUFFIX}") if keys else ():
            try:
                with self._files.open(path) as file:
                    wanted = _stored(file).header["key"] not in keys
            except FileNotFoundError:
                continue  # its trainer was first
            except (CorruptFile, ValueError, KeyError, TypeError, zipfile.BadZipFile, struct.error):
                wanted = False
            if not wanted:
                path.unlink(missing_ok=True)
                self._verified.discard(path.name)
                removed += 1
        return removed

    def remove_all_but(self, wanted: set[str]) -> int:
        """Removes files that are not wanted, what a killed writer left aside included; returns how many."""
        if not self._folder.is_dir():
            return 0
        unwanted = [p for p in self._folder.iterdir() if p.suffix in {_SUFFIX, ".part"} and p.name not in wanted]
        for path in unwanted:
            with on_disk(self._folder):
                path.unlink(missing_ok=True)
            self._verified.discard(path.name)
        return len(unwanted)


def _stored(file: Opened) -> StoredExample:
    """The example of an open file: mapped, or as it stands in memory."""
    if isinstance(file, io.BytesIO):
        return StoredExample(file, file.getvalue())
    return StoredExample(file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def encode(example: Example, recalled_LDHW: FloatArray | None = None) -> bytes:
    """The content of an example's file; the same example gives the same bytes."""
    image = np.nan_to_num(example.image_DHW)
    low, high = float(image.min(initial=0)), float(image.max(initial=0))
    step = max((high - low) / 65535.0, 1e-30)
    header = {
        "format": _FORMAT,
        "key": example.key,
        "task": example.task_id,
        "round": example.round_number,
        "site": example.site,
        "reader": example.reader,
        "spacing": list(example.spacing_DHW),
        "low": low,
        "step": step,
        "method": example.proxy.method,
        "labels": example.annotation.label_count,
        "planes": [[plane.axis, plane.index, plane.kind.value] for plane in example.annotation.planes],
    }
    optional = {"agreement": example.agreement_DHW, "recalled": recalled_LDHW}
    buffer = io.BytesIO()
    np.savez(
        buffer,
        allow_pickle=False,
        header=np.frombuffer(json.dumps(header, sort_keys=True).encode(), dtype=np.uint8),
        image=np.round((image.astype(np.float64) - low) / step).astype(np.uint16),
        soft=to_bytes(example.proxy.soft_CDHW[1:]),
        confidence=to_bytes(example.proxy.confidence_DHW),
        labels=example.annotation.labels_DHW,
        known=np.packbits(example.annotation.known_LDHW),
        **{name: to_bytes(values) for name, values in optional.items() if values is not None},
    )
    return buffer.getvalue()


def to_bytes(shares: FloatArray) -> ByteArray:
    """Numbers in [0, 1] as uint8, in 1/255."""
    return np.round(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def shares_from_bytes(stored: ByteArray) -> FloatArray:
    """Float32 numbers in [0, 1] from uint8, in 1/255."""
    return np.asarray(stored * np.float32(1 / 255), dtype=np.float32)


def soft_from_bytes(foreground_LDHW: ByteArray) -> FloatArray:
    """Soft labels 0..L, float32 ``(L + 1, D, H, W)`` that sum to 1, from those of 1..L in 1/255."""
    soft = np.empty((len(foreground_LDHW) + 1, *foreground_LDHW.shape[1:]), dtype=np.float32)
    np.multiply(foreground_LDHW, np.float32(1 / 255), out=soft[1:])
    total = soft[1:].sum(axis=0)
    soft[0] = np.clip(1 - total, 0, 1)
    soft /= np.maximum(total, 1)  # where rounding made the labels' sum exceed 1
    return soft


def _members(file: BinaryIO, buffer: bytes | mmap.mmap) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an uncompressed ``.npz``, as views of the buffer that holds it."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    return {member.filename.removesuffix(".npy"): _member(member, buffer) for member in members}


def _member(member: zipfile.ZipInfo, buffer: bytes | mmap.mmap) -> npt.NDArray[Any]:
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError("a compressed array cannot be mapped")
    lengths = _LOCAL_HEADER.unpack_from(buffer, member.header_offset)
    begin = member.header_offset + _LOCAL_HEADER.size + sum(lengths)
    stream = io.BytesIO(buffer[begin : begin + min(member.file_size, 4096)])
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array of a later version of numpy's format")
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(stream)
    if fortran_order or dtype.hasobject:
        raise ValueError("an array that cannot be mapped")
    return np.ndarray(shape, dtype, buffer, begin + stream.tell())
