"""Makes the pictures of ``docs/drawing.md``: ``python docs/make_pictures.py [FOLDER]``.

Everything in them is computed by the code of the node, from the demo's scans and a simulated reader: a network learns from
two scans on which nine slices each are drawn, and a third one is drawn on. Numbers that the page tells are printed.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from rich.console import Console

from dicom_io.read_series import read_series
from learner.app.answering import CaseAnswer, answer_case
from learner.demo.cases import DemoCase, shipped_data
from learner.domain.example import Example
from learner.domain.pooling import Evidence
from learner.evaluation.metrics import dice
from learner.evaluation.simulated_reader import SimulatedReader
from learner.ports import Network, Propagator
from learner.propagation import make_propagator
from learner.settings import LearningSettings
from learner.wiring import make_trainer

LABELS = 1
STEPS = 20
TAUGHT = 9
"""Slices drawn on each scan that the network learns from."""
DRAWN_SLICES = 5
LARGEST_BYTES = 200_000
COLOURS = 96
PLAUSIBLE, SHOWN_FROM = 0.95, 0.25
"""Background below which a voxel may be of the structure; disagreement from which it is shown, as in the bands."""
DRAWN, ANSWER, WRONG = "#ff9d2e", "#35c4ff", "#ff3355"

LabelArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Case:
    """A scan on the grid of its series: float32 voxels, their distances in mm, and the truth."""

    name: str
    image_DHW: npt.NDArray[np.float32]
    spacing_DHW: tuple[float, float, float]
    truth_DHW: LabelArray

    @property
    def column(self) -> int:
        """Column through one half of the structure, for a view from the side."""
        return int(np.percentile(np.flatnonzero(self.truth_DHW.any(axis=(0, 1))), 33))


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a reader drew on a case, and the answer."""

    case: Case
    slices: tuple[int, ...]
    answered: CaseAnswer

    @property
    def dice(self) -> float:
        """Dice of the answer."""
        return dice(self.answered.answer.labels_DHW, self.case.truth_DHW, LABELS)[1]


def evenly(first: int, last: int) -> tuple[int, ...]:
    """Slices from the first to the last, evenly apart."""
    return tuple(int(index) for index in np.linspace(first, last, DRAWN_SLICES).round())


def read(case: DemoCase) -> Case:
    """A demo case as the node reads it."""
    volume = read_series(list(case.files)).volume
    return Case(case.name, volume.voxels_DHW.astype(np.float32), volume.geometry.spacing_DHW, case.truth_DHW)


def draw(
    case: Case,
    slices: tuple[int, ...] | int,
    propagator: Propagator,
    network: Network | None = None,
    experience: tuple[Evidence, ...] = (),
    *,
    ends: bool = False,
) -> Drawn:
    """Draws slices of a case, or a number of slices that are spread evenly, and answers."""
    reader = SimulatedReader(case.truth_DHW, LABELS)
    chosen = reader.choose(slices, None) if isinstance(slices, int) else slices
    reader.draw(chosen)
    if ends:
        reader.state_extents()
    answered = answer_case(
        case.image_DHW, case.spacing_DHW, reader.annotation(), LABELS, propagator, network, experience=experience
    )
    return Drawn(case, chosen, answered)


def taught(cases: list[Case], propagator: Propagator, folder: Path) -> tuple[Network, tuple[Evidence, ...]]:
    """A network that learned from cases as the demo's node does, and what it was worth on each before that."""
    trainer = make_trainer({"brain": LABELS}, LearningSettings(threads=1), folder)
    experience: list[Evidence] = []
    for number, case in enumerate(cases):
        network = trainer.network("brain") if number else None
        drawn = draw(case, TAUGHT, propagator, network, tuple(experience))
        if drawn.answered.evidence is not None:
            experience.append(drawn.answered.evidence)
        reader = SimulatedReader(case.truth_DHW, LABELS)
        reader.draw(drawn.slices)
        annotation, proxy = reader.annotation(), drawn.answered.proxy
        assert annotation is not None
        assert proxy is not None
        example = Example(case.name, "brain", 1, case.image_DHW, case.spacing_DHW, annotation, proxy)
        trainer.learn(example, STEPS, lambda: None)
        print(f"learned from {case.name}", flush=True)
    return trainer.network("brain"), tuple(experience)


def side(axes: Axes, case: Case, title: str) -> None:
    """The scan from the side: slices lie across, the first one at the bottom."""
    depth, height, _ = case.spacing_DHW
    image = case.image_DHW[:, :, case.column]
    axes.imshow(image, cmap="gray", origin="lower", aspect=depth / height, vmin=0, vmax=float(np.percentile(image, 99.5)))
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def outline(axes: Axes, labels_HW: LabelArray, colour: str, width: float = 1.3) -> None:
    """The outline of a structure on a section."""
    if labels_HW.any():
        axes.contour(labels_HW > 0, levels=[0.5], colors=[colour], linewidths=width)


def across(axes: Axes, slices: tuple[int, ...], colour: str = DRAWN, style: str = "-") -> None:
    """A line for each slice, with its number."""
    right = axes.get_xlim()[1]
    for index in slices:
        axes.axhline(index, color=colour, linewidth=1.2, linestyle=style)
        axes.text(right, index, f" {index}", color="#555555", fontsize=7, va="center")


def overlay(axes: Axes, values_HW: npt.NDArray[np.float32], colours: str) -> None:
    """Values from 0 to 1 as colour; nothing where they are 0."""
    axes.imshow(
        values_HW,
        cmap=colours,
        origin="lower",
        alpha=np.where(values_HW > 0, 0.6, 0.0),
        vmin=0,
        vmax=1,
        aspect=axes.get_aspect(),
    )


