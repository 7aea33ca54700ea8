"""What is kept in memory of a case that is trained on: little; its voxels stay on disk and are decoded patch by patch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import PlaneKind, SparseAnnotation
from learner.domain.example import Example
from learner.memory.files import ByteArray, StoredExample

OBSERVED, CONFIRMED, KNOWN = 1, 2, 4
"""Bits of ``PreparedCase.marks_DHW``: every label that somebody looked for is known here; only because a prediction was
accepted; every label is known."""

_MOST_POSITIONS = 4096
_MOST_FILES = 256
"""Each mapped file takes a file descriptor; a process may have 1024."""


@dataclass(eq=False)
class PreparedCase:
    """One case on the working grid, ready to be sampled.

    Attributes:
        stored: its voxels and its proxy, mapped where they can be.
        label_count: labels L of its task now; as many as in ``stored`` or more.
        marks_DHW: what is known of each voxel, as bits.
        positions: per label that occurs, voxel coordinates ``(n, 3)`` where it is the most likely one.
        known_slices: slices known as a whole.
        unknown_labels: labels that nobody looked for in this case.
    """

    stored: StoredExample
    label_count: int
    marks_DHW: ByteArray
    positions: tuple[npt.NDArray[np.int16], ...]
    known_slices: tuple[int, ...]
    unknown_labels: tuple[int, ...]

    @property
    def shape_DHW(self) -> tuple[int, int, int]:
        """Voxels along (slice, row, column)."""
        return self.stored.shape_DHW

    def example(self) -> Example:
        """The whole example, decoded, as of its task now."""
        return self.stored.example().with_label_count(self.label_count)

    @property
    def nbytes(self) -> int:
        """Memory that the case takes; mapped voxels take none."""
        return self.stored.nbytes + self.marks_DHW.nbytes + sum(places.nbytes for places in self.positions)


def prepare_case(stored: StoredExample, label_count: int) -> PreparedCase:
    """What sampling needs of an example on the working grid.

    Args:
        stored: the example.
        label_count: labels of its task; those that the example lacks are unknown in it.
    """
    example = stored.example().with_label_count(label_count)
    annotation, labels = example.annotation, example.proxy.labels_DHW
    positions = [np.argwhere(labels == number).astype(np.int16) for number in range(1, label_count + 1)]
    return PreparedCase(
        stored=stored,
        label_count=label_count,
        marks_DHW=_marks(annotation),
        positions=tuple(places[:: max(1, len(places) // _MOST_POSITIONS)].copy() for places in positions if len(places)),
        known_slices=annotation.planes_of(),
        unknown_labels=annotation.unknown_labels,
    )


def _marks(annotation: SparseAnnotation) -> ByteArray:
    marks = annotation.observed_DHW * np.uint8(OBSERVED) + annotation.known_DHW * np.uint8(KNOWN)
    return np.asarray(marks + _only_confirmed(annotation) * np.uint8(CONFIRMED), dtype=np.uint8)


def _only_confirmed(annotation: SparseAnnotation) -> npt.NDArray[np.bool_]:
    """Voxels on accepted planes that no drawn or empty plane crosses."""
    result = np.zeros(annotation.labels_DHW.shape, dtype=np.bool_)
    for accepted in (True, False):
        for plane in annotation.planes:
            if (plane.kind is PlaneKind.CONFIRMED) == accepted:
                result[plane.where] = accepted
    return result


class CaseCache:
    """Prepared cases by file name, the latest used kept within a limit of memory and of open files."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._cases: OrderedDict[str, PreparedCase] = OrderedDict()

    def get(self, name: str) -> PreparedCase | None:
        """The case of a file, if it is at hand."""
        if name in self._cases:
            self._cases.move_to_end(name)
        return self._cases.get(name)

    def put(self, name: str, case: PreparedCase) -> None:
        """Keeps a case; what was not used for longest goes."""
        self._cases[name] = case
        self._cases.move_to_end(name)
        while len(self._cases) > 1 and (
            len(self._cases) > _MOST_FILES or sum(kept.nbytes for kept in self._cases.values()) > self._limit
        ):
            self._cases.popitem(last=False)

    def keep(self, names: Collection[str]) -> None:
        """Lets go of all but these: a mapped file takes space until it is let go of, though it was removed."""
        for name in self._cases.keys() - set(names):
            del self._cases[name]
