"""What installs the node on a machine: the bundle's guard, the archive's configuration, the unit, the scripts."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from learner.settings import load_settings
from orthanc_plugin.options import read_options

ROOT = Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
UNIT = PACKAGING / "pacs-apprentice.service"
_EXPOSURE = 20
"""Highest exposure that systemd may see in the unit, in tenths: 0 to 100."""


def sh(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", *command], capture_output=True, text=True, check=False, env={**os.environ, **environment})


def packed(bundle: Path) -> None:
    """Writes the hashes, as ``bundle.sh`` does."""
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{path.relative_to(bundle)}\n" for path in files]
    (bundle / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A bundle for this very machine, whose inner installation only tells how it was called."""
    folder = tmp_path / "bundle"
    (folder / "project" / "packaging").mkdir(parents=True)
    (folder / "wheels").mkdir()
    (folder / "wheels" / "a name.whl").write_bytes(b"wheel")
    (folder / "project" / "packaging" / "install.sh").write_text('echo "torch $TORCH:" "$@"\n')
    shutil.copy(PACKAGING / "bundle-install.sh", folder / "install.sh")
    release = re.search(r"^VERSION_CODENAME=(\w+)", Path("/etc/os-release").read_text("utf-8"), re.MULTILINE)
    assert release
    architecture = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True).stdout.strip()
    (folder / "VERSION").write_text(f"version=1\ndebian={release[1]}\narchitecture={architecture}\ntorch=cpu\n")
    packed(folder)
    return folder


def test_a_whole_bundle_installs_from_itself(bundle: Path) -> None:
    done = sh(bundle / "install.sh", "--no-start")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"torch cpu: --bundle {bundle} --no-start\n"


def test_a_damaged_bundle_installs_nothing_and_names_the_file(bundle: Path) -> None:
    (bundle / "wheels" / "a name.whl").write_bytes(b"other")
    done = sh(bundle / "install.sh")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "./wheels/a name.whl: FAILED" in done.stderr


