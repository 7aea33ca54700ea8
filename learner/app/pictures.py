"""Which slices of an answer are kept as small pictures, for the node's page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from dicom_io.thumbnails import Thumbnail, cut, window
from dicom_io.volume import ImageSeries
from learner.domain.answer import Answer

MOST_SUGGESTIONS = 5
"""Slices of the guidance that get a picture."""


def pictures_of(images: ImageSeries, answer: Answer) -> tuple[Thumbnail, ...]:
    """The slice on which the answer is largest, the one with most disagreement if there is any, and those to draw next.

    Args:
        images: the image series; slices are acquired ones, but for suggestions in other planes.
        answer: what was made of it.
    """
    volume = images.volume
    shown = window(volume.voxels_DHW)
    spacing = volume.geometry.spacing_DHW
    return tuple(
        cut(kind, axis, index, volume.voxels_DHW, spacing, answer.labels_DHW, answer.residual_DHW, shown)
        for kind, axis, index in _places(images, answer)
    )


def _places(images: ImageSeries, answer: Answer) -> Iterator[tuple[str, int, int]]:
    acquired = sorted({one.plane for one in images.slices})
    areas = np.count_nonzero(answer.labels_DHW[acquired], axis=(1, 2))
    disputed = answer.residual_DHW[acquired].sum(axis=(1, 2))
    largest = int(areas.argmax()) if areas.any() else len(acquired) // 2
    yield "answer", 0, acquired[largest]
    if disputed.any():
        yield "residual", 0, acquired[int(disputed.argmax())]
    for one in answer.guidance.suggestions[:MOST_SUGGESTIONS]:
        yield "guidance", one.axis, one.index
