"""One export: which version, which parts, into which folder."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from dicom_io.errors import DicomIoError, PacsUnavailable
from dicom_io.pacs.port import Source
from dicom_io.whole_files import write_whole
from learner.app.images import SeriesImages, first_image
from learner.domain.checkpoint import Checkpoint
from learner.domain.example import Example
from learner.domain.task import Task
from learner.export.bundle import write_bundle
from learner.export.card import card_json, card_markdown
from learner.export.cases import AnnotatedCases, CaseKey, axis_codes
from learner.export.errors import ExportError
from learner.export.facts import gather, rounds_in_effect
from learner.export.nnunet import NnUNetReport, write_nnunet
from learner.export.onnx_file import onnx_file
from learner.memory.files import ExampleFiles
from learner.model.growth import grown
from learner.model.network import weights_of_task
from learner.model.plan import Plan
from learner.model.state import TrainerState, load_state
from learner.ports import Propagator
from learner.storage.store import LocalStore

PARTS = ("bundle", "onnx", "nnunet")
CARD, CARD_JSON = "MODEL_CARD.md", "model_card.json"
_SCRIPT = Path(__file__).with_name("predict_onnx.py")
_ASSUMED = "LPS"
_CASES_LOOKED_AT = 5


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What is wanted.

    Attributes:
        task: the task.
        checkpoint: the version.
        parts: of :data:`PARTS`.
        folder: where to; made if absent.
        force: whether an earlier export there is replaced.
        orientation: axis codes of the images' (column, row, slice); empty to look at images in the archive.
    """

    task: Task
    checkpoint: Checkpoint
    parts: tuple[str, ...]
    folder: Path
    force: bool = False
    orientation: str = ""


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What an export needs of the node.

    Attributes:
        store: of the node.
        archive: where the images are.
        propagator: of the task.
        case_key: keyed hash of a case.
        replay: folder of the model's replay memory.
    """

    store: LocalStore
    archive: Source
    propagator: Propagator
    case_key: CaseKey
    replay: Path


def pick_version(store: LocalStore, task: Task) -> Checkpoint:
    """The version that serves a task; the newest one where none does.

    Raises:
        ExportError: if nothing was learned yet.
    """
    found = store.checkpoints.serving(task.model_id) or store.checkpoints.head(task.model_id)
    if found is None:
        raise ExportError(f"model {task.model_id} has no version yet: draw on a case of task {task.task_id} and let it learn")
    return found


def export(order: ExportOrder, node: Surroundings) -> NnUNetReport | None:
    """Writes the parts that are wanted, and the model card.

    Returns:
        What became of the annotations; None where they are not exported.

    Raises:
        ExportError: the folder is taken, a package is missing, or the version knows nothing of the task.
        StoreError: the version cannot be read.
    """
    state = load_state(node.store.checkpoints.read(order.checkpoint))
    plan, weights = _network(state, order)
    orientation = (order.orientation, "as told") if order.orientation else _orientation(order.task, node)
    facts = gather(node.store, order.task, order.checkpoint, plan, orientation)
    model = onnx_file(facts, weights) if "onnx" in order.parts else b""
    _make_room(order)
    report = None
    if "nnunet" in order.parts:
        remembered = _remembered(state, order.task, node)
        cases = AnnotatedCases(node.store, node.archive, node.propagator, node.case_key, remembered)
        report = write_nnunet(order.folder / "nnunet", order.task, cases.of(order.task))
    card = card_markdown(facts, order.parts, report)
    if "bundle" in order.parts:
        write_bundle(order.folder / "bundle", facts, weights, card)
    if model:
        write_whole(order.folder / "onnx" / "model.onnx", model)
        write_whole(order.folder / "onnx" / "predict.py", _SCRIPT.read_bytes())
    write_whole(order.folder / CARD, card.encode())
    write_whole(order.folder / CARD_JSON, _json(card_json(facts, report)))
    return report


def _network(state: TrainerState, order: ExportOrder) -> tuple[Plan, Mapping[str, Tensor]]:
    task = order.task
    state = grown(state, {task.task_id: len(task.labels)})
    if task.task_id not in state.plans:
        raise ExportError(f"{order.checkpoint.name} has learned nothing of task {task.task_id}; name a later version")
    return state.plans[task.task_id], weights_of_task(state.average, list(state.plans).index(task.task_id))


def _make_room(order: ExportOrder) -> None:
    """Removes what an earlier export left, where that was asked for.

    Raises:
        ExportError: if the folder holds anything and it was not.
    """
    folder = order.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not order.force or not folder.is_dir():
            raise ExportError(f"{folder} is not empty; name another folder with --out, or replace what is there with --force")
        if not (folder / CARD_JSON).is_file():
            raise ExportError(f"{folder} holds no earlier export, and is left as it is; name another folder with --out")
        for part in PARTS:
            shutil.rmtree(folder / part, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)


def _remembered(state: TrainerState, task: Task, node: Surroundings) -> dict[str, Callable[[], Example]]:
    """Examples of the replay memory by key, as this version has it."""
    files = ExampleFiles(node.replay, node.store.vault)

    def reader(name: str) -> Callable[[], Example]:
        return lambda: files.open(name).example()

    return {str(one["key"]): reader(str(one["file"])) for one in state.replay if one["group"] == task.task_id}


def _orientation(task: Task, node: Surroundings) -> tuple[str, str]:
    """How the images lie that the network learned from, looked up in the archive."""
    images, found = SeriesImages(node.archive, 0), Counter[str]()
    latest = {one.case_id: one for one in rounds_in_effect(node.store, task)}
    for case_id, round_ in list(latest.items())[-_CASES_LOOKED_AT:]:
        assert case_id is not None
        try:
            series = node.archive.find_series(node.store.records.find_case(case_id).series_instance_uid)
            found[axis_codes(images.get(series, first_image(round_)).volume.geometry.affine)] += 1
        except PacsUnavailable:
            break
        except DicomIoError:
            continue
    if not found:
        return _ASSUMED, "assumed, because no image could be looked at (`--orientation` sets it)"
    (codes, count), total = found.most_common(1)[0], found.total()
    return codes, f"as {count} of the {total} latest image series that were drawn on"


def check_orientation(codes: str) -> str:
    """Axis codes in capitals.

    Raises:
        ExportError: if they are none.
    """
    axes = [next((pair for pair in ("LR", "PA", "IS") if letter in pair), "") for letter in codes.upper()]
    if codes and sorted(axes) != ["IS", "LR", "PA"]:
        raise ExportError(
            f"--orientation {codes} is no orientation; it is three letters such as LPS, one of LR, of PA and of IS"
        )
    return codes.upper()


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()
