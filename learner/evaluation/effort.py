"""What an annotation costs a reader: slices, contour length, clicks, and seconds by a stated model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import contourpy
import numpy as np
import numpy.typing as npt

from learner.evaluation.metrics import contour_voxels

LabelArray = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class ReadingTime:
    """Seconds of a reader's time. The numbers are assumptions, not measurements; what they are compared with uses the same.

    Attributes:
        per_cm: seconds to trace a centimetre of contour.
        per_slice: seconds to go to a slice that is drawn, and to begin.
        per_click: seconds to find and mark an end of the structure.
    """

    per_cm: float = 1.0
    per_slice: float = 3.0
    per_click: float = 2.0

    def seconds(self, contour_mm: float, slices: int, clicks: int) -> float:
        """Seconds in all."""
        return self.per_cm * contour_mm / 10.0 + self.per_slice * slices + self.per_click * clicks


@dataclass(frozen=True, slots=True)
class Effort:
    """What was drawn of a case.

    Attributes:
        drawn_slices: slices with a drawing.
        contour_voxels: voxels of the in-plane contours on them.
        contour_share: of those of all slices; 1 minus this is what we take the paper's saved effort to be.
        contour_mm: length of the contours on them.
        clicks: ends of the structure that were stated, one click each.
        reading_seconds: by :class:`ReadingTime`.
    """

    drawn_slices: int
    contour_voxels: int
    contour_share: float
    contour_mm: float
    clicks: int
    reading_seconds: float


class Contours:
    """Contours of all slices of a case, measured once.

    Args:
        labels_DHW: uint8 truth.
        label_count: labels L.
        spacing_DHW: voxel spacing in mm.
        time: model of the reader's time.
    """

    def __init__(
        self,
        labels_DHW: LabelArray,
        label_count: int,
        spacing_DHW: tuple[float, float, float],
        time: ReadingTime | None = None,
    ) -> None:
        self._voxels = contour_voxels(labels_DHW, label_count)
        self._mm = contour_lengths(labels_DHW, label_count, spacing_DHW)
        self._time = time or ReadingTime()

    def effort(self, drawn: Sequence[int], clicks: int) -> Effort:
        """The effort of drawing these slices."""
        chosen, total = list(drawn), int(self._voxels.sum())
        voxels, length = int(self._voxels[chosen].sum()), float(self._mm[chosen].sum())
        seconds = self._time.seconds(length, len(chosen), clicks)
        return Effort(len(chosen), voxels, voxels / total if total else 0.0, length, clicks, seconds)

    def effort_of_strokes(self, voxels: int, pixel_mm: float, slices: int, clicks: int) -> Effort:
        """The effort of strokes: their voxels stand for contour voxels, which overstates strokes wider than a pixel."""
        total, length = int(self._voxels.sum()), voxels * pixel_mm
        seconds = self._time.seconds(length, slices, clicks)
        return Effort(slices, voxels, voxels / total if total else 0.0, length, clicks, seconds)

    @property
    def whole(self) -> Effort:
        """The effort of drawing every slice that shows the object."""
        return self.effort([int(i) for i in np.flatnonzero(self._voxels)], 0)


def contour_lengths(
    labels_DHW: LabelArray, label_count: int, spacing_DHW: tuple[float, float, float]
) -> npt.NDArray[np.float64]:
    """Length in mm of the in-plane contours of all labels, per slice: lines half way between voxel centres, corners cut.

    Args:
        labels_DHW: uint8 labels.
        label_count: labels L.
        spacing_DHW: voxel spacing in mm.

    Returns:
        float64 array of length D.
    """
    result = np.zeros(len(labels_DHW))
    scale = np.array([spacing_DHW[2], spacing_DHW[1]])
    for index, labels_HW in enumerate(labels_DHW):
        for number in range(1, label_count + 1):
            if (labels_HW == number).any():
                mask_HW = np.pad((labels_HW == number).astype(np.float64), 1)
                for line in contourpy.contour_generator(z=mask_HW).lines(0.5):
                    result[index] += float(np.linalg.norm(np.diff(np.asarray(line) * scale, axis=0), axis=1).sum())
    return result
