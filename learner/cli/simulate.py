"""``apprentice simulate``: the whole loop without a PACS, on folders of images and labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from learner.cli.console import console, table
from learner.errors import ConfigurationError
from learner.settings import LearningSettings

if TYPE_CHECKING:
    from learner.evaluation.report import SimulationReport
    from learner.evaluation.simulate import MakeTrainer, SimulationSettings
    from learner.evaluation.simulate import Progress as Step

_LAST = 20


def simulate(
    images: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of images: NIfTI files, or DICOM.")],
    labels: Annotated[Path, typer.Option(exists=True, file_okay=False, help="Folder of labels, of the same file names.")],
    stream: Annotated[int, typer.Option(min=1, help="First N cases in name order: drawn on and learned from.")],
    test: Annotated[int, typer.Option(min=0, help="Last M cases in name order: the network alone is tested on them.")],
    slices: Annotated[int, typer.Option(min=1, help="Slices drawn at most per case, in all rounds together.")],
    out: Annotated[Path, typer.Option(dir_okay=False, help="JSON file to write; the cases stand as CSV beside it.")],
    axis: Annotated[int, typer.Option(min=0, max=2, help="Array axis of the NIfTI files along which slices are drawn.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, sampling and the reader's hand.")] = 0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of drawing per case.")] = 2,
    steps: Annotated[int, typer.Option(min=0, help="Training steps per case.")] = 20,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the network.")] = 2,
    propagator: Annotated[str, typer.Option(help="Propagation method.")] = "chained-flow",
    replay_mb: Annotated[int, typer.Option(min=1, help="Size of the replay memory in MiB.")] = 4096,
    jitter: Annotated[float, typer.Option(min=0.0, help="Standard deviation in pixels of the reader's hand.")] = 0.0,
    guidance: Annotated[bool, typer.Option(help="Whether the reader draws where guidance points, or evenly spread.")] = True,
) -> None:
    """Play a stream of labelled cases with a simulated reader, and measure answers and network; needs no PACS."""
    from learner.evaluation.simulate import SimulationSettings  # noqa: PLC0415 - loads numerics

    _check_writable(out)
    settings = SimulationSettings(
        images=images,
        labels=labels,
        stream=stream,
        test=test,
        slices=slices,
        axis=axis,
        seed=seed,
        rounds=rounds,
        steps=steps,
        jitter=jitter,
        follow_guidance=guidance,
    )
    learning = LearningSettings(steps=max(steps, 1), threads=threads, replay_mb=replay_mb)
    report = _play(settings, learning, propagator)
    written = report.write(out)
    _summarise(report)
    typer.echo(f"written: {', '.join(str(path) for path in written)}")


def _play(settings: SimulationSettings, learning: LearningSettings, propagator: str) -> SimulationReport:
    """Plays with a replay memory that is gone in the end."""
    from learner.evaluation.simulate import simulate as play  # noqa: PLC0415 - torch takes a second to import
    from learner.wiring import build_propagator  # noqa: PLC0415

    front_end = build_propagator(propagator)
    with (
        tempfile.TemporaryDirectory(prefix="apprentice-replay-") as replay,
        _progress(settings.stream + settings.test) as bar,
    ):
        return play(settings, _trainers(learning, propagator, Path(replay)), front_end, bar)


def _check_writable(out: Path) -> None:
    """Refuses at the beginning what could not be written in the end.

    Raises:
        ConfigurationError.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise ConfigurationError(f"--out {out} cannot be written ({error.strerror}); name another file") from None


def _trainers(learning: LearningSettings, propagator: str, replay: Path) -> MakeTrainer:
    from learner.model.trainer import OnlineTrainer  # noqa: PLC0415 - torch takes a second to import
    from learner.wiring import make_trainer  # noqa: PLC0415

    def make(label_count: int, seed: int) -> OnlineTrainer:
        return make_trainer(label_count, learning.model_copy(update={"seed": seed}), propagator, replay)

    return make


class _Bar:
    """Shows how far a simulation is, with the last answer's Dice."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._task = progress.add_task("first case", total=total)

    def __call__(self, step: Step) -> None:
        """Takes one step."""
        said = "testing the network"
        if step.case is not None:
            said = (
                f"{step.case.case}: Dice {fmean(step.case.answer_dice.values()):.3f}"
                if step.case.answer_dice
                else step.case.case
            )
        self._progress.update(self._task, completed=step.done, description=said)


@contextmanager
def _progress(total: int) -> Iterator[_Bar]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True, markup=False)) as progress:
        yield _Bar(progress, total)


def _summarise(report: SimulationReport) -> None:
    """Prints means over the last cases of the stream, and the network's test."""
    last = report.cases[-_LAST:]
    shown = table(
        f"Mean Dice, last {len(last)} cases of the stream", "label", "propagation", "answer", "network before", "test"
    )
    for label in sorted(last[-1].answer_dice):
        before = [case.network_dice_before[label] for case in last if case.network_dice_before is not None]
        test = report.network_test.get(label)
        shown.add_row(
            str(label),
            f"{fmean(case.proxy_dice[label] for case in last):.3f}",
            f"{fmean(case.answer_dice[label] for case in last):.3f}",
            f"{fmean(before):.3f}" if before else "",
            f"{test:.3f}" if test is not None else "",
        )
    console().print(shown)
    typer.echo(f"seconds per answer: {fmean(case.seconds_per_answer for case in last):.2f}")
