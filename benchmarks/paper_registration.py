"""The paper's front end beside ours: the same cases, the same drawn slices, one thread each, in one run.

    python benchmarks/paper_registration.py [--data FOLDER] [--cases N] [--drawn K ...] [--python PYTHON]

The paper (arXiv 2312.06072) registers the nearest drawn slice to each other slice by SyN and warps its mask. antspyx cannot be
installed beside this project's packages, so it runs in an environment of its own: that of ``--python``, or one that is made in
``.cache/`` of the project the first time, for which a package index is needed. ``FOLDER`` as for ``propagation.py``.

The reader draws perfectly, on the middles of K equal parts of the object, and states the object's extents: outside of these
every method is empty. Dice of the whole object and CPU seconds are means over the cases, which come from the part of the data
that methods were chosen on.
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
from propagation import BENCHES, DEFAULT_DATA, Bench, load

from dicom_io.annotation import PlaneKind, SparseAnnotation
from learner.evaluation.folders import LabelledCase
from learner.evaluation.metrics import dice
from learner.evaluation.simulated_reader import SimulatedReader
from learner.propagation import make_propagator

ROOT = Path(__file__).resolve().parents[1]
WORKER = Path(__file__).with_name("paper_registration_worker.py")
ANTSPYX = "antspyx==0.6.3"
OURS = ("nearest-copy", "shape-interpolation", "chained-flow")


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


def compare(bench: Bench, cases: list[LabelledCase], count: int, python: Path) -> None:
    """Prints one block of the table."""
    rows: dict[str, list[Row]] = {name: [] for name in ("syn", *OURS)}
    for case in cases:
        annotation = drawn(case, count)
        rows["syn"].append(by_syn(case, annotation, python))
        for name in OURS:
            rows[name].append(by_ours(case, annotation, name))
    print(f"\n{bench.name}, axis {bench.axis}, n={len(cases)}, k={count}, extents stated")
    slowest = np.mean([row.seconds for row in rows["syn"]])
    for name, values in rows.items():
        seconds = np.mean([row.seconds for row in values])
        better = sum(row.dice > own.dice for row, own in zip(values, rows["syn"], strict=True))
        print(
            f"  {name:20s} Dice {np.mean([row.dice for row in values]):.4f}  better than syn in {better:2d}"
            f"  {seconds:7.3f} CPU s a volume  syn takes {slowest / seconds:6.1f} times as long",
            flush=True,
        )


def main() -> None:
    """Compares on the first bench of each data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--drawn", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--python", type=Path, help="an environment that has antspyx")
    options = parser.parse_args()
    python = options.python or environment()
    cv2.setNumThreads(1)
    for bench in {bench.name: bench for bench in reversed(BENCHES)}.values():
        cases = load(bench, options.data, options.cases)
        for count in options.drawn:
            compare(bench, cases, count, python)


if __name__ == "__main__":
    main()
