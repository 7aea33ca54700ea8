"""Files that are whole or not there: written aside, synced, renamed; arrays without pickle."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from dicom_io.thumbnails import Thumbnail
from dicom_io.whole_files import PLAIN, WholeFiles
from learner.domain.example import Example, Withdrawal
from learner.domain.pooling import Evidence
from learner.domain.proxy import ProxyMask
from learner.errors import CorruptFile
from learner.ports import CaseRecord
from learner.storage.disk import on_disk, unavailable

Arrays = dict[str, npt.NDArray[np.generic]]
_DRAWING = "drawing_"
_EVIDENCE = "evidence_"
_PICTURE = "picture_"
_RECORD_VERSION = 2


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Around what reads a file.

    Raises:
        CorruptFile: if it is gone or cannot be read.
        StoreUnavailable: if the disk does not give it for now.
    """
    try:
        yield
    except OSError as error:
        if (found := unavailable(error, path.parent)) is not None:
            raise found from error
        raise CorruptFile(f"{path.name} cannot be read ({error.strerror}); restore the data folder from its backup") from error


def read_whole(path: Path, files: WholeFiles) -> bytes:
    """The content of a file.

    Raises:
        CorruptFile: if it is gone, damaged, or cannot be read.
        StoreUnavailable: if the disk does not give it for now.
    """
    with _readable(path):
        return files.read(path)


