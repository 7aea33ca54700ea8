"""A node under load: new series arrive by C-STORE on eight associations while annotations wait to be answered.

Two real Orthancs run on one machine: one alone, one with plugin and learner. Annotations are stored first, so that they wait;
then the series are sent in blocks, to one and to the other in alternating order, each block by as many ``storescu`` as there
are associations. While the lone Orthanc gets a block, learner and trainer are stopped (SIGSTOP), so that they take nothing of
its machine. The figure is the median of the ratios of blocks that follow each other. Then all annotations are waited for.

What counts: no object dropped, throughput at least 0.9 of that of Orthanc alone, annotations of a task answered in the order of
their arrival, and memory: learner and trainer take no more than their programs, their caches (``answer.image_cache_mb``, and
that of prepared cases) and one answer or one step.

usage: python benchmarks/load.py [--series 50] [--slices 300] [--size 512] [--annotations 40] [--drawn-size 128]
                                 [--associations 8] [--blocks 5] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from cstore_with_plugin import cpu_seconds, make_series
from node_harness import RunningNode, now, phantom, reader, running_node, wait_for
from rich.console import Console
from rich.table import Table

from learner.demo.orthanc import LocalOrthanc

GOAL = 0.9
_CACHE_MB = 128
_PROGRAM_MB, _ONE_ANSWER_MB = 800, 400
"""Python with torch and SimpleITK; what an answer of 300 slices takes besides what is kept (probabilities, DICOM objects)."""
_BOUNDS_MB = {"learner": _PROGRAM_MB + _CACHE_MB + _ONE_ANSWER_MB, "trainer": _PROGRAM_MB + 512}
_ROUNDS_A_SERIES = 4
_TAIL_S = 3600.0


@dataclass(frozen=True)
class Block:
    """One block of series, sent to one Orthanc.

    Attributes:
        speed: instances per second.
        archive_ms: CPU time of Orthanc in ms an instance.
        senders_ms: that of all senders together.
        waiting: annotations that waited when it began, and when it ended.
    """

    speed: float
    archive_ms: float
    senders_ms: float
    waiting: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Result:
    """What was measured.

    Attributes:
        alone: blocks that Orthanc alone took.
        ours: blocks that Orthanc took with plugin and learner.
        dropped: instances that were sent and are not there.
        out_of_order: annotations that were answered before one that came earlier.
        answered: annotations that were answered.
        seconds: from the first block to the last answer.
        peak_mb: most resident memory of learner and trainer in MiB, sampled twice a second.
    """

    alone: Sequence[Block]
    ours: Sequence[Block]
    dropped: int
    out_of_order: int
    answered: int
    seconds: float
    peak_mb: dict[str, float]

    @property
    def ratio(self) -> float:
        """Median of the blocks' ratios of throughput with learner to that without."""
        return statistics.median(ours.speed / alone.speed for ours, alone in zip(self.ours, self.alone, strict=True))


