"""The whole loop with a key: nothing of it lies in the clear, what is learned is the same to the bit, forgetting works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from taught_node import TASK, TaughtNode

from learner import operations
from learner.errors import ConfigurationError
from learner.export.exporting import _remembered
from learner.memory.files import ExampleFiles
from learner.model.state import TrainerState, load_state
from learner.storage.encryption import apply, folder_states, make_key
from learner.storage.files import unpack
from learner.storage.vault import FOLDERS, MAGIC, Vault

pytestmark = pytest.mark.xdist_group("encrypted-node")
CASES = ((1, 10), (2, 11))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> TaughtNode:
    return taught(tmp_path_factory.mktemp("plain"), None)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> TaughtNode:
    folder = tmp_path_factory.mktemp("encrypted")
    make_key(folder / "key")
    return taught(folder / "data", folder / "key")


def taught(folder: Path, key_file: Path | None) -> TaughtNode:
    node = TaughtNode(folder, key_file=key_file)
    for number, slices in CASES:
        node.teach(number, slices)
    return node


def state(node: TaughtNode) -> TrainerState:
    head = node.store.checkpoints.head("prostate")
    assert head is not None
    return load_state(node.store.checkpoints.read(head))


def files(folder: Path) -> Iterator[Path]:
    return (path for name in FOLDERS for path in (folder / name).rglob("*") if path.is_file())


def lines_of(array: np.ndarray) -> set[bytes]:
    """Rows of an array that are no filling, as bytes."""
    rows = array.reshape(-1, array.shape[-1])
    return {row.tobytes() for row in rows[:: max(1, len(rows) // 40)] if len(np.unique(row)) > 2}


def needles(node: TaughtNode) -> set[bytes]:
    """Pixel rows of the images, rows of everything in the files of arrays, and of the weights."""
    vault, found = node.store.vault, set[bytes]()
    for images in node.images:
        for kind in (np.int16, np.uint16, np.float32):
            found |= lines_of(images.volume.voxels_DHW.astype(kind))
    for path in files(node.folder):
        if path.suffix == ".npz":
            for array in unpack(vault.read(path), path.name).values():
                found |= lines_of(array) if array.ndim and array.dtype.kind in "uif" and array.shape[-1] >= 16 else set()
    for weights in state(node).weights.values():
        found |= lines_of(weights.numpy()) if weights.ndim and weights.shape[-1] >= 16 else set()
        found.add(weights.numpy().tobytes()) if weights.numel() >= 16 and len(weights.unique()) > 2 else None
    return {one for one in found if len(one) >= 16}


def test_nothing_of_images_drawings_and_weights_lies_in_the_clear(plain: TaughtNode, encrypted: TaughtNode) -> None:
    """The same search finds them where there is no key."""
    wanted = needles(encrypted)
    assert len(wanted) > 100
    clear = [path.read_bytes() for path in files(plain.folder)]
    assert sum(any(one in content for content in clear) for one in wanted) > 50
    all_files = [path for path in encrypted.folder.rglob("*") if path.is_file()]
    assert len(all_files) > 6
    for path in all_files:
        content = path.read_bytes()
        assert not [one for one in wanted if one in content], path
    assert all(path.read_bytes().startswith(MAGIC) for path in files(encrypted.folder))
    assert {path.parent.name for path in files(encrypted.folder)} >= {"rounds", "prostate"}


def test_what_is_learned_is_the_same_to_the_bit(plain: TaughtNode, encrypted: TaughtNode) -> None:
    one, other = state(plain), state(encrypted)
    assert one.weights.keys() == other.weights.keys()
    assert all(torch.equal(one.weights[name], other.weights[name]) for name in one.weights)
    assert all(torch.equal(one.average[name], other.average[name]) for name in one.average)
    assert [entry["file"] for entry in one.replay] == [entry["file"] for entry in other.replay]
    for path in files(plain.folder):
        there = encrypted.folder / path.relative_to(plain.folder)
        if path.suffix == ".npz":
            arrays, others = unpack(path.read_bytes(), "a"), unpack(encrypted.store.vault.read(there), "b")
            assert arrays.keys() == others.keys()
            assert all(np.array_equal(arrays[name], others[name]) for name in arrays if arrays[name].ndim > 1)


def test_an_export_reads_encrypted_replay_files(plain: TaughtNode, encrypted: TaughtNode) -> None:
    one, other = (_remembered(state(node), TASK, node.surroundings) for node in (plain, encrypted))
    assert len(one) == len(other) == 2
    for key, read in one.items():
        np.testing.assert_array_equal(read().image_DHW, other[key]().image_DHW)


def test_a_replay_file_is_not_removed_for_want_of_its_key(encrypted: TaughtNode) -> None:
    (folder,) = (encrypted.folder / "replay").iterdir()
    names = sorted(path.name for path in folder.glob("*.npz"))
    assert names
    for without in (ExampleFiles(folder, Vault(encrypted.folder)), ExampleFiles(folder, other_vault(encrypted.folder))):
        with pytest.raises(ConfigurationError, match="encryption_key_file"):
            without.remove_cases(["some case"])
        with pytest.raises(ConfigurationError, match="encryption_key_file"):
            without.open(names[0])
    assert sorted(path.name for path in folder.glob("*.npz")) == names


def other_vault(folder: Path) -> Vault:
    key = folder.parent / "another-key"
    make_key(key)
    return Vault(folder, key)


def test_a_study_is_forgotten_from_encrypted_files(encrypted: TaughtNode) -> None:
    node = encrypted
    study = str(node.images[1].headers[0].StudyInstanceUID)
    numbers = {one.round_id for one in node.store.queries.rounds_of_study(study)}
    replay = {path for path in files(node.folder) if "replay" in path.parts}
    kept = [path for path in files(node.folder) if path.parent.name == "rounds" and int(path.stem) not in numbers]
    before = {path: path.read_bytes() for path in kept}
    assert numbers
    assert before
    node.forgotten.order(study, why="asked", asked_by="Dr. Admin")
    node.work()
    assert node.purge.run_once()
    gone = replay - {path for path in files(node.folder) if "replay" in path.parts}
    assert len(gone) == len(replay) // 2 > 0
    assert not [path for path in files(node.folder) if path.parent.name in {"rounds", "examples"} and int(path.stem) in numbers]
    assert {path: path.read_bytes() for path in before} == before
    operations.retrain(node.store, "prostate")  # from what it remembers, encrypted
    node.work()
    head = node.store.checkpoints.head("prostate")
    assert head is not None
    assert (head.parent, head.from_forgotten) == ("", False)
    assert all(path.read_bytes().startswith(MAGIC) for path in files(node.folder))


def test_a_store_from_before_is_encrypted_and_learns_on(plain: TaughtNode) -> None:
    """The last test of this node: its files are encrypted, and the next case is learned from them."""
    assert sum(one.clear.files for one in folder_states(plain.folder).values()) > 4
    plain.store.close()
    key = plain.folder.parent / "plain-key"
    make_key(key)
    applied = apply(plain.folder, key)
    assert applied.rewritten > 4
    assert all(one.clear.files == 0 for one in folder_states(plain.folder).values())
    node = TaughtNode(plain.folder, key_file=key, archive=plain.archive)
    before = state(node).steps
    node.teach(3, 10)
    assert state(node).steps > before
    assert all(path.read_bytes().startswith(MAGIC) for path in files(node.folder))
    for entry in state(node).replay:
        ExampleFiles(node.folder / "replay" / "prostate", node.store.vault).open(str(entry["file"]))
