"""Two demos do not share a folder: the second would wipe what the first one's node lives on."""

from __future__ import annotations

from pathlib import Path

import pytest

from learner.demo.errors import DemoError
from learner.demo.node import _prepare


def test_a_folder_is_one_demos_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    first = _prepare(folder, keep=False)
    (folder / "data").mkdir()
    with pytest.raises(DemoError, match="still runs"):
        _prepare(folder, keep=False)
    assert (folder / "data").is_dir()
    first.release()
    _prepare(folder, keep=False).release()
    assert not (folder / "data").exists()


def test_a_folder_with_other_things_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("three years")
    with pytest.raises(DemoError, match="holds other things"):
        _prepare(tmp_path, keep=False)
    assert (tmp_path / "thesis.txt").read_text() == "three years"