def pack(arrays: Mapping[str, npt.NDArray[np.generic]], *, compress: bool = True) -> bytes:
    """Named arrays as one file."""
    buffer = io.BytesIO()
    save = np.savez_compressed if compress else np.savez
    save(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def unpack(content: bytes | BinaryIO, name: str, prefix: str = "") -> Arrays:
    """What :func:`pack` packed; only arrays whose name begins with ``prefix``. Of a file, only these are read.

    Raises:
        CorruptFile: if it was not packed so, is cut off, or is gone.
    """
    try:
        with np.load(io.BytesIO(content) if isinstance(content, bytes) else content, allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files if key.startswith(prefix)}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise CorruptFile(f"{name} is damaged; restore the data folder from its backup") from error


def _annotation_arrays(annotation: SparseAnnotation, prefix: str = "") -> Arrays:
    planes = [(p.axis, p.index, list(PlaneKind).index(p.kind)) for p in annotation.planes]
    arrays: Arrays = {
        "labels": annotation.labels_DHW,
        "known": np.packbits(annotation.known_LDHW, axis=None),
        "label_count": np.array(annotation.label_count),
        "planes": np.array(planes, dtype=np.int32).reshape(-1, 3),
        "sources": np.array(annotation.sources, dtype=np.str_),
        "readers": np.array(annotation.readers, dtype=np.str_),
    }
    return {prefix + name: array for name, array in arrays.items()}


def _annotation(arrays: Arrays) -> SparseAnnotation:
    labels_DHW = arrays["labels"].astype(np.uint8, copy=False)
    shape = (int(arrays["label_count"]), *labels_DHW.shape)
    known = np.unpackbits(arrays["known"].astype(np.uint8, copy=False), count=int(np.prod(shape)))
    kinds = tuple(PlaneKind)
    planes = arrays["planes"].astype(np.int64)
    return SparseAnnotation(
        labels_DHW=labels_DHW,
        known_LDHW=known.reshape(shape).astype(np.bool_),
        planes=tuple(Plane(int(axis), int(index), kinds[int(kind)]) for axis, index, kind in planes),
        sources=tuple(str(uid) for uid in arrays["sources"]),
        readers=tuple(str(name) for name in arrays["readers"]),
    )


def evidence_arrays(evidence: Evidence) -> Arrays:
    """Evidence as named arrays."""
    return {
        _EVIDENCE + "truth": evidence.truth_N,
        _EVIDENCE + "proxy": evidence.proxy_CN,
        _EVIDENCE + "confidence": evidence.confidence_N,
        _EVIDENCE + "network": evidence.network_CN,
        _EVIDENCE + "slice": evidence.slice_N,
    }


def evidence_from(arrays: Arrays) -> Evidence | None:
    """The evidence among named arrays, or None."""
    if _EVIDENCE + "truth" not in arrays:
        return None
    return Evidence(
        arrays[_EVIDENCE + "truth"].astype(np.uint8, copy=False),
        arrays[_EVIDENCE + "proxy"].astype(np.float16, copy=False),
        arrays[_EVIDENCE + "confidence"].astype(np.float16, copy=False),
        arrays[_EVIDENCE + "network"].astype(np.float16, copy=False),
        arrays[_EVIDENCE + "slice"].astype(np.uint16, copy=False),
    )


def _picture_arrays(pictures: tuple[Thumbnail, ...]) -> Arrays:
    arrays: Arrays = {}
    for number, one in enumerate(pictures):
        arrays |= {
            f"{_PICTURE}{number}_kind": np.array(one.kind),
            f"{_PICTURE}{number}_place": np.array([one.axis, one.index], dtype=np.int32),
            f"{_PICTURE}{number}_grey": one.grey_HW,
            f"{_PICTURE}{number}_labels": one.labels_HW,
            f"{_PICTURE}{number}_residual": one.residual_HW,
        }
    return arrays


def _pictures(arrays: Arrays) -> tuple[Thumbnail, ...]:
    found: list[Thumbnail] = []
    while (name := f"{_PICTURE}{len(found)}") + "_kind" in arrays:
        axis, index = (int(number) for number in arrays[f"{name}_place"].astype(np.int64))
        parts = (arrays[f"{name}_{part}"].astype(np.uint8, copy=False) for part in ("grey", "labels", "residual"))
        found.append(Thumbnail(str(arrays[f"{name}_kind"]), axis, index, *parts))
    return tuple(found)


def _example_arrays(example: Example) -> Arrays:
    arrays: Arrays = {
        "round_number": np.array(example.round_number),
        "image": example.image_DHW,
        "spacing": np.array(example.spacing_DHW),
        "soft": np.round(example.proxy.soft_CDHW * 255).astype(np.uint8),
        "confidence": np.round(example.proxy.confidence_DHW * 255).astype(np.uint8),
        "method": np.array(example.proxy.method),
        "site": np.array(example.site),
        "reader": np.array(example.reader),
        **_annotation_arrays(example.annotation),
    }
    if example.agreement_DHW is not None:
        arrays["agreement"] = np.round(example.agreement_DHW * 255).astype(np.uint8)
    return arrays


def _read_example(arrays: Arrays) -> Example:
    soft_CDHW = arrays["soft"].astype(np.float32)
    soft_CDHW /= np.maximum(soft_CDHW.sum(axis=0), 1.0)
    confidence_DHW = arrays["confidence"].astype(np.float32) / np.float32(255)
    agreement = arrays.get("agreement")
    d, h, w = (float(mm) for mm in arrays["spacing"].astype(np.float64))
    return Example(
        key=str(arrays["key"]),
        task_id=str(arrays["task_id"]),
        round_number=int(arrays["round_number"]),
        image_DHW=arrays["image"].astype(np.float32, copy=False),
        spacing_DHW=(d, h, w),
        annotation=_annotation(arrays),
        proxy=ProxyMask(soft_CDHW, confidence_DHW.astype(np.float32), str(arrays["method"])),
        agreement_DHW=None if agreement is None else agreement.astype(np.float32) / np.float32(255),
        site=str(arrays.get("site", "")),
        reader=str(arrays.get("reader", "")),
    )


class LocalCaseFiles:
    """:class:`learner.ports.CaseFiles` in one folder.

    Names of files carry numbers and UIDs that we derived ourselves, nothing that came from outside.

    Args:
        folder: the data folder.
        files: how files lie on disk.
    """

    def __init__(self, folder: Path, files: WholeFiles = PLAIN) -> None:
        self._folder = folder
        self._files = files

    def put_record(self, round_id: int, record: CaseRecord) -> None:
        """See :meth:`learner.ports.CaseFiles.put_record`."""
        arrays: Arrays = {"version": np.array(_RECORD_VERSION), "answer": record.labels_DHW}
        if record.annotation is not None:
            arrays |= _annotation_arrays(record.annotation)
        if record.drawing is not None:
            arrays |= _annotation_arrays(record.drawing, _DRAWING)
        if record.back_end_CDHW is not None:
            arrays["back_end"] = np.round(record.back_end_CDHW.astype(np.float32) * 255).astype(np.uint8)
        if record.evidence is not None:
            arrays |= evidence_arrays(record.evidence)
        arrays |= _picture_arrays(record.pictures)
        self._write(self._record(round_id), pack(arrays))

    def get_record(self, round_id: int) -> CaseRecord:
        """See :meth:`learner.ports.CaseFiles.get_record`."""
        path = self._record(round_id)
        arrays = unpack(read_whole(path, self._files), path.name)
        back_end = arrays.get("back_end")
        drawing = {name.removeprefix(_DRAWING): array for name, array in arrays.items() if name.startswith(_DRAWING)}
        annotation = _annotation(arrays) if "labels" in arrays else None
        added = annotation if "version" not in arrays else None  # version 1 kept what all rounds added, and not each of them
        return CaseRecord(
            drawing=_annotation(drawing) if drawing else added,
            annotation=annotation,
            labels_DHW=arrays["answer"].astype(np.uint8, copy=False),
            back_end_CDHW=None if back_end is None else (back_end.astype(np.float32) / 255).astype(np.float16),
            evidence=evidence_from(arrays),
            pictures=_pictures(arrays),
        )

    def get_evidence(self, round_id: int) -> Evidence | None:
        """See :meth:`learner.ports.CaseFiles.get_evidence`."""
        path = self._record(round_id)
        return evidence_from(unpack(read_whole(path, self._files), path.name, _EVIDENCE))

    def get_pictures(self, round_id: int) -> tuple[Thumbnail, ...]:
        """See :meth:`learner.ports.CaseFiles.get_pictures`."""
        path = self._record(round_id)
        with _readable(path), self._files.open(path) as file:
            return _pictures(unpack(file, path.name, _PICTURE))

    def put_outgoing(self, sop_instance_uid: str, file: bytes) -> str:
        """See :meth:`learner.ports.CaseFiles.put_outgoing`."""
        path = self._folder / "outbox" / f"{sop_instance_uid}.dcm"
        self._write(path, file)
        return path.relative_to(self._folder).as_posix()

    def get_outgoing(self, path: str) -> bytes:
        """See :meth:`learner.ports.CaseFiles.get_outgoing`."""
        return read_whole(self._folder / path, self._files)

    def drop_outgoing(self, path: str) -> None:
        """See :meth:`learner.ports.CaseFiles.drop_outgoing`."""
        (self._folder / path).unlink(missing_ok=True)

    def put_example(self, round_id: int, example: Example | Withdrawal) -> None:
        """See :meth:`learner.ports.CaseFiles.put_example`."""
        arrays: Arrays = {"key": np.array(example.key), "task_id": np.array(example.task_id)}
        if isinstance(example, Withdrawal):
            arrays["label_count"] = np.array(example.label_count)
        else:
            arrays |= _example_arrays(example)
        self._write(self._example(round_id), pack(arrays, compress=False))

    def get_example(self, round_id: int) -> Example | Withdrawal:
        """See :meth:`learner.ports.CaseFiles.get_example`."""
        path = self._example(round_id)
        arrays = unpack(read_whole(path, self._files), path.name)
        if "image" not in arrays:
            return Withdrawal(str(arrays["key"]), str(arrays["task_id"]), int(arrays["label_count"]))
        return _read_example(arrays)

    def drop_example(self, round_id: int) -> None:
        """See :meth:`learner.ports.CaseFiles.drop_example`."""
        self._example(round_id).unlink(missing_ok=True)

    def _write(self, path: Path, content: bytes) -> None:
        with on_disk(self._folder):
            self._files.write(path, content)

    def _record(self, round_id: int) -> Path:
        return self._folder / "rounds" / f"{round_id:08d}.npz"

    def _example(self, round_id: int) -> Path:
        return self._folder / "examples" / f"{round_id:08d}.npz"
