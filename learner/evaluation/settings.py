"""What a run of the evaluation is: everything that decides its figures, and the digest that names it."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

from learner.errors import ConfigurationError
from learner.evaluation.modes import Mode, Order, Part, ReaderKind
from learner.evaluation.streams import Stream, TaskData

Scalar = bool | int | float | str


@dataclass(frozen=True, slots=True)
class ReaderSettings:
    """The simulated reader.

    Attributes:
        kind: what sort of person.
        jitter: standard deviation in pixels of a smooth displacement of drawn contours; the kind ``jitter`` has at least 1.
        states_ends: whether the slices beyond the structure's first and last are marked as empty, one click each.
        follows_guidance: whether suggested slices are drawn, or evenly spread ones.
    """

    kind: ReaderKind = ReaderKind.PERFECT
    jitter: float = 0.0
    states_ends: bool = True
    follows_guidance: bool = True


@dataclass(frozen=True, slots=True)
class RunSettings:
    """A run.

    Attributes:
        tasks: data, in the order in which tasks come.
        mode: how it learns.
        order: of the cases.
        sites: sites in their order, all others being left out; empty for all.
        part: what it is tested on.
        seed: of weights, sampling, shuffled order and the reader's hand.
        length: cases to play, the stream being played again and again; None for once.
        rounds: rounds of drawing per case.
        steps: training steps per case.
        first_steps: least number of steps of the first case.
        converged_factor: how many times as many updates the mode ``converged`` makes.
        satisfied_at: the reader stops drawing a case once the answer's mean Dice is this; 0 for never.
        reader: who draws.
        propagator: the front end.
        training: training settings other than the defaults, as pairs of name and value.
        replay_mb: bound of the replay memory in MiB.
        threads: CPU threads of the network; part of what determines the weights.
        test_every: the network is tested after so many cases, at the end of each stage, and in the end.

    Raises:
        ConfigurationError: if a number makes no sense.
    """

    tasks: tuple[TaskData, ...]
    mode: Mode = Mode.SPARSE
    order: Order = Order.NAME
    sites: tuple[str, ...] = ()
    part: Part = Part.TEST
    seed: int = 0
    length: int | None = None
    rounds: int = 2
    steps: int = 20
    first_steps: int = 60
    converged_factor: int = 5
    satisfied_at: float = 0.0
    reader: ReaderSettings = field(default_factory=ReaderSettings)
    propagator: str = "chained-flow"
    training: tuple[tuple[str, Scalar], ...] = ()
    replay_mb: int = 4096
    threads: int = 1
    test_every: int = 20

    def __post_init__(self) -> None:
        if not self.tasks or self.rounds < 1 or self.steps < 0 or self.test_every < 1 or self.converged_factor < 1:
            raise ConfigurationError("a run needs a task, one round of drawing, and no negative numbers")
        if self.length is not None and self.length < 1:
            raise ConfigurationError("a run needs at least one case")
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise ConfigurationError(f"two tasks of a run have the same name: {', '.join(names)}")

    @property
    def training_changes(self) -> dict[str, Scalar]:
        """Training settings other than the defaults, those that follow from the mode included."""
        changes: dict[str, Scalar] = {"first_case_steps": self.first_steps, "threads": self.threads}
        if self.mode is Mode.NO_REPLAY:
            changes["replay_share"] = 0.0
        return changes | dict(self.training)

    def described(self) -> dict[str, object]:
        """The settings as plain data: folders by their names, without paths."""
        values: dict[str, object] = json.loads(json.dumps(asdict(self), default=_plain))
        return values

    def digest(self, stream: Stream) -> str:
        """Short hash of all settings, and of the names of the cases that they come to."""
        names = [[case.key for case in cases] for cases in (stream.cases, stream.tests)]
        text = json.dumps([self.described(), names], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    if isinstance(value, Path):
        return "/".join(value.parts[-2:])
    raise TypeError(f"{type(value).__name__} is no plain data")


def read_tasks(file: Path) -> tuple[TaskData, ...]:
    """Tasks from a TOML file: one table ``[[task]]`` each, with the fields of :class:`TaskData`; paths relative to the file.

    Raises:
        ConfigurationError: if it cannot be read, or a field is unknown or missing.
    """
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8")).get("task", [])
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
    if not tables:
        raise ConfigurationError(f"{file} has no table [[task]]")
    return tuple(_task(file, table) for table in tables)


def _task(file: Path, table: dict[str, object]) -> TaskData:
    known = {f.name for f in fields(TaskData)}
    unknown = sorted(set(table) - known)
    if unknown:
        raise ConfigurationError(f"{file}: a task has no field {unknown[0]!r}; it has {', '.join(sorted(known))}")
    folders = [name for name in ("images", "labels", "cases", "scribbles") if name in table]
    paths: dict[str, object] = {name: file.parent / str(table[name]) for name in folders}
    try:
        return TaskData(**table | paths)  # type: ignore[arg-type]  # what a field may not be is said below
    except TypeError as error:
        raise ConfigurationError(f"{file}: a task lacks a field, or one is of the wrong kind: {error}") from error


def slices_of_rounds(slices: int, rounds: int) -> Sequence[int]:
    """Slices per round: even shares, the larger ones first."""
    return [slices // rounds + (1 if index < slices % rounds else 0) for index in range(min(rounds, slices))]
