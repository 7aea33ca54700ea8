"""Bundle and ONNX file give the network's own output in processes that cannot import anything of this distribution."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import onnxruntime
import pytest
import torch
from taught_node import TASK, Exported

from learner.model.network import weights_of_task
from learner.model.serving import ServingNetwork
from learner.model.state import load_state

MOST = 1e-3
SPACING = (3.0, 0.9, 1.3)
"""The second is just not resampled, and just is if the digits that NIfTI loses are missed."""
_ALONE = """
import runpy, sys

class Wall:
    closed = {closed!r}

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.closed:
            raise ModuleNotFoundError(f"{{name}} is walled off")

sys.meta_path.insert(0, Wall())
for name in Wall.closed:
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    sys.exit(f"{{name}} can be imported")
sys.argv = {arguments!r}
{start}
assert not set(Wall.closed) & {{name.partition(".")[0] for name in sys.modules}}
"""
OURS = ("learner", "dicom_io", "orthanc_plugin")


def alone(start: str, arguments: list[str], folder: Path, closed: tuple[str, ...] = OURS) -> None:
    """Runs a program in an isolated interpreter in which modules cannot be imported."""
    code = _ALONE.format(closed=closed, arguments=arguments, start=start)
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def volumes() -> dict[str, np.ndarray]:
    """Voxels with masked air, on grids that are not the network's; the large one is seen by windows."""
    made = {}
    for name, shape in (("small", (6, 52, 40)), ("large", (7, 150, 90))):
        image_DHW = np.random.default_rng(5).gamma(2.0, 150.0, size=shape).astype(np.float32)
        image_DHW[:, : shape[1] // 3] = 0
        made[name] = image_DHW
    return made


def own_output(exported: Exported, image_DHW: np.ndarray) -> np.ndarray:
    """The network of the node itself, in float32."""
    state = load_state(exported.node.store.checkpoints.read(exported.checkpoint))
    network = ServingNetwork(state.plans["prostate"], weights_of_task(state.average, 0), "fp32")
    return network.predict(image_DHW, SPACING)


def written(image_DHW: np.ndarray, path: Path) -> nib.Nifti1Image:
    """As NIfTI whose axes do not run as the network wants them: right, anterior, superior; sagittal index first."""
    image = nib.Nifti1Image(image_DHW.transpose(2, 1, 0), np.diag([-SPACING[2], -SPACING[1], SPACING[0], 1.0]))
    turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), [[1, 1], [2, 1], [0, -1]]))
    assert nib.aff2axcodes(turned.affine) != nib.aff2axcodes(image.affine)
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(turned, path)
    return turned


def read_back(path: Path, source: nib.Nifti1Image) -> np.ndarray:
    """Probabilities ``(C, D, H, W)``, once it is sure that they lie where the source does."""
    found = nib.load(path)
    np.testing.assert_allclose(found.affine, source.affine, atol=1e-5)
    lps = nib.orientations.axcodes2ornt("LPS")
    turned = found.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(found.affine), lps))
    return np.asarray(turned.dataobj).transpose(3, 2, 1, 0)


@pytest.mark.slow
def test_the_bundle_runs_where_none_of_our_code_is(exported: Exported, tmp_path: Path) -> None:
    images = volumes()
    sources = {name: written(image_DHW, tmp_path / "in" / f"{name}.nii.gz") for name, image_DHW in images.items()}
    options = ["--dataset_dir", str(tmp_path / "in"), "--output_dir", str(tmp_path / "out"), "--probabilities", "True"]
    options += ["--meta_file", "configs/metadata.json", "--logging_file", "configs/logging.conf"]
    arguments = ["monai.bundle", "run", "--config_file", "configs/inference.json", *options]
    alone("runpy.run_module('monai.bundle', run_name='__main__')", arguments, exported.folder / "bundle")
    for name, image_DHW in images.items():
        ours = own_output(exported, image_DHW)
        theirs = read_back(tmp_path / "out" / f"{name}_prob.nii.gz", sources[name])
        print(f"bundle, {name}: largest difference {np.abs(ours - theirs).max():.1e}")  # noqa: T201 - the measure is what it is for
        assert np.abs(ours - theirs).max() <= MOST
        assert ours[1].max() - ours[1].min() > 0.05
        labels = np.asarray(nib.load(tmp_path / "out" / f"{name}_seg.nii.gz").dataobj)
        assert labels.dtype == np.uint8
        soft = np.asarray(nib.load(tmp_path / "out" / f"{name}_prob.nii.gz").dataobj)
        np.testing.assert_array_equal(labels, soft.argmax(axis=3))


