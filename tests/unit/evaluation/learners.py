"""A learner of one number for each label: where it expects the label's intensity."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np

from learner.domain.example import Example
from learner.evaluation.run import Makers, TrainerOrder
from learner.ports import LearnReport
from learner.propagation import make_propagator


class IntensityNetwork:
    """The class whose mean intensity is nearest."""

    def __init__(self, means: list[float]) -> None:
        self.means = means

    def predict(self, image_DHW: np.ndarray, spacing_DHW: tuple[float, float, float]) -> np.ndarray:
        scores = np.stack([-np.square((image_DHW - mean) / 15) for mean in self.means])
        weights = np.exp(scores - scores.max(axis=0))
        return (weights / weights.sum(axis=0)).astype(np.float32)


class IntensityTrainer:
    """Learns mean intensities from known voxels and nothing else."""

    def __init__(self, order: TrainerOrder) -> None:
        self.order, self.steps = order, 0
        self.sums = {task: np.zeros((2, count + 1)) for task, count in order.labels.items()}
        self.examples: list[Example] = []

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        between_steps()
        self.remember(example)
        self.steps += steps
        return LearnReport(steps, 1.0, 0.5, 0, len(self.examples))

    def remember(self, example: Example) -> None:
        self.examples.append(example)
        known = example.annotation.known_DHW
        labels, values = example.annotation.labels_DHW[known], example.image_DHW[known]
        size = self.sums[example.task_id].shape[1]
        self.sums[example.task_id] += [np.bincount(labels, minlength=size), np.bincount(labels, values, minlength=size)]

    def rehearse(self, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        between_steps()
        self.steps += steps
        return LearnReport(steps, 1.0, 0.5, steps, len(self.examples))

    def network(self, task_id: str) -> IntensityNetwork:
        counts, sums = self.sums[task_id]
        return IntensityNetwork(list(sums / np.maximum(counts, 1)))

    def save(self) -> bytes:
        return json.dumps([self.steps, {task: sums.tolist() for task, sums in self.sums.items()}]).encode()

    def restore(self, state: bytes) -> None:
        self.steps, sums = json.loads(state)
        self.sums = {task: np.array(values) for task, values in sums.items()}

    def tidy(self) -> None:
        pass


class Bench:
    """Makers that keep what they made."""

    def __init__(self) -> None:
        self.trainers: list[IntensityTrainer] = []
        self.makers = Makers(self._trainer, lambda _: make_propagator())

    def _trainer(self, order: TrainerOrder) -> IntensityTrainer:
        self.trainers.append(IntensityTrainer(order))
        return self.trainers[-1]
