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

from answering_story import arrived, check, processes

from dicom_io.pacs.memory import MemoryArchive
from learner.storage.store import LocalStore


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
        intake, respond = processes(store, archive, death.around)
        intake.catch_up()
        while respond.run_once():
            pass
    finally:
        store.close()
    return store


def story(folder: Path, death: Death) -> tuple[MemoryArchive, LocalStore]:
    """Two rounds on one case; the process dies somewhere, and another one takes over."""
    archive = arrived()
    with contextlib.suppress(Killed):
        work(folder, archive, death)
    return archive, work(folder, archive, Death())


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
