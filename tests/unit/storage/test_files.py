"""Files are whole or not there, and what was written is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from dicom_io.whole_files import write_whole
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.errors import CorruptFile, StoreError
from learner.ports import CaseRecord
from learner.storage.files import LocalCaseFiles
from learner.storage.store import LocalStore


def annotation() -> SparseAnnotation:
    labels_DHW = np.zeros((4, 5, 6), dtype=np.uint8)
    labels_DHW[1, 1:3, 2:5] = 2
    known_LDHW = np.zeros((2, 4, 5, 6), dtype=bool)
    known_LDHW[:, 1] = True
    known_LDHW[0, 3] = True
    planes = (Plane(0, 1), Plane(0, 3, PlaneKind.ABSENT))
    return SparseAnnotation(labels_DHW, known_LDHW, planes, ("1.2.3",), ("Reader^A",))


def same(a: SparseAnnotation, b: SparseAnnotation) -> bool:
    return (
        np.array_equal(a.labels_DHW, b.labels_DHW)
        and np.array_equal(a.known_LDHW, b.known_LDHW)
        and (a.planes, a.sources, a.readers) == (b.planes, b.sources, b.readers)
    )


def test_records_come_back(tmp_path: Path) -> None:
    files = LocalCaseFiles(tmp_path)
    soft = np.random.default_rng(1).random((3, 4, 5, 6)).astype(np.float16)
    drawing = SparseAnnotation(np.zeros((4, 5, 6), np.uint8), np.ones((2, 4, 5, 6), bool), (Plane(1, 2),), ("1.2.4",))
    files.put_record(7, CaseRecord(drawing, annotation(), annotation().labels_DHW, soft))
    record = files.get_record(7)
    assert record.drawing is not None
    assert same(record.drawing, drawing)
    assert record.annotation is not None
    assert record.back_end_CDHW is not None
    assert same(record.annotation, annotation())
    assert np.array_equal(record.labels_DHW, annotation().labels_DHW)
    assert np.abs(record.back_end_CDHW.astype(float) - soft.astype(float)).max() < 0.005


def test_a_record_of_the_first_version_keeps_its_drawing(tmp_path: Path) -> None:
    files = LocalCaseFiles(tmp_path)
    files.put_record(7, CaseRecord(None, annotation(), annotation().labels_DHW, None))
    assert files.get_record(7).drawing is None, "a withdrawal adds nothing"
    (path,) = tmp_path.rglob("*.npz")
    with np.load(path) as stored:
        np.savez(path, **{name: stored[name] for name in stored.files if name != "version"})
    drawing = files.get_record(7).drawing
    assert drawing is not None
    assert same(drawing, annotation())


def test_examples_come_back(tmp_path: Path) -> None:
    files = LocalCaseFiles(tmp_path)
    rng = np.random.default_rng(2)
    soft = rng.random((3, 4, 5, 6)).astype(np.float32)
    proxy = ProxyMask(soft / soft.sum(axis=0), rng.random((4, 5, 6)).astype(np.float32), "chained-flow")
    image = rng.normal(size=(4, 5, 6)).astype(np.float32)
    files.put_example(3, Example("key", "liver", 2, image, (3.0, 0.5, 0.5), annotation(), proxy))
    example = files.get_example(3)
    assert np.array_equal(example.image_DHW, image)
    assert same(example.annotation, annotation())
    assert (example.key, example.task_id, example.round_number) == ("key", "liver", 2)
    assert example.spacing_DHW == (3.0, 0.5, 0.5)
    assert np.abs(example.proxy.soft_CDHW - proxy.soft_CDHW).max() < 0.01
    assert example.agreement_DHW is None
    agreement = rng.random((4, 5, 6)).astype(np.float32)
    files.put_example(3, replace(example, agreement_DHW=agreement))
    assert np.abs(files.get_example(3).agreement_DHW - agreement).max() < 0.005
    files.drop_example(3)
    files.drop_example(3)
    with pytest.raises(CorruptFile):
        files.get_example(3)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut off", "half"])
def test_damage_is_named(tmp_path: Path, damage: bytes | str) -> None:
    files = LocalCaseFiles(tmp_path)
    files.put_record(1, CaseRecord(None, None, annotation().labels_DHW, None))
    (path,) = tmp_path.glob("rounds/*")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if isinstance(damage, str) else damage)
    with pytest.raises(CorruptFile, match=r"00000001\.npz"):
        files.get_record(1)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    write_whole(target, b"old")

    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dicom_io.whole_files.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(target, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store._database.run("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="newer version"):
        LocalStore(tmp_path)
