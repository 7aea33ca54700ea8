from __future__ import annotations

import mmap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from learner.domain.example import Example
from learner.errors import CorruptFile, StoreError
from learner.memory.files import ExampleFiles

MakeExample = Callable[..., Example]


def test_what_is_read_is_what_was_written(make_example: MakeExample, tmp_path: Path) -> None:
    example = make_example()
    files = ExampleFiles(tmp_path)
    name, size = files.write(example)
    assert (tmp_path / name).stat().st_size == size
    read = files.open(name).example()
    step = float(np.ptp(example.image_DHW)) / 65535
    np.testing.assert_allclose(read.image_DHW, example.image_DHW, atol=step)
    np.testing.assert_allclose(read.proxy.soft_CDHW, example.proxy.soft_CDHW, atol=2.5 / 255)
    np.testing.assert_allclose(read.proxy.soft_CDHW.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(read.proxy.confidence_DHW, 0.5, atol=1 / 255)
    np.testing.assert_array_equal(read.annotation.labels_DHW, example.annotation.labels_DHW)
    np.testing.assert_array_equal(read.annotation.known_LDHW, example.annotation.known_LDHW)
    assert read.annotation.planes == example.annotation.planes
    assert (read.key, read.task_id, read.round_number, read.spacing_DHW) == ("case", "task", 3, (4.0, 0.5, 0.6))


def test_the_same_example_is_one_file(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path / "new" / "folder")
    names = {files.write(make_example())[0] for _ in range(2)} | {ExampleFiles(tmp_path / "other").write(make_example())[0]}
    assert len(names) == 1
    assert files.write(make_example(seed=1))[0] not in names
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 2


def test_reading_and_writing_again_settles(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path)
    once = files.open(files.write(make_example())[0]).example()
    twice = files.open(files.write(once)[0]).example()
    np.testing.assert_array_equal(twice.image_DHW, once.image_DHW)


def test_neither_reader_nor_source_is_in_the_file(make_example: MakeExample, tmp_path: Path) -> None:
    name, _ = ExampleFiles(tmp_path).write(make_example())
    content = (tmp_path / name).read_bytes()
    assert b"Secret" not in content
    assert b"1.2.3.4" not in content


def test_a_changed_file_is_refused(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path)
    name, size = files.write(make_example())
    content = bytearray((tmp_path / name).read_bytes())
    content[size // 2] ^= 1
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(CorruptFile, match="content"):
        files.open(name)
    (tmp_path / name).unlink()
    with pytest.raises(StoreError, match="cannot be read"):
        files.open(name)


def test_a_folder_that_cannot_be_made_is_an_error(make_example: MakeExample, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written"):
        ExampleFiles(tmp_path / "file" / "replay").write(make_example())


def test_a_flat_image_survives(make_example: MakeExample, tmp_path: Path) -> None:
    example = make_example()
    flat = Example(
        "flat", "task", 1, np.full_like(example.image_DHW, 7.0), example.spacing_DHW, example.annotation, example.proxy
    )
    files = ExampleFiles(tmp_path)
    np.testing.assert_allclose(files.open(files.write(flat)[0]).example().image_DHW, 7.0)


def test_agreement_is_kept_and_its_absence_too(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path)
    agreement = np.full((6, 8, 9), 1, np.float32)
    agreement[2] = 2 / 3
    read = files.open(files.write(replace(make_example(), agreement_DHW=agreement))[0]).example()
    np.testing.assert_allclose(read.agreement_DHW, agreement, atol=1 / 255)
    name, _ = files.write(make_example())
    assert files.open(name).agreement_DHW is None
    with np.load(tmp_path / name) as arrays:
        assert "agreement" not in arrays.files, "as files were before readers could disagree"


def test_an_example_of_fewer_labels_does_not_know_the_new_one(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path)
    example = files.open(files.write(make_example())[0]).example()
    wider = example.with_label_count(3)
    assert wider.annotation.unknown_labels == (3,)
    assert not wider.annotation.known_LDHW[2].any()
    np.testing.assert_array_equal(wider.annotation.known_LDHW[:2], example.annotation.known_LDHW)
    np.testing.assert_array_equal(wider.proxy.soft_CDHW[:3], example.proxy.soft_CDHW)
    assert not wider.proxy.soft_CDHW[3].any()
    assert example.with_label_count(2) is example
    with pytest.raises(ValueError, match="2 labels for a task of 1"):
        example.with_label_count(1)


def test_site_and_reader_are_kept(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path)
    read = files.open(files.write(replace(make_example(), site="0a1b", reader="2c3d"))[0]).example()
    assert (read.site, read.reader) == ("0a1b", "2c3d")


def test_arrays_are_views_of_the_mapped_file(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path)
    stored = files.open(files.write(make_example())[0])
    for array in (stored.image_DHW, stored.soft_LDHW, stored.confidence_DHW):
        assert isinstance(array.base, mmap.mmap)
        assert not array.flags.writeable


def test_the_hash_is_checked_once(make_example: MakeExample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ExampleFiles(tmp_path)
    name, _ = files.write(make_example())
    files.open(name)
    monkeypatch.setattr("hashlib.file_digest", lambda *_: pytest.fail("read as a whole again"))
    files.open(name)


def test_what_the_network_foresaw_is_kept_apart(make_example: MakeExample, tmp_path: Path) -> None:
    files, example = ExampleFiles(tmp_path), make_example()
    recalled = np.full((2, *example.image_DHW.shape), 0.25, np.float32)
    stored = files.open(files.write(example, recalled)[0])
    np.testing.assert_allclose(stored.recalled_LDHW / 255, 0.25, atol=1 / 255)
    np.testing.assert_array_equal(stored.annotation().labels_DHW, example.annotation.labels_DHW)
    assert files.open(files.write(example)[0]).recalled_LDHW is None


def test_the_files_of_a_case_go_whichever_round_and_index_they_are_of(make_example: MakeExample, tmp_path: Path) -> None:
    files = ExampleFiles(tmp_path)
    first, second, other = (files.write(make_example(key, seed=seed))[0] for key, seed in (("a", 1), ("a", 2), ("b", 3)))
    (tmp_path / f"{'0' * 64}.npz").write_bytes(b"no example")
    assert files.remove_cases([]) == 0
    assert files.remove_cases(["a", "never"]) == 3  # what cannot be read may be of the case, and is of no use
    assert [path.name for path in tmp_path.iterdir()] == [other]
    assert files.open(other).header["key"] == "b"
    assert ExampleFiles(tmp_path / "nothing").remove_cases(["a"]) == 0
    assert first != second
