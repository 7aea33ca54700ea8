"""A whole data folder is encrypted, and decrypted: killed at any moment, nothing is lost. Backups need the key."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyrage
import pytest

from dicom_io import whole_files
from learner.errors import ConfigurationError, CorruptFile, FolderInUse
from learner.storage import encryption, vault
from learner.storage.backup import make_backup
from learner.storage.encryption import apply, folder_states, make_key
from learner.storage.restore import restore_backup
from learner.storage.store import LocalStore
from learner.storage.sweep import FolderLock
from learner.storage.vault import FOLDERS, MAGIC, RECIPIENTS, Vault, load_keys

NAMES = ("rounds/00000001.npz", "examples/00000001.npz", "checkpoints/m/000001.pt", "replay/m/a.npz", "inbox/files/ab/abc")


class Killed(BaseException):
    """The process is no more."""


def keys(folder: Path, *names: str) -> Path:
    """A file of the keys of these names, each made once."""
    for name in names:
        if not (folder / name).exists():
            make_key(folder / name)
    path = folder / "-".join(("keys", *names))
    path.write_text("".join((folder / name).read_text() for name in names))
    return path


def content(name: str) -> bytes:
    return name.encode() * 3000


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two files in the clear, two of an old key, one of a new key, one half written, and a killed backup's link."""
    folder = tmp_path / "data"
    LocalStore(folder).close()
    old, new = Vault(folder, keys(tmp_path, "old")), Vault(folder, keys(tmp_path, "new"))
    for name, by in zip(NAMES, (Vault(folder), old, new, old, Vault(folder)), strict=True):
        by.write(folder / name, content(name))
    (folder / "rounds" / ".00000002.npz.1.1.part").write_bytes(b"half written")
    (folder / ".backup" / "rounds").mkdir(parents=True)
    (folder / ".backup" / NAMES[0]).hardlink_to(folder / NAMES[0])
    return folder


def assert_readable(data: Path, key_file: Path) -> None:
    by = Vault(data, key_file)
    by.check()
    assert {name: by.read(data / name) for name in NAMES} == {name: content(name) for name in NAMES}


