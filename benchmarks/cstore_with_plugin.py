"""Does the plugin slow Orthanc's ingest? C-STORE throughput with and without it, in interleaved runs.

Two real Orthancs run side by side, one with the plugin. Each run sends one new series by C-STORE (dcmtk's
``storescu``, or our own sender) first to one, then to the other, the order alternating. A small HTTP server stands in
for the learner, so that nudges are delivered, as in operation. The figure is the median over the pairs of
(throughput with) / (throughput without). Other work on the machine blurs it; the CPU time that the two Orthancs used an
instance, which the table tells too, is blurred less.

usage: python benchmarks/cstore_with_plugin.py [--runs 9] [--slices 300] [--size 512] [--sender storescu|own] [--out FILE.json]
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx2
import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from rich.console import Console
from rich.table import Table

from dicom_io.pacs.dimse import send
from learner.demo.orthanc import LocalOrthanc, PluginOptions

GOAL = 0.95


@dataclass(frozen=True)
class Run:
    """One series sent to one Orthanc.

    Attributes:
        speed: instances per second.
        cpu_ms: CPU time of Orthanc in ms an instance, whatever it does in the meantime included.
    """

    speed: float
    cpu_ms: float


@dataclass(frozen=True)
class Pair:
    """One run against each of the two."""

    without_plugin: Run
    with_plugin: Run

    @property
    def ratio(self) -> float:
        """Throughput with the plugin over that without."""
        return self.with_plugin.speed / self.without_plugin.speed


class _Learner(BaseHTTPRequestHandler):
    """Answers every message, as a learner that is there."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        pass


@contextmanager
def learner() -> Iterator[str]:
    """Address of a running stand-in of the learner."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Learner) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def make_series(count: int, size: int) -> list[bytes]:
    """A new axial MR series of ``count`` slices of ``size`` x ``size`` pixels of noise, as DICOM Part 10 files."""
    study, series = generate_uid(), generate_uid()
    noise = np.random.default_rng(0).integers(0, 4096, (size, size), np.uint16).tobytes()
    return [_slice(study, series, number, size, noise) for number in range(1, count + 1)]


def _slice(study: str, series: str, number: int, size: int, pixels: bytes) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
    dataset.PatientID, dataset.PatientName, dataset.Modality, dataset.InstanceNumber = "BENCH", "Bench", "MR", number
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness, dataset.Rows, dataset.Columns = [1, 1], 1, size, size
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelData = 16, 12, 11, pixels
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def time_store(node: LocalOrthanc, files: list[bytes], sender: str, folder: Path) -> Run:
    """One series sent to ``node``."""
    for number, file in enumerate(files):
        (folder / f"{number:04}.dcm").write_bytes(file)
    cpu, begin = cpu_seconds(node), time.perf_counter()
    if sender == "own":
        send(files, node.dicom_address)
    else:
        host, port = node.dicom_address
        subprocess.run(
            ["storescu", "--scan-directories", host, str(port), str(folder)],
            check=True,
            env=os.environ | {"TCP_NODELAY": "1"},
            stdout=subprocess.DEVNULL,
        )
    seconds = time.perf_counter() - begin
    return Run(len(files) / seconds, 1000 * (cpu_seconds(node) - cpu) / len(files))


def cpu_seconds(node: LocalOrthanc) -> float:
    """User and system time of its process (proc(5), fields 14 and 15 of stat)."""
    after_name = Path(f"/proc/{node.pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def measure(runs: int, slices: int, size: int, sender: str) -> tuple[list[Pair], dict[str, int]]:
    """The pairs of runs, after one that is not counted, and the plugin's counters."""
    pairs: list[Pair] = []
    with tempfile.TemporaryDirectory() as name, learner() as url:
        folder = Path(name)
        (folder / "send").mkdir()
        plain = LocalOrthanc(folder / "plain", stable_age=1)
        plugged = LocalOrthanc(folder / "plugged", stable_age=1, plugin=PluginOptions(url))
        with plain, plugged:
            for number in range(runs + 1):
                run = {
                    node: time_store(node, make_series(slices, size), sender, folder / "send")
                    for node in ((plain, plugged) if number % 2 else (plugged, plain))
                }
                if number:
                    pairs.append(Pair(run[plain], run[plugged]))
            counters: dict[str, int] = httpx2.get(f"{plugged.url}/apprentice/status", timeout=10).json()["plugin"]
    return pairs, counters


def show(pairs: list[Pair], ratio: float, title: str) -> Table:
    """The pairs and their medians as a table."""
    table = Table("run", "without, 1/s", "with, 1/s", "ratio", "without, CPU ms", "with, CPU ms", title=title)
    for number, pair in enumerate(pairs, start=1):
        one, other = pair.without_plugin, pair.with_plugin
        table.add_row(
            str(number), *(f"{value:.3g}" for value in (one.speed, other.speed, pair.ratio, one.cpu_ms, other.cpu_ms))
        )
    runs = [pair.without_plugin for pair in pairs], [pair.with_plugin for pair in pairs]
    speeds = [statistics.median(run.speed for run in side) for side in runs]
    cpu = [statistics.median(run.cpu_ms for run in side) for side in runs]
    table.add_row("median", *(f"{value:.3g}" for value in (*speeds, ratio, *cpu)), style="bold")
    return table


def main() -> None:
    """Measures, prints a table, and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=9, help="pairs of runs that count")
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512, help="rows and columns of a slice")
    parser.add_argument("--sender", choices=["storescu", "own"], default="storescu" if shutil.which("storescu") else "own")
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    pairs, counters = measure(chosen.runs, chosen.slices, chosen.size, chosen.sender)
    ratio = statistics.median(pair.ratio for pair in pairs)
    Console().print(show(pairs, ratio, f"C-STORE of {chosen.slices} slices of {chosen.size}x{chosen.size} by {chosen.sender}"))
    Console().print(f"goal: a median ratio of {GOAL} or more")
    if chosen.out is not None:
        report = {
            "median_ratio": ratio,
            "goal": GOAL,
            "pairs": [asdict(pair) | {"ratio": pair.ratio} for pair in pairs],
            "settings": {"runs": chosen.runs, "slices": chosen.slices, "size": chosen.size, "sender": chosen.sender},
            "plugin": counters,
            "machine": {"platform": platform.platform(), "cores": os.cpu_count(), "load_after": os.getloadavg()[0]},
        }
        chosen.out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
