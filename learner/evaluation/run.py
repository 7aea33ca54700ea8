"""A run: a stream of cases, a learner, and what comes of it; goes on where it was broken off.

What is measured is what answers: the node and a run share :func:`learner.app.answering.answer_case` and the trainer.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from learner.domain.example import Example
from learner.errors import ConfigurationError
from learner.evaluation.calibration import reliability
from learner.evaluation.cases import CaseLoader
from learner.evaluation.experience import RunExperience
from learner.evaluation.folders import LabelledCase
from learner.evaluation.metrics import dice, surface_dice
from learner.evaluation.modes import Mode
from learner.evaluation.play import Played, play_case, whole_case
from learner.evaluation.process import code_digest, memory_mb, peak_mb
from learner.evaluation.results import CaseResult, TestResult, UpdateResult, as_record
from learner.evaluation.run_folder import RunFolder
from learner.evaluation.settings import RunSettings, Scalar
from learner.evaluation.streams import Stream, StreamCase
from learner.evaluation.whole_truth import TruthPropagator, every_slice
from learner.ports import LearnReport, Network, Propagator


class LiveTrainer(Protocol):
    """A trainer whose networks can be asked between jobs."""

    @property
    def steps(self) -> int:
        """Training steps since the beginning."""
        ...

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on ``example`` and on replayed ones, then remembers it; see :class:`learner.ports.Trainer`."""
        ...

    def remember(self, example: Example) -> None:
        """Takes an example into the replay memory without training."""
        ...

    def rehearse(self, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on the replay memory alone."""
        ...

    def network(self, task_id: str) -> Network:
        """The weights as they serve now, with the head of a task that was met before."""
        ...

    def save(self) -> bytes:
        """The whole state."""
        ...

    def restore(self, state: bytes) -> None:
        """Goes back to a state that ``save`` gave."""
        ...

    def tidy(self) -> None:
        """Removes files of the replay memory that nothing needs any more."""
        ...


@dataclass(frozen=True, slots=True)
class TrainerOrder:
    """What sort of trainer a run needs.

    Attributes:
        labels: number of labels L of each task.
        changes: training settings other than the defaults.
        replay: folder of the replay memory.
        replay_mb: its bound in MiB.
        seed: of weights and sampling.
    """

    labels: Mapping[str, int]
    changes: Mapping[str, Scalar]
    replay: Path
    replay_mb: int
    seed: int


@dataclass(frozen=True, slots=True)
class Makers:
    """What a run is made of.

    Attributes:
        trainer: makes a trainer that knows nothing.
        propagator: makes a front end by its name.
    """

    trainer: Callable[[TrainerOrder], LiveTrainer]
    propagator: Callable[[str], Propagator]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run is.

    Attributes:
        done: cases of the stream done, or shares of the updates.
        total: of them in all.
        case: the result of the case just done; None where there is none.
        testing: whether test cases are being predicted.
    """

    done: int
    total: int
    case: CaseResult | None = None
    testing: bool = False


class Run:
    """One run in its folder.

    Args:
        settings: what to run.
        stream: the cases that the settings come to.
        folder: where it writes.
        makers: makes trainer and front end.
        notify: called after each unit.
    """

    def __init__(
        self, settings: RunSettings, stream: Stream, folder: RunFolder, makers: Makers, notify: Callable[[Progress], None]
    ) -> None:
        self._settings = settings
        self._stream = stream
        self._folder = folder
        self._makers = makers
        self._notify = notify
        self._loader = CaseLoader(settings.seed)
        self._labels: dict[str, int] = {}
        self._propagator = TruthPropagator() if settings.mode.whole_truth else makers.propagator(settings.propagator)
        self._met: set[str] = set()
        self._experience = RunExperience()

    @property
    def units(self) -> int:
        """Cases to play, or shares of the updates to make."""
        repeated = self._settings.converged_factor if self._settings.mode is Mode.CONVERGED else 1
        return len(self._stream.cases) * repeated

    def execute(self) -> None:
        """Computes what is not there yet.

        Raises:
            ConfigurationError: if the folders do not hold what the settings ask for.
            StoreError: if the run's folder cannot be used.
            DicomIoError: if a DICOM object cannot be read.
        """
        if self._folder.is_finished:
            return
        began = time.perf_counter()
        self._labels = label_counts(self._stream, self._loader)
        self._folder.describe(self._settings.described() | {"labels": self._labels})
        done, state, experience = self._folder.position()
        if experience is not None:
            self._experience = RunExperience.from_bytes(experience)
        trainer = self._trainer(state)
        if done == 0 and trainer is not None and self._settings.mode.at_once:
            self._remember_all(trainer)
        self._met = self._met_after(done)
        self._test_if_due(done, trainer)
        for index in range(done, self.units):
            result = self._unit(index, trainer)
            state = trainer.save() if trainer is not None else b""
            self._folder.commit(index + 1, as_record(result), state, self._experience.to_bytes())
            if trainer is not None:
                trainer.tidy()
            self._met = self._met_after(index + 1)
            self._notify(Progress(index + 1, self.units, result if isinstance(result, CaseResult) else None))
            self._test_if_due(index + 1, trainer)
        seconds = time.perf_counter() - began
        facts = {"seconds_of_last_part": seconds, "peak_mb": peak_mb(), "units": self.units, "code": code_digest()}
        self._folder.finish(facts)

    def _trainer(self, state: bytes | None) -> LiveTrainer | None:
        settings = self._settings
        if not settings.mode.learns:
            return None
        order = TrainerOrder(self._labels, settings.training_changes, self._folder.replay, settings.replay_mb, settings.seed)
        trainer = self._makers.trainer(order)
        if state is not None:
            trainer.restore(state)
        return trainer

    def _met_after(self, done: int) -> set[str]:
        """Tasks that the network has met."""
        if self._settings.mode.at_once:
            return set(self._labels) if done else set()
        return {case.task.name for case in self._stream.cases[:done]}

    def _unit(self, index: int, trainer: LiveTrainer | None) -> CaseResult | UpdateResult:
        if trainer is not None and self._settings.mode.at_once:
            return self._rehearse(index, trainer)
        of = self._stream.cases[index]
        case, label_count = self._loader.load(of), self._labels[of.task.name]
        network = trainer.network(of.task.name) if trainer is not None and of.task.name in self._met else None
        if self._settings.mode.whole_truth:
            result = whole_case(case, of, label_count, network)
            example: Example | None = self._whole_example(case, of)
        else:
            before = self._experience.of(of.task.name)
            played = play_case(case, of, label_count, network, self._propagator, self._settings, self._loader, before)
            self._experience.add(of.task.name, played.answered.evidence if played.answered else None)
            result, example = played.result, self._example(case, of, played)
        began = time.perf_counter()
        if trainer is not None and example is not None:
            trainer.learn(example, self._settings.steps, lambda: None)
        learning = time.perf_counter() - began
        return replace(result, seconds_learning=learning, rss_mb=memory_mb(), peak_mb=peak_mb())

    def _example(self, case: LabelledCase, of: StreamCase, played: Played) -> Example | None:
        """What is learned from a case; None if nothing was drawn."""
        annotation = played.reader.annotation()
        if played.answered is None or played.answered.proxy is None or annotation is None:
            return None
        proxy, rounds = played.answered.proxy, played.result.rounds
        return Example(self._key(of), of.task.name, rounds, case.image_DHW, case.spacing_DHW, annotation, proxy)

    def _key(self, of: StreamCase) -> str:
        return hashlib.sha256(f"{self._settings.seed}:{of.key}".encode()).hexdigest()

    def _whole_example(self, case: LabelledCase, of: StreamCase) -> Example:
        annotation = every_slice(case, self._labels[of.task.name])
        proxy = self._propagator.propagate(case.image_DHW, case.spacing_DHW, annotation)
        return Example(self._key(of), of.task.name, 1, case.image_DHW, case.spacing_DHW, annotation, proxy)

    def _remember_all(self, trainer: LiveTrainer) -> None:
        for of in self._stream.cases:
            trainer.remember(self._whole_example(self._loader.load(of), of))

    def _rehearse(self, index: int, trainer: LiveTrainer) -> UpdateResult:
        began = time.perf_counter()
        steps = max(self._settings.steps, self._settings.first_steps) if index == 0 else self._settings.steps
        trainer.rehearse(steps, lambda: None)
        return UpdateResult(trainer.steps, time.perf_counter() - began)

    def _test_if_due(self, done: int, trainer: LiveTrainer | None) -> None:
        """Predicts the test cases that this point of the run lacks."""
        is_last = done == self.units
        ends = () if self._settings.mode.at_once else self._stream.stage_ends
        due = is_last or done in ends or done % self._settings.test_every == 0
        if trainer is None or done == 0 or not due:
            return
        there = {(record["task"], record["case"]) for record in self._folder.tests() if record["after"] == done}
        networks = {task: trainer.network(task) for task in self._met}
        for of in self._stream.tests:
            if (of.task.name, of.name) not in there:
                result = self._test(of, networks.get(of.task.name), done, whole=is_last)
                self._folder.add_test(as_record(result))
                self._notify(Progress(done, self.units, testing=True))

    def _test(self, of: StreamCase, network: Network | None, done: int, *, whole: bool) -> TestResult:
        """The network alone on a test case; surface and calibration with ``whole``."""
        result = TestResult(done, of.task.name, of.site, of.stage, of.name, None)
        if network is None:
            return result
        case, label_count = self._loader.load(of, keep=True), self._labels[of.task.name]
        soft_CDHW = network.predict(case.image_DHW, case.spacing_DHW)
        labels_DHW = soft_CDHW.argmax(axis=0).astype(np.uint8)
        result = replace(result, dice=dice(labels_DHW, case.labels_DHW, label_count))
        if not whole:
            return result
        return replace(
            result,
            nsd=surface_dice(labels_DHW, case.labels_DHW, label_count, case.spacing_DHW),
            calibration=reliability(soft_CDHW, case.labels_DHW, case.spacing_DHW),
        )


def label_counts(stream: Stream, loader: CaseLoader) -> dict[str, int]:
    """Labels of each task, from the truth of its cases in the stream.

    Raises:
        ConfigurationError: if a task has none.
    """
    counts: dict[str, int] = {}
    for case in stream.cases:
        if case.cycle == 0:
            largest = int(loader.load(case).labels_DHW.max())
            counts[case.task.name] = max(largest, counts.get(case.task.name, 0))
    for task, count in counts.items():
        if count < 1:
            raise ConfigurationError(f"the labels of task {task} hold none above 0 in the stream")
    return counts
