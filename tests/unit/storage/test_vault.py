"""Files at rest: what is written comes back, nothing of it lies on disk, and a missing key is never taken for damage."""

from __future__ import annotations

import io
import stat
import threading
from contextlib import closing
from pathlib import Path

import pyrage
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from slices import make_slices, uids

from dicom_io.errors import PacsRefused
from dicom_io.pacs.inbox import Inbox
from learner.errors import ConfigurationError, CorruptFile
from learner.storage.encryption import make_key
from learner.storage.vault import MAGIC, RECIPIENTS, Vault, load_keys

CLEAR = b"PK\x03\x04 voxels of somebody" * 10


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def other_key(tmp_path: Path) -> Path:
    make_key(tmp_path / "other-key")
    return tmp_path / "other-key"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_what_is_written_comes_back_and_is_not_on_disk(data: Path, key: Path) -> None:
    vault, path = Vault(data, key), data / "rounds" / "1.npz"
    vault.write(path, CLEAR)
    on_disk = path.read_bytes()
    assert on_disk.startswith(MAGIC)
    assert b"voxels" not in on_disk
    assert Vault(data, key).read(path) == CLEAR
    with vault.open(path) as file:
        assert isinstance(file, io.BytesIO)
        assert file.read() == CLEAR
    assert stat.S_IMODE((data / RECIPIENTS).stat().st_mode) == 0o600
    assert vault.recipients() == (vault.recipient,)
    assert pyrage.decrypt(on_disk, list(load_keys(key))) == CLEAR


def test_a_recipient_is_recorded_before_its_first_file(data: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr("learner.storage.vault.write_whole", lambda path, _: (written.append(path.name), path.touch()))
    vault = Vault(data, key)
    for name in "ab":
        vault.write(data / name, CLEAR)
    assert written == [RECIPIENTS, "a", "b"]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Vault:
    folder = tmp_path_factory.mktemp("kept")
    make_key(folder / "key")
    return Vault(folder, folder / "key")


@settings(max_examples=30, deadline=None)
@given(content=st.binary(max_size=300).filter(lambda content: not content.startswith(MAGIC)))
def test_any_content_comes_back(kept: Vault, content: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "content"
    kept.write(path, content)
    assert kept.read(path) == content


def test_without_a_key_files_are_as_they_are(data: Path) -> None:
    vault = Vault(data)
    vault.write(data / "a", CLEAR)
    assert (data / "a").read_bytes() == vault.read(data / "a") == CLEAR
    with vault.open(data / "a") as file:
        assert isinstance(file, io.BufferedReader)
    vault.check()
    assert not (data / RECIPIENTS).exists()


def test_files_from_before_the_key_are_read_on(data: Path, key: Path) -> None:
    Vault(data).write(data / "a", CLEAR)
    vault = Vault(data, key)
    vault.check()
    assert vault.read(data / "a") == CLEAR
    with vault.open(data / "a") as file:
        assert file.read() == CLEAR


@pytest.mark.parametrize("has_key", [True, False])
def test_what_looks_encrypted_already_is_not_written(data: Path, key: Path, has_key: bool) -> None:
    vault = Vault(data, key if has_key else None)
    with pytest.raises(ValueError, match="begins with the line"):
        vault.write(data / "a", MAGIC + b"voxels")
    assert not (data / "a").exists()


def test_a_missing_key_stops_the_node_and_is_no_damage(data: Path, key: Path, other_key: Path) -> None:
    first = Vault(data, key)
    first.write(data / "a", CLEAR)
    for vault, told in ((Vault(data), "is not set|set node.encryption_key_file"), (Vault(data, other_key), "lacks the key of")):
        with pytest.raises(ConfigurationError, match=told) as refused:
            vault.check()
        assert first.recipient in str(refused.value)
        for read in (vault.read, vault.open):
            with pytest.raises(ConfigurationError):
                read(data / "a")
    assert first.read(data / "a") == CLEAR


def test_a_lost_list_of_recipients_is_no_damage_either(data: Path, key: Path, other_key: Path) -> None:
    Vault(data, key).write(data / "a", CLEAR)
    (data / RECIPIENTS).unlink()
    with pytest.raises(ConfigurationError, match=RECIPIENTS):
        Vault(data, other_key).read(data / "a")
    assert Vault(data, key).read(data / "a") == CLEAR


@pytest.mark.parametrize("damage", ["cut", "changed", "header", "appended"])
def test_a_damaged_file_is_damaged(data: Path, key: Path, damage: str) -> None:
    vault, path = Vault(data, key), data / "a"
    vault.write(path, CLEAR)
    content = bytearray(path.read_bytes())
    if damage == "cut":
        del content[-3:]
    elif damage == "changed":
        content[-20] ^= 1
    elif damage == "header":
        content[40] ^= 1
    else:
        content += b"more"
    path.write_bytes(content)
    for read in (vault.read, vault.open):
        with pytest.raises(CorruptFile, match="a is encrypted, and damaged"):
            read(path)


def test_a_key_in_front_encrypts_and_the_one_behind_still_opens(data: Path, key: Path, other_key: Path) -> None:
    old = Vault(data, key)
    old.write(data / "a", CLEAR)
    both = key.with_name("both")
    both.write_text(other_key.read_text() + key.read_text())
    rotated = Vault(data, both)
    rotated.check()
    rotated.write(data / "b", CLEAR)
    assert rotated.read(data / "a") == rotated.read(data / "b") == CLEAR
    assert rotated.recipients() == (old.recipient, rotated.recipient)
    assert rotated.is_current((data / "b").read_bytes())
    assert not rotated.is_current((data / "a").read_bytes())
    with pytest.raises(ConfigurationError, match=rotated.recipient):
        old.read(data / "b")
    key.write_text(both.read_text())  # what a running node meets whose trainer began with the new key
    assert old.read(data / "b") == CLEAR


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read"),
        (b"", "holds no key"),
        (b"# nothing\n", "holds no key"),
        (b"\xff\xfe", "no file of keys"),
        (b"# a\nAGE-SECRET-KEY-1SECRET\n", "line 2 of .* is no key"),
    ],
)
def test_a_bad_file_of_keys_is_named_and_never_shown(data: Path, tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "keys"
    if content is not None:
        path.write_bytes(content)
    for do in (Vault(data, path).check, lambda: Vault(data, path).write(data / "a", CLEAR)):
        with pytest.raises(ConfigurationError, match=told) as refused:
            do()
        assert str(path) in str(refused.value)
        assert "1SECRET" not in str(refused.value)
    assert not (data / "a").exists()


def test_many_threads_with_several_keys_record_each_before_its_files(data: Path, tmp_path: Path) -> None:
    vaults = []
    for number in range(4):
        make_key(tmp_path / f"key-{number}")
        vaults.append(Vault(data, tmp_path / f"key-{number}"))
    begin = threading.Barrier(len(vaults))

    def write(number: int) -> None:
        begin.wait()
        vaults[number].write(data / f"{number}", CLEAR)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(vaults))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(vaults[0].recipients()) == {vault.recipient for vault in vaults}


