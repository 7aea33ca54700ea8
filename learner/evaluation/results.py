"""What a run writes down: one record for each case of the stream, and one for each test case at each test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from learner.evaluation.calibration import Reliability
from learner.evaluation.effort import Effort

Dice = dict[int, float]


@dataclass(frozen=True, slots=True)
class RoundResult:
    """One round of a case.

    Attributes:
        effort: all that is drawn so far.
        proxy_dice: Dice per label of the propagation alone.
        network_dice: Dice per label of the network alone, as of before this case; None without one.
        answer_dice: Dice per label of the answer.
        estimated_dice: what the answer said that its Dice may be expected to be, per label that it said it of.
        seconds: for the answer.
    """

    effort: Effort
    proxy_dice: Dice
    network_dice: Dice | None
    answer_dice: Dice
    estimated_dice: Dice
    seconds: float


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One case of the stream. The fields are a stable form: scripts of others read them.

    Attributes:
        case: name.
        drawn_slices: how many slices the reader drew.
        object_slices: how many slices show the object.
        contour_share: contour voxels on drawn slices over those of all slices.
        extent_marks: how many slices the reader marked as empty, counted apart from drawn ones.
        rounds: rounds of drawing.
        network_dice_before: Dice per label of the network alone before anything was drawn; None for the first case.
        proxy_dice: Dice per label of the propagation alone after the last round.
        answer_dice: Dice per label of the answer after the last round.
        seconds_per_answer: mean over the rounds.
        task: name of its task.
        site: where it comes from, or empty.
        stage: number of its stage.
        curve: one entry a round.
        whole: effort of drawing every slice that shows the object.
        answer_nsd: normalised surface Dice at 2 mm per label of the answer after the last round.
        calibration: reliability of the answer after the last round, near the object and where nothing was drawn; or None.
        seconds_learning: spent in training.
        rss_mb: memory of the process after the case, in MiB.
        peak_mb: its largest memory so far, in MiB.
    """

    case: str
    drawn_slices: int
    object_slices: int
    contour_share: float
    extent_marks: int
    rounds: int
    network_dice_before: Dice | None
    proxy_dice: Dice
    answer_dice: Dice
    seconds_per_answer: float
    task: str = ""
    site: str = ""
    stage: int = 0
    curve: tuple[RoundResult, ...] = ()
    whole: Effort | None = None
    answer_nsd: Dice | None = None
    calibration: Reliability | None = None
    seconds_learning: float = 0.0
    rss_mb: float = 0.0
    peak_mb: float = 0.0


@dataclass(frozen=True, slots=True)
class TestResult:
    """The network alone on one test case.

    Attributes:
        after: cases of the stream that were learned from before.
        task: name of its task.
        site: where it comes from, or empty.
        stage: number of its stage.
        case: name.
        dice: per label; None where the network has not met the task yet.
        nsd: normalised surface Dice at 2 mm per label, in the last test of a run only.
        calibration: reliability near the object, in the last test of a run only.
    """

    __test__ = False  # pytest takes it for a test

    after: int
    task: str
    site: str
    stage: int
    case: str
    dice: Dice | None
    nsd: Dice | None = None
    calibration: Reliability | None = None


@dataclass(frozen=True, slots=True)
class UpdateResult:
    """Some updates of a run that has all cases at once.

    Attributes:
        updates: training steps made since the beginning.
        seconds_learning: spent in training.
    """

    updates: int
    seconds_learning: float


def as_record(result: CaseResult | TestResult | UpdateResult) -> dict[str, object]:
    """The result as plain data for JSON: floats to five digits, label numbers as strings."""
    record: dict[str, object] = {name: rounded(value) for name, value in asdict(result).items()}
    return record


def case_from(record: Mapping[str, Any]) -> CaseResult:
    """The case that ``as_record`` made plain data of; unknown fields are left out."""
    values = _known(CaseResult, record)
    for name in ("network_dice_before", "proxy_dice", "answer_dice", "answer_nsd"):
        values[name] = _dice(values.get(name))
    values["curve"] = tuple(_round(item) for item in values.get("curve") or ())
    values["whole"] = Effort(**values["whole"]) if values.get("whole") else None
    values["calibration"] = _reliability(values.get("calibration"))
    return CaseResult(**values)


def test_from(record: Mapping[str, Any]) -> TestResult:
    """The test that ``as_record`` made plain data of."""
    values = _known(TestResult, record)
    values |= {"dice": _dice(values["dice"]), "nsd": _dice(values.get("nsd"))}
    return TestResult(**values | {"calibration": _reliability(values.get("calibration"))})


def rounded(value: object) -> object:
    """Floats to five digits; label numbers to strings, as JSON has no other keys."""
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {str(key): rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(item) for item in value]
    return value


def _known(kind: type, record: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: record[f.name] for f in fields(kind) if f.name in record}


def _dice(value: Mapping[str, float] | None) -> Dice | None:
    return None if value is None else {int(number): float(score) for number, score in value.items()}


def _round(item: Mapping[str, Any]) -> RoundResult:
    dice = {name: _dice(item[name]) for name in ("proxy_dice", "network_dice", "answer_dice", "estimated_dice")}
    return RoundResult(effort=Effort(**item["effort"]), seconds=float(item["seconds"]), **dice)  # type: ignore[arg-type]  # as written


def _reliability(value: Mapping[str, Any] | None) -> Reliability | None:
    return None if value is None else Reliability(**{name: tuple(item) for name, item in value.items()})
