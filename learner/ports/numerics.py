"""The front end, the back end and its trainer, as the use cases see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from dicom_io.geometry import Geometry
from learner.domain.example import Example
from learner.domain.guidance import Guidance, Situation
from learner.domain.prior import CarriedPrior, PriorStudy
from learner.domain.proxy import ProxyMask

FloatArray = npt.NDArray[np.float32]


class Propagator(Protocol):
    """The front end: few drawn slices to a proxy mask."""

    @property
    def name(self) -> str:
        """Name for provenance, settings and tables."""
        ...

    def propagate(
        self, image_DHW: FloatArray, spacing_DHW: tuple[float, float, float], annotation: SparseAnnotation
    ) -> ProxyMask:
        """Proxy mask of a volume.

        Args:
            image_DHW: float32 voxels.
            spacing_DHW: distance of voxel centres in mm.
            annotation: what is known: planes of any axis, strokes, or both.

        Returns:
            A proxy mask that equals ``annotation`` wherever that is known. Where nothing is known, and nothing follows from
            what is known, it is background of confidence 0.
        """
        ...


class GuidanceRule(Protocol):
    """Which slices to draw next."""

    @property
    def name(self) -> str:
        """Name for settings and tables."""
        ...

    def rank(self, situation: Situation, count: int = 5) -> Guidance:
        """The slices worth drawing next, each given those before it.

        Args:
            situation: the case as it stands.
            count: how many to suggest at most.

        Returns:
            Guidance: no slice twice, none that is known or was not acquired, scores in [0, 1] that do not rise, a reason in
            plain words for each. The same situation gives the same guidance.
        """
        ...


class PriorCarrier(Protocol):
    """From another study of the same patient to today's."""

    def carry(self, prior: PriorStudy, image_DHW: FloatArray, geometry: Geometry, label_count: int) -> CarriedPrior:
        """The prior study's labels on today's grid, as a proxy mask; nothing of it counts as drawn.

        Args:
            prior: the prior study; no label in it is above ``label_count``.
            image_DHW: float32 voxels of today's volume.
            geometry: their place in the patient.
            label_count: labels L of the task.

        Returns:
            A proxy mask whose confidence is below 1 everywhere, or why there is none. Never an error: patients change.
        """
        ...


class Network(Protocol):
    """The back end as it serves: one checkpoint's weights."""

    def predict(self, image_DHW: FloatArray, spacing_DHW: tuple[float, float, float]) -> FloatArray:
        """Probabilities of background and labels, float32 ``(C, D, H, W)``.

        Args:
            image_DHW: float32 voxels as the series gives them.
            spacing_DHW: distance of voxel centres in mm.
        """
        ...


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the replay memory holds of one task and site.

    Attributes:
        task_id: the task.
        site: keyed hash of the site; empty where that is not known.
        cases: number of cases.
        size: bytes on disk.
        readers: number of readers who drew them, as far as they are known.
    """

    task_id: str
    site: str
    cases: int
    size: int
    readers: int


@dataclass(frozen=True, slots=True)
class LearnReport:
    """What one learn job did.

    Attributes:
        steps: training steps made.
        loss_first: mean loss of the first quarter of the steps.
        loss_last: mean loss of the last quarter.
        replayed: how many of the examples drawn came from the replay memory.
        remembered: examples in the replay memory afterwards.
        memory: these by task and site.
    """

    steps: int
    loss_first: float
    loss_last: float
    replayed: int
    remembered: int
    memory: tuple[Remembered, ...] = ()


class Trainer(Protocol):
    """The back end as it learns: owns the weights being trained and the replay memory of one model, of one task or several."""

    @property
    def steps(self) -> int:
        """Training steps since the beginning."""
        ...

    def network(self, task_id: str) -> Network:
        """The averaged weights as they are now and as they serve for a task.

        Raises:
            StoreError: if nothing was learned yet.
        """
        ...

    def learn(self, example: Example, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on ``example`` and on replayed ones, then remembers it.

        Deterministic on a CPU: the same state, example and number of steps give the same weights. The example's ``task_id``
        names the task; one that the model does not have yet is added.

        Args:
            example: the new case, or a case seen before with more drawn on it.
            steps: training steps to make.
            between_steps: called before each step; may wait (a reader goes first) or raise (the lease is lost).
        """
        ...

    def rehearse(self, steps: int, between_steps: Callable[[], None]) -> LearnReport:
        """Trains on what is remembered and on nothing else; no steps are made if that is nothing."""
        ...

    def remember(self, example: Example) -> None:
        """Takes an example into what is replayed, without training on it."""
        ...

    def forget(self, keys: Iterable[str]) -> int:
        """Removes the examples with these keys from what is replayed, and returns how many were; others are no error."""
        ...

    def start_over(self) -> frozenset[str]:
        """Begins anew with what is remembered and nothing else: first weights, first random state, no steps.

        Returns:
            Keys of what is remembered; none, and everything as it was, if that is nothing.
        """
        ...

    def save(self) -> bytes:
        """The whole state as one file: weights, optimizer, random state, replay index; no pickle needed to load it."""
        ...

    def restore(self, state: bytes) -> None:
        """Goes back to a state that ``save`` gave."""
        ...

    def tidy(self) -> None:
        """Removes files of the replay memory that neither the state as it is nor the one before the last job needs.

        Call it once the state is kept: a job that is done again needs the files of the state that it begins from.
        """
        ...
