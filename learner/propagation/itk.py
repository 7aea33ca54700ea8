"""Registrations of SimpleITK between slices: demons and free-form deformation.

Both are run on one thread: sums of floating point numbers in any order would not give the same displacement twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - as everybody calls it

FloatArray = npt.NDArray[np.float32]
ByteArray = npt.NDArray[np.uint8]

_LEAST_SIDE = 16
"""A slice is not reduced below this many pixels."""


@dataclass(frozen=True, slots=True)
class Demons:
    """Demons with the fast symmetric forces, from coarse to fine.

    Vercauteren et al., Diffeomorphic demons, NeuroImage 45(1), 2009 (there 2.3 and 3.2).

    Attributes:
        levels: halvings of the size to begin with, one less at each level.
        iterations: at each level.
        smoothing: standard deviation in pixels of the Gaussian over the displacement.
    """

    levels: int = 3
    iterations: int = 25
    smoothing: float = 1.5

    @property
    def key(self) -> str:
        """Name and settings."""
        return f"{self}"

    def register(self, pairs: Sequence[tuple[ByteArray, ByteArray]]) -> list[FloatArray]:
        """Displacements of pairs (target, source); see :class:`learner.propagation.motion.Registration`."""
        return [self._one(_image(target), _image(source)) for target, source in pairs]

    def _one(self, target: Any, source: Any) -> FloatArray:
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfThreads(1)
        demons.SetNumberOfIterations(self.iterations)
        demons.SetSmoothDisplacementField(True)
        demons.SetStandardDeviations(self.smoothing)
        field = None
        for level in range(self.levels - 1, -1, -1):
            small_target, small_source = _reduced(target, level), _reduced(source, level)
            if field is None:
                field = demons.Execute(small_target, small_source)
            else:
                field = demons.Execute(small_target, small_source, sitk.Resample(field, small_target))
        return _array(field)


@dataclass(frozen=True, slots=True)
class BSpline:
    """Free-form deformation of cubic B-splines, mean squares, L-BFGS.

    Rueckert et al., Nonrigid registration using free-form deformations, IEEE TMI 18(8), 1999.

    Attributes:
        knot_spacing: distance of control points in pixels.
        iterations: of the optimiser at each of two levels.
    """

    knot_spacing: float = 12.0
    iterations: int = 12

    @property
    def key(self) -> str:
        """Name and settings."""
        return f"{self}"

    def register(self, pairs: Sequence[tuple[ByteArray, ByteArray]]) -> list[FloatArray]:
        """Displacements of pairs (target, source); see :class:`learner.propagation.motion.Registration`."""
        return [self._one(_image(target), _image(source)) for target, source in pairs]

    def _one(self, target: Any, source: Any) -> FloatArray:
        mesh = [max(2, round(side / self.knot_spacing)) for side in target.GetSize()]
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMeanSquares()
        method.SetInterpolator(sitk.sitkLinear)
        method.SetInitialTransform(sitk.BSplineTransformInitializer(target, mesh), inPlace=True)
        method.SetOptimizerAsLBFGS2(numberOfIterations=self.iterations)
        coarse = 2 if min(target.GetSize()) >= 2 * _LEAST_SIDE else 1
        method.SetShrinkFactorsPerLevel([coarse, 1])
        method.SetSmoothingSigmasPerLevel([1.0, 0.0])
        found = method.Execute(target, source)
        return _array(sitk.TransformToDisplacementField(found, sitk.sitkVectorFloat64, target.GetSize()))


def _image(pixels_HW: ByteArray) -> Any:
    return sitk.Cast(sitk.GetImageFromArray(pixels_HW), sitk.sitkFloat32)


def _reduced(image: Any, level: int) -> Any:
    """The image at half its size ``level`` times, as far as that leaves enough of it."""
    factor = min(2**level, max(1, min(image.GetSize()) // _LEAST_SIDE))
    if factor == 1:
        return image
    return sitk.Shrink(sitk.SmoothingRecursiveGaussian(image, factor / 2), [factor] * 2)


def _array(field: Any) -> FloatArray:
    """A displacement field as float32 ``(H, W, 2)``: SimpleITK has columns before rows, as we have."""
    return np.asarray(sitk.GetArrayFromImage(field), dtype=np.float32)
