"""What is exported, where to, and what is said when it cannot be."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from taught_node import TASK, Exported
from typer.testing import CliRunner

from learner.cli import app
from learner.errors import ApprenticeError
from learner.export import predict_onnx
from learner.export.errors import ExportError
from learner.export.exporting import ExportOrder, check_orientation, export, pick_version
from learner.export.frozen import Core
from learner.model.network import build_network, plain_network, weights_of_plain
from learner.model.plan import plan_for
from learner.model.serving import ServingNetwork
from learner.storage.store import LocalStore

ROOT = Path(__file__).resolve().parents[3]


def test_the_card_says_what_it_is_where_it_comes_from_and_how_to_use_it(exported: Exported) -> None:
    card = (exported.folder / "MODEL_CARD.md").read_text()
    for part in (
        "Research use only",
        exported.checkpoint.name,
        exported.checkpoint.sha256,
        "to be filled in",
        "1 image series, 1 annotations on 2 slices, by 1 reader(s)",
        "random weights",
        "python -m monai.bundle run",
        "predict.py",
        "nnUNetv2_plan_and_preprocess",
        "## Limits",
    ):
        assert part in card, part
    assert (exported.folder / "bundle" / "docs" / "README.md").read_text() == card
    told = json.loads((exported.folder / "model_card.json").read_text())
    assert told["orientation"] == "LPS"
    assert told["data"]["annotations"] == 1, "what came after the version did not teach it"
    assert told["licence"] is None


def test_a_folder_that_holds_something_is_left_alone_unless_it_is_an_earlier_export(exported: Exported, tmp_path: Path) -> None:
    order = ExportOrder(TASK, exported.checkpoint, ("nnunet",), tmp_path / "out")
    export(order, exported.node.surroundings)
    with pytest.raises(ExportError, match="is not empty"):
        export(order, exported.node.surroundings)
    (tmp_path / "out" / "nnunet" / "old").touch()
    export(replace(order, force=True), exported.node.surroundings)
    assert not (tmp_path / "out" / "nnunet" / "old").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").touch()
    with pytest.raises(ExportError, match="holds no earlier export"):
        export(replace(order, folder=tmp_path / "other", force=True), exported.node.surroundings)
    assert (tmp_path / "other" / "thesis.txt").exists()


def test_onnx_without_its_package_says_what_to_install(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    order = ExportOrder(TASK, exported.checkpoint, ("onnx",), tmp_path / "out")
    with pytest.raises(ExportError, match="pip install onnx onnxscript"):
        export(order, exported.node.surroundings)
    assert not (tmp_path / "out").exists()


def test_without_a_version_there_is_nothing_to_export(tmp_path: Path) -> None:
    with closing(LocalStore(tmp_path)) as store, pytest.raises(ExportError, match="has no version yet"):
        pick_version(store, TASK)


@pytest.mark.parametrize("codes", ["LP", "LPX", "LRS", "LPSA"])
def test_what_is_no_orientation_is_refused(codes: str) -> None:
    with pytest.raises(ExportError, match="is no orientation"):
        check_orientation(codes)
    assert check_orientation("ras") == "RAS"


def test_an_orientation_that_cannot_be_looked_up_is_assumed_and_said(exported: Exported, tmp_path: Path) -> None:
    order = ExportOrder(TASK, exported.checkpoint, (), tmp_path / "out", orientation="PIL")
    export(order, exported.node.surroundings)
    assert "(column, row, slice) to PIL: as told" in (tmp_path / "out" / "MODEL_CARD.md").read_text()


@pytest.mark.parametrize(
    ("planned", "spacing", "shape", "asked"),
    [
        ((16, 16, 16), (1.0, 1.0, 1.0), (13, 21, 9), (1.0, 1.0, 1.0)),
        ((16, 16, 16), (1.0, 1.0, 1.0), (28, 36, 30), (0.7, 1.0, 1.6)),
        ((10, 48, 48), (4.0, 1.0, 1.0), (1, 37, 90), (4.0, 1.0, 1.0)),
        ((10, 48, 48), (4.0, 1.0, 1.0), (11, 130, 64), (3.0, 0.5, 0.5)),
    ],
)
def test_the_script_beside_the_onnx_file_does_what_the_node_does(
    planned: tuple[int, int, int],
    spacing: tuple[float, float, float],
    shape: tuple[int, int, int],
    asked: tuple[float, float, float],
) -> None:
    plan = plan_for(planned, spacing, 2)
    weights = build_network([plan], seed=3).state_dict()
    core = Core(plan, weights).eval()
    image_DHW = np.random.default_rng(0).normal(size=shape).astype(np.float32) * 100

    def run(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return core(torch.from_numpy(batch)).numpy()

    ours = ServingNetwork(plan, weights, "fp32").predict(image_DHW, asked)
    theirs = predict_onnx.predict(run, json.loads(plan.to_json()), image_DHW, asked)
    np.testing.assert_allclose(theirs, ours, atol=1e-4)


def test_monais_own_network_has_the_same_weights_there_and_back() -> None:
    plan = plan_for((16, 16, 16), (1.0, 1.0, 1.0), 2)
    weights = build_network([plan], seed=3).state_dict()
    back = weights_of_plain(plan, plain_network(plan, weights).state_dict())
    assert back.keys() == weights.keys()
    assert all(torch.equal(back[name], weights[name]) for name in weights)


def _site(folder: Path, exported: Exported) -> Path:
    """Settings of a node with the taught node's store, whose archive does not answer."""
    (folder / "tasks").mkdir()
    shipped = ROOT / "config" / "tasks" / "prostate.toml"
    (folder / "tasks" / "prostate.toml").write_text(shipped.read_text(encoding="utf-8"), encoding="utf-8")
    path = folder / "apprentice.toml"
    settings = f'[node]\ndata = "{exported.node.folder}"\n[pacs]\nurl = "http://127.0.0.1:9"\ntimeout_s = 1\n[api]\nport = 9\n'
    path.write_text(settings, encoding="utf-8")
    return path


def test_the_command_exports_and_tells_what_is_missing(exported: Exported, tmp_path: Path) -> None:
    run = CliRunner()
    options = ["-c", str(_site(tmp_path, exported)), "--out", str(tmp_path / "out"), "--what", "nnunet", "--json"]
    result = run.invoke(app, ["export", "prostate", "--version", exported.checkpoint.name, *options], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert (told["version"], told["parts"]) == (exported.checkpoint.name, ["nnunet"])
    assert all("the archive did not answer" in one["why"] for one in told["left_out"])
    assert (tmp_path / "out" / "nnunet" / "Dataset001_prostate" / "dataset.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["prostate", "--what", "weights"], "name some of bundle, onnx, nnunet"),
        (["liver"], "there is no task liver"),
        (["prostate", "--version", "77"], "has no version 77"),
    ],
)
def test_what_cannot_be_exported_is_said(exported: Exported, tmp_path: Path, arguments: list[str], said: str) -> None:
    run: Callable[..., object] = CliRunner().invoke
    result = run(app, ["export", *arguments, "-c", str(_site(tmp_path, exported)), "--out", str(tmp_path / "out")])
    message = result.stderr if isinstance(result.exception, SystemExit) else str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit | ApprenticeError)
    assert said in message
