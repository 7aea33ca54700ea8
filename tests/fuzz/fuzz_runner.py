"""Mutated inputs to everything that reads DICOM: a right answer or a named error, in five seconds a call and bounded memory.

usage: ./run fuzz [--count N] [--seed S] [--kind NAME ...] [--workers N] [--findings FOLDER]
       ./run fuzz --reproduce FILE

Each input follows from the seed and its number alone. Findings are saved as files that ``--reproduce`` runs again; one that is
mended moves to ``tests/fuzz/regressions``, where the tests run it for ever.
"""

from __future__ import annotations

import argparse
import functools
import io
import json
import os
import random
import selectors
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "fuzz")]

from fuzz_corpus import CANARIES, Seed, corpus  # noqa: E402 - found through the line above
from fuzz_mutations import mutated  # noqa: E402
from fuzz_worker import MEMORY_BYTES, Case, Verdict, read_message, write_message  # noqa: E402
from pydicom.filereader import read_dataset  # noqa: E402

SECONDS = 5.0
"""Most processor time that one call of the product may take with an input; this and the next two times :func:`slowness`."""
HANG_SECONDS = 15.0
"""Longest wait for all calls; only a worker that had that much processor time hangs, others share a busy machine."""
PATIENCE_SECONDS = 60.0
"""Longest wait on a busy machine."""
ITEM_SECONDS = 12e-6
"""What pydicom takes for an item of a sequence on the machine of these limits and of those in ``dicom_io/limits.py``."""
EDITION = 2
"""Goes into the random numbers; count it up when mutations change, so that old findings are not looked for under old seeds."""


@functools.cache
def slowness() -> float:
    """How many times as long as there an item takes here, at least 1; the best of three, as others may use the machine."""
    count = 20_000
    items = struct.pack("<HH2sHI", 0x0008, 0x1115, b"SQ", 0, 8 * count) + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * count
    taken = []
    for _ in range(3):
        began = time.process_time()
        read = read_dataset(io.BytesIO(items), is_implicit_VR=False, is_little_endian=True)
        assert len(read.ReferencedSeriesSequence) == count
        taken.append(time.process_time() - began)
    return max(1.0, min(taken) / count / ITEM_SECONDS)


@dataclass(frozen=True, eq=False)
class Input:
    """One mutated input and where it comes from."""

    name: str
    kind: str
    case: Case
    mutations: tuple[str, ...]


