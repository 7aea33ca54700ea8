"""How long each part takes on this machine's device: propagation, a training step, prediction, annotation to answer.

    python benchmarks/gpu.py [--device auto|cpu|cuda] [--repeat N] [--json FILE] [--small]

Phantoms, no patient: an ellipsoid that drifts through noise, 320x320x24 (prostate MR) and 240x240x155 (brain MR). Prints a
Markdown table of medians with the device's name, and writes the same as JSON. Runs on a CPU too, and says so.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.app.answering import answer_case
from learner.domain.example import Example
from learner.memory.replay import ReplayMemory
from learner.model.network import choose_device
from learner.model.settings import TrainingSettings
from learner.model.trainer import OnlineTrainer
from learner.ports import Propagator
from learner.propagation import make_propagator, propagators

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Volume:
    """One kind of data.

    Attributes:
        name: rows x columns x slices.
        shape_DHW: voxels along (slice, row, column).
        spacing_DHW: in mm.
    """

    name: str
    shape_DHW: tuple[int, int, int]
    spacing_DHW: Spacing


VOLUMES = (Volume("320x320x24", (24, 320, 320), (3.6, 0.6, 0.6)), Volume("240x240x155", (155, 240, 240), (1.0, 1.0, 1.0)))
SMALL = (Volume("48x48x12", (12, 48, 48), (3.6, 0.6, 0.6)),)


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        what: what was done.
        volume: on what.
        device: name of the device that computed.
        seconds: median of the repetitions.
        repetitions: how many.
    """

    what: str
    volume: str
    device: str
    seconds: float
    repetitions: int


def device_name(device: torch.device) -> str:
    """What the device calls itself; a CPU with the number of threads."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"CPU, {torch.get_num_threads()} threads"


def phantom(volume: Volume, seed: int, drawn: int = 3) -> Example:
    """A case with its drawing on evenly spaced slices, both ends stated."""
    rng = np.random.default_rng(seed)
    grid = np.indices(volume.shape_DHW, dtype=np.float32)
    sizes = np.array(volume.shape_DHW)
    centre = sizes / 2 + rng.uniform(-0.03, 0.03, 3) * sizes
    drift = 0.05 * sizes[1] * np.sin(3 * grid[0] / sizes[0])
    distance = sum(((grid[axis] - centre[axis] - (drift if axis == 1 else 0)) / (0.3 * sizes[axis])) ** 2 for axis in range(3))
    labels = (distance < 1).astype(np.uint8)
    image = (labels * 100 + rng.normal(300, 20, volume.shape_DHW)).astype(np.float32)
    inside = np.flatnonzero(labels.any(axis=(1, 2)))
    chosen = [int(inside[int((number + 0.5) / drawn * len(inside))]) for number in range(drawn)]
    planes = [Plane(0, index) for index in chosen]
    planes += [Plane(0, int(index), PlaneKind.ABSENT) for index in (inside[0] - 1, inside[-1] + 1)]
    known = np.zeros(volume.shape_DHW, dtype=np.bool_)
    known[[plane.index for plane in planes]] = True
    annotation = SparseAnnotation(np.where(known, labels, 0).astype(np.uint8), known[None], tuple(sorted(planes)))
    proxy = make_propagator("chained-flow").propagate(image, volume.spacing_DHW, annotation)
    return Example(f"phantom{seed}", "bench", 1, image, volume.spacing_DHW, annotation, proxy)


def median_seconds(work: Callable[[], object], repeat: int, device: torch.device) -> float:
    """Median time of a piece of work, after one run to warm up; a GPU is waited for."""

    def timed() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    timed()
    return statistics.median(timed() for _ in range(repeat))


def propagation(example: Example, volume: Volume, repeat: int, device: torch.device) -> list[Row]:
    """Chained flow on the CPU, and the one for GPUs where there is one of that name."""
    rows = []
    for name in ("chained-flow", "torch-flow"):
        if name not in propagators():
            continue
        used = torch.device("cpu") if name == "chained-flow" else device
        propagator = make_propagator(name)

        def work(propagator: Propagator = propagator) -> object:
            return propagator.propagate(example.image_DHW, example.spacing_DHW, example.annotation)

        rows.append(Row(f"propagation, {name}", volume.name, device_name(used), median_seconds(work, repeat, used), repeat))
    return rows


def learning(example: Example, volume: Volume, repeat: int, settings: TrainingSettings, folder: Path) -> list[Row]:
    """A training step, a prediction, and an answer with a network."""
    device = choose_device(settings.device)
    name = "torch-flow" if device.type == "cuda" and "torch-flow" in propagators() else "chained-flow"
    propagator = make_propagator(name)
    trainer = OnlineTrainer({"bench": 1}, settings, ReplayMemory(folder, 2**32))
    trainer.learn(example, 2, lambda: None)
    stamps: list[float] = []

    def stamp() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        stamps.append(time.perf_counter())

    trainer.learn(phantom(volume, 1), 2 * repeat + 3, stamp)
    step = float(statistics.median(np.diff(stamps)[2:]))
    network, image, spacing = trainer.network(), example.image_DHW, example.spacing_DHW
    prediction = median_seconds(lambda: network.predict(image, spacing), repeat, device)
    annotation = example.annotation
    answer = median_seconds(lambda: answer_case(image, spacing, annotation, 1, propagator, network), repeat, device)
    timed = {"training step": step, "prediction": prediction, f"annotation to answer, {name}": answer}
    return [Row(what, volume.name, device_name(device), seconds, repeat) for what, seconds in timed.items()]


def table(rows: list[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| what | volume | device | median, s | n |", "|---|---|---|---|---|"]
    lines += [f"| {row.what} | {row.volume} | {row.device} | {row.seconds:.3f} | {row.repetitions} |" for row in rows]
    return "\n".join(lines)


def run(volumes: tuple[Volume, ...], settings: TrainingSettings, repeat: int) -> list[Row]:
    """All rows."""
    rows: list[Row] = []
    for volume in volumes:
        example = phantom(volume, 0)
        rows += propagation(example, volume, repeat, choose_device(settings.device))
        with tempfile.TemporaryDirectory() as folder:
            rows += learning(example, volume, repeat, settings, Path(folder))
    return rows


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--json", type=Path, help="a file for the same as JSON")
    parser.add_argument("--small", action="store_true", help="one tiny volume, to see that it runs")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    settings = TrainingSettings(first_case_steps=0, threads=options.threads, device=options.device)
    if choose_device(settings.device).type == "cpu":
        print("No GPU is used: all figures are of the CPU.\n")
    rows = run(SMALL if options.small else VOLUMES, settings, options.repeat)
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps({"torch": str(torch.__version__), "rows": [asdict(row) for row in rows]}, indent=1))


if __name__ == "__main__":
    main()