def test_all_is_encrypted_to_the_first_key_and_the_old_one_may_go(data: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    applied = apply(data, keys(tmp_path, "new", "old"), told=lambda done, total: told.append((done, total)))
    assert (applied.rewritten, applied.left, applied.damaged) == (4, 1, [])
    assert told == [(number, 5) for number in range(5)]
    assert_readable(data, keys(tmp_path, "new"))
    assert applied.recipients == Vault(data).recipients() == (Vault(data, tmp_path / "new").recipient,)
    assert all((data / name).read_bytes().startswith(MAGIC) for name in NAMES)
    assert not list(data.rglob("*.part"))
    assert not (data / ".backup").exists()
    again = apply(data, keys(tmp_path, "new"))
    assert (again.rewritten, again.left) == (0, 5)


def test_all_is_decrypted_and_needs_no_key(data: Path, tmp_path: Path) -> None:
    applied = apply(data, keys(tmp_path, "new", "old"), in_the_clear=True)
    assert (applied.rewritten, applied.left, applied.recipients) == (3, 2, ())
    assert not (data / RECIPIENTS).exists()
    Vault(data).check()
    assert {name: (data / name).read_bytes() for name in NAMES} == {name: content(name) for name in NAMES}


@pytest.mark.parametrize("in_the_clear", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_write_everything_is_readable_and_it_goes_on(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_the_clear: bool, after: bool
) -> None:
    both = keys(tmp_path, "new", "old")
    writes, deaths, last = 0, 0, -1

    def dying(path: Path, written: bytes) -> None:
        nonlocal writes
        writes += 1
        if writes == last and not after:
            raise Killed
        whole_files.write_whole(path, written)
        if writes == last:
            raise Killed

    for module in (vault, encryption):
        monkeypatch.setattr(module, "write_whole", dying)
    for last in range(1, 10):
        copy, writes = Path(shutil.copytree(data, tmp_path / f"copy-{last}")), 0
        try:
            apply(copy, both, in_the_clear=in_the_clear)
        except Killed:
            deaths += 1
        assert_readable(copy, both)
        writes = 100
        apply(copy, both, in_the_clear=in_the_clear)
        state = [folder_states(copy)[name] for name in FOLDERS]
        assert sum(one.clear.files if in_the_clear else one.encrypted.files for one in state) == len(NAMES)
        assert_readable(copy, keys(tmp_path, "new"))
    assert deaths == (3 if in_the_clear else 5)  # each file that is rewritten, and the list of recipients where one is left


def test_a_damaged_file_is_named_and_left_and_its_key_stays_needed(data: Path, tmp_path: Path) -> None:
    damaged = data / NAMES[1]
    damaged.write_bytes(damaged.read_bytes()[:-1])
    before, recipients = damaged.read_bytes(), Vault(data).recipients()
    applied = apply(data, keys(tmp_path, "new", "old"))
    assert (applied.damaged, applied.rewritten, applied.left) == ([NAMES[1]], 3, 1)
    assert damaged.read_bytes() == before
    assert applied.recipients == Vault(data).recipients() == recipients


@pytest.mark.parametrize("role", ["node", "trainer", "backup"])
def test_nothing_is_done_while_somebody_works_on_the_folder(data: Path, tmp_path: Path, role: Any) -> None:
    before = {name: (data / name).read_bytes() for name in NAMES}
    lock = FolderLock(data, role)
    with pytest.raises(FolderInUse, match=f"in use by a {role}; stop the node"):
        apply(data, keys(tmp_path, "new", "old"))
    lock.release()
    assert {name: (data / name).read_bytes() for name in NAMES} == before


def test_nothing_is_done_without_all_keys(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not set"):
        apply(data, None)
    for key_file in (None, keys(tmp_path, "new")):
        with pytest.raises(ConfigurationError, match=Vault(data, tmp_path / "old").recipient):
            apply(data, key_file, in_the_clear=True)
    assert_readable(data, keys(tmp_path, "new", "old"))


def test_a_new_key_is_as_age_keygen_writes_it(tmp_path: Path) -> None:
    recipient = make_key(tmp_path / "key")
    created, public, secret = (tmp_path / "key").read_text().splitlines()
    assert created.startswith("# created: 2")
    assert public == f"# public key: {recipient}"
    assert str(pyrage.x25519.Identity.from_str(secret).to_public()) == recipient
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    with pytest.raises(ConfigurationError, match="exists"):
        make_key(tmp_path / "key")
    assert len(load_keys(tmp_path / "key")) == 1


def test_a_node_and_a_trainer_begin_with_all_keys_or_remove_nothing(data: Path, tmp_path: Path) -> None:
    files = {path: path.read_bytes() for path in data.rglob("*.npz")}
    for key_file in (None, keys(tmp_path, "old")):
        for take in ("take", "take_training"):
            store = LocalStore(data, key_file=key_file)
            with pytest.raises(ConfigurationError, match="encryption_key_file"):
                getattr(store, take)()
            store.close()
    assert {path: path.read_bytes() for path in data.rglob("*.npz")} == files
    store = LocalStore(data, key_file=keys(tmp_path, "new", "old"))
    assert store.take() == 3, "what the database does not name is swept, as ever"
    store.close()


def test_a_backup_is_restored_with_its_key_and_refused_without(data: Path, tmp_path: Path) -> None:
    both = keys(tmp_path, "new", "old")
    apply(data, both)
    file, manifest = make_backup(data, tmp_path / "backup.tar")
    assert RECIPIENTS in manifest.files
    secrets = [str(key).encode() for key in load_keys(both)]
    assert not any(secret in file.read_bytes() or content(NAMES[3])[:50] in file.read_bytes() for secret in secrets)
    restore_backup(file, tmp_path / "restored")
    for key_file in (None, tmp_path / "old"):
        store = LocalStore(tmp_path / "restored", key_file=key_file)
        with pytest.raises(ConfigurationError, match=Vault(data, both).recipient):
            store.take()
        store.close()
    assert_readable(tmp_path / "restored", tmp_path / "new")


def test_damage_of_records_and_versions_is_told_as_ever(data: Path, tmp_path: Path) -> None:
    """With the right key, what does not open is damaged: by the ways in which the store reads it."""
    store = LocalStore(data, key_file=keys(tmp_path, "new", "old"))
    checkpoint = store.checkpoints.add("liver", b"weights", round_id=1, steps=1, facts={})
    assert store.checkpoints.read(checkpoint) == b"weights"
    path = data / checkpoint.path
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(CorruptFile):
        store.checkpoints.read(checkpoint)
    damaged = data / NAMES[0]
    store.vault.write(damaged, b"no archive of arrays")
    for read in (store.files.get_record, store.files.get_evidence, store.files.get_pictures):
        with pytest.raises(CorruptFile):
            read(1)
    store.close()
