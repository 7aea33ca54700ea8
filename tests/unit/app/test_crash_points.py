"""A crash between any two calls that change something: after a restart there is exactly one answer.

The process dies by an exception that nothing may catch, before the n-th call, for every n there is. What a real SIGKILL leaves
behind (no clean-up, leases still running) is what remains here too; tests/integration kills real processes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
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


class Killed(BaseException):
    """The process is no more."""


@dataclass
class Death:
    """Counts the calls that change something, and ends the process at one of them."""

    at: int = -1
    after: bool = False
    calls: list[str] = field(default_factory=list)

    def around(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            number = len(self.calls)
            self.calls.append(name)
            if number == self.at and not self.after:
                raise Killed
            result = call(*args, **kwargs)
            if number == self.at:
                raise Killed
            return result

        return wrapped


def work(folder: Path, archive: MemoryArchive, death: Death) -> LocalStore:
    """A process's life: takes the folder, takes in what arrived, answers all there is."""
    store = LocalStore(folder)
    store.take()
    try:
        for part, names in CHANGES.items():
            for name in names:
                target = getattr(store, part)
                setattr(target, name, death.around(f"{part}.{name}", getattr(target, name)))
        sink = MemorySink(archive, death)
        tasks = TaskBook([TASK])
        choice = TaskChoice(tasks, store, from_annotations=False)
        networks = ServingNetworks(store, lambda *_: pytest.fail("there is no model"))
        subjects = Subjects(archive, store, SeriesImages(archive, 0), choice, ContractNames())
        compute = Compute(subjects, store, make_propagator("chained-flow"), networks, lambda text: text)
        Intake(archive, store, tasks).catch_up()
        respond = Respond(archive, sink, store, compute, RespondSettings(), SystemClock())
        while respond.run_once():
            pass
    finally:
        store.close()
    return store


class MemorySink:
    """The archive's store, which may be the last thing that a process does."""

    def __init__(self, archive: MemoryArchive, death: Death) -> None:
        self.store = death.around("sink.store", archive.store)


def story(folder: Path, death: Death) -> tuple[MemoryArchive, LocalStore]:
    """Two rounds on one case; the process dies somewhere, and another one takes over."""
    archive = MemoryArchive()
    files, truth_DHW = phantom(slices=8, size=24)
    for file in files:
        archive.store(file)
    archive.settle()
    person = reader(read_series(files), truth_DHW)
    archive.store(person.draw([2, 5], now()))
    archive.store(person.draw([4], now()))
    with contextlib.suppress(Killed):
        work(folder, archive, death)
    return archive, work(folder, archive, Death())


def check(archive: MemoryArchive, store: LocalStore) -> None:
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


def test_one_answer_wherever_the_process_dies(tmp_path: Path) -> None:
    whole = Death()
    check(*story(tmp_path / "whole", whole))
    assert {"sink.store", "records.apply", "jobs.finish", "files.put_outgoing"} <= set(whole.calls)
    for at, name in enumerate(whole.calls):
        for after in (False, True) if name == "sink.store" else (False,):
            archive, store = story(tmp_path / f"{at}-{after}", Death(at, after))
            try:
                check(archive, store)
            except AssertionError as error:
                raise AssertionError(f"died {'after' if after else 'before'} call {at}, {name}: {error}") from error
