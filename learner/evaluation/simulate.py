"""The whole loop without a PACS: a stream of cases, a simulated reader, the propagator, the network and its trainer.

The bench of every change to the learner, and the acceptance test that a site runs on its own data. The first cases in name
order are the stream, the last ones the test; the network never sees the truth of either beyond what the reader draws.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from learner.app.answering import CaseAnswer, answer_case
from learner.domain.example import Example
from learner.errors import ConfigurationError
from learner.evaluation.folders import LabelledCase, LabelledFolders
from learner.evaluation.metrics import contour_share, dice, mean_dice
from learner.evaluation.report import CaseResult, SimulationReport
from learner.evaluation.simulated_reader import SimulatedReader
from learner.ports import LearnReport, Network, Propagator


class LiveTrainer(Protocol):
    """A trainer whose network can be asked between jobs."""

    @property
    def steps(self) -> int:
        """Training steps since the beginning."""
        ...

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on ``example`` and on replayed ones, then remembers it; see :class:`learner.ports.Trainer`."""
        ...

    def network(self) -> Network:
        """The weights as they serve now."""
        ...


MakeTrainer = Callable[[int, int], LiveTrainer]
"""From the number of labels and the seed to a trainer that knows nothing."""


@dataclass(frozen=True, slots=True)
class SimulationSettings:
    """What is simulated.

    Attributes:
        images: folder of images.
        labels: folder of labels with the same names.
        stream: how many cases, the first in name order, are drawn and learned from.
        test: how many cases, the last in name order, the network alone is tested on in the end.
        slices: slices drawn at most per case, in all rounds together.
        axis: array axis of the NIfTI files that is the slice axis.
        seed: of weights, sampling and the reader's hand.
        rounds: rounds of drawing per case.
        steps: training steps per case.
        jitter: standard deviation in pixels of the reader's hand.
        follow_guidance: whether the reader draws what guidance suggests, or spreads slices evenly.

    Raises:
        ConfigurationError: if a number makes no sense.
    """

    images: Path
    labels: Path
    stream: int
    test: int
    slices: int
    axis: int = 2
    seed: int = 0
    rounds: int = 2
    steps: int = 20
    jitter: float = 0.0
    follow_guidance: bool = True

    def __post_init__(self) -> None:
        if self.stream < 1 or self.test < 0 or self.slices < 1 or self.rounds < 1 or self.steps < 0:
            raise ConfigurationError("a simulation needs at least one case, one drawn slice and one round")
        if self.axis not in (0, 1, 2):
            raise ConfigurationError(f"axis {self.axis} is none of 0, 1 and 2")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a simulation is.

    Attributes:
        done: cases done, of stream and test together.
        total: cases in all.
        case: the result of the case just done, or None for a test case.
    """

    done: int
    total: int
    case: CaseResult | None


def simulate(
    settings: SimulationSettings,
    make_trainer: MakeTrainer,
    propagator: Propagator,
    progress: Callable[[Progress], None],
) -> SimulationReport:
    """Plays the stream and tests the network.

    Args:
        settings: what to simulate.
        make_trainer: makes the trainer.
        propagator: the front end.
        progress: called after each case.

    Raises:
        ConfigurationError: if the folders do not hold what the settings ask for.
        DicomIoError: if a DICOM object cannot be read.
    """
    folders = LabelledFolders(settings.images, settings.labels, settings.axis)
    names = folders.names()
    if len(names) < settings.stream + settings.test:
        raise ConfigurationError(
            f"{settings.images} holds {len(names)} cases; stream {settings.stream} and test {settings.test} need more"
        )
    label_count = max(int(folders.load(name).labels_DHW.max()) for name in names[: settings.stream])
    if label_count < 1:
        raise ConfigurationError(f"{settings.labels} holds no label above 0 in the first {settings.stream} cases")
    trainer = make_trainer(label_count, settings.seed)
    total = settings.stream + settings.test
    results = []
    for number, name in enumerate(names[: settings.stream]):
        result = _play(folders.load(name), label_count, trainer, propagator, settings)
        results.append(result)
        progress(Progress(number + 1, total, result))
    tested = []
    for number, name in enumerate(names[len(names) - settings.test :]):
        case = folders.load(name)
        labels_DHW = trainer.network().predict(case.image_DHW, case.spacing_DHW, None).argmax(axis=0).astype(np.uint8)
        tested.append(dice(labels_DHW, case.labels_DHW, label_count))
        progress(Progress(settings.stream + number + 1, total, None))
    return SimulationReport(tuple(results), mean_dice(tested), _described(settings, propagator, label_count))


def _play(
    case: LabelledCase, label_count: int, trainer: LiveTrainer, propagator: Propagator, settings: SimulationSettings
) -> CaseResult:
    """One case of the stream: answer before anything is drawn, rounds of drawing and answering, learning."""
    reader = SimulatedReader(case.labels_DHW, label_count, settings.jitter, settings.seed)
    reader.state_extents()
    network = trainer.network() if trainer.steps else None
    answered, before = None, None
    if network is not None:
        answered = answer_case(case.image_DHW, case.spacing_DHW, None, label_count, propagator, network)
        before = dice(answered.answer.labels_DHW, case.labels_DHW, label_count)
    rounds, seconds = 0, []
    for share in _shares(settings.slices, settings.rounds):
        guidance = answered.answer.guidance if answered is not None and settings.follow_guidance else None
        chosen = reader.choose(share, guidance)
        reader.draw(chosen)
        annotation = reader.annotation()
        if not chosen or annotation is None:
            break
        began = time.perf_counter()
        previous = answered.back_end_CDHW if answered is not None else None
        answered = answer_case(case.image_DHW, case.spacing_DHW, annotation, label_count, propagator, network, previous)
        seconds.append(time.perf_counter() - began)
        rounds += 1
    _learn(case, reader, answered, trainer, settings)
    return _result(case, reader, answered, before, (rounds, seconds), label_count)


def _shares(slices: int, rounds: int) -> Sequence[int]:
    """Slices per round: even shares, the larger ones first."""
    return [slices // rounds + (1 if index < slices % rounds else 0) for index in range(min(rounds, slices))]


def _learn(
    case: LabelledCase, reader: SimulatedReader, answered: CaseAnswer | None, trainer: LiveTrainer, settings: SimulationSettings
) -> None:
    annotation = reader.annotation()
    if answered is None or answered.proxy is None or annotation is None:
        return
    example = Example(
        key=hashlib.sha256(f"{settings.seed}:{case.name}".encode()).hexdigest(),
        task_id="simulated",
        round_number=settings.rounds,
        image_DHW=case.image_DHW,
        spacing_DHW=case.spacing_DHW,
        annotation=annotation,
        proxy=answered.proxy,
    )
    trainer.learn(example, settings.steps, lambda: None)


def _result(
    case: LabelledCase,
    reader: SimulatedReader,
    answered: CaseAnswer | None,
    before: dict[int, float] | None,
    played: tuple[int, list[float]],
    label_count: int,
) -> CaseResult:
    rounds, seconds = played
    empty = np.zeros_like(case.labels_DHW)
    proxy_DHW = answered.answer.proxy_labels_DHW if answered is not None else None
    answer_DHW = answered.answer.labels_DHW if answered is not None else empty
    return CaseResult(
        case=case.name,
        drawn_slices=len(reader.drawn_slices),
        object_slices=len(reader.object_slices),
        contour_share=contour_share(case.labels_DHW, label_count, list(reader.drawn_slices)),
        extent_marks=reader.extent_marks,
        rounds=rounds,
        network_dice_before=before,
        proxy_dice=dice(proxy_DHW if proxy_DHW is not None else empty, case.labels_DHW, label_count),
        answer_dice=dice(answer_DHW, case.labels_DHW, label_count),
        seconds_per_answer=float(np.mean(seconds)) if seconds else 0.0,
    )


def _described(settings: SimulationSettings, propagator: Propagator, label_count: int) -> dict[str, object]:
    """Settings for the report: folder names without their paths, which are nobody else's business."""
    return {
        "images": settings.images.name,
        "labels": settings.labels.name,
        "stream": settings.stream,
        "test": settings.test,
        "slices": settings.slices,
        "axis": settings.axis,
        "seed": settings.seed,
        "rounds": settings.rounds,
        "steps": settings.steps,
        "jitter": settings.jitter,
        "follow_guidance": settings.follow_guidance,
        "propagator": propagator.name,
        "label_count": label_count,
    }
