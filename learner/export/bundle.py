"""The network as a MONAI bundle: metadata, a workflow for NIfTI files, weights of MONAI's own network, the frozen prediction.

``python -m monai.bundle run`` reads images, turns them as the network saw them, predicts, turns back and writes; nothing of
this distribution is needed for it. The layout follows MONAI's bundle specification.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dicom_io.whole_files import write_whole
from learner.export.facts import ModelFacts
from learner.export.frozen import freeze
from learner.model.network import plain_arguments, plain_network
from learner.model.plan import Plan

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
OWN_KEY = "pacs_apprentice"
"""Key of ``metadata.json`` with what a warm start needs to know."""
WEIGHTS, FROZEN = "models/model.pt", "models/model.ts"
METADATA = "configs/metadata.json"

_LOGGING = """\
[loggers]
keys=root

[handlers]
keys=consoleHandler

[formatters]
keys=fullFormatter

[logger_root]
level=INFO
handlers=consoleHandler

[handler_consoleHandler]
class=StreamHandler
level=INFO
formatter=fullFormatter
args=(sys.stdout,)

[formatter_fullFormatter]
format=%(asctime)s - %(name)s - %(levelname)s - %(message)s
"""
_LICENCE = """\
TO BE FILLED IN by whoever passes this bundle on.

The weights in this bundle were learned from images and drawings of the site that exported it. Whether and under which terms
they may be given to others is for that site to decide, with those who are responsible for the data. Until a licence stands
here, none is given.

The network's definition is MONAI's (Apache-2.0).
"""


def write_bundle(folder: Path, facts: ModelFacts, weights: Mapping[str, Tensor], card: str) -> None:
    """Writes the bundle.

    Args:
        folder: root of the bundle; made if absent.
        facts: of the version.
        weights: of the task, as a checkpoint has them.
        card: the model card, as Markdown.
    """
    buffer = io.BytesIO()
    torch.save(plain_network(facts.plan, weights).state_dict(), buffer)
    files = {
        WEIGHTS: buffer.getvalue(),
        FROZEN: freeze(facts.plan, weights),
        METADATA: _json(metadata(facts, hashlib.sha256(buffer.getvalue()).hexdigest())),
        "configs/inference.json": _json(inference(facts.plan, facts.orientation)),
        "configs/logging.conf": _LOGGING.encode(),
        "docs/README.md": card.encode(),
        "LICENSE": _LICENCE.encode(),
    }
    for name, content in files.items():
        write_whole(folder / name, content)


def metadata(facts: ModelFacts, weights_sha256: str) -> dict[str, Any]:
    """``configs/metadata.json``; the fields of MONAI's schema, and under :data:`OWN_KEY` what a warm start reads."""
    plan, software, number = facts.plan, facts.software, facts.checkpoint.number
    names = dict(enumerate(facts.channels))
    modality = "/".join(facts.task.match.modalities)
    return {
        "schema": SCHEMA,
        "version": f"0.{number}.0",
        "changelog": {f"0.{number}.0": f"exported from version {facts.checkpoint.name} on {facts.exported_at}"},
        "monai_version": software["monai"],
        "pytorch_version": software["torch"],
        "numpy_version": software["numpy"],
        "required_packages_version": {"nibabel": "5.2.0", "pytorch-ignite": "0.5.0", "fire": "0.6.0"},
        "name": facts.task.title,
        "task": f"segmentation: {facts.task.title}",
        "description": "Learned by PACS Apprentice from slices that readers drew. See docs/README.md.",
        "authors": "the site that exported it",
        "copyright": "to be filled in by the site that exported it",
        "data_type": "nibabel",
        "image_classes": f"1 channel, {modality}, voxels as the series gives them (CT: Hounsfield units)",
        "label_classes": ", ".join(f"{index} = {name}" for index, name in names.items()),
        "pred_classes": f"{len(names)} channels of probabilities, in the order of label_classes",
        "eval_metrics": _eval_metrics(facts),
        "intended_use": "Research use only; not a medical device, not for diagnosis or treatment.",
        "references": ["arXiv:2312.06072"],
        "network_data_format": {
            "inputs": {"image": _format(plan, plan.image_channels, {}, "float32")},
            "outputs": {"pred": _format(plan, len(names), names, "probability")},
        },
        OWN_KEY: facts.essentials | {"weights_sha256": weights_sha256},
    }


