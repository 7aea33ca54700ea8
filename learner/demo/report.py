"""What the demo was asked to do and what came of it: options, one row for each round, JSON, plot."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from learner.demo.errors import DemoError


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """How the demo is played.

    Attributes:
        once: end when everything is played; otherwise the node runs until Ctrl-C.
        keep: go on with the node of the last run, its images, annotations and model; otherwise begin with a clean one.
        json: file for the figures.
        plot: file for the plot; ``plot.png`` in ``folder`` where left out.
        data: folder of the user's own images instead of the shipped ones (see :mod:`learner.demo.own_data`).
        folder: where the node lives.
        cache: where fetched and computed images are kept.
        viewer: folder of OHIF's built files, for the node to serve; none where left out.
        rounds: rounds of each case.
        slices: slices drawn in each round.
        cases: how many cases to play at most; all where left out.
        steps: training steps after each round.
        threads: CPU threads of answering and of training.
        jitter_mm: how unsteady the reader's hand is.
        drawing_s: longest time to draw one slice; the drawing comes earlier once the node has learned.
        patience_s: longest wait for one answer, and between two cases for the node to have learned.
    """

    once: bool = False
    keep: bool = False
    json: Path | None = None
    plot: Path | None = None
    data: Path | None = None
    folder: Path = Path("var/demo")
    cache: Path = Path(".cache/demo-data")
    viewer: Path | None = None
    rounds: int = 3
    slices: int = 3
    cases: int | None = None
    steps: int = 40
    threads: int = 2
    jitter_mm: float = 0.0
    drawing_s: float = 60.0
    patience_s: float = 300.0

    def __post_init__(self) -> None:
        if min(self.rounds, self.slices, self.steps, self.threads, 1 if self.cases is None else self.cases) < 1:
            raise DemoError("rounds, slices, cases, steps and threads begin at 1")


@dataclass(frozen=True, slots=True)
class RoundRow:
    """One round as the table shows it. Dice values are means over the labels.

    Attributes:
        case: name of the case.
        subject: whose image it is.
        remark: how the image was varied, or where it comes from.
        round: 1, 2, ...
        manner: how the reader stored what was drawn.
        drawn: slices drawn so far, ascending.
        left: slices suggested for this round on which the reader found nothing to draw or to mend.
        drawn_slices: number of slices drawn so far.
        series_slices: slices of the series.
        object_slices: slices on which the structure is.
        drawn_share: drawn slices as a share of the series.
        drawn_object_share: drawn slices as a share of the structure's.
        answer_dice: of the answer, read back from the PACS.
        answer_dice_per_label: the same by label number.
        network_dice_before: of the network alone before anything was drawn, read from the PACS; None without a model.
        propagation_dice: of propagation alone from the same slices.
        seconds: from storing the annotation to the whole answer standing in the PACS.
    """

    case: str
    subject: str
    remark: str
    round: int
    manner: str
    drawn: tuple[int, ...]
    left: tuple[int, ...]
    drawn_slices: int
    series_slices: int
    object_slices: int
    drawn_share: float
    drawn_object_share: float
    answer_dice: float
    answer_dice_per_label: dict[str, float]
    network_dice_before: float | None
    propagation_dice: float
    seconds: float


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What came of a demo.

    Attributes:
        rows: one for each round.
        log_errors: lines of error in the logs of Orthanc and the learner; none if all is well.
    """

    rows: tuple[RoundRow, ...]
    log_errors: tuple[str, ...]


def write_json(report: DemoReport, options: DemoOptions, path: Path) -> None:
    """Writes ``{"rounds": [...], "settings": {...}, "log_errors": [...]}``.

    Raises:
        DemoError: if the file cannot be written.
    """
    settings = {field.name: getattr(options, field.name) for field in fields(options)}
    content = {
        "rounds": [asdict(row) for row in report.rows],
        "settings": {name: str(value) if isinstance(value, Path) else value for name, value in settings.items()},
        "log_errors": list(report.log_errors),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise DemoError(f"{path} cannot be written ({error.strerror}); name another file with --json") from None


def write_plot(report: DemoReport, path: Path) -> None:
    """Draws the Dice of answer, propagation and network over the rounds, case by case, as PNG.

    Raises:
        DemoError: if the file cannot be written.
    """
    figure = Figure(figsize=(max(7.0, 0.7 * len(report.rows) + 2.0), 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    cases = list(dict.fromkeys(row.case for row in report.rows))
    for case in cases:
        places = [place for place, row in enumerate(report.rows) if row.case == case]
        rows = [report.rows[place] for place in places]
        first = case == cases[0]
        axes.plot(places, [r.answer_dice for r in rows], "o-", color="tab:blue", label="answer" if first else None)
        axes.plot(
            places, [r.propagation_dice for r in rows], "s--", color="tab:orange", label="propagation alone" if first else None
        )
        before = rows[0].network_dice_before
        if before is not None:
            axes.plot([places[0] - 0.4, places[-1]], [before, before], ":", color="tab:green")
        axes.axvline(places[-1] + 0.5, color="0.85", linewidth=0.8)
        axes.text(float(sum(places)) / len(places), 1.01, case, ha="center", fontsize=7, transform=axes.get_xaxis_transform())
    axes.plot([], [], ":", color="tab:green", label="network alone, before the drawing")
    axes.set_xticks(range(len(report.rows)), [f"{row.drawn_slices}\n{row.drawn_share:.0%}" for row in report.rows], fontsize=7)
    axes.set(xlabel="slices drawn so far, and as a share of the series", ylabel="Dice")
    axes.set_ylim(top=1.0)
    figure.legend(loc="outside lower center", ncols=3, fontsize=8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise DemoError(f"{path} cannot be written ({error.strerror})") from None