def drawn_picture(drawn: Drawn) -> Figure:
    """Where the drawn slices lie, and what is drawn on each."""
    case = drawn.case
    count = len(drawn.slices)
    figure, all_axes = plt.subplots(1, count + 1, figsize=(11, 2.5), width_ratios=[1.3, *[1.0] * count])
    side(all_axes[0], case, f"{count} of {len(case.image_DHW)} slices")
    across(all_axes[0], drawn.slices)
    for axes, index in zip(all_axes[1:], drawn.slices, strict=True):
        image = case.image_DHW[index]
        axes.imshow(image, cmap="gray", vmin=0, vmax=float(np.percentile(image, 99.5)))
        mask = np.ma.masked_equal(case.truth_DHW[index], 0)
        axes.imshow(mask, cmap=mpl.colors.ListedColormap([DRAWN]), alpha=0.35)
        outline(axes, case.truth_DHW[index], DRAWN)
        axes.set_title(f"slice {index}", fontsize=10)
        axes.set_axis_off()
    return figure


def propagated_picture(drawn: Drawn) -> Figure:
    """The proxy, and its confidence."""
    case, proxy = drawn.case, drawn.answered.proxy
    assert proxy is not None
    column = case.column
    figure, (one, two) = plt.subplots(1, 2, figsize=(9, 3.6))
    side(one, case, "1  the drawing, carried through the volume")
    outline(one, proxy.labels_DHW[:, :, column], DRAWN)
    across(one, drawn.slices)
    side(two, case, "2  how far that is to be trusted: yellow fully, blue not")
    inside = proxy.soft_CDHW[0, :, :, column] < PLAUSIBLE
    overlay(two, np.where(inside, proxy.confidence_DHW[:, :, column], 0), "viridis")
    across(two, drawn.slices)
    return figure


def answer_picture(drawn: Drawn) -> Figure:
    """Where proxy and network disagree, and the answer with the slices to draw next."""
    case, answer = drawn.case, drawn.answered.answer
    column = case.column
    figure, (one, two) = plt.subplots(1, 2, figsize=(9, 3.6))
    side(one, case, "3  where it and the network disagree: 25 % (yellow) and more")
    residual = answer.residual_DHW[:, :, column]
    overlay(one, np.where(residual >= SHOWN_FROM, residual, 0), "autumn_r")
    across(one, drawn.slices)
    side(two, case, "4  the answer, and the slices to draw next (dashed)")
    outline(two, answer.labels_DHW[:, :, column], ANSWER)
    across(two, tuple(s.index for s in answer.guidance.suggestions[:3]), ANSWER, "--")
    return figure


def choices_picture(choices: dict[str, Drawn]) -> Figure:
    """The same effort spent in several ways; what is wrong in the answer is red."""
    figure, all_axes = plt.subplots(1, len(choices), figsize=(9, 3.2))
    for axes, (title, drawn) in zip(all_axes, choices.items(), strict=True):
        case = drawn.case
        side(axes, case, f"{title}\nDice {drawn.dice:.2f}")
        answer = drawn.answered.answer.labels_DHW[:, :, case.column]
        wrong = np.ma.masked_equal(answer != case.truth_DHW[:, :, case.column], False)
        axes.imshow(wrong, cmap=mpl.colors.ListedColormap([WRONG]), alpha=0.55, origin="lower", aspect=axes.get_aspect())
        outline(axes, answer, ANSWER)
        across(axes, drawn.slices)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Writes a picture, with fewer colours so that it stays small.

    Raises:
        ValueError: if it is larger than the repository should carry.
    """
    figure.tight_layout()
    whole = BytesIO()
    figure.savefig(whole, dpi=90, facecolor="white")
    plt.close(figure)
    Image.open(whole).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    if path.stat().st_size > LARGEST_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes, {LARGEST_BYTES} are the most")


def main(folder: Path) -> None:
    """Makes all pictures."""
    mpl.use("agg")
    folder.mkdir(parents=True, exist_ok=True)
    data = shipped_data(Path(".cache/demo-data"), "pictures", Console(stderr=True), limit=3)
    first, second, case = map(read, data.cases)
    propagator = make_propagator()
    largest = int(np.argmax(np.count_nonzero(case.truth_DHW, axis=(1, 2))))
    low, high = (int(i) for i in np.flatnonzero(case.truth_DHW.any(axis=(1, 2)))[[0, -1]])
    good = evenly(low + 2, high - 2)
    half = (high - low) // 4
    choices = {
        "side by side": draw(case, evenly(largest - 2, largest + 2), propagator),
        "apart, without the ends": draw(case, evenly(low + half, high - half), propagator),
        "apart, with the ends": draw(case, good, propagator),
    }
    for title, choice in choices.items():
        print(f"{title}: slices {choice.slices}, Dice {choice.dice:.3f}", flush=True)
    best = choices["apart, with the ends"]
    save(drawn_picture(best), folder / "sparse-drawn.png")
    save(choices_picture(choices), folder / "sparse-choices.png")
    save(propagated_picture(best), folder / "sparse-propagated.png")
    with tempfile.TemporaryDirectory() as replay:
        network, experience = taught([first, second], propagator, Path(replay))
        drawn = draw(case, good, propagator, network, experience)
    save(answer_picture(drawn), folder / "sparse-answer.png")
    print(f"with a network: Dice {drawn.dice:.3f}")
    for suggestion in drawn.answered.answer.guidance.suggestions:
        print(f"next: slice {suggestion.index}, {suggestion.reason}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent / "images"))
