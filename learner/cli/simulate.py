"""``apprentice simulate``: the whole loop without a PACS, on folders of images and labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from learner.cli.console import console, table, takes
from learner.errors import ConfigurationError
from learner.evaluation.modes import Mode, Order, Part, ReaderKind

if TYPE_CHECKING:
    from learner.evaluation.run import Progress as Step
    from learner.evaluation.runs import Finished
    from learner.evaluation.settings import RunSettings
    from learner.evaluation.streams import TaskData

_LAST = 20
EXAMPLES = ("simulate --images images --labels labels --stream 60 --test 40 --slices 6 --seed 1 --out result.json",)


@dataclass(frozen=True, kw_only=True)
class SimulateOptions:
    """What ``apprentice simulate`` is asked for; the help of each option says what it is."""

    out: Annotated[Path, typer.Option(dir_okay=False, help="JSON file to write; the cases stand as CSV beside it.")]
    images: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of images: NIfTI files, or DICOM.")
    ] = None
    labels: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of labels, of the same file names.")
    ] = None
    tasks: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="TOML file of several tasks, instead of two folders.")
    ] = None
    stream: Annotated[
        int | None, typer.Option(min=1, help="First N cases in name order: drawn on and learned from. Default: all others.")
    ] = None
    test: Annotated[int, typer.Option(min=0, help="Last M cases in name order: the network alone is tested on them.")] = 0
    validation: Annotated[
        int, typer.Option(min=0, help="Last V cases of the stream: tested on, and not learned from, with --part validation.")
    ] = 0
    part: Annotated[Part, typer.Option(help="What to test on; hyperparameters are chosen on the validation part.")] = Part.TEST
    slices: Annotated[int, typer.Option(min=1, help="Slices drawn at most per case, in all rounds together.")] = 6
    axis: Annotated[int, typer.Option(min=0, max=2, help="Array axis of the NIfTI files along which slices are drawn.")] = 2
    patient: Annotated[
        str, typer.Option(help="Regular expression: its first group is the patient in a file name. Default: a case is one.")
    ] = "(.+)"
    cases: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="CSV file with columns case and site.")] = None
    scribbles: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of strokes, for --reader scribbles.")
    ] = None
    order: Annotated[Order, typer.Option(help="Order of the cases.")] = Order.NAME
    sites: Annotated[str, typer.Option(help="Sites in their order, with commas between; others are left out.")] = ""
    mode: Annotated[Mode, typer.Option(help="How the network learns.")] = Mode.SPARSE
    reader: Annotated[ReaderKind, typer.Option(help="Who draws.")] = ReaderKind.PERFECT
    jitter: Annotated[float, typer.Option(min=0.0, help="Standard deviation in pixels of the reader's hand.")] = 0.0
    guidance: Annotated[bool, typer.Option(help="Whether the reader draws where guidance points, or evenly spread.")] = True
    extents: Annotated[bool, typer.Option(help="Whether the reader states both ends of the structure.")] = True
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, sampling, order and the reader's hand.")] = 0
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of drawing per case.")] = 2
    steps: Annotated[int, typer.Option(min=0, help="Training steps per case.")] = 20
    threads: Annotated[int, typer.Option(min=1, help="CPU threads of the network.")] = 2
    propagator: Annotated[str, typer.Option(help="Propagation method.")] = "chained-flow"
    replay_mb: Annotated[int, typer.Option(min=1, help="Size of the replay memory in MiB.")] = 4096
    folder: Annotated[
        Path | None, typer.Option(file_okay=False, help="Folder of the run: where it goes on if it was broken off.")
    ] = None
    resume: Annotated[bool, typer.Option(help="Go on in --folder, or begin again.")] = True
    plot: Annotated[bool, typer.Option(help="Write plots as PNG files beside --out.")] = False

    def data(self) -> tuple[TaskData, ...]:
        """The cases.

        Raises:
            ConfigurationError: they are named twice or not at all, or their file cannot be used.
        """
        from learner.evaluation.settings import read_tasks  # noqa: PLC0415 - loads nibabel
        from learner.evaluation.streams import TaskData  # noqa: PLC0415

        if self.tasks is not None and self.images is None and self.labels is None:
            return read_tasks(self.tasks)
        if self.tasks is not None or self.images is None or self.labels is None:
            raise ConfigurationError("name either --images and --labels, or --tasks")
        drawn = (self.axis, self.slices, self.stream, self.test, 0.0, self.validation)
        return (TaskData("simulated", self.images, self.labels, *drawn, self.cases, self.patient, self.scribbles),)

    def settings(self) -> RunSettings:
        """The run.

        Raises:
            ConfigurationError: see :meth:`data`.
        """
        from learner.evaluation.settings import ReaderSettings, RunSettings  # noqa: PLC0415 - loads nibabel

        return RunSettings(
            tasks=self.data(),
            mode=self.mode,
            order=self.order,
            sites=tuple(site.strip() for site in self.sites.split(",") if site.strip()),
            part=self.part,
            seed=self.seed,
            rounds=self.rounds,
            steps=self.steps,
            reader=ReaderSettings(self.reader, self.jitter, self.extents, self.guidance),
            propagator=self.propagator,
            replay_mb=self.replay_mb,
            threads=self.threads,
        )


@takes(SimulateOptions)
def simulate(options: SimulateOptions) -> None:
    """Play a stream of labelled cases with a simulated reader, and measure answers and network; needs no PACS."""
    _check_writable(options.out)
    run = _play(options.settings(), options.folder, resume=options.resume)
    _write(run, options.out, plot=options.plot)


def _play(settings: RunSettings, folder: Path | None, *, resume: bool) -> Finished:
    """Plays in a folder that stays, or in one that is gone in the end."""
    from learner.evaluation.runs import compute, folder_of  # noqa: PLC0415 - torch takes a second to import
    from learner.wiring import build_propagator, evaluation_makers  # noqa: PLC0415

    build_propagator(settings.propagator)
    with ExitStack() as stack:
        runs = folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="apprentice-run-")))
        bar = stack.enter_context(_progress())
        return compute(settings, folder_of(settings, runs), evaluation_makers(), bar, fresh=not resume)


def _write(run: Finished, out: Path, *, plot: bool) -> None:
    from learner.evaluation.plots import write_plots  # noqa: PLC0415 - matplotlib takes a second to import
    from learner.evaluation.report import write_report  # noqa: PLC0415

    written = [*write_report(run, out), *(write_plots(run, out.parent, out.stem) if plot else [])]
    _summarise(run)
    typer.echo(f"written: {', '.join(str(path) for path in written)}")


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


class _Bar:
    """Shows how far a run is, with the last answer's Dice."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("first case", total=None)

    def __call__(self, step: Step) -> None:
        """Takes one step."""
        said = "testing the network" if step.testing else "learning"
        if step.case is not None:
            said = f"{step.case.case}: Dice {fmean(step.case.answer_dice.values()):.3f}"
        self._progress.update(self._task, total=step.total, completed=step.done, description=said)


@contextmanager
def _progress() -> Iterator[_Bar]:
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True, markup=False)) as progress:
        yield _Bar(progress)


def _summarise(run: Finished) -> None:
    """Prints means over the last cases of the stream, and the network's test."""
    from learner.evaluation import summary  # noqa: PLC0415 - loads torch

    last = run.cases[-_LAST:]
    test = summary.mean_dice([t.dice for t in summary.last_tests(run.tests)])
    columns = {
        "propagation": summary.mean_dice([case.proxy_dice for case in last]),
        "answer": summary.answer_dice(last),
        "network before": summary.mean_dice([case.network_dice_before for case in last]),
        "test": test,
    }
    shown = table(f"Mean Dice, last {len(last)} cases of the stream", "label", *columns)
    for label in sorted({label for dice in columns.values() for label in dice}):
        shown.add_row(str(label), *(f"{dice[label]:.3f}" if label in dice else "" for dice in columns.values()))
    console().print(shown)
    if last:
        typer.echo(f"seconds per answer: {fmean(case.seconds_per_answer for case in last):.2f}")
        typer.echo(f"contour drawn: {summary.contour_share(run.cases):.1%}, slices: {summary.drawn_share(run.cases):.1%}")
