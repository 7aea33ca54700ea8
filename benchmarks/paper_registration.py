"""The paper's front end beside ours: the same cases, the same drawn slices, one thread each, in one run.

    python benchmarks/paper_registration.py [--data FOLDER] [--cases N] [--drawn K ...] [--python PYTHON] [--results FOLDER]

The paper (arXiv 2312.06072) registers the nearest drawn slice to each other slice by SyN and warps its mask. antspyx cannot be
installed beside this project's packages, so it runs in an environment of its own: that of ``--python``, or one that is made in
``.cache/`` of the project the first time, for which a package index is needed. ``FOLDER`` as for ``propagation.py``.

The reader draws perfectly, on the middles of K equal parts of the object, and states the object's extents: outside of these
every method is empty. Dice of the whole object and CPU seconds are means over the cases, on which no method was chosen. With
``--results`` the table becomes part of ``RESULTS.md``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from propagation import BENCHES, DEFAULT_DATA, load
from study.table import Figure, Table

from dicom_io.annotation import PlaneKind, SparseAnnotation
from learner.evaluation.folders import LabelledCase
from learner.evaluation.metrics import dice
from learner.evaluation.simulated_reader import SimulatedReader
from learner.propagation import make_propagator

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("paper_registration_worker.py")
ANTSPYX = "antspyx==0.6.3"
DEFAULT = "chained-flow"
OURS = ("nearest-copy", "shape-interpolation", DEFAULT)


@dataclass(frozen=True)
class Row:
    """One case by one method.

    Attributes:
        dice: of the whole object.
        seconds: of CPU.
    """

    dice: float
    seconds: float


def environment() -> Path:
    """The Python of an environment with antspyx, made if it is not there."""
    folder = ROOT / ".cache" / "paper-registration"
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making an environment with {ANTSPYX} in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", ANTSPYX], check=True)
    return python


def drawn(case: LabelledCase, count: int) -> SparseAnnotation:
    """What the reader shows of a case."""
    reader = SimulatedReader(case.labels_DHW, int(case.labels_DHW.max()))
    reader.state_extents()
    reader.draw(reader.choose(count, None))
    annotation = reader.annotation()
    assert annotation is not None
    return annotation


def overlap(found_DHW: np.ndarray, case: LabelledCase) -> float:
    """Dice of the whole object."""
    return dice((found_DHW > 0).astype(np.uint8), (case.labels_DHW > 0).astype(np.uint8), 1)[1]


def by_syn(case: LabelledCase, annotation: SparseAnnotation, python: Path) -> Row:
    """The paper's front end, in its own process."""
    slices = annotation.planes_of(PlaneKind.DRAWN)
    extent = np.flatnonzero((case.labels_DHW > 0).any(axis=(1, 2)))
    others = [i for i in range(extent[0], extent[-1] + 1) if i not in slices]
    nearest = [min(slices, key=lambda drawn, i=i: abs(drawn - i)) for i in others]  # type: ignore[misc]  # mypy sees no default
    mask_DHW = annotation.labels_DHW > 0
    found_DHW = mask_DHW.copy()
    with tempfile.TemporaryDirectory() as folder:
        pairs, result = Path(folder, "pairs.npz"), Path(folder, "result.npz")
        np.savez(pairs, fixed=case.image_DHW[others], moving=case.image_DHW[nearest], mask=mask_DHW[nearest])
        one_thread = {"ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1", "OMP_NUM_THREADS": "1", "PATH": os.environ.get("PATH", "")}
        subprocess.run([python, WORKER, pairs, result], check=True, env=one_thread)
        with np.load(result) as values:
            found_DHW[others] = values["warped"] > 0.5
            return Row(overlap(found_DHW, case), float(values["seconds"]))


def by_ours(case: LabelledCase, annotation: SparseAnnotation, name: str) -> Row:
    """One of our propagators, which has seen nothing before."""
    propagator = make_propagator(name)
    began = time.process_time()
    proxy = propagator.propagate(case.image_DHW, case.spacing_DHW, annotation)
    return Row(overlap(proxy.labels_DHW, case), time.process_time() - began)


def compare(cases: list[LabelledCase], count: int, python: Path) -> dict[str, list[Row]]:
    """All methods on all cases."""
    rows: dict[str, list[Row]] = {name: [] for name in ("syn", *OURS)}
    for case in cases:
        annotation = drawn(case, count)
        rows["syn"].append(by_syn(case, annotation, python))
        for name in OURS:
            rows[name].append(by_ours(case, annotation, name))
        print(f"{case.name}: {', '.join(f'{name} {values[-1].dice:.3f}' for name, values in rows.items())}", file=sys.stderr)
    return rows


def lines(where: str, rows: dict[str, list[Row]]) -> tuple[list[tuple[str, ...]], list[Figure]]:
    """A block of the table, and how the default stands beside the paper's method."""
    syn_seconds = float(np.mean([row.seconds for row in rows["syn"]]))
    cells, goals = [], []
    for name, values in rows.items():
        mean, seconds = (float(np.mean([getattr(row, what) for row in values])) for what in ("dice", "seconds"))
        better = sum(row.dice > own.dice for row, own in zip(values, rows["syn"], strict=True))
        against = "" if name == "syn" else f"{better} of {len(values)}"
        times = syn_seconds / seconds
        cells.append((where, name, f"{mean:.3f}", against, f"{seconds:.2f}", "" if name == "syn" else f"{times:.0f}"))
        if name == DEFAULT:
            syn_dice = float(np.mean([row.dice for row in rows["syn"]]))
            value = f"{mean:.3f} against {syn_dice:.3f}"
            goals.append(Figure("propagation against the paper's SyN, Dice", "higher", value, mean > syn_dice, where))
            goals.append(Figure("the same, CPU time", ">= 20 times faster", f"{times:.0f} times", times >= 20, where))
    return cells, goals


def main() -> None:
    """Compares on the first bench of each data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--drawn", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--python", type=Path, help="an environment that has antspyx")
    parser.add_argument("--results", type=Path, help="folder of the tables")
    options = parser.parse_args()
    python = options.python or environment()
    cv2.setNumThreads(1)
    cells, goals = [], []
    for bench in {bench.name: bench for bench in reversed(BENCHES)}.values():
        cases = load(bench, options.data, options.cases, held_out=True)
        for count in options.drawn:
            where = f"{bench.name}, axis {bench.axis}, {count} slices, ends stated, {len(cases)} cases"
            block, figures = lines(where, compare(cases, count, python))
            cells, goals = cells + block, goals + figures
    command = f"./run bench paper_registration --cases {options.cases} --drawn {' '.join(map(str, options.drawn))}"
    columns = ("data", "method", "Dice of the whole object", "better than syn", "CPU s a volume", "times as fast")
    notes = ("Cases on which no method was chosen; one thread each, nothing remembered from case to case.",)
    table = Table("Propagation against the paper's registration", columns, tuple(cells), tuple(goals), notes, command, rank=5)
    print(table.markdown())
    if options.results is not None:
        table.write(options.results, "paper-registration")


if __name__ == "__main__":
    main()
