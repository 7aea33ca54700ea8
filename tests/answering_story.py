"""Two rounds on one case, taken in and answered on a real store; each call that changes something can be met."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from node_harness import now, phantom, reader

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.read_series import read_series
from learner.app.compute import Compute
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.domain.contract import ContractNames
from learner.domain.job import JobKind
from learner.domain.task import Label, MatchingRule, Task
from learner.propagation import make_propagator
from learner.storage.store import LocalStore, SystemClock

LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (1, 2, 3))
TASK = Task("prostate", "Prostate", (LABEL,), MatchingRule(("MR",)))
CHANGES = {
    "records": ("set_cursor", "open_round", "add_results", "note_facts", "apply", "mark_sent", "mark_deleted"),
    "jobs": ("add", "claim", "renew", "finish"),
    "files": ("put_record", "put_example", "put_outgoing", "drop_outgoing"),
}
Around = Callable[[str, Callable[..., Any]], Callable[..., Any]]
"""Takes the name of a call that changes something, and the call; gives what is called instead."""


class Sink:
    """The archive's store, which may be the last thing that a process does."""

    def __init__(self, archive: MemoryArchive, around: Around) -> None:
        self.store = around("sink.store", archive.store)


def arrived() -> MemoryArchive:
    """An archive with a series and two drawings on it."""
    archive = MemoryArchive()
    files, truth_DHW = phantom(slices=8, size=24)
    for file in files:
        archive.store(file)
    archive.settle()
    person = reader(read_series(files), truth_DHW)
    archive.store(person.draw([2, 5], now()))
    archive.store(person.draw([4], now()))
    return archive


def processes(store: LocalStore, archive: MemoryArchive, around: Around) -> tuple[Intake, Respond]:
    """What takes in, and what answers."""
    for part, names in CHANGES.items():
        for name in names:
            target = getattr(store, part)
            setattr(target, name, around(f"{part}.{name}", getattr(target, name)))
    tasks = TaskBook([TASK])
    choice = TaskChoice(tasks, store, from_annotations=False)
    networks = ServingNetworks(store, lambda *_: pytest.fail("there is no model"))
    subjects = Subjects(archive, store, SeriesImages(archive, 0), choice, ContractNames())
    compute = Compute(subjects, store, make_propagator("chained-flow"), networks, lambda text: text)
    respond = Respond(archive, Sink(archive, around), store, compute, RespondSettings(), SystemClock())
    return Intake(archive, store, tasks), respond


def check(archive: MemoryArchive, store: LocalStore) -> None:
    """Each drawing was answered once, and nothing is left over."""
    rounds = store.queries.rounds()
    assert sorted((r.number, r.state) for r in rounds) == [(1, "answered"), (2, "answered")]
    predictions = [s for s in archive.scan() if " prediction r" in s.series_description]
    assert [len(s.instance_ids) for s in predictions] == [1], "the second prediction stands, the first one is gone"
    assert " r2 " in predictions[0].series_description
    assert {job.kind for job in store.queries.jobs("ready")} == {JobKind.LEARN}
    assert len(store.queries.jobs("ready")) == 2
    files = {p.relative_to(store.folder).parts[0] for p in store.folder.rglob("*.*") if p.is_file()}
    assert "outbox" not in files
    assert len(list((store.folder / "rounds").iterdir())) == 2
    assert len(list((store.folder / "examples").iterdir())) == 2
