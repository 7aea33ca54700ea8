"""``apprentice backup`` and ``restore``: what they print, and one line where something is in the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_cli_process import one_line
from test_cli_process import run as run_process

from learner.storage.database import SCHEMA_VERSION
from learner.storage.store import LocalStore

COMMAND = [sys.executable, "-m", "learner"]
pytestmark = pytest.mark.usefixtures("store")


def test_a_backup_is_made_checked_and_restored(configuration: Path, tmp_path: Path) -> None:
    safe = tmp_path / "safe"
    safe.mkdir()
    made = run_process("backup", safe, "-c", configuration)
    (file,) = safe.iterdir()
    assert made.returncode == 0, made.stderr
    assert made.stdout.startswith(f"{file} written; ")
    checked = run_process("backup", "--verify", file)
    assert checked.stdout.startswith(f"{file} is whole: every file is as it was written; ")
    found = json.loads(run_process("restore", file, "--data", tmp_path / "restored", "--json").stdout)
    assert (found["path"], found["schema"]) == (str(tmp_path / "restored"), SCHEMA_VERSION)
    assert LocalStore(tmp_path / "restored").records.find_round(1).state == "answered"
    settings = tmp_path / "other.toml"
    settings.write_text('[node]\ndata = "from-settings"\n', encoding="utf-8")
    assert run_process("restore", file, "-c", settings).returncode == 0
    assert LocalStore(tmp_path / "from-settings").records.find_round(2).reason == "nothing is drawn in it [yet]"
    assert "is not empty" in one_line(run_process("restore", file, "-c", settings))


def test_what_is_no_backup_is_one_line(configuration: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.tar"
    wrong.write_bytes(b"no archive")
    assert "damaged or no backup" in one_line(run_process("backup", "--verify", wrong))
    assert "damaged or no backup" in one_line(run_process("restore", wrong, "--data", tmp_path / "restored"))
    configuration.write_text('[node]\ndata = "elsewhere"\n', encoding="utf-8")
    assert "holds no node's store yet" in one_line(run_process("backup", tmp_path / "b.tar", "-c", configuration))
    assert not (tmp_path / "elsewhere").exists()


def test_a_backup_that_is_stopped_leaves_nothing(configuration: Path, tmp_path: Path) -> None:
    """It waits for a writer when SIGTERM comes."""
    with (
        LocalStore(tmp_path / "data").transaction(),
        subprocess.Popen([*COMMAND, "backup", str(tmp_path / "b.tar"), "-c", str(configuration)]) as process,
    ):
        try:
            while not (tmp_path / "data" / ".backup").exists():
                assert process.poll() is None
            process.send_signal(signal.SIGTERM)
        finally:
            code = process.wait(60)
    assert code == 128 + signal.SIGTERM
    assert not (tmp_path / "data" / ".backup").exists()
    assert not list(tmp_path.glob("b.tar*"))
