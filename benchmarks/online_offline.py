"""How well the back end learns from a stream: network Dice on test cases after every few cases.

    python benchmarks/online_offline.py --images DIR --labels DIR [--stream N] [--test M] [--steps S] [--slices K]

Every case comes once, with its whole truth (``--slices 0``), or with K evenly spaced drawn slices and two stated extents
from which the default propagator makes the proxy. Prints one line every few cases and, at the end, one JSON object.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.memory.replay import ReplayMemory
from learner.model.settings import TrainingSettings
from learner.model.trainer import OnlineTrainer
from learner.ports import Network, Propagator
from learner.propagation.chained_flow import ChainedFlow

Case = tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8], tuple[float, float, float]]


class _Truth:
    """Stands where a propagator is asked for and every slice is drawn."""

    name = "truth"

    def propagate(
        self,
        image_DHW: npt.NDArray[np.float32],
        spacing_DHW: tuple[float, float, float],  # noqa: ARG002 - the port's signature
        annotation: SparseAnnotation,
    ) -> ProxyMask:
        soft = one_hot(annotation.labels_DHW, annotation.label_count)
        return ProxyMask(soft, np.ones(image_DHW.shape, dtype=np.float32), self.name)


def load_case(images: Path, labels: Path, name: str, axis: int) -> Case:
    """Image, labels and spacing with the slice axis first."""
    image = nibabel.load(images / name)
    spacing = [float(z) for z in image.header.get_zooms()[:3]]
    order = [axis, *[other for other in (1, 0, 2) if other != axis]]
    voxels = np.asarray(image.dataobj, dtype=np.float32).transpose(order)
    truth = np.asarray(nibabel.load(labels / name).dataobj).astype(np.uint8).transpose(order)
    return np.ascontiguousarray(voxels), np.ascontiguousarray(truth), tuple(spacing[i] for i in order)


def one_hot(labels_DHW: npt.NDArray[np.uint8], count: int) -> npt.NDArray[np.float32]:
    """``(L + 1, D, H, W)`` float32."""
    return np.stack([labels_DHW == number for number in range(count + 1)]).astype(np.float32)


def draw(truth: npt.NDArray[np.uint8], count: int, slices: int) -> SparseAnnotation:
    """Every slice, or ``slices`` evenly spaced interior ones of the object and the empty slices beside it."""
    inside = np.flatnonzero(truth.any(axis=(1, 2)))
    if slices == 0:
        planes = [Plane(0, index) for index in range(len(truth))]
    else:
        places = (np.arange(slices) + 0.5) / slices * len(inside)
        planes = [Plane(0, int(inside[int(place)])) for place in places]
        ends = [i for i in (int(inside[0]) - 1, int(inside[-1]) + 1) if 0 <= i < len(truth)]
        planes += [Plane(0, index, PlaneKind.ABSENT) for index in ends]
    known = np.zeros(truth.shape, dtype=bool)
    known[sorted({plane.index for plane in planes})] = True
    unique = {(plane.axis, plane.index): plane for plane in planes}
    return SparseAnnotation(np.where(known, truth, 0), np.stack([known] * count), tuple(sorted(unique.values())))


def dice(predicted: npt.NDArray[np.uint8], truth: npt.NDArray[np.uint8], count: int) -> list[float]:
    """Dice per label; 1 where neither has it."""
    scores = []
    for number in range(1, count + 1):
        a, b = predicted == number, truth == number
        total = int(a.sum() + b.sum())
        scores.append(2.0 * int((a & b).sum()) / total if total else 1.0)
    return scores


def test_scores(network: Network, cases: list[Case], count: int) -> list[float]:
    """Mean Dice per label over the cases, the network on its own."""
    predicted = [network.predict(image, spacing, None).argmax(axis=0) for image, _, spacing in cases]
    return [float(s) for s in np.mean([dice(p, c[1], count) for p, c in zip(predicted, cases, strict=True)], axis=0)]


def make_propagator(name: str) -> Propagator:
    """The default propagator, or the truth itself."""
    if name == "truth":
        return _Truth()
    return ChainedFlow()


def run(options: argparse.Namespace, settings: TrainingSettings, say: Callable[[str], None]) -> dict[str, object]:
    """The stream, then the scores."""
    names = sorted(path.name for path in options.images.glob("*.nii*"))
    stream, test = names[: options.stream], names[-options.test :]
    tests = [load_case(options.images, options.labels, name, options.axis) for name in test]
    count = max(int(case[1].max()) for case in tests)
    propagator = make_propagator("truth" if options.slices == 0 else "default")
    curve, proxies, helped, began, learning = [], [], [], time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        memory = ReplayMemory(Path(folder), 2**30)
        trainer = OnlineTrainer(count, settings, memory, propagator, seed=options.seed)
        for number, name in enumerate(stream, start=1):
            image, truth, spacing = load_case(options.images, options.labels, name, options.axis)
            annotation = draw(truth, count, options.slices)
            proxy = propagator.propagate(image, spacing, annotation)
            if trainer.plan is not None and options.slices:
                given = trainer.network().predict(image, spacing, proxy).argmax(axis=0)
                helped.append(dice(np.where(annotation.known_DHW, truth, given), truth, count))
                proxies.append(dice(proxy.labels_DHW, truth, count))
            example = Example(f"{number:04d}", "bench", 1, image, spacing, annotation, proxy)
            start = time.process_time()
            trainer.learn(example, options.steps, lambda: None)
            learning += time.process_time() - start
            if number % options.every == 0 or number == len(stream):
                scores = test_scores(trainer.network(), tests, count)
                curve.append({"cases": number, "dice": scores, "learning_cpu_seconds": learning})
                late = [[round(float(x), 3) for x in np.mean(rows[-10:], axis=0)] for rows in (proxies, helped) if rows]
                begun = f"{number:4d} cases  {trainer.steps:5d} steps  {learning:6.1f} s CPU"
                say(f"{begun}  test {np.round(scores, 3)}  late {late}")
    return {
        "curve": curve,
        "proxy_dice": np.mean(proxies[-20:], axis=0).tolist() if proxies else None,
        "conditioned_dice": np.mean(helped[-20:], axis=0).tolist() if helped else None,
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    """Reads the arguments and prints the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--stream", type=int, default=40)
    parser.add_argument("--test", type=int, default=20)
    parser.add_argument("--axis", type=int, default=2, help="slice axis of the NIfTI array")
    parser.add_argument("--steps", type=int, default=20, help="training steps per case")
    parser.add_argument("--slices", type=int, default=0, help="drawn slices per case; 0 for the whole truth")
    parser.add_argument("--every", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=JSON", help="a training setting")
    options = parser.parse_args()
    changes = {name: json.loads(value) for name, value in (item.split("=", 1) for item in options.set)}
    if options.slices == 0:
        changes = {"condition_drop": 1.0, **changes}
    settings = replace(TrainingSettings(), **changes)
    print(json.dumps(run(options, settings, print)))


if __name__ == "__main__":
    main()
