"""``apprentice simulate``, ``demo`` and ``lint``."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from learner.demo import play
from learner.demo.report import DemoOptions
from learner.errors import ConfigurationError

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Three cases of a bright ball."""
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    grid = np.stack(np.meshgrid(*[np.arange(16.0)] * 3, indexing="ij"))
    for number in range(3):
        ball = np.sqrt(((grid - 7.5 - number / 4) ** 2).sum(axis=0)) < 5
        noise = np.random.default_rng(number).normal(size=ball.shape)
        for folder, voxels in (("images", ball * 100 + noise * 5), ("labels", ball)):
            image = nib.Nifti1Image(voxels.astype(np.int16), np.eye(4))
            nib.save(image, tmp_path / folder / f"case{number}.nii.gz")
    return tmp_path


def arguments(folders: Path, **changes: object) -> list[object]:
    options = {"images": folders / "images", "labels": folders / "labels", "stream": 2, "test": 1, "slices": 4}
    options |= {"axis": 2, "seed": 3, "out": folders / "out" / "figures.json", "steps": 1, "threads": 1} | changes
    return ["simulate", *(part for name, value in options.items() for part in (f"--{name}", value))]


def test_a_simulation_writes_its_stable_form(run: Run, folders: Path) -> None:
    code, out, _ = run(*arguments(folders))
    assert code == 0
    report = json.loads((folders / "out" / "figures.json").read_text(encoding="utf-8"))
    assert set(report) == {"cases", "network_test", "settings", "summary", "stages"}
    assert [case["case"] for case in report["cases"]] == ["case0", "case1"]
    for case in report["cases"]:
        assert case["drawn_slices"] == 4
        assert case["object_slices"] == 10
        assert case["answer_dice"]["1"] > 0.8
    assert report["cases"][0]["network_dice_before"] is None
    assert set(report["network_test"]["dice"]) == {"1"}
    assert (report["settings"]["seed"], report["settings"]["axis"]) == (3, 2)
    with (folders / "out" / "figures.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["answer_dice_1"] for row in rows] == [str(case["answer_dice"]["1"]) for case in report["cases"]]
    assert "figures.json" in out


def test_a_run_in_a_folder_is_kept_and_plotted(run: Run, folders: Path) -> None:
    runs = folders / "runs"
    options = arguments(folders, folder=runs, mode="full", reader="jitter", order="shuffle")
    assert run(*options, "--plot")[0] == 0
    (cases,) = runs.glob("*/cases.jsonl")
    written = cases.stat().st_mtime_ns
    assert (folders / "out" / "figures-learning.png").stat().st_size > 1000
    assert run(*options)[0] == 0
    assert cases.stat().st_mtime_ns == written
    assert run(*options, "--no-resume")[0] == 0
    assert cases.stat().st_mtime_ns != written


def test_several_tasks_come_from_a_file(run: Run, folders: Path) -> None:
    file = folders / "tasks.toml"
    one = '[[task]]\nname = "{}"\nimages = "images"\nlabels = "labels"\ntest = 1\nslices = 3\n'
    file.write_text(one.format("a") + one.format("b"), encoding="utf-8")
    out = folders / "out" / "two.json"
    assert run("simulate", "--tasks", file, "--order", "tasks", "--mode", "answers-only", "--out", out)[0] == 0
    cases = json.loads(out.read_text(encoding="utf-8"))["cases"]
    assert [case["task"] for case in cases] == ["a", "a", "b", "b"]
    with pytest.raises(ConfigurationError, match="name either"):
        run("simulate", "--out", out)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stream": 3}, "holds 3 cases"),
        ({"propagator": "magic"}, "no propagator is called 'magic'"),
        ({"out": "/proc/x.json"}, "--out"),
    ],
)
def test_what_cannot_be_simulated_is_said_first(run: Run, folders: Path, changes: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        run(*arguments(folders, **changes))


@pytest.mark.parametrize("changes", [{"images": "/nowhere"}, {"stream": 0}, {"axis": 3}, {"slices": "many"}])
def test_wrong_options_are_code_2(run: Run, folders: Path, changes: dict[str, object]) -> None:
    assert run(*arguments(folders, **changes))[0] == 2


def test_the_demo_is_played_as_asked(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[DemoOptions] = []
    monkeypatch.setattr(play, "run_demo", played.append)
    code, _, _ = run(
        "demo", "--once", "--json", tmp_path / "f.json", "--data", tmp_path, "--work", tmp_path / "w", "--rounds", 2
    )
    assert code == 0
    assert played == [DemoOptions(once=True, json=tmp_path / "f.json", data=tmp_path, folder=tmp_path / "w", rounds=2)]
    run("demo")
    assert played[1] == DemoOptions()
