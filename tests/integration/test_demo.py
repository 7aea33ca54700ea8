"""The whole demo in short form, against a real Orthanc and a real learner, on small generated images."""

from __future__ import annotations

import json
import os
from io import StringIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from rich.console import Console

from learner.demo.play import run_demo
from learner.demo.report import DemoOptions, DemoReport

pytestmark = [
    pytest.mark.orthanc,
    pytest.mark.slow,
    pytest.mark.timeout(900),  # a busy machine trains slowly
    pytest.mark.xdist_group("demo"),  # all look at one played demo
]

CASES, ROUNDS, SLICES = 3, 2, 2


def phantom(folder: Path, number: int) -> None:
    """A bright, tapering, winding tube in a noisy box, 1.5 x 1.5 x 5 mm."""
    rng = np.random.default_rng(number)
    x, y, z = np.indices((48, 48, 18), dtype=np.float64)
    centre_x = 23 + 5 * np.sin(z / 4 + number)
    centre_y = 24 + 4 * np.cos(z / 5 + number)
    radius = 12 * np.sqrt(np.clip(1 - ((z - 8.5) / 7.0) ** 2, 0, None))
    truth = (x - centre_x) ** 2 + (y - centre_y) ** 2 < radius**2
    voxels = 300 + 500 * truth + rng.normal(0, 40, truth.shape)
    affine = np.diag([1.5, 1.5, 5.0, 1.0])
    for part, array in (("images", voxels.astype(np.int16)), ("labels", truth.astype(np.uint8))):
        (folder / part).mkdir(parents=True, exist_ok=True)
        nibabel.Nifti1Image(array, affine).to_filename(folder / part / f"tube-{number}.nii.gz")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[DemoReport, dict[str, list[dict[str, object]]], Path, str]:
    if not Path("/usr/sbin/Orthanc").exists():
        pytest.skip("Orthanc absent: apt-get install --no-install-recommends orthanc orthanc-python orthanc-dicomweb")
    folder = tmp_path_factory.mktemp("demo")
    for number in range(1, CASES + 1):
        phantom(folder / "data", number)
    told = StringIO()
    options = DemoOptions(
        once=True,
        json=folder / "figures.json",
        data=folder / "data",
        folder=folder / "node",
        rounds=ROUNDS,
        slices=SLICES,
        steps=5,
        threads=min(2, os.cpu_count() or 1),
        drawing_s=0.5,
        patience_s=280.0,
    )
    report = run_demo(options, Console(file=told, force_terminal=False))
    return report, json.loads((folder / "figures.json").read_text()), folder, told.getvalue()


@pytest.fixture(scope="module")
def report(played: tuple[DemoReport, object, Path, str]) -> DemoReport:
    return played[0]


def test_every_round_was_answered_and_is_good(report: DemoReport) -> None:
    assert [(row.case, row.round) for row in report.rows] == [
        (f"tube-{case}", number) for case in range(1, CASES + 1) for number in range(1, ROUNDS + 1)
    ]
    assert all(row.seconds > 0 for row in report.rows)
    assert all(row.answer_dice > 0.8 for row in report.rows if row.round == ROUNDS)


def test_drawings_came_as_seg_as_edited_prediction_and_as_contours(report: DemoReport) -> None:
    manners = {(row.case, row.round): row.manner for row in report.rows}
    assert manners["tube-1", 1] == "SEG"
    assert manners["tube-2", 2] == "edited prediction"
    assert manners["tube-3", 1] == "SR contours"


def test_slices_add_up_and_none_is_drawn_twice(report: DemoReport) -> None:
    for row in report.rows:
        assert row.drawn_slices == len(set(row.drawn)) == SLICES * row.round
        assert row.drawn_share == pytest.approx(row.drawn_slices / 18)


def test_the_network_alone_is_judged_from_the_second_case_on(report: DemoReport) -> None:
    before = {row.case: row.network_dice_before for row in report.rows}
    assert before["tube-1"] is None
    assert before["tube-2"] is not None
    assert 0.4 < (before["tube-3"] or 0.0) <= 1.0


def test_no_error_stands_in_any_log(report: DemoReport) -> None:
    assert report.log_errors == ()


def test_what_is_written_and_told(played: tuple[DemoReport, dict[str, list[dict[str, object]]], Path, str]) -> None:
    report, figures, folder, told = played
    assert len(figures["rounds"]) == len(report.rows)
    assert figures["rounds"][0]["answer_dice"] == report.rows[0].answer_dice
    assert (folder / "node" / "plot.png").stat().st_size > 1000
    assert "no error in any log" in told
    assert "http://127.0.0.1:" in told
