"""Examples that are encrypted: the same, under the same names, and counted where they take memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from learner.domain.example import Example
from learner.errors import CorruptFile
from learner.memory.files import ExampleFiles
from learner.memory.replay import ReplayMemory
from learner.model.prepared import CaseCache, prepare_case
from learner.storage.encryption import make_key
from learner.storage.vault import MAGIC, Vault

MakeExample = Callable[..., Example]


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    make_key(tmp_path / "key")
    return Vault(tmp_path, tmp_path / "key")


def test_an_encrypted_example_is_the_same(make_example: MakeExample, tmp_path: Path, vault: Vault) -> None:
    encrypted, plain = ExampleFiles(tmp_path / "a", vault), ExampleFiles(tmp_path / "b")
    name = encrypted.write(make_example())
    assert name == plain.write(make_example())
    assert (tmp_path / "a" / name[0]).read_bytes().startswith(MAGIC)
    one, other = encrypted.open(name[0]), plain.open(name[0])
    np.testing.assert_array_equal(one.image_DHW, other.image_DHW)
    np.testing.assert_array_equal(one.soft_LDHW, other.soft_LDHW)
    assert (one.nbytes, other.nbytes) == (name[1], 0)


def test_examples_from_before_the_key_are_mapped_on(make_example: MakeExample, tmp_path: Path, vault: Vault) -> None:
    name, _ = ExampleFiles(tmp_path / "a").write(make_example())
    assert ExampleFiles(tmp_path / "a", vault).open(name).nbytes == 0


def test_damage_is_told_and_a_changed_name_too(make_example: MakeExample, tmp_path: Path, vault: Vault) -> None:
    files = ExampleFiles(tmp_path / "a", vault)
    name, _ = files.write(make_example())
    path = tmp_path / "a" / name
    path.rename(path.with_name("0" * 64 + ".npz"))
    with pytest.raises(CorruptFile, match="does not have the content that its name says"):
        files.open("0" * 64 + ".npz")
    path.write_bytes(path.with_name("0" * 64 + ".npz").read_bytes()[:-1])
    with pytest.raises(CorruptFile, match="damaged"):
        files.open(name)
    assert files.remove_cases(["another"]) == 1, "what is damaged holds no example"


def test_the_memory_drops_what_is_damaged(make_example: MakeExample, tmp_path: Path, vault: Vault) -> None:
    memory = ReplayMemory(tmp_path / "a", 2**24, files=vault)
    for key in "ab":
        memory.admit(memory.store(make_example(key, seed=ord(key))))
    damaged, sound = memory.entries
    path = tmp_path / "a" / damaged.file
    path.write_bytes(path.read_bytes()[:-1])
    assert memory.load(damaged) is None
    assert memory.load(sound) is not None
    assert memory.entries == (sound,)


def test_cases_are_removed_by_key(make_example: MakeExample, tmp_path: Path, vault: Vault) -> None:
    files = ExampleFiles(tmp_path / "a", vault)
    names = {key: files.write(make_example(key))[0] for key in "abc"}
    assert files.remove_cases(["a", "c"]) == 2
    assert [path.name for path in (tmp_path / "a").iterdir()] == [names["b"]]


def test_the_cache_keeps_its_bound_with_what_is_in_memory(make_example: MakeExample, tmp_path: Path, vault: Vault) -> None:
    files = ExampleFiles(tmp_path / "a", vault)
    names = [files.write(make_example(key, seed=ord(key), size=24))[0] for key in "abcdef"]
    sizes = [(tmp_path / "a" / name).stat().st_size for name in names]
    cache = CaseCache(3 * max(sizes))
    for name in names:
        cache.put(name, prepare_case(files.open(name), 2))
    kept = [name for name in names if (cache.get(name)) is not None]
    assert 1 <= len(kept) <= 2, "two and their marks; three would take more than the bound"
    assert kept == names[-len(kept) :]