def test_the_inbox_keeps_what_comes_encrypted(tmp_path: Path, key: Path) -> None:
    files, folder = make_slices(3), tmp_path / "inbox"
    vault = Vault(tmp_path, key)
    with closing(Inbox(folder, files=vault)) as inbox:
        for file in files:
            inbox.store(file)
        uid = uids(files[0])[1]
        assert sorted(inbox.fetch_series(inbox.find_series(uid))) == sorted(files)
    on_disk = list(folder.glob("files/*/*"))
    assert len(on_disk) == 3
    pixels = dcmread(io.BytesIO(files[0])).PixelData
    assert all(path.read_bytes().startswith(MAGIC) and pixels[:64] not in path.read_bytes() for path in on_disk)
    for path in folder.glob("index.sqlite*"):
        path.unlink()
    on_disk[0].write_bytes(on_disk[0].read_bytes()[:-9])  # its line was never committed: its sender sends it again
    with closing(Inbox(folder, files=vault)) as inbox:
        found = inbox.find_series(uid)
        assert len(inbox.fetch_series(found)) == 2
        assert found.patient_id == dcmread(io.BytesIO(files[0])).PatientID != ""
        for file in files:
            inbox.store(file)
        assert sorted(inbox.fetch_series(inbox.find_series(uid))) == sorted(files)
        with pytest.raises(PacsRefused, match="preamble"):
            inbox.store(MAGIC.ljust(128, b"\0") + make_slices(1)[0][128:])


def test_a_damaged_file_of_the_inbox_stops_no_feed(tmp_path: Path, key: Path) -> None:
    files, vault = make_slices(1), Vault(tmp_path, key)
    with closing(Inbox(tmp_path / "inbox", files=vault)) as inbox:
        inbox.store(files[0])
        (path,) = tmp_path.glob("inbox/files/*/*")
        path.write_bytes(path.read_bytes()[:-9])
        (series,) = inbox.page(0).touched
        assert series.patient_id == ""
        with pytest.raises(CorruptFile):
            inbox.fetch_series(series)
