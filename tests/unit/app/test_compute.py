"""From a real annotation object to an answer, in an archive in memory: tasks, own results, rounds, what is refused."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from node_harness import SEGMENTS, now, phantom, reader
from pydicom import dcmread
from pydicom.dataset import Dataset

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.errors import UnsupportedObject
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.read_series import read_series
from learner.app.compute import Computation, Compute
from learner.app.images import SeriesImages
from learner.app.serving import ServingNetworks
from learner.app.subject import NothingNew, SourceAwaited, Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.domain.contract import ContractNames
from learner.domain.example import Example
from learner.domain.task import Label, MatchingRule, Task
from learner.propagation import make_propagator
from learner.storage.store import LocalStore

LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (1, 2, 3))
TASK = Task("prostate", "Prostate", (LABEL,), MatchingRule(("MR",)))


class Scene:
    """An archive with one series, a store, and the computation between them."""

    def __init__(self, folder: Path, *tasks: Task, from_annotations: bool = False) -> None:
        self.archive = MemoryArchive()
        self.store = LocalStore(folder)
        self.tasks = TaskBook(tasks)
        choice = TaskChoice(self.tasks, self.store, from_annotations=from_annotations)
        networks = ServingNetworks(self.store, lambda *_: pytest.fail("there is no model"))
        images = SeriesImages(self.archive, 0)
        propagator = make_propagator("chained-flow")
        subjects = Subjects(self.archive, self.store, images, choice, ContractNames())
        self.compute = Compute(subjects, self.store, propagator, networks, lambda text: f"key of {len(text)}")
        files, self.truth_DHW = phantom(slices=8, size=24)
        for file in files:
            self.archive.store(file)
        self.images = read_series(files)
        self.archive.settle()

    def answer(self, file: bytes) -> Computation:
        self.archive.store(file)
        dataset = dcmread(BytesIO(file), stop_before_pixels=True)
        round_id = self.store.records.open_round(str(dataset.SOPInstanceUID), str(dataset.SeriesInstanceUID))
        assert round_id is not None
        return self.compute.answer(self.store.records.find_round(round_id))

    def draw(self, *slices: int) -> bytes:
        return reader(self.images, self.truth_DHW).draw(list(slices), now())


def test_an_annotation_is_answered_with_objects_and_an_example(tmp_path: Path) -> None:
    scene = Scene(tmp_path, TASK)
    computation = scene.answer(scene.draw(2, 5))
    assert {result.kind for result in computation.results} == {"prediction", "key-objects", "report"}
    assert computation.example is not None
    assert computation.example.key.startswith("key of"), "the series UID does not go to the trainer"
    assert computation.facts["drawn_slices"] == [2, 5]
    voxels = np.count_nonzero(computation.record.labels_DHW)
    assert computation.facts["volumes_ml"] == {"Prostate": pytest.approx(voxels * 0.003)}
    assert not {s["index"] for s in computation.facts["guidance"]} & {2, 5}  # type: ignore[attr-defined]


def test_where_images_were_made_and_who_drew_stay_hashes(tmp_path: Path) -> None:
    scene = Scene(tmp_path, TASK)
    scene.compute._case_key = lambda text: hashlib.sha256(text.encode()).hexdigest()
    computation = scene.answer(scene.draw(2, 5))
    example, (round_,) = computation.example, scene.store.queries.rounds()
    assert isinstance(example, Example)
    model = str(scene.images.headers[0].ManufacturerModelName).casefold()
    assert model
    site = hashlib.sha256(f"site/{model}".encode()).hexdigest()
    assert (example.site, computation.facts["site"]) == (site, site)
    reader_name = computation.reader
    assert example.reader == (hashlib.sha256(f"reader/{reader_name}".encode()).hexdigest() if reader_name else "")
    scene.store.files.put_example(round_.round_id, example)
    kept = scene.store.files.get_example(round_.round_id)
    assert isinstance(kept, Example)
    assert (kept.site, kept.reader) == (example.site, example.reader)
    assert computation.facts["foresight"] is None, "no network served"


def test_the_same_trigger_gives_the_same_objects(tmp_path: Path) -> None:
    scene = Scene(tmp_path, TASK)
    first = scene.answer(scene.draw(2, 5))
    again = scene.compute.answer(scene.store.records.find_round(1))
    assert [(r.sop_instance_uid, r.file) for r in first.results] == [(r.sop_instance_uid, r.file) for r in again.results]


@pytest.mark.parametrize("kind", ["prediction", "report"])
def test_a_result_of_a_node_is_no_annotation_even_where_nothing_is_recorded(kind: str, tmp_path: Path) -> None:
    scene = Scene(tmp_path, TASK)
    (result,) = (r for r in scene.answer(scene.draw(2, 5)).results if r.kind == kind)
    with pytest.raises(NothingNew, match="result of another node"):
        scene.answer(result.file)


def test_a_task_is_made_from_the_first_annotation_where_the_site_allows_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path, from_annotations=True)
    computation = scene.answer(scene.draw(2, 5))
    (task,) = scene.tasks
    assert (task.task_id, [label.name for label in task.labels]) == ("prostate", ["Prostate"])
    assert task.labels[0].type.same_concept(SEGMENTS[0].type)
    assert computation.example is not None
    assert computation.example.task_id == "prostate"
    assert scene.store.records.kept_tasks() == (task,)
    series = scene.archive.find_series(scene.images.volume.series.series_instance_uid)
    assert task.match.matches(series)


def test_no_task_is_made_where_the_site_does_not_want_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path)
    with pytest.raises(UnsupportedObject, match="no task matches"):
        scene.answer(scene.draw(2, 5))
    assert not list(scene.tasks)


def test_among_tasks_of_one_series_the_labels_decide(tmp_path: Path) -> None:
    bladder = Label(1, "Bladder", ANATOMICAL_STRUCTURE, Code("89837001", "SCT", "Bladder"), (3, 2, 1))
    other = Task("bladder", "Bladder", (bladder,), MatchingRule(("MR",)))
    computation = Scene(tmp_path, other, TASK).answer(Scene(tmp_path / "same", TASK).draw(2, 5))
    assert computation.example is not None
    assert computation.example.task_id == "prostate"


def test_images_that_still_arrive_are_awaited(tmp_path: Path) -> None:
    scene = Scene(tmp_path, TASK)
    drawing = scene.draw(2, 5)
    files, _truth = phantom(slices=9, size=24)
    scene.archive.store(_with_new_instance(files[8], scene.images.volume.series.series_instance_uid))
    with pytest.raises(SourceAwaited, match="still arriving"):
        scene.answer(drawing)


def test_a_long_task_name_never_hides_that_a_result_is_for_research(tmp_path: Path) -> None:
    scene = Scene(tmp_path, Task("p" * 40, "Long", (LABEL,), TASK.match))
    for result in scene.answer(scene.draw(2, 5)).results:
        description = str(dcmread(BytesIO(result.file)).SeriesDescription)
        assert "(research use)" in description
        assert len(description) <= 64


def _with_new_instance(file: bytes, series_uid: str) -> bytes:
    dataset: Dataset = dcmread(BytesIO(file))
    dataset.SeriesInstanceUID = series_uid
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