def test_the_onnx_file_runs_where_neither_our_code_nor_torch_is(exported: Exported, tmp_path: Path) -> None:
    for name, image_DHW in volumes().items():
        source = written(image_DHW, tmp_path / f"{name}.nii.gz")
        labels, soft = tmp_path / f"{name}-labels.nii.gz", tmp_path / f"{name}-soft.nii.gz"
        arguments = ["predict.py", str(tmp_path / f"{name}.nii.gz"), str(labels), "--probabilities", str(soft)]
        closed = (*OURS, "torch", "monai")
        alone("runpy.run_path('predict.py', run_name='__main__')", arguments, exported.folder / "onnx", closed)
        ours, theirs = own_output(exported, image_DHW), read_back(soft, source)
        print(f"ONNX, {name}: largest difference {np.abs(ours - theirs).max():.1e}")  # noqa: T201 - the measure is what it is for
        assert np.abs(ours - theirs).max() <= MOST
        np.testing.assert_array_equal(nib.load(labels).dataobj, np.asarray(nib.load(soft).dataobj).argmax(axis=3))


def test_the_onnx_file_says_what_it_is_and_takes_batches_of_any_size(exported: Exported) -> None:
    session = onnxruntime.InferenceSession(exported.folder / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
    told = session.get_modelmeta().custom_metadata_map
    version = exported.checkpoint
    assert (told["task"], told["version"], told["checkpoint_sha256"]) == ("prostate", version.name, version.sha256)
    assert json.loads(told["labels"]) == ["background", "Prostate"]
    assert json.loads(told["label_codes"])[0]["type"]["value"] == "41216001"
    assert json.loads(told["spacing"]) == [3.0, 1.0, 1.0]
    assert told["orientation"] == "LPS"
    assert "percentiles 0.5 and 99.5" in told["normalisation"]
    plan = json.loads(told["plan"])
    factors = [int(np.prod([stride[axis] for stride in plan["strides"]])) for axis in (1, 2)]
    for items, times in ((1, 1), (3, 4)):
        batch = torch.rand(items, plan["context"], *(times * factor * 2 for factor in factors)).numpy()
        assert session.run(None, {"image": batch})[0].shape == (items, 2, *batch.shape[2:])


@pytest.mark.filterwarnings("ignore")  # of MONAI's and torch's own
def test_the_bundle_has_what_monai_asks_of_one(exported: Exported, tmp_path: Path) -> None:
    from monai.bundle import ConfigWorkflow  # noqa: PLC0415 - slow to import
    from monai.bundle.properties import InferProperties, MetaProperties  # noqa: PLC0415

    root = exported.folder / "bundle"
    written(volumes()["small"], tmp_path / "image.nii.gz")  # its evaluator cannot be made without an image
    workflow = ConfigWorkflow(
        config_file=str(root / "configs" / "inference.json"),
        meta_file=str(root / "configs" / "metadata.json"),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(root),
        dataset_dir=str(tmp_path),
    )
    workflow.initialize()
    assert {**InferProperties, **MetaProperties}.keys() <= workflow.properties.keys()
    assert workflow.check_properties() == []
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    for field in ("task", "description", "authors", "copyright", "changelog", "network_data_format", "schema"):
        assert metadata[field]
    network = workflow.parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(root / "models" / "model.pt", weights_only=True))
    assert type(network).__module__ == "monai.networks.nets.dynunet"
    assert TASK.title in metadata["name"]
    assert "TO BE FILLED IN" in (root / "LICENSE").read_text()
