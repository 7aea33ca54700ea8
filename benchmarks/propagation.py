"""Dice of the proxy mask by number of drawn slices, for each propagator; and the calibration of its soft labels.

    python benchmarks/propagation.py [--data FOLDER] [--calibrate]

``FOLDER`` holds ``hippocampus`` and ``promise12``, each with ``images`` and ``labels`` (NIfTI). The reader draws perfectly, on
the middles of k equal parts of the object, which asks that a reader knows its extents; these are stated, or not.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from learner.domain.proxy import ProxyMask
from learner.evaluation.folders import LabelledCase, LabelledFolders
from learner.evaluation.metrics import dice
from learner.evaluation.simulated_reader import SimulatedReader
from learner.ports import Propagator
from learner.propagation import ChainedFlow, propagators
from learner.propagation.confidence import ErrorModel

DEFAULT_DATA = Path(os.environ.get("PACS_APPRENTICE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Bench:
    """One data set.

    Attributes:
        name: folder.
        axis: slice axis of its NIfTI files.
        cases: how many, evenly taken from all.
        drawn: numbers of drawn slices.
    """

    name: str
    axis: int
    cases: int
    drawn: tuple[int, ...]


BENCHES = (Bench("hippocampus", 1, 20, (3, 5, 9)), Bench("hippocampus", 2, 20, (4, 6)), Bench("promise12", 2, 10, (1, 3, 5, 7)))


def load(bench: Bench, data: Path) -> list[LabelledCase]:
    """The cases of a bench."""
    folders = LabelledFolders(data / bench.name / "images", data / bench.name / "labels", bench.axis)
    names = folders.names()
    return [folders.load(names[i * len(names) // bench.cases]) for i in range(bench.cases)]


def propagate(case: LabelledCase, propagator: Propagator, drawn: int, *, stated: bool) -> ProxyMask:
    """The proxy mask from ``drawn`` slices."""
    reader = SimulatedReader(case.labels_DHW, int(case.labels_DHW.max()))
    if stated:
        reader.state_extents()
    reader.draw(reader.choose(drawn, None))
    annotation = reader.annotation()
    assert annotation is not None
    return propagator.propagate(case.image_DHW, case.spacing_DHW, annotation)


def figures(cases: list[LabelledCase], propagator: Propagator, drawn: int, *, stated: bool) -> str:
    """Mean Dice of the whole object, then per label."""
    rows = []
    for case in cases:
        labels_DHW = propagate(case, propagator, drawn, stated=stated).labels_DHW
        parts = dice(labels_DHW, case.labels_DHW, int(case.labels_DHW.max()))
        whole = dice((labels_DHW > 0).astype(np.uint8), (case.labels_DHW > 0).astype(np.uint8), 1)
        rows.append([whole[1], *parts.values()] if len(parts) > 1 else [whole[1]])
    return "/".join(f"{value:.3f}" for value in np.mean(rows, axis=0))


def table(benches: list[tuple[Bench, list[LabelledCase]]]) -> None:
    """Prints Dice and seconds a volume for each propagator."""
    for bench, cases in benches:
        print(f"\n{bench.name}, axis {bench.axis}, n={len(cases)}; Dice of the whole object/each label")
        for stated in (True, False):
            for name, make in propagators().items():
                began = time.perf_counter()
                cells = [f"k={k} {figures(cases, make(), k, stated=stated)}" for k in bench.drawn]
                seconds = (time.perf_counter() - began) / len(cases) / len(bench.drawn)
                extents = "stated " if stated else "unknown"
                print(f"  extents {extents} {name:20s} {'  '.join(cells)}  {seconds:.2f} s")


def likelihood(cases: list[LabelledCase], error: ErrorModel, drawn: int) -> float:
    """Negative log likelihood of the truth per object voxel."""
    values = []
    for case in cases:
        soft_CDHW = propagate(case, ChainedFlow(error=error), drawn, stated=True).soft_CDHW
        chosen = np.take_along_axis(soft_CDHW, case.labels_DHW[None].astype(np.intp), axis=0)
        values.append(-np.log(np.maximum(chosen, 1e-6)).sum() / np.count_nonzero(case.labels_DHW))
    return float(np.mean(values))


def variations(start: ErrorModel) -> Iterator[ErrorModel]:
    """The defaults, then each number halved and doubled."""
    yield start
    for field in ("pixel", "per_mm", "disagreement", "inconsistency"):
        for factor in (0.5, 2.0):
            values = {f: getattr(start, f) for f in ("pixel", "per_mm", "disagreement", "inconsistency")}
            yield ErrorModel(**{**values, field: values[field] * factor})


def calibrate(benches: list[tuple[Bench, list[LabelledCase]]]) -> None:
    """Prints how likely the truth is under the soft labels, around the default error model."""
    print("\nnegative log likelihood per object voxel, extents stated")
    for error in variations(ErrorModel()):
        cells = [f"{b.name}/{b.axis} k={b.drawn[-2]} {likelihood(cases, error, b.drawn[-2]):.4f}" for b, cases in benches]
        print(f"  {error}: {'  '.join(cells)}")


def main() -> None:
    """Prints what the options ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--calibrate", action="store_true")
    options = parser.parse_args()
    benches = [(bench, load(bench, options.data)) for bench in BENCHES]
    what: Callable[[list[tuple[Bench, list[LabelledCase]]]], None] = calibrate if options.calibrate else table
    what(benches)


if __name__ == "__main__":
    main()