@pytest.mark.parametrize("change", ["missing", "extra"])
def test_files_too_few_or_too_many_install_nothing(bundle: Path, change: str) -> None:
    if change == "missing":
        (bundle / "wheels" / "a name.whl").unlink()
    else:
        (bundle / "wheels" / "torch-99.whl").write_bytes(b"")
    done = sh(bundle / "install.sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing was installed" in done.stderr


@pytest.mark.parametrize(("key", "named"), [("debian", "for Debian sid"), ("architecture", "for sid")])
def test_another_debian_is_refused_but_may_remove(bundle: Path, key: str, named: str) -> None:
    text = re.sub(rf"^{key}=.*$", f"{key}=sid", (bundle / "VERSION").read_text(), flags=re.MULTILINE)
    (bundle / "VERSION").write_text(text)
    packed(bundle)
    done = sh(bundle / "install.sh")
    assert (done.returncode, done.stdout) == (1, "")
    assert named in done.stderr
    assert "--uninstall" in sh(bundle / "install.sh", "--uninstall").stdout


def test_licences_are_those_that_the_parts_say(tmp_path: Path) -> None:
    for folder in ("wheels", "debian", "package/DEBIAN"):
        (tmp_path / folder).mkdir(parents=True)
    for name, said in {
        "one": "License-Expression: MIT",
        "two": "Classifier: License :: OSI Approved :: BSD License",
        "three": "",
    }.items():
        with zipfile.ZipFile(tmp_path / "wheels" / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
            head = f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n"
            wheel.writestr(f"{name}-1.0.dist-info/METADATA", f"{head}{said}\n\nwords")
    control = "Package: lib-x\nSource: x (3)\nVersion: 2\nArchitecture: all\nMaintainer: M <m@example.org>\nDescription: x\n"
    (tmp_path / "package" / "DEBIAN" / "control").write_text(control)
    target = tmp_path / "debian" / "lib-x.deb"
    subprocess.run(["dpkg-deb", "--build", tmp_path / "package", target], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, ROOT / "supply" / "bundle_licences.py", tmp_path], capture_output=True, text=True, check=True
    )
    for row in ("| one | 1.0 | MIT |", "| two | 1.0 | BSD License |", "| lib-x | 2 | x 3 |"):
        assert row in done.stdout.splitlines()
    assert "| three | 1.0 | see the files" in done.stdout


def test_the_archive_is_configured_in_three_files_that_stay(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("a-word\n")
    arguments = [ROOT / "config" / "orthanc.json", tmp_path, password, "/etc/pacs-apprentice/plugin-token"]
    subprocess.run([sys.executable, PACKAGING / "orthanc_configuration.py", *arguments], check=True)
    files = {name: json.loads((tmp_path / f"{name}.json").read_text()) for name in ("archive", "users", "plugin")}
    keys = [key for content in files.values() for key in content]
    assert sorted(keys) == sorted(json.loads((ROOT / "config" / "orthanc.json").read_text()))
    assert len(set(keys)) == len(keys), "Orthanc refuses a key that two files have"
    assert files["users"] == {"RegisteredUsers": {"apprentice": "a-word"}}
    assert (tmp_path / "users.json").stat().st_mode & 0o007 == 0
    assert read_options(json.dumps(files["plugin"]), {}).TokenFile == "/etc/pacs-apprentice/plugin-token"
    (tmp_path / "archive.json").write_text('{"DicomAet": "SITE"}')
    subprocess.run([sys.executable, PACKAGING / "orthanc_configuration.py", *arguments], check=True)
    assert (tmp_path / "archive.json").read_text() == '{"DicomAet": "SITE"}'


def test_settings_unit_and_archive_agree() -> None:
    settings = load_settings(PACKAGING / "apprentice.toml")
    orthanc = json.loads((ROOT / "config" / "orthanc.json").read_text("utf-8"))
    unit = UNIT.read_text("utf-8")
    assert settings.pacs.url == f"http://127.0.0.1:{orthanc['HttpPort']}"
    assert orthanc["Apprentice"]["LearnerUrl"] == settings.api.address
    assert settings.pacs.password_file == PACKAGING / "orthanc-password"
    assert settings.api.token_file is not None
    for secret in (settings.pacs.password_file.name, settings.api.token_file.name):
        assert f"LoadCredential={secret}:/etc/pacs-apprentice/{secret}\n" in unit
    assert f"StateDirectory={settings.node.data.relative_to('/var/lib')}\n" in unit
    script = (PACKAGING / "install.sh").read_text("utf-8")
    for said in (settings.node.data, Path(orthanc["PythonScript"]).parents[1], orthanc["StorageDirectory"]):
        assert str(said) in script


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd absent")
    path = tmp_path / UNIT.name
    text = UNIT.read_text("utf-8")
    assert text.count("ExecStart=/opt/pacs-apprentice/current/venv/bin/apprentice serve") == 1
    path.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    return path


def test_systemd_takes_the_unit(unit: Path) -> None:
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_sees_little_exposed(unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", f"--threshold={_EXPOSURE}", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_wrong_options_change_nothing() -> None:
    assert "--bundle FOLDER" in sh(PACKAGING / "install.sh", "--help").stdout
    for wrong in (["--everything"], ["--purge"]):
        done = sh(PACKAGING / "install.sh", *wrong)
        assert done.returncode == 1
        assert wrong[0] in done.stderr


def test_torch_is_asked_for_by_its_pinned_build() -> None:
    script = f'source={ROOT}; . {PACKAGING / "torch.sh"}; echo "$torch $index"'
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned
    done = {torch: sh("-c", script, TORCH=torch, TORCH_INDEX="https://mirror.example") for torch in ("cpu", "cuda", "rocm")}
    assert done["cpu"].stdout == f"torch=={pinned[1]}+cpu https://mirror.example\n"
    assert done["cuda"].stdout == f"torch=={pinned[1]} \n"
    assert done["rocm"].returncode == 2
