"""What readers do in a soak: small series, and drawings on them, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from node_harness import SEGMENTS, phantom
from soak_look import orthanc_id

from dicom_io.read_series import read_series
from learner.demo.reader import Reader, occupied

_ROUNDS_A_CASE = 4
_READERS = ("First^Reader", "Second^Reader", "Third^Reader")
_CREATED = datetime(2026, 1, 1, 8, tzinfo=UTC)


@dataclass(frozen=True)
class Act:
    """One annotation, and the series that it is drawn on.

    Attributes:
        series: the images, to be sent before it; empty where an earlier act sent them.
        drawing: the annotation object.
        trigger: its identifier in Orthanc.
    """

    series: tuple[bytes, ...]
    drawing: bytes
    trigger: str


def story(count: int, seed: int, shape: tuple[int, int] = (32, 48)) -> Iterator[Act]:
    """``count`` annotations, four a series, each on other slices; made one by one.

    Args:
        count: annotations.
        seed: of images and drawings.
        shape: slices, and rows and columns, of a series.
    """
    rng = random.Random(seed)
    for number in range(0, count, _ROUNDS_A_CASE):
        files, truth_DHW = phantom(slices=shape[0], size=shape[1], seed=1000 * seed + number, number=number)
        images = read_series(files)
        there = occupied(truth_DHW)
        rng.shuffle(there)
        for turn in range(min(_ROUNDS_A_CASE, count - number)):
            reader = Reader(images, truth_DHW, SEGMENTS, rng.choice(_READERS))
            drawing = reader.draw(sorted(there[2 * turn : 2 * turn + 2]), _CREATED)
            yield Act(tuple(files) if turn == 0 else (), drawing, orthanc_id(drawing))
