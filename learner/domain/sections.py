"""What the known slices of an annotation show of a structure's size, and how far it is likely to reach beyond them."""

from __future__ import annotations

import numpy as np

from learner.domain.ball import disc_radius
from learner.domain.guidance import Situation
from learner.domain.lookahead import Expectation, edge


def sections(situation: Situation, number: int | None = None) -> tuple[list[int], list[float]]:
    """Slices on which it is known where a label is, ascending, and its radius in mm on each; 0 where it is absent.

    Args:
        situation: a case in which anything is known.
        number: of the label, or None for all labels together.
    """
    annotation = situation.annotation
    assert annotation is not None
    pixel_mm2 = situation.spacing_DHW[1] * situation.spacing_DHW[2]
    planes = annotation.planes_of(axis=0)
    if number is None:
        known, areas = list(planes), [np.count_nonzero(annotation.labels_DHW[i]) for i in planes]
    else:
        known = [i for i in planes if annotation.known_LDHW[number - 1, i].all()]
        areas = [np.count_nonzero(annotation.labels_DHW[i] == number) for i in known]
    return known, [disc_radius(area * pixel_mm2) for area in areas]


def likely_extent(situation: Situation, expected: Expectation) -> tuple[int, int] | None:
    """First and last slice of the structure: as drawn, and beyond that as far as is as likely as not; None before a drawing."""
    if situation.annotation is None:
        return None
    known, radii = sections(situation)
    drawn = [at for at, radius in enumerate(radii) if radius > 0]
    if not drawn:
        return None
    ends = []
    for at, step in ((drawn[0], -1), (drawn[-1], 1)):
        one = edge(known, radii, at, step, situation.depth, situation.spacing_DHW[0], expected)
        further = one.count if one.closed else int(np.searchsorted(np.cumsum(one.chance_J), 0.5))
        ends.append(one.inner + step * further)
    return ends[0], ends[1]
