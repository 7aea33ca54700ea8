"""The known planes of an annotation: taking some away, and the axis that most of them are drawn along."""

from __future__ import annotations

from collections.abc import Collection
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation

_Value = TypeVar("_Value", bound=np.generic)


def drawn_planes(annotation: SparseAnnotation) -> tuple[Plane, ...]:
    """Planes of any axis on which a reader drew something; accepted and empty ones are not among them."""
    return tuple(p for p in annotation.planes if p.kind is PlaneKind.DRAWN and annotation.labels_DHW[p.where].any())


def drawn_voxels(annotation: SparseAnnotation) -> npt.NDArray[np.bool_]:
    """Voxels ``(D, H, W)`` that readers drew themselves, on planes or by strokes: none of accepted and of empty planes.

    Labels that nobody looked for play no part.
    """
    observed_DHW = annotation.observed_DHW
    drawn_DHW = observed_DHW.copy()
    for plane in annotation.planes:
        if plane.kind is not PlaneKind.DRAWN:
            drawn_DHW[plane.where] = False
    for plane in annotation.planes:
        if plane.kind is PlaneKind.DRAWN:
            drawn_DHW[plane.where] = observed_DHW[plane.where]
    return drawn_DHW


def main_axis(annotation: SparseAnnotation) -> int:
    """The array axis along which most planes are drawn; the slice axis in doubt."""
    return max(range(3), key=lambda axis: len(annotation.planes_of(PlaneKind.DRAWN, axis=axis)))


def section(array_DHW: npt.NDArray[_Value], plane: Plane) -> npt.NDArray[_Value]:
    """What an array ``(..., D, H, W)`` holds on a plane, without the plane's axis."""
    return array_DHW[(..., *plane.where)].squeeze(axis=plane.axis - 3)


def without_planes(annotation: SparseAnnotation, held: Collection[Plane]) -> SparseAnnotation:
    """The annotation as if the planes ``held`` were not known; what other known planes show of them stays."""
    labels_DHW, known_LDHW = annotation.labels_DHW.copy(), annotation.known_LDHW.copy()
    for plane in held:
        labels_DHW[plane.where] = 0
        known_LDHW[(slice(None), *plane.where)] = False
    kept = tuple(plane for plane in annotation.planes if plane not in held)
    for plane in kept:
        labels_DHW[plane.where] = annotation.labels_DHW[plane.where]
        known_LDHW[(slice(None), *plane.where)] = annotation.known_LDHW[(slice(None), *plane.where)]
    return SparseAnnotation(labels_DHW, known_LDHW, kept, annotation.sources, annotation.readers)
