"""A few hundred damaged inputs with fixed seeds, and every input that once was a finding; ``./run fuzz`` has many more."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path
from random import Random

import fuzz_runner
import fuzz_worker
import pytest
from fuzz_corpus import CANARIES, Seed, corpus
from fuzz_hostile import HOSTILE
from fuzz_runner import Input, Worker, inputs, load, run, save
from fuzz_worker import Case, Verdict

from dicom_io.errors import InvalidObject

Mutation = Callable[[bytes, Random], bytes]

REGRESSIONS = sorted(Path(__file__).with_name("regressions").glob("*.zip"))


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def seeds() -> dict[str, Seed]:
    return corpus()


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_damaged_inputs_are_read_or_refused(seeds: dict[str, Seed], tmp_path: Path, block: int) -> None:
    tally = run(inputs(seeds, seed=0, count=100, first=100 * block), workers=1, findings=tmp_path, progress=False)
    assert sum(tally.by_kind.values()) == 100
    assert tally.findings == []


def test_the_corpus_itself_is_read(seeds: dict[str, Seed], worker: Worker) -> None:
    verdicts = {
        name: worker.judge(Case(seed.files, seed.source)).name for name, seed in seeds.items() if seed.kind not in {"KO", "map"}
    }
    assert set(verdicts.values()) == {"read"}, verdicts


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_once_a_finding_is_none(worker: Worker, path: Path) -> None:
    verdict = worker.judge(load(path).case)
    assert not verdict.is_finding, f"{verdict.name}\n{verdict.detail}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["seg-labelmap-jpegls", "rtstruct", "sr-contours", "series-enhanced", "series-jpeg2000"])
@pytest.mark.parametrize("hostile", sorted(set(HOSTILE), key=attrgetter("__name__")), ids=attrgetter("__name__"))
def test_hostile_objects_end_in_time(seeds: dict[str, Seed], worker: Worker, hostile: Mutation, name: str) -> None:
    seed, r = seeds[name], Random(5)
    files = tuple(hostile(file, r) for file in seed.files)
    verdict = worker.judge(Case(files, seed.source))
    assert not verdict.is_finding, f"{verdict.name}\n{verdict.detail}"


def test_the_same_seed_gives_the_same_inputs(seeds: dict[str, Seed]) -> None:
    once, again = (tuple(one.case.files for one in inputs(seeds, seed=3, count=20)) for _ in range(2))
    assert once == again
    assert once != tuple(one.case.files for one in inputs(seeds, seed=4, count=20))


class _Dying(Worker):
    """Runs a program of the test's instead of the worker's."""

    def __init__(self, program: str) -> None:
        super().__init__()
        self._command = (sys.executable, "-c", program)


@pytest.mark.parametrize(
    ("program", "verdict"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "FINDING crash -11"),
        ("while True: pass", "FINDING hang"),
    ],
)
def test_a_worker_that_dies_or_hangs_is_a_finding(monkeypatch: pytest.MonkeyPatch, program: str, verdict: str) -> None:
    monkeypatch.setattr(fuzz_runner, "HANG_SECONDS", 1.0)
    worker = _Dying(program)
    assert worker.judge(Case((b"",))).name == verdict
    worker.close()


@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (InvalidObject("instance 1.2", "it is damaged", "Send it again."), "named invalid-object"),
        (InvalidObject(f"instance {CANARIES[0]}", "it is damaged", "Send it again."), "FINDING patient in error"),
        (KeyError("x"), "FINDING KeyError"),
        (MemoryError(), "FINDING MemoryError"),
        (UserWarning("x"), "FINDING warning UserWarning"),
    ],
)
def test_verdicts(monkeypatch: pytest.MonkeyPatch, raised: Exception, verdict: str) -> None:
    def call() -> None:
        if isinstance(raised, Warning):
            warnings.warn(raised, stacklevel=1)
            return
        raise raised

    monkeypatch.setattr(fuzz_worker, "_calls", lambda _case: [call])
    assert fuzz_worker.judge(Case((b"",)), CANARIES).name == verdict


def test_a_patient_in_the_log_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_worker, "_calls", lambda _case: [lambda: logging.getLogger("any").warning("of %s", CANARIES[1])])
    assert fuzz_worker.judge(Case((b"",)), CANARIES).name == "FINDING patient in log"


def test_a_finding_is_saved_and_loaded(tmp_path: Path) -> None:
    one = Input("seg/x-1-2", "SEG", Case((b"ab", b"c"), (b"d",)), ("drop",))
    assert load(save(one, Verdict("FINDING hang", ""), tmp_path)).case == one.case
