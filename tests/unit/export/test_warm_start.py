"""A bundle as the start of a task: exactly the network that was exported, or a refusal that says what differs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from taught_node import LABEL, TASK, TRAINING, Exported, TaughtNode

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from learner.domain.checkpoint import CheckpointState
from learner.domain.task import Label
from learner.errors import ConfigurationError
from learner.export.errors import BundleRefused
from learner.export.warm_start import install, read_bundle, starting_state
from learner.model.serving import load_network
from learner.settings import LearningSettings
from learner.storage.store import LocalStore
from learner.task_files import load_task

LESION = Label(2, "Lesion", ANATOMICAL_STRUCTURE, Code("52988006", "SCT", "Lesion"), (9, 9, 9))
SPACING = (3.0, 1.0, 1.0)


@pytest.fixture
def bundle(exported: Exported, tmp_path: Path) -> Path:
    """A copy, to be spoilt."""
    return shutil.copytree(exported.folder / "bundle", tmp_path / "bundle")


def edited(bundle: Path, change: Callable[[dict], object]) -> None:
    path = bundle / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))


def test_our_own_bundle_comes_back_exactly(exported: Exported) -> None:
    state = starting_state(read_bundle(exported.folder / "bundle", TASK), TASK, TRAINING, 1)
    image_DHW = np.random.default_rng(1).normal(size=(7, 50, 44)).astype(np.float32)
    before, after = (
        load_network(one, "prostate", 1, threads=1).predict(image_DHW, SPACING)
        for one in (exported.node.store.checkpoints.read(exported.checkpoint), state)
    )
    np.testing.assert_array_equal(before, after)


def test_it_is_the_first_version_says_so_and_is_judged_by_the_first_drawing(exported: Exported, tmp_path: Path) -> None:
    node = TaughtNode(tmp_path)
    with closing(node.store):
        task = replace(TASK, warm_start=str(exported.folder / "bundle"))
        install(node.store, [task], LearningSettings())
        install(node.store, [task], LearningSettings())
        (first,) = node.store.checkpoints.versions("prostate")
        assert (first.name, first.state, first.steps) == ("prostate-1", CheckpointState.SHADOW, 0)
        origin = first.facts["origin"]
        assert isinstance(origin, dict)
        assert origin["exported_from"] == exported.checkpoint.name
        assert origin["checkpoint_sha256"] == exported.checkpoint.sha256
        node.teach(3)
        second, first = node.store.checkpoints.versions("prostate")
        assert first.gate["slices"] == 2
        assert (second.parent, second.steps) == ("prostate-1", 8)


def test_a_task_may_have_more_labels_than_the_bundle(exported: Exported) -> None:
    task = replace(TASK, labels=(LABEL, LESION))
    state = starting_state(read_bundle(exported.folder / "bundle", task), task, TRAINING, 1)
    soft = load_network(state, "prostate", 2, threads=1).predict(np.ones((5, 32, 32), dtype=np.float32), SPACING)
    assert soft.shape[0] == 3


def test_other_labels_are_refused_by_name(exported: Exported) -> None:
    task = replace(TASK, labels=(replace(LESION, number=1),))
    with pytest.raises(BundleRefused, match=r"labels Prostate \(41216001 SCT\), task prostate has Lesion \(52988006 SCT\)"):
        read_bundle(exported.folder / "bundle", task)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda b: (b / "configs" / "metadata.json").unlink(), "metadata.json cannot be read"),
        (lambda b: (b / "configs" / "metadata.json").write_text("{"), "metadata.json is no JSON"),
        (lambda b: (b / "models" / "model.pt").unlink(), "model.pt cannot be read"),
        (lambda b: (b / "models" / "model.pt").write_bytes(b"x"), "does not have the hash"),
        (lambda b: edited(b, lambda m: m["pacs_apprentice"].pop("plan")), "lacks or garbles"),
        (lambda b: edited(b, lambda m: m["pacs_apprentice"]["plan"].update(filters=[8, 16, 32])), "do not fit the network"),
    ],
)
def test_what_is_wrong_with_a_bundle_is_said(bundle: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(bundle)
    with pytest.raises(BundleRefused, match=said):
        read_bundle(bundle, TASK)


def test_the_network_of_another_maker_is_refused_with_what_it_is(bundle: Path) -> None:
    edited(bundle, lambda m: m.pop("pacs_apprentice"))
    network = {"_target_": "monai.networks.nets.SegResNet", "spatial_dims": 3, "in_channels": 1, "out_channels": 105}
    (bundle / "configs" / "inference.json").write_text(json.dumps({"network_def": network}))
    with pytest.raises(BundleRefused, match=r"SegResNet \(spatial_dims 3, in_channels 1, out_channels 105\) of another maker"):
        read_bundle(bundle, TASK)


def test_weights_that_could_run_code_are_not_loaded(bundle: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "sprung",)

    import hashlib  # noqa: PLC0415 - for this test alone

    torch.save({"x": Trap()}, bundle / "models" / "model.pt")
    digest = hashlib.sha256((bundle / "models" / "model.pt").read_bytes()).hexdigest()
    edited(bundle, lambda m: m["pacs_apprentice"].update(weights_sha256=digest))
    with pytest.raises(BundleRefused, match="more than tensors"):
        read_bundle(bundle, TASK)
    assert not (tmp_path / "sprung").exists()


def test_two_tasks_of_a_model_cannot_both_begin_from_a_bundle(tmp_path: Path) -> None:
    tasks = [replace(TASK, task_id=name, model="pelvis", warm_start="bundle") for name in ("one", "two")]
    with closing(LocalStore(tmp_path)) as store, pytest.raises(ConfigurationError, match="one and two share a model"):
        install(store, tasks, LearningSettings())


def test_a_task_file_names_a_bundle_relative_to_itself(tmp_path: Path) -> None:
    shipped = Path(__file__).resolve().parents[3] / "config" / "tasks" / "prostate.toml"
    (tmp_path / "prostate.toml").write_text('warm_start = "../bundle"\n' + shipped.read_text(encoding="utf-8"))
    assert load_task(tmp_path / "prostate.toml").warm_start == str(tmp_path / "../bundle")