def _format(plan: Plan, channels: int, names: Mapping[int, str], kind: str) -> dict[str, Any]:
    sizes = plan.patch_DHW[-plan.dimensions :]
    inputs = {
        str(index): "image" if plan.context == 1 else f"slice {index - plan.context // 2:+d}" for index in range(channels)
    }
    return {
        "type": "image" if not names else "probabilities",
        "format": "magnitude" if not names else "segmentation",
        "modality": "n/a",
        "num_channels": channels,
        "spatial_shape": [f"{factor}*n" for factor in plan.factors[-plan.dimensions :]],
        "patch_shape": list(sizes),
        "dtype": "float32" if kind == "probability" else kind,
        "value_range": [0, 1] if names else [],
        "is_patch_data": True,
        "channel_def": {str(index): name for index, name in names.items()} or inputs,
    }


def _eval_metrics(facts: ModelFacts) -> dict[str, float]:
    """Mean Dice of the network alone where readers drew and it had not been trained, from the gate."""
    figures = facts.checkpoint.gate.get("figures")
    found = {}
    for figure in figures if isinstance(figures, list) else []:
        if figure["task_id"] == facts.task.task_id and not figure["site"]:
            found[f"dice_on_held_drawings_{facts.channels[figure['label']]}"] = round(figure["candidate"], 4)
    return found


def inference(plan: Plan, orientation: str) -> dict[str, Any]:
    """``configs/inference.json``: from a folder of NIfTI files to label maps."""
    axes = {"axcodes": orientation, "labels": [["L", "R"], ["P", "A"], ["I", "S"]]}
    affine = "x.affine.reshape(-1, 4, 4)[0].double()"
    spacing = f"torch.round(monai.data.utils.affine_to_spacing({affine}).flip(0), decimals=5)"  # NIfTI keeps 7 digits
    predict = f"network(x.as_tensor().permute(0, 1, 4, 3, 2), {spacing}).permute(0, 1, 4, 3, 2)"
    return {
        "imports": ["$import glob", "$import torch", "$import monai"],
        "bundle_root": ".",
        "dataset_dir": "$@bundle_root + '/input'",
        "output_dir": "$@bundle_root + '/output'",
        "probabilities": False,
        "datalist": "$sorted(glob.glob(@dataset_dir + '/*.nii') + glob.glob(@dataset_dir + '/*.nii.gz'))",
        "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
        "network_def": {"_target_": "DynUNet", **plain_arguments(plan)},
        "network": f"$torch.jit.load(@bundle_root + '/{FROZEN}', map_location=@device).eval()",
        "preprocessing": {
            "_target_": "Compose",
            "transforms": [
                {"_target_": "LoadImaged", "keys": "image", "reader": "NibabelReader", "ensure_channel_first": True},
                {"_target_": "Orientationd", "keys": "image", **axes},
            ],
        },
        "dataset": {
            "_target_": "Dataset",
            "data": "$[{'image': name} for name in @datalist]",
            "transform": "@preprocessing",
        },
        "dataloader": {"_target_": "DataLoader", "dataset": "@dataset", "batch_size": 1, "shuffle": False, "num_workers": 0},
        "inferer": f"$lambda x, network, *_, **__: monai.data.MetaTensor({predict}).copy_meta_from(x)",
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [
                {
                    "_target_": "Invertd",
                    "keys": "pred",
                    "transform": "@preprocessing",
                    "orig_keys": "image",
                    "nearest_interp": False,
                    "to_tensor": True,
                },
                {"_target_": "SaveImaged", "_disabled_": "$not @probabilities", "keys": "pred", "output_postfix": "prob"}
                | _saving("float32"),
                {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
                {"_target_": "SaveImaged", "keys": "pred", "output_postfix": "seg"} | _saving("uint8"),
            ],
        },
        "evaluator": {
            "_target_": "SupervisedEvaluator",
            "device": "@device",
            "val_data_loader": "@dataloader",
            "network": "@network",
            "inferer": "@inferer",
            "postprocessing": "@postprocessing",
            "amp": False,
        },
        "run": ["$@evaluator.run()"],
    }


def _saving(dtype: str) -> dict[str, Any]:
    return {
        "output_dir": "@output_dir",
        "output_ext": ".nii.gz",
        "output_dtype": f"$'{dtype}'",
        "resample": False,
        "separate_folder": False,
    }


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
