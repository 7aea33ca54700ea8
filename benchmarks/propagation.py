"""Dice of the proxy mask by number of drawn slices, for each propagator; and the calibration of its soft labels.

    python benchmarks/propagation.py [--data FOLDER] [--names NAME ...] [--calibrate | --speed | --placements]

``FOLDER`` holds ``hippocampus``, ``promise12`` and ``acdc``, each with ``images`` and ``labels`` (NIfTI). The reader draws
perfectly, on the middles of k equal parts of the object, which asks that a reader knows its extents; these are stated, or not.
Only the first cases of each set are used, so that what is chosen here can be tested on the others. ``--speed`` needs no data:
it measures what is gained by remembering, on phantoms. ``--placements`` states no extents and draws where readers do who do not
spread their slices: on the ends, side by side in the middle, on one half.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dicom_io.annotation import SparseAnnotation
from learner.domain.planes import drawn_planes, without_planes
from learner.domain.proxy import ProxyMask
from learner.evaluation.folders import LabelledCase, LabelledFolders
from learner.evaluation.metrics import dice
from learner.evaluation.simulated_reader import SimulatedReader
from learner.ports import Propagator
from learner.propagation import make_propagator, propagators
from learner.propagation.confidence import ErrorModel
from learner.propagation.methods import chained_flow

DEFAULT_DATA = Path(os.environ.get("PACS_APPRENTICE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))


@dataclass(frozen=True)
class Bench:
    """One data set.

    Attributes:
        name: folder.
        axis: slice axis of its NIfTI files.
        first: how many cases, in the order of their names, methods may be chosen on; the rest is for tests.
        cases: how many of these are taken.
        drawn: numbers of drawn slices.
    """

    name: str
    axis: int
    first: int
    cases: int
    drawn: tuple[int, ...]


BENCHES = (
    Bench("hippocampus", 1, 140, 16, (3, 5, 9)),
    Bench("hippocampus", 2, 140, 16, (3, 5)),
    Bench("promise12", 2, 24, 8, (1, 3, 5, 7)),
)

OF_PLACEMENTS = (
    Bench("hippocampus", 2, 140, 8, (2, 3)),
    Bench("promise12", 2, 24, 12, (2, 3)),
    Bench("acdc", 2, 24, 12, (2, 3)),
)
PLACEMENTS: dict[str, Callable[[int, int], Sequence[float]]] = {
    "spread": lambda count, drawn: [(i + 0.5) * count / drawn for i in range(drawn)],
    "ends": lambda count, drawn: [i * (count - 1) / (drawn - 1) for i in range(drawn)],
    "side by side": lambda count, drawn: [count / 2 + i - drawn / 2 for i in range(drawn)],
    "one half": lambda count, drawn: [(i + 0.5) * count / 2 / drawn for i in range(drawn)],
}
"""Where slices are drawn: from the number of slices that show the object, and of those drawn, to places among the former."""


def load(bench: Bench, data: Path, cases: int, *, held_out: bool = False) -> list[LabelledCase]:
    """So many cases of a bench, evenly taken from its validation part, or from the rest."""
    folders = LabelledFolders(data / bench.name / "images", data / bench.name / "labels", bench.axis)
    names = folders.names()[bench.first :] if held_out else folders.names()[: bench.first]
    return [folders.load(names[i * len(names) // cases]) for i in range(min(cases, len(names)))]


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


def table(benches: list[tuple[Bench, list[LabelledCase]]], names: Sequence[str]) -> None:
    """Prints Dice and seconds a volume for each propagator; each propagation begins with nothing remembered."""
    for bench, cases in benches:
        print(f"\n{bench.name}, axis {bench.axis}, n={len(cases)}; Dice of the whole object/each label")
        for stated in (True, False):
            for name in names:
                began = time.process_time()
                cells = [f"k={k} {figures(cases, make_propagator(name), k, stated=stated)}" for k in bench.drawn]
                seconds = (time.process_time() - began) / len(cases) / len(bench.drawn)
                extents = "stated " if stated else "unknown"
                print(f"  extents {extents} {name:20s} {'  '.join(cells)}  {seconds:.2f} CPU s", flush=True)


def placements(benches: list[tuple[Bench, list[LabelledCase]]], names: Sequence[str]) -> None:
    """Prints Dice, mean over labels, for each placement of slices; extents are not stated."""
    for bench, cases in benches:
        print(f"\n{bench.name}, axis {bench.axis}, n={len(cases)}; Dice, mean of labels, by drawn slices; extents not stated")
        for name in names:
            for placement, places in PLACEMENTS.items():
                cells = [f"k={k} {placed(cases, make_propagator(name), k, places):.3f}" for k in bench.drawn]
                print(f"  {name:20s} {placement:14s} {'  '.join(cells)}", flush=True)


def placed(
    cases: list[LabelledCase], propagator: Propagator, drawn: int, places: Callable[[int, int], Sequence[float]]
) -> float:
    """Mean Dice of all labels and cases with slices drawn at these places."""
    values = []
    for case in cases:
        reader = SimulatedReader(case.labels_DHW, int(case.labels_DHW.max()))
        slices = reader.object_slices
        reader.draw(sorted({slices[min(len(slices) - 1, max(0, int(place)))] for place in places(len(slices), drawn)}))
        annotation = reader.annotation()
        assert annotation is not None
        proxy = propagator.propagate(case.image_DHW, case.spacing_DHW, annotation)
        values.append(np.mean(list(dice(proxy.labels_DHW, case.labels_DHW, annotation.label_count).values())))
    return float(np.mean(values))


def likelihood(cases: list[LabelledCase], error: ErrorModel, drawn: int) -> float:
    """Negative log likelihood of the truth per object voxel."""
    values = []
    for case in cases:
        soft_CDHW = propagate(case, chained_flow(error), drawn, stated=True).soft_CDHW
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


def phantom(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A textured image, float32, with an ellipsoid of one label over most of its slices, uint8; nothing of it at either end."""
    rng = np.random.default_rng(1)
    depth, height, width = shape
    z, y, x = np.ogrid[-1 : 1 : depth * 1j, -1 : 1 : height * 1j, -1 : 1 : width * 1j]
    labels = ((z / 0.8) ** 2 + (y / 0.3) ** 2 + (x / 0.3) ** 2 < 1).astype(np.uint8)
    texture = cv2.GaussianBlur(rng.standard_normal((height, width)).astype(np.float32), (0, 0), 3) * 300
    image = np.empty(shape, dtype=np.float32)
    for index in range(depth):
        image[index] = np.roll(texture, index // 4, axis=1) + 40 * labels[index]
    return image, labels


def speed(names: Sequence[str], shapes: Sequence[tuple[int, int, int]]) -> None:
    """Prints seconds of a first round, of one more slice, and of an answer: all drawn slices, then each half of them."""
    for shape in shapes:
        image, labels = phantom(shape)
        reader = SimulatedReader(labels, 1)
        reader.state_extents()
        reader.draw(reader.choose(4, None))
        first = reader.annotation()
        reader.draw(reader.choose(1, None))
        second = reader.annotation()
        assert first is not None
        assert second is not None
        print(f"\n{shape[1]}x{shape[2]}x{shape[0]}, one label, 4 slices drawn and then one more; CPU s")
        for name in names:
            kept, fresh = make_propagator(name), make_propagator(name)
            times = [timed(kept, image, first), timed(kept, image, second), timed(fresh, image, second)]
            again = sum(timed(kept, image, part) for part in (second, *halves(second)))
            anew = sum(timed(make_propagator(name), image, part) for part in (second, *halves(second)))
            print(
                f"  {name:20s} first round {times[0]:.2f}, second {times[1]:.2f} (fresh {times[2]:.2f}), "
                f"an answer's three {again:.2f} (fresh {anew:.2f})",
                flush=True,
            )


def halves(annotation: SparseAnnotation) -> list[SparseAnnotation]:
    """The annotation without every other drawn slice, and without the rest."""
    drawn = drawn_planes(annotation)
    return [without_planes(annotation, drawn[fold::2]) for fold in (0, 1)]


def timed(propagator: Propagator, image_DHW: np.ndarray, annotation: SparseAnnotation) -> float:
    """CPU seconds of a propagation."""
    began = time.process_time()
    propagator.propagate(image_DHW, (3.0, 0.6, 0.6), annotation)
    return time.process_time() - began


def main() -> None:
    """Prints what the options ask for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--names", nargs="+", default=[name for name in propagators() if name != "syn"])
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--placements", action="store_true")
    parser.add_argument("--shape", type=int, nargs=3, action="append", help="depth, height, width for --speed; may be repeated")
    options = parser.parse_args()
    if options.speed:
        speed(options.names, [tuple(shape) for shape in options.shape or ((24, 320, 320), (300, 512, 512))])
        return
    chosen = OF_PLACEMENTS if options.placements else BENCHES
    benches = [(bench, load(bench, options.data, bench.cases)) for bench in chosen]
    if options.placements:
        placements(benches, options.names)
    elif options.calibrate:
        calibrate(benches)
    else:
        table(benches, options.names)


if __name__ == "__main__":
    main()