class Worker:
    """A process that judges inputs; started again when one has ended it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._command = (sys.executable, str(Path(__file__).with_name("fuzz_worker.py")))
        self._errors: IO[bytes] | None = None

    def judge(self, case: Case) -> Verdict:
        process = self._running()
        began, used = time.monotonic(), _processor_seconds(process.pid)
        try:
            assert process.stdin is not None
            write_message(process.stdin, (case, CANARIES))
            if not self._answers_in_time(process, began, used):
                self.close()
                return Verdict("FINDING hang", "no answer in time", time.monotonic() - began)
            assert process.stdout is not None
            verdict = read_message(process.stdout)
        except (EOFError, BrokenPipeError):
            status, written = process.wait(), self._written()
            self.close()
            return Verdict(f"FINDING crash {status}", written[-2000:], time.monotonic() - began)
        assert isinstance(verdict, Verdict)
        if any(canary in self._written() for canary in CANARIES):
            self.close()
            return Verdict("FINDING patient in output", "", verdict.seconds, verdict.peak_bytes)
        if verdict.seconds > SECONDS * slowness() and not verdict.is_finding:
            return Verdict("FINDING slow", verdict.detail, verdict.seconds, verdict.peak_bytes)
        return verdict

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
        if self._errors is not None:
            self._errors.close()
            self._errors = None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
            self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        return self._process

    def _written(self) -> str:
        assert self._errors is not None
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def _answers_in_time(self, process: subprocess.Popen[bytes], began: float, used: float) -> bool:
        hang, patience = HANG_SECONDS * slowness(), PATIENCE_SECONDS * slowness()
        with selectors.DefaultSelector() as selector:
            assert process.stdout is not None
            selector.register(process.stdout, selectors.EVENT_READ)
            while not selector.select(timeout=1.0):
                waited = time.monotonic() - began
                if waited > patience or (waited > hang and _processor_seconds(process.pid) - used > 0.9 * hang):
                    return False
        return True


def _processor_seconds(pid: int) -> float:
    """User and system time of a process so far (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def inputs(seeds: dict[str, Seed], seed: int, count: int, first: int = 0) -> Iterator[Input]:
    """Inputs ``first`` to ``first + count - 1`` of a seed; every corpus entry comes equally often."""
    names = sorted(seeds)
    for number in range(first, first + count):
        r = random.Random(f"{EDITION}/{seed}/{number}")
        name = names[number % len(names)]
        damaged, mutations = mutated(seeds[name], r)
        yield Input(f"{name}-{seed}-{number}", damaged.kind, Case(damaged.files, damaged.source), mutations)


def save(one: Input, verdict: Verdict, folder: Path) -> Path:
    """A finding as a file that holds all that reproduces it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{one.name.replace('/', '_')}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part, files in (("file", one.case.files), ("source", one.case.source)):
            for index, file in enumerate(files):
                archive.writestr(zipfile.ZipInfo(f"{part}-{index:03}.dcm"), file, zipfile.ZIP_DEFLATED)
        told = {
            "name": one.name,
            "kind": one.kind,
            "mutations": one.mutations,
            "verdict": verdict.name,
        }
        archive.writestr(zipfile.ZipInfo("case.json"), json.dumps(told, indent=1))
    return path


def load(path: Path) -> Input:
    with zipfile.ZipFile(path) as archive:
        told = json.loads(archive.read("case.json"))
        files, source = (
            tuple(archive.read(name) for name in sorted(archive.namelist()) if name.startswith(part))
            for part in ("file", "source")
        )
    return Input(told["name"], told["kind"], Case(files, source), tuple(told["mutations"]))


@dataclass
class Tally:
    """What the run came to."""

    by_kind: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    largest: tuple[int, str] = (0, "")

    def add(self, one: Input, verdict: Verdict, saved: Path | None) -> None:
        self.by_kind[one.kind, verdict.name] += 1
        self.slowest = max(self.slowest, (verdict.seconds, one.name))
        self.largest = max(self.largest, (verdict.peak_bytes, one.name))
        if saved:
            self.findings.append(f"{verdict.name}: {saved} ({', '.join(one.mutations)})")

    def progress(self, seconds: float) -> str:
        count = sum(self.by_kind.values())
        return f"{count} inputs, {count / seconds:.0f}/s, {len(self.findings)} findings"

    def table(self) -> str:
        kinds, names = sorted({kind for kind, _ in self.by_kind}), sorted({name for _, name in self.by_kind})
        lines = ["| verdict | " + " | ".join(kinds) + " | all |", "|---" * (len(kinds) + 2) + "|"]
        for name in names:
            counts = [self.by_kind[kind, name] for kind in kinds]
            lines.append("| " + " | ".join([name, *map(str, counts), str(sum(counts))]) + " |")
        lines.append(f"slowest input: {self.slowest[0]:.2f} s of processor time ({self.slowest[1]})")
        lines.append(
            f"peak memory: {self.largest[0] / 2**20:.0f} MiB ({self.largest[1]}); bound {MEMORY_BYTES / 2**20:.0f} MiB"
        )
        return "\n".join(lines)


def run(every: Iterator[Input], workers: int, findings: Path, *, progress: bool = True) -> Tally:
    """Judges all inputs, as many at a time as there are workers."""
    tally, pool = Tally(), [Worker() for _ in range(workers)]
    began = shown = time.monotonic()

    def judged(worker: Worker, one: Input) -> tuple[Worker, Input, Verdict]:
        return worker, one, worker.judge(one.case)

    with ThreadPoolExecutor(workers) as threads:
        running = {threads.submit(judged, worker, one) for worker, one in zip(pool, every, strict=False)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for worker, one, verdict in (future.result() for future in done):
                if (following := next(every, None)) is not None:
                    running.add(threads.submit(judged, worker, following))
                tally.add(one, verdict, save(one, verdict, findings) if verdict.is_finding else None)
            if progress and time.monotonic() - shown > 2:
                shown = time.monotonic()
                print(f"\r{tally.progress(shown - began)} ", end="", file=sys.stderr)  # noqa: T201
    for worker in pool:
        worker.close()
    return tally


def data_folder() -> Path:
    return Path(os.environ.get("PACS_APPRENTICE_DATA", ROOT.parent / "shared" / "data"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kind", action="append", help="part of the name of a corpus entry; may be repeated")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--findings", type=Path, default=ROOT / "fuzz-findings")
    parser.add_argument("--reproduce", type=Path)
    options = parser.parse_args()
    if options.reproduce:
        one = load(options.reproduce)
        worker = Worker()
        verdict = worker.judge(one.case)
        worker.close()
        print(f"{one.name} ({', '.join(one.mutations)})\n{verdict.name}, {verdict.seconds:.2f} s\n{verdict.detail}")  # noqa: T201
        return int(verdict.is_finding)
    seeds = corpus(data_folder())
    if options.kind:
        seeds = {name: seed for name, seed in seeds.items() if any(part in name for part in options.kind)}
    tally = run(inputs(seeds, options.seed, options.count), options.workers, options.findings)
    print(f"\n{options.count} inputs of seed {options.seed} from {len(seeds)} corpus entries\n\n{tally.table()}")  # noqa: T201
    for line in tally.findings:
        print(line)  # noqa: T201
    return int(bool(tally.findings))


if __name__ == "__main__":
    raise SystemExit(main())
