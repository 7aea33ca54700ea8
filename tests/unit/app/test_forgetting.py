"""A study that is forgotten is nowhere in the store, the versions that learned from it say so, and others are as they were."""

from __future__ import annotations

import io
import sqlite3
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from node_harness import SEGMENTS, now, phantom, with_attributes
from pydicom import dcmread
from taught_node import TaughtNode, case_key

from learner import operations
from learner.app.lineage import Lineage
from learner.demo.reader import Reader
from learner.domain.audit import Event
from learner.domain.case import RoundState
from learner.domain.job import JobKind
from learner.storage.store import LocalStore

SLICES = 11
"""Of the series that is forgotten; the others have 10."""


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> TaughtNode:
    node = TaughtNode(tmp_path_factory.mktemp("taught"))
    for number, slices in ((1, 10), (2, SLICES), (3, 10)):
        node.teach(number, slices)
    return node


def contents(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file as it is, and whatever is packed in it, unpacked: arrays as bytes in C order, DICOM as pixels."""
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        content = path.read_bytes()
        yield path, content
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                for name in archive.namelist():
                    yield path / name, archive.read(name)
        if path.suffix == ".dcm":
            dataset = dcmread(io.BytesIO(content))
            if "PixelData" in dataset:
                yield path / "pixels", dataset.pixel_array.tobytes()


def planes_of(path: Path) -> Iterator[bytes]:
    """One plane of each volume in a file of arrays: the one that varies most, as its bytes."""
    with np.load(path, allow_pickle=False) as arrays:
        for name in arrays.files:
            volume = arrays[name]
            if volume.ndim >= 3 and volume.dtype.kind in "uif":
                planes = volume.reshape(-1, *volume.shape[-2:])
                best = planes[int(np.argmax(planes.astype(np.float64).std(axis=(1, 2))))]
                if best.min() != best.max():
                    yield best.tobytes()


def pixels_of(node: TaughtNode, study: str, key: str) -> list[bytes]:
    """Windows of the study's voxels and labels in every form in which the store holds them."""
    found = []
    for one in node.store.queries.rounds_of_study(study):
        for folder in ("rounds", "examples"):
            path = node.folder / folder / f"{one.round_id:08d}.npz"
            found += list(planes_of(path)) if path.exists() else []
    for path in (node.folder / "replay").rglob("*.npz"):
        with np.load(path) as arrays:
            mine = key in arrays["header"].tobytes().decode()
        found += list(planes_of(path)) if mine else []
    (images,) = [one for one in node.images if one.headers[0].StudyInstanceUID == study]
    voxels_DHW = images.volume.voxels_DHW[len(images.slices) // 2]
    return [*found, *(voxels_DHW.astype(kind).tobytes() for kind in (np.int16, np.uint16, np.float32))]


def names_of(node: TaughtNode, study: str) -> set[str]:
    """Every UID of the study: its own, of images, drawings and results."""
    (case,) = node.store.queries.cases_of_study(study)
    rounds = node.store.queries.rounds_of_study(study)
    results = [one for round_ in rounds for one in node.store.records.results_of(round_.round_id)]
    (images,) = [one for one in node.images if one.headers[0].StudyInstanceUID == study]
    return {
        study,
        case.series_instance_uid,
        *(str(header.SOPInstanceUID) for header in images.headers),
        *(one.trigger_uid for one in rounds),
        *(one.series_instance_uid for one in rounds),
        *(str(one.facts["annotation_uid"]) for one in rounds if "annotation_uid" in one.facts),
        *(uid for one in results for uid in (one.sop_instance_uid, one.series_instance_uid)),
    }


def hits(folder: Path, needles: list[bytes]) -> list[str]:
    return [f"{path.relative_to(folder)}" for path, content in contents(folder) if any(one in content for one in needles)]


def rows(store: LocalStore, but_of: set[int]) -> dict[str, list[tuple[object, ...]]]:
    """All rows about other rounds."""
    marks = ", ".join(map(str, but_of))
    with sqlite3.connect(store.folder / "apprentice.sqlite") as connection:
        found = {
            "rounds": connection.execute(f"SELECT * FROM rounds WHERE round_id NOT IN ({marks})").fetchall(),
            "jobs": connection.execute(f"SELECT * FROM jobs WHERE round_id NOT IN ({marks})").fetchall(),
            "results": connection.execute(f"SELECT * FROM results WHERE round_id NOT IN ({marks})").fetchall(),
            "lessons": connection.execute(f"SELECT * FROM lessons WHERE round_id NOT IN ({marks})").fetchall(),
            "cases": connection.execute(
                f"SELECT * FROM cases WHERE case_id NOT IN (SELECT case_id FROM rounds WHERE round_id IN ({marks}))"
            ).fetchall(),
        }
    connection.close()
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.npz")}


def test_a_forgotten_study_is_nowhere_in_the_store_and_others_are_as_they_were(taught: TaughtNode) -> None:
    store, folder = taught.store, taught.folder
    study = str(taught.images[1].headers[0].StudyInstanceUID)
    (case,) = store.queries.cases_of_study(study)
    key, numbers = case_key(case.identity), {one.round_id for one in store.queries.rounds_of_study(study)}
    pixels, names = pixels_of(taught, study, key), [name.encode() for name in names_of(taught, study)]
    result_series = {r.series_instance_uid for n in numbers for r in store.records.results_of(n)}
    assert len(pixels) > 8
    assert all(hits(folder, [needle]) for needle in pixels[:-3])
    assert all(hits(folder, [name]) for name in (study.encode(), key.encode()))
    before, files_before = rows(store, numbers), files(folder)
    versions = [one.name for one in store.checkpoints.versions("prostate")]
    assert versions == ["prostate-3", "prostate-2", "prostate-1"]

    order = taught.forgotten.order(study, why="asked", asked_by="Dr. Admin")
    assert set(order.rounds) == numbers
    taught.work()  # what is met in the archive is not taken in again
    assert taught.purge.run_once()

    assert hits(folder, pixels) == []
    assert hits(folder, names) == []
    gone = set(files_before) - set(files(folder))
    assert gone
    assert all(one.startswith("replay") or int(Path(one).stem) in numbers for one in gone)
    assert {name: content for name, content in files_before.items() if name not in gone} == files(folder)
    assert rows(store, numbers) == before
    assert {store.records.find_round(n).state for n in numbers} == {RoundState.FORGOTTEN}
    assert not any(series in {s.series_instance_uid for s in taught.archive.scan()} for series in result_series)
    marked = {one.name for one in store.checkpoints.versions("prostate") if one.from_forgotten}
    assert marked == {"prostate-2", "prostate-3", "prostate-4"}  # the fourth remembers all but the study
    (told,) = store.forgotten.all()
    assert (told.study_uid, told.keys, told.results, told.asked_by) == ("", (), (), "Dr. Admin")
    known_by_key = {path.partition("-")[0] for path in hits(folder, [key.encode()])}
    assert known_by_key == {"checkpoints/prostate/000002", "checkpoints/prostate/000003"}  # until they are dropped

    taught.intake.reconcile()
    assert store.jobs.pending(JobKind.RESPOND) == 0
    assert store.queries.cases_of_study(study) == []
    _drawn_from_another_study(taught, study)
    _retrained_without(taught, key)
    _taken_in_again(taught, study)


def _drawn_from_another_study(taught: TaughtNode, study: str) -> None:
    """A drawing that lies in another study and refers to the forgotten images teaches nothing."""
    _, truth_DHW = phantom(slices=SLICES, size=48, seed=2, number=2)
    drawing = Reader(taught.images[1], truth_DHW, SEGMENTS, "Somebody").draw([4, 7], now())
    taught.archive.store(with_attributes(drawing, StudyInstanceUID="1.2.777"))
    taught.work()
    newest = taught.store.queries.rounds()[0]
    assert (newest.state, newest.reason) == (RoundState.UNCHANGED, "the study of its images was forgotten")
    assert taught.store.queries.cases_of_study(study) == []


def _retrained_without(taught: TaughtNode, key: str) -> None:
    """A model is trained anew from the other two cases; once it serves, nothing of the study is in any file."""
    store = taught.store
    with pytest.raises(operations.NothingToRetrain, match="no version of a model liver"):
        operations.retrain(store, "liver")
    operations.retrain(store, "prostate")
    with pytest.raises(operations.NothingToRetrain, match="already"):
        operations.retrain(store, "prostate")
    taught.work()
    head = store.checkpoints.head("prostate")
    assert head is not None
    assert (head.parent, head.from_forgotten, head.steps) == ("", False, store.checkpoints.versions("prostate")[1].steps)
    assert head.facts["learned_cases"] == [one.case_id for one in store.lessons.of_model("prostate")]
    _told_by_the_audit_record(store, head.name)
    store.checkpoints.roll_back(head, retrain=True)
    dropped = operations.drop_marked(store, "prostate")
    assert {one.name for one in dropped} == {"prostate-2", "prostate-3", "prostate-4"}
    assert hits(taught.folder, [key.encode()]) == []
    with pytest.raises(operations.NothingToDrop, match="no version"):
        operations.drop_marked(store, "prostate")


def _told_by_the_audit_record(store: LocalStore, name: str) -> None:
    """What was done, and what the version that was trained anew learned from; the chain is whole without the study's UIDs."""
    assert store.audit.verify().intact
    (order,) = store.audit.entries(events=[Event.STUDY_FORGOTTEN])
    (ordered,) = store.audit.entries(events=[Event.RETRAINING_ORDERED])
    assert (order.facts["by"], ordered.facts["model"]) == ("Dr. Admin", "prostate")
    (made,) = Lineage(store.audit).version("prostate", name).lineage
    answered = [one for one in store.queries.rounds() if one.state is RoundState.ANSWERED]
    known = {one.facts["annotation_uid"] for one in answered}
    assert made.event == "trained anew"
    assert {one.annotation for one in made.sources} == known
    assert len(known) == 2


def _taken_in_again(taught: TaughtNode, study: str) -> None:
    """Only where an operator says so."""
    taught.work()
    assert taught.store.queries.cases_of_study(study) == []
    assert taught.forgotten.lift(study)
    assert not taught.forgotten.lift(study)
    taught.work()
    (case,) = taught.store.queries.cases_of_study(study)
    assert [one.state for one in taught.store.queries.rounds(case_id=case.case_id) if one.number] == [RoundState.ANSWERED]
