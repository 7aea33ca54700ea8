"""The studies of the project on generated cases: that their tables can be made, and say what their runs say."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from learners import Bench

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
NAMES = {"hippocampus": "blob{0}", "promise12": "case{0:02d}", "acdc": "patient{1:03d}_frame{2}"}
Play = Callable[..., Any]
SITES = ("RUNMC", "UCL", "BIDMC")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, blob: Callable[[int], tuple[np.ndarray, np.ndarray]]) -> Path:
    """Three data sets of six cases each, named as the real ones are."""
    root = tmp_path_factory.mktemp("sets")
    for name, pattern in NAMES.items():
        for number in range(6):
            image, labels = blob(number)
            labels = (labels > 0).astype(np.uint8) if name == "promise12" else labels
            for folder, voxels in (("images", image), ("labels", labels)):
                file = root / name / folder / f"{pattern.format(number, number // 2, number % 2)}.nii.gz"
                file.parent.mkdir(parents=True, exist_ok=True)
                nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0])), file)
    rows = "".join(f"{number:02d},{SITES[number % 3]}\n" for number in range(6))
    (root / "promise12" / "cases.csv").write_text(f"case,site\n{rows}")
    return root


@pytest.fixture
def science(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Path) -> Play:
    """Plays a study and reads its table."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import science  # noqa: PLC0415 - a script
    from study import engine, table  # noqa: PLC0415 - the same

    monkeypatch.setattr(engine, "evaluation_makers", lambda: Bench().makers)
    monkeypatch.setattr(science, "HERE", tmp_path)

    def play(study: str, *arguments: str) -> table.Table:
        places = ["--data", str(data), "--runs", str(tmp_path / "runs"), "--results", str(tmp_path / "results")]
        monkeypatch.setattr(sys, "argv", ["science.py", study, *places, "--cases", "2", "--tests", "2", *arguments])
        science.main()
        return table.read_table(tmp_path / "results" / f"{study}.json")

    return play


def test_online_against_offline(science: Play, tmp_path: Path) -> None:
    table = science("hippocampus", "--seeds", "2", "--steps", "3")
    assert [row[0] for row in table.rows] == ["sparse", "full", "offline", "converged"]
    assert "+-" in table.rows[0][2]
    assert [figure.met for figure in table.figures][2] is True
    assert table.figures[3].value.endswith(("%", "seeds"))
    assert table.command == "./run bench science hippocampus --seeds 2 --steps 3 --cases 2 --tests 2"
    assert len(list((tmp_path / "runs").glob("*/finished.json"))) == 7, "one seed of the converged run"


def test_records_of_runs_stand_in_for_them_on_another_machine(science: Play, tmp_path: Path) -> None:
    arguments = ("hippocampus", "--seeds", "1", "--steps", "3")
    made = science(*arguments)
    records = sorted((tmp_path / "results" / "runs").glob("*.tar.xz"))
    assert len(records) == 4
    contents = [record.read_bytes() for record in records]
    shutil.rmtree(tmp_path / "runs")
    sys.modules["study.engine"].evaluation_makers = None  # nothing can be computed: all is read
    assert science(*arguments, "--kept") == made
    assert [record.read_bytes() for record in records] == contents
    assert not list((tmp_path / "runs").glob("*/state-*")), "no weights are kept"


def test_what_is_saved_until_answers_are_as_good(science: Play) -> None:
    table = science("satisfied", "--seeds", "1")
    assert [row[:2] for row in table.rows] == [
        (name, tool) for name in ("hippocampus", "prostate", "heart") for tool in ("learns", "propagation alone")
    ]
    assert [figure.goal for figure in table.figures] == [">= 80%", ">= 75%", ">= 65%"]
    assert all(0 < float(row[3].split()[0]) <= 100 for row in table.rows)


@pytest.mark.parametrize("study", ["answers", "promise12-sites", "forgetting", "calibration", "estimates", "memory", "paper"])
def test_the_other_tables(science: Play, study: str, tmp_path: Path) -> None:
    table = science(study, "--seeds", "1")
    assert table.rows
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert all("nan" not in cell for row in table.rows for cell in row)
    assert str(tmp_path) not in table.markdown()


def test_results_stand_beside_their_goals(science: Play, tmp_path: Path) -> None:
    science("promise12-sites", "--seeds", "1")
    import science as script  # noqa: PLC0415 - the fixture has made it known

    page = script.assemble(tmp_path / "results").read_text()
    assert "| answers, PROMISE12 UCL, last half | >= 0.91 |" in page
    assert "## PROMISE12, site after site" in page


def test_offline_on_each_set(science: Play) -> None:
    table = science("offline", "--seeds", "1", "--steps", "3")
    assert [row[0] for row in table.rows] == ["hippocampus", "prostate", "heart"]


def test_guidance_rules_beside_their_goals(science: Play, tmp_path: Path) -> None:
    lines = [
        {"rule": "uniform", "cases": 4, "gain": 0.1, "ratio_to_oracle": 0.5},
        {
            "rule": "expected-gain",
            "cases": 4,
            "gain": 0.14,
            "minus_uniform": [0.04, 0.01, 0.07],
            "ratio_to_uniform": 1.4,
            "ratio_to_oracle": 0.7,
        },
    ]
    content = {
        "command": "python benchmarks/guidance.py --sets acdc",
        "budget": 6,
        "propagation": "abc",
        "tables": {"acdc, ends stated": lines},
    }
    file = tmp_path / "results" / "guidance" / "held-out.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    science("offline", "--seeds", "1", "--steps", "3")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["science.py", "results", "--results", str(tmp_path / "results")])
        sys.modules["science"].main()
    page = (tmp_path / "RESULTS.md").read_text()
    assert "| guidance, acdc, ends stated: gain over uniform's | >= 1.30 | 1.40 | yes |" in page
    assert "| guidance, acdc, ends stated: share of the oracle's gain | >= 85 % | 70% | no |" in page
    assert "| acdc, ends stated | expected-gain | 0.140 | +0.040 (+0.010 to +0.070) | 70% |" in page
    assert "./run bench guidance --sets acdc" in page
