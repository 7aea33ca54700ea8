"""Dice of what is carried from the same patient's other study, against copying it in place and against drawing three slices.

    python benchmarks/prior_study.py [--data FOLDER] [--patients 8]

``heads``: variations of one head that Debian's ``mricron-data`` holds, as the demo plays them (deformed by 3 to 4 mm, tilted,
other contrast, other slices), each carried to the next; and the same with the prior study lying 40-60 mm off and turned by 5
to 15 degrees. ``acdc``: end diastole to end systole of a patient (``FOLDER/acdc``): thick slices, and a heart that contracts,
which is harder than two visits. ``acdc, other patient``: end diastole to that of the next patient; no such case arises, and
it shows what the agreement tells.

Rows: ``in place`` is the prior study's truth at the same position; ``carried`` is the proxy mask; ``3 drawn`` is chained flow
from three slices of today's truth; ``3 drawn + carried`` is the mean of both proxies by their confidence, exact on what is
drawn. Means are over the pairs that were carried.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from dicom_io.annotation import SparseAnnotation
from dicom_io.geometry import Geometry
from learner.demo.cases import SCRIPT
from learner.demo.data import COLIN, load_head
from learner.demo.variations import vary
from learner.domain.prior import CarriedPrior, PriorStudy
from learner.domain.proxy import ProxyMask, imprint
from learner.evaluation.folders import LabelledFolders
from learner.evaluation.metrics import dice
from learner.evaluation.simulated_reader import SimulatedReader
from learner.propagation import ChainedFlow
from learner.propagation.prior_study import StudyRegistration
from learner.propagation.registration import as_array, as_image, onto

DEFAULT_DATA = Path(os.environ.get("PACS_APPRENTICE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
DRAWN = 3


@dataclass(frozen=True, eq=False)
class Study:
    """One study with its truth."""

    name: str
    image_DHW: np.ndarray
    labels_DHW: np.ndarray
    geometry: Geometry


Pair = tuple[Study, Study]


def heads(cache: Path) -> Iterator[tuple[str, Pair]]:
    """Each variation of the head to the next; then the same with the prior study lying differently."""
    head = load_head(COLIN, cache)
    scans = [vary(head, variation) for source, variation in SCRIPT if source is COLIN]
    studies = [Study(s.name, s.voxels_DHW.astype(np.float32), s.truth_DHW, s.geometry) for s in scans]
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_euler("xyz", (10, -5, 15), degrees=True).as_matrix()
    moved[:3, 3] = (40, -30, 60)
    pairs = list(zip(studies, studies[1:] + studies[:1], strict=True))
    for prior, today in pairs:
        yield "heads", (prior, today)
    for prior, today in pairs:
        place = Geometry(prior.geometry.shape, moved @ prior.geometry.affine, "1.2.3")
        yield "heads, lying differently", (Study(prior.name, prior.image_DHW, prior.labels_DHW, place), today)


def hearts(data: Path, patients: int) -> Iterator[tuple[str, Pair]]:
    """End diastole to end systole; then to that of the next patient."""
    folders = LabelledFolders(data / "acdc" / "images", data / "acdc" / "labels")
    names = sorted(folders.names())[: 2 * patients]
    studies = []
    for name in names:
        case = folders.load(name)
        affine = np.eye(4)
        affine[:3, :3] = np.diag(case.spacing_DHW[::-1])[:, ::-1]  # slice, row, column to z, y, x
        studies.append(Study(name, case.image_DHW, case.labels_DHW, Geometry(case.image_DHW.shape, affine, "1.2.3")))
    pairs = list(zip(studies[::2], studies[1::2], strict=True))
    for pair in pairs:
        yield "acdc", pair
    for (prior, _), (today, _) in itertools.pairwise(pairs):
        yield "acdc, other patient", (prior, today)


def drawn(today: Study, *, stated: bool) -> tuple[SparseAnnotation, ProxyMask]:
    """Three slices, and what chained flow makes of them."""
    reader = SimulatedReader(today.labels_DHW, int(today.labels_DHW.max()))
    if stated:
        reader.state_extents()
    reader.draw(reader.choose(DRAWN, None))
    annotation = reader.annotation()
    assert annotation is not None
    return annotation, ChainedFlow().propagate(today.image_DHW, today.geometry.spacing_DHW, annotation)


def mean_of(annotation: SparseAnnotation, proxy: ProxyMask, prior: ProxyMask) -> np.ndarray:
    """Labels of both proxies by their confidence, exact on what is drawn."""
    share = prior.confidence_DHW / np.maximum(prior.confidence_DHW + proxy.confidence_DHW, 1e-6)
    return imprint(proxy.soft_CDHW + share * (prior.soft_CDHW - proxy.soft_CDHW), annotation).argmax(axis=0).astype(np.uint8)


def calibration(proxy: ProxyMask, truth_DHW: np.ndarray) -> tuple[float, float]:
    """Mean largest probability near contours, and the share of right labels there."""
    near = (proxy.soft_CDHW[0] < 0.95) & (proxy.soft_CDHW.max(axis=0) < 0.95)
    return float(proxy.soft_CDHW.max(axis=0)[near].mean()), float((proxy.labels_DHW == truth_DHW)[near].mean())


def measure(pair: Pair) -> tuple[dict[str, np.ndarray], CarriedPrior, float]:
    """Dice per label of each row, what was carried, and the CPU seconds that took."""
    prior, today = pair
    count = int(today.labels_DHW.max())
    began = time.process_time()
    study = PriorStudy(prior.image_DHW, prior.geometry, prior.labels_DHW, (), 1, "1.2.3")
    found = StudyRegistration().carry(study, today.image_DHW, today.geometry, count)
    seconds = time.process_time() - began
    grid = as_image(today.image_DHW, today.geometry)
    parts = [as_array(onto(as_image(prior.labels_DHW == n, prior.geometry), grid)) for n in range(1, count + 1)]
    inside = np.stack([1.0 - np.sum(parts, axis=0), *parts])
    rows = {"in place": inside.argmax(axis=0).astype(np.uint8)}
    if found.proxy is not None:
        rows["carried"] = found.proxy.labels_DHW
    for stated in (False, True):
        annotation, proxy = drawn(today, stated=stated)
        ends = "ends stated" if stated else "ends not stated"
        rows[f"{DRAWN} drawn, {ends}"] = proxy.labels_DHW
        if found.proxy is not None:
            rows[f"{DRAWN} drawn + carried, {ends}"] = mean_of(annotation, proxy, found.proxy)
    return {row: np.array(list(dice(a, today.labels_DHW, count).values())) for row, a in rows.items()}, found, seconds


def main() -> None:
    """Prints a table for each group of pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--cache", type=Path, default=Path(".cache/demo-data"))
    parser.add_argument("--patients", type=int, default=8)
    options = parser.parse_args()
    groups: dict[str, list[tuple[dict[str, np.ndarray], CarriedPrior, float]]] = {}
    calibrated: dict[str, list[tuple[float, float]]] = {}
    for group, pair in [*heads(options.cache), *hearts(options.data, options.patients)]:
        measured = measure(pair)
        groups.setdefault(group, []).append(measured)
        if measured[1].proxy is not None:
            calibrated.setdefault(group, []).append(calibration(measured[1].proxy, pair[1].labels_DHW))
    for group, found in groups.items():
        carried = [one for one in found if one[1].proxy is not None]
        seconds = [one[2] for one in found]
        print(f"\n{group}: {len(carried)} of {len(found)} carried; {np.mean(seconds):.1f} s CPU, {max(seconds):.1f} at most")
        print(f"  agreement of each: {' '.join(f'{one[1].agreement:.2f}' for one in found)}")
        if not carried:
            continue
        for row in carried[0][0]:
            print(f"  {row:32s} {'/'.join(f'{v:.3f}' for v in np.mean([one[0][row] for one in carried], axis=0))}")
        sure, right = np.mean(calibrated[group], axis=0)
        print(f"  near contours: probability {sure:.2f}, right {right:.2f}")


if __name__ == "__main__":
    main()
