"""``apprentice encryption``: a key is made, the state is told, a folder is encrypted and decrypted, nothing beside a node."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from test_cli_process import one_line
from test_cli_process import run as run_process

from learner.doctor import Level, examine
from learner.errors import ConfigurationError, FolderInUse
from learner.storage.store import LocalStore
from learner.storage.sweep import FolderLock
from learner.storage.vault import Vault

Run = Callable[..., tuple[int, str, str]]
RECORD = "rounds/00000001.npz"


@pytest.fixture
def data(store: LocalStore) -> Path:
    store.close()
    Vault(store.folder).write(store.folder / RECORD, b"voxels" * 100)
    return store.folder


@pytest.fixture
def with_key(configuration: Path, data: Path, run: Run) -> Path:
    """The settings, with a key."""
    code, recipient, told = run("encryption", "make-key", configuration.with_name("key"))
    assert (code, recipient.startswith("age1")) == (0, True)
    assert "keep a copy of it apart" in told
    text = configuration.read_text(encoding="utf-8")
    configuration.write_text(text.replace("[node]\n", '[node]\nencryption_key_file = "key"\n'), encoding="utf-8")
    return configuration


def findings(configuration: Path) -> list[tuple[Level, str]]:
    return [(one.level, one.what) for one in examine(configuration, only=["encryption"])]


def test_a_folder_is_encrypted_and_decrypted(with_key: Path, data: Path, run: Run) -> None:
    code, told, _ = run("encryption", "status", "-c", with_key)
    assert code == 0
    assert re.search(r"rounds +1 files, 0\.0 MiB +- *\n", told)
    assert "files are written encrypted to age1" in told
    assert findings(with_key) == [(Level.WARNING, "1 files are in the clear")]
    code, told, _ = run("encryption", "apply", "-c", with_key)
    assert (code, told) == (0, "1 files encrypted; 0 were so already\n")
    found = json.loads(run("encryption", "status", "--json", "-c", with_key)[1])
    assert found["folders"]["rounds"]["encrypted"]["files"] == 1
    assert found["recipients"] == [found["writes_to"]]
    assert findings(with_key) == [(Level.OK, f"files are encrypted to {found['writes_to']}")]
    code, told, _ = run("encryption", "apply", "--json", "-c", with_key)
    assert (code, json.loads(told)) == (0, {"rewritten": 0, "left": 1, "damaged": [], "recipients": found["recipients"]})
    code, told, _ = run("encryption", "apply", "--in-the-clear", "-c", with_key)
    assert code == 0
    assert told.startswith("1 files decrypted; 0 were so already\nunset node.encryption_key_file")
    assert (data / RECORD).read_bytes() == b"voxels" * 100


def test_a_damaged_file_is_named_and_ends_it_with_1(with_key: Path, data: Path, run: Run) -> None:
    assert run("encryption", "apply", "-c", with_key)[0] == 0
    (data / RECORD).write_bytes((data / RECORD).read_bytes()[:-1])
    code, told, complaint = run("encryption", "apply", "--json", "-c", with_key)
    assert code == 1
    assert json.loads(told)["damaged"] == [RECORD]
    assert complaint == f"apprentice: {RECORD} is encrypted, and damaged; it is left as it is\n"


def test_nothing_is_done_beside_a_node(with_key: Path, data: Path, run: Run) -> None:
    lock = FolderLock(data)
    with pytest.raises(FolderInUse, match="is in use by a node; stop the node"):
        run("encryption", "apply", "-c", with_key)
    lock.release()
    assert (data / RECORD).read_bytes() == b"voxels" * 100
    assert run("encryption", "status", "-c", with_key)[0] == 0


def test_a_node_without_its_key_does_not_start_and_says_which(with_key: Path, data: Path, run: Run) -> None:
    run("encryption", "apply", "-c", with_key)
    before = (data / RECORD).read_bytes()
    key = with_key.with_name("key")
    key.rename(with_key.with_name("kept-apart"))
    run("encryption", "make-key", key)
    told = one_line(run_process("serve", "-c", with_key))
    assert f"{key} lacks the key of {Vault(data).recipients()[0]}" in told
    assert (data / RECORD).read_bytes() == before


def test_status_needs_no_key(with_key: Path, run: Run) -> None:
    """Where systemd keeps it, commands outside of the service have none."""
    run("encryption", "apply", "-c", with_key)
    with_key.with_name("key").unlink()
    code, told, fault = run("encryption", "status", "-c", with_key)
    assert (code, "1 files" in told, "cannot be read" in fault) == (0, True, True)
    found = json.loads(run("encryption", "status", "--json", "-c", with_key)[1])
    assert found["folders"]["rounds"]["encrypted"]["files"] == 1
    assert (found["writes_to"], len(found["recipients"]), "cannot be read" in found["key_fault"]) == (None, 1, True)


def test_a_key_that_exists_is_left(with_key: Path, run: Run) -> None:
    before = with_key.with_name("key").read_bytes()
    with pytest.raises(ConfigurationError, match="exists, and is left"):
        run("encryption", "make-key", with_key.with_name("key"))
    assert with_key.with_name("key").read_bytes() == before
    code, told, _ = run("encryption", "make-key", with_key.with_name("other"), "--json")
    assert (code, json.loads(told)["path"]) == (0, str(with_key.with_name("other")))


def test_the_doctor_finds_a_key_that_is_missing_open_or_in_the_folder(with_key: Path, data: Path, run: Run) -> None:
    run("encryption", "apply", "-c", with_key)
    key = with_key.with_name("key")
    key.chmod(0o640)
    (found,) = (one for one in examine(with_key, only=["secrets"]) if one.what.startswith("node.encryption_key_file"))
    assert (found.level, found.remedy) == (Level.WARNING, f"chmod 600 {key}")
    key.rename(data / "key")
    ((level, what),) = findings(with_key)
    assert (level, "cannot be read" in what) == (Level.ERROR, True)
    settings = with_key.read_text(encoding="utf-8")
    with_key.write_text(settings.replace('"key"', '"data/key"'), encoding="utf-8")
    assert [level for level, _ in findings(with_key)] == [Level.WARNING, Level.OK]
    with_key.write_text(settings.replace('encryption_key_file = "key"\n', ""), encoding="utf-8")
    ((level, what),) = findings(with_key)
    assert (level, "holds files that are encrypted to age1" in what) == (Level.ERROR, True)
