"""Structures as discs and balls: how wide a section is, how far a structure as long as wide reaches (decision 0034)."""

from __future__ import annotations

import math
from typing import TypeVar

import numpy as np
import numpy.typing as npt

_Length = TypeVar("_Length", float, npt.NDArray[np.float64])


def disc_radius(area_mm2: float) -> float:
    """Radius in mm of the disc of an area in mm^2."""
    return math.sqrt(area_mm2 / math.pi)


def beyond_by_ball(widest_mm: _Length, slice_mm: float, span: float) -> _Length:
    """How many slices a ball around the middle of what is drawn reaches beyond the outermost drawn ones; may be negative.

    Args:
        widest_mm: radius of the widest drawn section in mm, one or many.
        slice_mm: distance of slices in mm.
        span: distance of the outermost drawn slices, in slices.
    """
    return widest_mm / slice_mm - span / 2
