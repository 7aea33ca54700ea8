"""Dice gained per drawn slice by guidance rules, against even spacing, random slices and a greedy oracle.

    python benchmarks/guidance.py [--data FOLDER] [--sets NAME ...] [--rules NAME ...] [--part held-out | tuning] [--budget 6]

Each game begins with the same slice, the middle one of the structure. Then a rule names one slice after the other, from the
answer so far. The reader draws it, or reviews it as empty where the structure is not there; either counts as a slice. The rule
does not know where the structure ends, unless the reader stated both ends before (``stated``); neither does ``uniform``, which
spaces evenly within the extent that the drawn sections make likely. ``informed`` does: a reader who scrolls through the volume
and spaces evenly; it is shown for comparison and is no rule. ``oracle`` tries every slice of the structure, and two beyond each
end, and takes the one after which the answer is best; it looks one slice ahead, so a rule may beat it.

The figure is the mean over the budget of Dice (mean of labels) minus Dice with the first slice: the area gained. For each rule
the difference to its rivals is given with an interval of 95 % (bootstrap over cases). The answer is the default propagation
alone, as on a task's first case. Parameters were chosen on the part ``tuning``. ``held-out`` shares no patient and, for the
prostate, no hospital with it. Dice of a set of slices is remembered in ``--cache`` and found again if the code of propagation
is the same; so a run goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from study.data import DEFAULT_DATA

import learner.propagation
from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.expected_gain import ExpectedGain
from learner.domain.guidance import Situation
from learner.domain.ranking import ResidualRule
from learner.domain.spacing_rules import ForegroundRandom, Uniform
from learner.evaluation.folders import LabelledCase, LabelledFolders
from learner.evaluation.metrics import dice
from learner.evaluation.simulated_reader import SimulatedReader
from learner.ports import GuidanceRule, Propagator
from learner.propagation import make_propagator

HERE = Path(__file__).resolve().parent
FINE_MM = 0.95
Choice = Callable[["Game", frozenset[int]], int | None]


@dataclass(frozen=True)
class CaseSet:
    """One data set: its slice axis, and its cases for tuning and for the result."""

    name: str
    axis: int
    tuning: tuple[str, ...]
    held_out: tuple[str, ...]


def case_sets(data: Path) -> list[CaseSet]:
    """All sets, split by patient; the prostate by hospital."""
    with (data / "promise12" / "cases.csv").open() as file:
        site = {f"case{row['case']}": row["site"] for row in csv.DictReader(file)}
    runmc = [name for name in site if site[name] == "RUNMC"]
    others = [name for name in site if site[name] != "RUNMC"]
    frames: dict[str, list[str]] = {}
    for path in sorted((data / "acdc" / "images").iterdir()):
        frames.setdefault(re.findall(r"patient\d+", path.name)[0], []).append(path.name.split(".")[0])
    hearts = [names[i % 2] for i, names in enumerate(frames.values())]
    brains = LabelledFolders(data / "hippocampus" / "images", data / "hippocampus" / "labels", 1).names()
    return [
        CaseSet("promise12", 2, tuple(runmc[::2]), tuple(others[::2][:10])),
        CaseSet("acdc", 2, tuple(hearts[:6]), tuple(hearts[6:14])),
        CaseSet("hippocampus", 1, tuple(brains[:100:17]), tuple(brains[100::16])),
    ]


@dataclass(eq=False)
class Game:
    """One case, played by several rules."""

    case: LabelledCase
    propagator: Propagator
    cache: Path
    stated: bool
    _dice: dict[str, float] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        if self.cache.exists():
            self._dice = json.loads(self.cache.read_text())
        self.labels = int(self.case.labels_DHW.max())
        self.slices = SimulatedReader(self.case.labels_DHW, self.labels).object_slices

    @property
    def start(self) -> frozenset[int]:
        """What is known before the first rule is asked: the middle slice, and both ends where they are stated."""
        first, last, depth = self.slices[0], self.slices[-1], len(self.case.labels_DHW)
        ends = {i for i in (first - 1, last + 1) if 0 <= i < depth} if self.stated else set()
        return frozenset({self.slices[len(self.slices) // 2], *ends})

    def annotation(self, known: frozenset[int]) -> SparseAnnotation:
        """What a perfect reader says of these slices."""
        labels = np.zeros_like(self.case.labels_DHW)
        labels[sorted(known)] = self.case.labels_DHW[sorted(known)]
        mask = np.zeros((self.labels, *labels.shape), dtype=bool)
        mask[:, sorted(known)] = True
        kinds = {i: PlaneKind.DRAWN if labels[i].any() else PlaneKind.ABSENT for i in sorted(known)}
        return SparseAnnotation(labels, mask, tuple(Plane(0, i, kind) for i, kind in kinds.items()))

    def situation(self, known: frozenset[int]) -> Situation:
        """What a rule is told."""
        annotation = self.annotation(known)
        proxy = self.propagator.propagate(self.case.image_DHW, self.case.spacing_DHW, annotation)
        self._note(known, proxy.labels_DHW)
        return Situation(len(proxy.labels_DHW), self.case.spacing_DHW, proxy.soft_CDHW, annotation=annotation)

    def quality(self, known: frozenset[int]) -> float:
        """Dice of the answer, mean of labels."""
        if _key(known) not in self._dice:
            self.situation(known)
        return self._dice[_key(known)]

    def _note(self, known: frozenset[int], labels_DHW: np.ndarray) -> None:
        if _key(known) not in self._dice:
            values = dice(labels_DHW, self.case.labels_DHW, self.labels)
            self._dice[_key(known)] = round(float(np.mean(list(values.values()))), 6)

    def save(self) -> None:
        """Keeps what was computed."""
        self.cache.parent.mkdir(parents=True, exist_ok=True)
        part = self.cache.with_suffix(".part")
        part.write_text(json.dumps(self._dice))
        part.replace(self.cache)

    def play(self, choose: Choice, budget: int) -> tuple[list[int], list[float]]:
        """Slices in the order of the rule, and Dice with the first one and after each of them."""
        known, order = self.start, []
        curve = [self.quality(known)]
        for _ in range(budget):
            index = choose(self, known)
            if index is not None:
                known = known | {index}
                order.append(index)
            curve.append(self.quality(known))
        self.save()
        return order, curve


def _key(known: frozenset[int]) -> str:
    return ",".join(map(str, sorted(known)))


def by_rule(rule: GuidanceRule, batch: int = 1) -> Choice:
    """The best slice of a guidance rule; with ``batch``, so many are taken before it is asked again."""
    waiting: list[int] = []

    def choose(game: Game, known: frozenset[int]) -> int | None:
        nonlocal waiting
        if known == game.start:
            waiting = []
        if not waiting:
            waiting = [s.index for s in rule.rank(game.situation(known), batch).suggestions]
        return waiting.pop(0) if waiting else None

    return choose


def informed(game: Game, known: frozenset[int]) -> int | None:
    """The middle of the largest gap, by a reader who sees where the structure is."""
    reader = SimulatedReader(game.case.labels_DHW, game.labels)
    reader.draw([i for i in known if i in game.slices])
    chosen = reader.choose(1, None)
    return chosen[0] if chosen else None


def oracle(game: Game, known: frozenset[int]) -> int | None:
    """The slice after which the answer is best."""
    depth = len(game.case.labels_DHW)
    options = [i for i in range(max(0, game.slices[0] - 2), min(depth, game.slices[-1] + 3)) if i not in known]
    return max(options, key=lambda i: game.quality(known | {i}), default=None)


def rules(batch: int = 1) -> dict[str, list[Choice]]:
    """All that is compared; several choices are averaged."""
    return {
        "residual": [by_rule(ResidualRule(), batch)],
        "uniform": [by_rule(Uniform(), batch)],
        "foreground-random": [by_rule(ForegroundRandom(seed), batch) for seed in range(3)],
        "expected-gain": [by_rule(ExpectedGain(), batch)],
        "informed": [informed],
        "oracle": [oracle],
    }


def area_gain(curve: Sequence[float]) -> float:
    """Mean Dice after each slice, minus Dice before the first of them."""
    return float(np.mean(curve[1:])) - curve[0]


def games(chosen: CaseSet, names: Sequence[str], options: argparse.Namespace, *, stated: bool) -> list[Game]:
    """The cases of a set, with what is remembered of them."""
    folders = LabelledFolders(options.data / chosen.name / "images", options.data / chosen.name / "labels", chosen.axis)
    cache = options.cache / code_digest()
    made = []
    for name in names:
        file = cache / f"{chosen.name}-{name}.json"
        made.append(Game(coarse(folders.load(name)), make_propagator(), file, stated))
    return made


def coarse(case: LabelledCase) -> LabelledCase:
    """Every other pixel of slices whose pixels are smaller than 1 mm: the oracle tries hundreds of sets of slices a case."""
    if case.spacing_DHW[1] >= FINE_MM:
        return case
    image_DHW, labels_DHW = (np.ascontiguousarray(a[:, ::2, ::2]) for a in (case.image_DHW, case.labels_DHW))
    slice_mm, row_mm, column_mm = case.spacing_DHW
    return LabelledCase(case.name, image_DHW, labels_DHW, (slice_mm, 2 * row_mm, 2 * column_mm))


def code_digest() -> str:
    """Of the code of propagation, by which Dice is remembered."""
    whole = hashlib.sha256()
    for path in sorted(Path(learner.propagation.__file__).parent.glob("*.py")):
        whole.update(path.read_bytes())
    return whole.hexdigest()[:12]


def compare(options: argparse.Namespace) -> list[Row]:
    """Curves of all rules on all cases; what is done is written after each set."""
    rows: list[Row] = []
    for chosen in case_sets(options.data):
        if chosen.name not in options.sets:
            continue
        names = (chosen.tuning if options.part == "tuning" else chosen.held_out)[: options.cases]
        for stated in (False, True):
            for game in games(chosen, names, options, stated=stated):
                for name in options.rules:
                    curves = [game.play(choice, options.budget)[1] for choice in rules(options.batch)[name]]
                    rows.append(Row(chosen.name, stated, game.case.name, name, np.mean(curves, axis=0).round(4).tolist()))
            mine = [row for row in rows if row.set == chosen.name and row.stated == stated]
            for line in table(mine):
                print(chosen.name, "stated" if stated else "open", line, flush=True)
        if options.out is not None:
            write(rows, options)
    return rows


@dataclass(frozen=True)
class Row:
    """Dice with the first slice and after each further one."""

    set: str
    stated: bool
    case: str
    rule: str
    curve: list[float]


def table(rows: list[Row]) -> list[dict[str, object]]:
    """For each rule the area gained, and its ratio to ``uniform``, ``informed`` and ``oracle`` with intervals of 95 %.

    The intervals are of a bootstrap over cases, the same ones for both rules of a ratio.
    """
    gains: dict[str, dict[str, float]] = {}
    for row in rows:
        gains.setdefault(row.rule, {})[row.case] = area_gain(row.curve)
    cases = sorted(next(iter(gains.values())))
    drawn = np.random.default_rng(0).integers(0, len(cases), (2000, len(cases)))
    found = []
    for rule, by_case in gains.items():
        own = np.array([by_case[case] for case in cases])
        line: dict[str, object] = {"rule": rule, "cases": len(cases), "gain": round(float(own.mean()), 4)}
        for rival in ("uniform", "informed", "oracle"):
            if rival in gains and rule != rival:
                other = np.array([gains[rival][case] for case in cases])
                apart = np.quantile((own - other)[drawn].mean(axis=1), (0.025, 0.975))
                line[f"ratio_to_{rival}"] = round(float(own.mean() / other.mean()), 3)
                line[f"minus_{rival}"] = [round(float(v), 4) for v in ((own - other).mean(), *apart)]
        found.append(line)
    return found


def command_of(options: argparse.Namespace) -> str:
    """The command that makes the tables again, without folders, which differ from machine to machine."""
    words = ["python benchmarks/guidance.py", "--sets", *options.sets, "--part", options.part]
    words += [f"--{name} {getattr(options, name)}" for name in ("budget", "batch", "cases") if getattr(options, name)]
    return " ".join(words)


def write(rows: list[Row], options: argparse.Namespace) -> None:
    """The tables and the curves, as JSON."""
    groups = dict.fromkeys((row.set, row.stated) for row in rows)
    tables = {
        f"{name}, ends {'stated' if stated else 'not stated'}": table([r for r in rows if (r.set, r.stated) == (name, stated)])
        for name, stated in groups
    }
    content = {
        "command": command_of(options),
        "part": options.part,
        "budget": options.budget,
        "batch": options.batch,
        "propagation": code_digest(),
        "tables": tables,
        "curves": [asdict(row) for row in rows],
    }
    options.out.write_text(json.dumps(content, indent=1) + "\n")


def main() -> None:
    """Plays what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA)
    parser.add_argument("--sets", nargs="+", default=["promise12", "acdc", "hippocampus"])
    parser.add_argument("--rules", nargs="+", default=list(rules()))
    parser.add_argument("--part", choices=("held-out", "tuning"), default="held-out")
    parser.add_argument("--budget", type=int, default=6)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--cache", type=Path, default=HERE.parent / ".cache" / "guidance")
    parser.add_argument("--out", type=Path, help="JSON file of the tables; those that are kept lie in results/guidance")
    compare(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