def rss_mb(pid: int) -> float:
    """Resident memory of a process, 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


@contextmanager
def sampled(node: RunningNode, peak_mb: dict[str, float]) -> Iterator[None]:
    """Samples memory meanwhile."""
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(0.5):
            assert node.process is not None
            for name, pid in (("learner", node.process.pid), ("trainer", node.trainer_pid)):
                peak_mb[name] = max(peak_mb.get(name, 0.0), rss_mb(pid))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def stopped(node: RunningNode) -> Iterator[None]:
    """Learner and trainer stand still meanwhile."""
    assert node.process is not None
    pids = [pid for pid in (node.process.pid, node.trainer_pid) if pid]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def send_block(orthanc: LocalOrthanc, folder: Path, series: int, slices: int, size: int, associations: int) -> Block:
    """Makes a block of new series and sends it on so many associations, each with its share of the slices."""
    folders = [folder / f"{number}" for number in range(associations)]
    for one in folders:
        one.mkdir(parents=True)
    files = [file for _ in range(series) for file in make_series(slices, size)]
    for number, file in enumerate(files):
        (folders[number % associations] / f"{number:06}.dcm").write_bytes(file)
    host, port = orthanc.dicom_address
    before, cpu, begin = resource.getrusage(resource.RUSAGE_CHILDREN), cpu_seconds(orthanc), time.perf_counter()
    command = ["storescu", "--scan-directories", host, str(port)]
    environment = os.environ | {"TCP_NODELAY": "1"}
    senders = [subprocess.Popen([*command, str(one)], env=environment, stdout=subprocess.DEVNULL) for one in folders]
    codes = [sender.wait() for sender in senders]
    seconds = time.perf_counter() - begin
    shutil.rmtree(folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert codes == [0] * associations, f"senders ended with {codes}"
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    each = 1000 / len(files)
    return Block(len(files) / seconds, each * (cpu_seconds(orthanc) - cpu), each * used)


def annotate(node: RunningNode, count: int, slices: int, size: int) -> list[bytes]:
    """Series, and drawings on them that all wait at once; one more was answered before, so that everything is loaded."""
    drawings: list[bytes] = []
    for number in range(0, count, _ROUNDS_A_SERIES):
        files, truth_DHW = phantom(slices, size, seed=number + 1, number=number + 1)
        person, middle = reader(node.send(files), truth_DHW), slices // 2
        if not drawings:
            first = person.draw([middle - 1], now())
            node.archive.store(first)
            node.answered(first, timeout_s=300)
        step = max(1, slices // 30)
        turns = range(min(_ROUNDS_A_SERIES, count - number))
        drawings += [person.draw([middle + step * turn, middle - step * (turn + 2)], now()) for turn in turns]
    for drawing in drawings:
        node.archive.store(drawing)
    return drawings


def waiting(node: RunningNode, names: Sequence[str]) -> int:
    """How many annotations have no answer yet."""
    done = {one.trigger_uid for one in node.rounds() if one.state == "answered"}
    return len(set(names) - done)


def measure(chosen: argparse.Namespace, folder: Path) -> Result:
    """Everything, in a folder of its own."""

    def make(**options: Any) -> LocalOrthanc:
        return LocalOrthanc(folder / "ours", credentials={"apprentice": "only-for-tests"}, **options)

    peak_mb: dict[str, float] = {}
    blocks: dict[str, list[Block]] = {"alone": [], "ours": []}
    alone = LocalOrthanc(folder / "alone", credentials={"apprentice": "only-for-tests"})
    with alone, running_node(folder / "node", make, steps=20, answer=f"image_cache_mb = {_CACHE_MB}") as node:
        drawings = annotate(node, chosen.annotations, chosen.slices, chosen.drawn_size)
        names = [node.instance_id(drawing) for drawing in drawings]
        begin = time.monotonic()
        with sampled(node, peak_mb):
            for number in range(chosen.blocks):
                for name in ("alone", "ours") if number % 2 else ("ours", "alone"):
                    blocks[name].append(_one_block(chosen, node, alone, name, folder / "send" / f"{number}-{name}", names))
            wait_for(lambda: not waiting(node, names), "all answers", _TAIL_S)
        seconds = time.monotonic() - begin
        sent = chosen.series // chosen.blocks * chosen.blocks * chosen.slices
        stored = _instances_of_benchmark(node)
        rounds = {one.trigger_uid: one for one in node.rounds()}
        ends = [rounds[name].answered_at for name in names]
        node.orthanc.kill()
    out_of_order = sum(later < earlier for earlier, later in pairwise(ends))
    return Result(blocks["alone"], blocks["ours"], sent - stored, out_of_order, len(ends), seconds, peak_mb)


def _one_block(
    chosen: argparse.Namespace, node: RunningNode, alone: LocalOrthanc, name: str, folder: Path, names: Sequence[str]
) -> Block:
    order = (folder, chosen.series // chosen.blocks, chosen.slices, chosen.size, chosen.associations)
    if name == "alone":
        with stopped(node):
            return send_block(alone, *order)
    before = waiting(node, names)
    block = send_block(node.orthanc, *order)
    return Block(block.speed, block.archive_ms, block.senders_ms, (before, waiting(node, names)))


def _instances_of_benchmark(node: RunningNode) -> int:
    """Instances of the series that were sent in blocks, as the archive has them."""
    query = json.dumps({"Level": "Study", "Query": {"PatientID": "BENCH"}})
    studies = node.orthanc_json("POST", "/tools/find", query)
    return sum(int(node.orthanc_json("GET", f"/studies/{name}/statistics")["CountInstances"]) for name in studies)


def show(result: Result, title: str) -> Table:
    """Blocks and their medians as a table."""
    table = Table("block", "alone, 1/s", "ours, 1/s", "Orthanc, CPU ms", "senders, CPU ms", "waiting", title=title)
    for number, (alone, ours) in enumerate(zip(result.alone, result.ours, strict=True), start=1):
        table.add_row(
            *(str(number), f"{alone.speed:.0f}", f"{ours.speed:.0f}", f"{alone.archive_ms:.2f}, {ours.archive_ms:.2f}"),
            *(f"{alone.senders_ms:.2f}, {ours.senders_ms:.2f}", f"{ours.waiting[0]} to {ours.waiting[1]}"),
        )
    medians = [statistics.median(one.speed for one in side) for side in (result.alone, result.ours)]
    table.add_row("median", *(f"{value:.0f}" for value in medians), style="bold")
    return table


def verdicts(result: Result) -> list[str]:
    """What counts, with its goal, in words."""
    return [
        f"throughput: {result.ratio:.2f} of Orthanc alone (goal: {GOAL} or more)",
        f"instances dropped: {result.dropped} (goal: 0)",
        f"annotations: {result.answered} answered in {result.seconds:.0f} s, {result.out_of_order} out of order (goal: 0)",
        *(f"{name}: {result.peak_mb.get(name, 0):.0f} MiB at most (goal: {most} or less)" for name, most in _BOUNDS_MB.items()),
    ]


def main() -> None:
    """Measures, prints a table, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (
        ("series", 50),
        ("slices", 300),
        ("size", 512),
        ("annotations", 40),
        ("drawn-size", 128),
        ("associations", 8),
        ("blocks", 5),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="load-") as name:
        result = measure(chosen, Path(name))
    slices = f"{chosen.series} series of {chosen.slices} slices of {chosen.size}x{chosen.size}"
    Console().print(show(result, f"{slices} on {chosen.associations} associations, {chosen.annotations} annotations"))
    Console(highlight=False, soft_wrap=True).print("\n".join(verdicts(result)))
    if chosen.out is not None:
        machine = {"platform": platform.platform(), "cores": os.cpu_count(), "load_after": os.getloadavg()[0]}
        settings = {key: value for key, value in vars(chosen).items() if key != "out"}
        content = {"ratio": result.ratio, **asdict(result), "settings": settings, "machine": machine}
        chosen.out.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
