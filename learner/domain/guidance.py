"""Which slices are worth drawing next: what a guidance rule is told, and what it says."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One slice worth drawing.

    Attributes:
        axis: array axis that the slice is perpendicular to.
        index: its index along that axis.
        score: expected worth in [0, 1]; comparable within one guidance only.
        reason: one short clause for the reader, in plain words.
    """

    axis: int
    index: int
    score: float
    reason: str


@dataclass(frozen=True, slots=True)
class Guidance:
    """Ranked slices, best first; never one that is drawn already.

    Attributes:
        suggestions: best first.
        enough: whether drawing more is expected to gain little.
    """

    suggestions: tuple[Suggestion, ...]
    enough: bool = False


@dataclass(frozen=True, eq=False)
class Situation:
    """A case between two rounds, as a guidance rule sees it.

    Attributes:
        depth: slices of the volume.
        spacing_DHW: distance of voxel centres in mm.
        soft_CDHW: float32 probabilities of the answer, or None without one.
        residual_DHW: float32 disagreement of front and back end in [0, 1], or None.
        annotation: what is known, or None.
        trust: in [0, 1], the network's share in the answer where the proxy is half sure; 0 without a network.
        acquired: slices that were acquired, all of them if None; on the others, interpolated ones, nobody can draw.
    """

    depth: int
    spacing_DHW: tuple[float, float, float] = (1.0, 1.0, 1.0)
    soft_CDHW: FloatArray | None = None
    residual_DHW: FloatArray | None = None
    annotation: SparseAnnotation | None = None
    trust: float = 0.0
    acquired: frozenset[int] | None = None

    @property
    def known(self) -> tuple[int, ...]:
        """Slices of which something is known already, ascending."""
        return self.annotation.planes_of(axis=0) if self.annotation is not None else ()

    @property
    def free(self) -> tuple[int, ...]:
        """Slices that can be drawn, ascending."""
        there = range(self.depth) if self.acquired is None else sorted(self.acquired)
        known = set(self.known)
        return tuple(i for i in there if 0 <= i < self.depth and i not in known)
