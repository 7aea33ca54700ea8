"""The choices that a run has by name; light to import, for the command line."""

from __future__ import annotations

from enum import StrEnum


class Mode(StrEnum):
    """How a run learns. Unless they say otherwise, modes share seed, order, network, augmentation and the number of updates."""

    SPARSE = "sparse"
    """The product: few drawn slices, proxies, answers; each case once."""
    FULL = "full"
    """Each case once, with every slice drawn."""
    OFFLINE = "offline"
    """All cases with every slice drawn are remembered first; then as many updates on them."""
    CONVERGED = "converged"
    """The same with ``converged_factor`` times as many updates."""
    JOINT = "joint"
    """The same as ``offline``, over all tasks and sites of the run: what learning one after the other is compared with."""
    NO_REPLAY = "no-replay"
    """Like ``sparse``, without replay."""
    ANSWERS_ONLY = "answers-only"
    """The same tool without learning: propagation alone."""

    @property
    def whole_truth(self) -> bool:
        """Whether every slice is drawn."""
        return self in (Mode.FULL, Mode.OFFLINE, Mode.CONVERGED, Mode.JOINT)

    @property
    def at_once(self) -> bool:
        """Whether all cases are there from the beginning."""
        return self in (Mode.OFFLINE, Mode.CONVERGED, Mode.JOINT)

    @property
    def learns(self) -> bool:
        """Whether there is a network."""
        return self is not Mode.ANSWERS_ONLY


class ReaderKind(StrEnum):
    """What sort of person draws."""

    PERFECT = "perfect"
    """Draws the truth."""
    JITTER = "jitter"
    """Draws with an unsteady hand, misses patches, and now and then a small part."""
    LAZY = "lazy"
    """Draws half as many slices, only those with the largest sections, and never states the ends."""
    SCRIBBLES = "scribbles"
    """Draws the strokes that people drew on the slices that are asked for; the task's folder of scribbles has them."""


class Order(StrEnum):
    """The order in which the cases of a stream come."""

    NAME = "name"
    """By file name; several tasks one after the other."""
    SHUFFLE = "shuffle"
    """At random over all tasks and sites, by the run's seed."""
    SITES = "sites"
    """Site after site, by file name within a site; each site is a stage."""
    TASKS = "tasks"
    """Task after task, by file name within a task; each task is a stage."""


class Part(StrEnum):
    """What a run is tested on."""

    TEST = "test"
    """The test cases; for figures that are reported."""
    VALIDATION = "validation"
    """The last cases of the stream, which then are not learned from; for choosing hyperparameters."""
