"""One volume laid over another in 3D: rigid, then deformable (SimpleITK). Places are LPS millimetres throughout.

The rigid step maximises mutual information (Mattes et al. 2003, doi:10.1109/TMI.2003.809072) from several starts, because
patients lie differently and fields of view differ. The deformable step is demons with symmetric forces (Vercauteren et al.
2009, doi:10.1016/j.neuroimage.2008.10.040) on locally normalised images, there and back, which shows where it is not to be
believed. Both work on grids of bounded size with one thread: the time is bounded, and the same images give the same result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import SimpleITK as sitk  # noqa: N813 - the name that its documentation uses
from scipy import ndimage

from dicom_io.geometry import Geometry

FloatArray = npt.NDArray[np.float32]
Vector = npt.NDArray[np.float64]

FEWEST = 4
"""Voxels that a volume needs along each axis: the filters derive and smooth along all of them."""
_PER_VOXEL = 0.4
"""Standard deviation, in voxels of the coarser grid, of the smoothing before a volume is put onto it."""


@dataclass(frozen=True, slots=True)
class RegistrationSettings:
    """How volumes are laid over one another.

    Attributes:
        rigid_voxels: largest grid of the rigid step.
        rigid_iterations: of its optimiser, at each of two resolutions.
        voxels: largest grid of the deformable step.
        iterations: of the demons at each resolution, coarse to fine; each has half the voxels along an axis of the next.
        stiffness: standard deviation of the smoothing of the displacement, in voxels along the finest axis.
        window_mm: standard deviation of the window of the local normalisation, and of that of the agreement.
    """

    rigid_voxels: int = 60_000
    rigid_iterations: int = 60
    voxels: int = 250_000
    iterations: tuple[int, ...] = (60, 40, 20)
    stiffness: float = 1.5
    window_mm: float = 8.0


@dataclass(frozen=True, eq=False)
class Match:
    """Where the places of a region of today's volume are in the earlier one, and how well that fits.

    Attributes:
        to_earlier: from places of today's volume to places of the earlier one.
        agreement: local correlation of both images in [-1, 1]; 0 where either has no contrast.
        astray_mm: length of the way there and back, on the same grid as ``agreement``.
    """

    to_earlier: sitk.Transform
    agreement: sitk.Image
    astray_mm: sitk.Image


def as_image(values_DHW: npt.NDArray[np.generic], geometry: Geometry) -> sitk.Image:
    """An array with its place, float32. SimpleITK's axes go from fast to slow, its positions are in LPS as here."""
    image = sitk.GetImageFromArray(np.ascontiguousarray(values_DHW, dtype=np.float32))
    spacing = np.array(geometry.spacing_DHW)
    image.SetSpacing(spacing[::-1].tolist())
    image.SetDirection((geometry.affine[:3, :3] / spacing)[:, ::-1].ravel().tolist())
    image.SetOrigin(geometry.affine[:3, 3].tolist())
    return image


def as_array(image: sitk.Image) -> FloatArray:
    """The values of an image, float32 ``(D, H, W)``, or ``(D, H, W, 3)`` of a displacement."""
    return np.asarray(sitk.GetArrayFromImage(image), dtype=np.float32)


def onto(image: sitk.Image, grid: sitk.Image, transform: sitk.Transform | None = None, outside: float = 0.0) -> sitk.Image:
    """An image on another grid, linear.

    Args:
        image: what is sampled.
        grid: an image whose grid is taken.
        transform: from places of the grid to places of the image; the same places if None.
        outside: value where there is no image.
    """
    resample = sitk.ResampleImageFilter()
    resample.SetReferenceImage(grid)
    resample.SetDefaultPixelValue(outside)
    resample.SetOutputPixelType(image.GetPixelID())
    resample.SetNumberOfThreads(1)
    if transform is not None:
        resample.SetTransform(transform)
    result: sitk.Image = resample.Execute(image)
    return result


def ones_like(image: sitk.Image) -> sitk.Image:
    """1 wherever an image is."""
    return _like(np.ones(image.GetSize()[::-1], dtype=np.float32), image)


def shrunk(image: sitk.Image, voxels: int) -> sitk.Image:
    """The image on a grid of at most about ``voxels`` over the same box; fine axes are made coarser first."""
    spacing, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    wanted = float(spacing.min())
    while np.prod(np.ceil(size * spacing / np.maximum(spacing, wanted))) > voxels:
        wanted *= 1.05
    coarse = np.maximum(spacing, wanted)
    return image if np.array_equal(coarse, spacing) else onto(smoothed(image, coarse), _grid(image, coarse))


def smoothed(image: sitk.Image, spacing: Vector) -> sitk.Image:
    """An image with nothing finer in it than a grid of that spacing along its axes can hold; block means go first."""
    blocks = np.clip(spacing / np.array(image.GetSpacing()), 1, np.array(image.GetSize()) / FEWEST).astype(int)
    if (blocks > 1).any():
        image = sitk.BinShrink(image, [max(int(n), 1) for n in blocks])
    ratio = np.maximum(spacing / np.array(image.GetSpacing()), 1.0)
    if (ratio < 1.0 + 1e-6).all():
        return image
    return _like(ndimage.gaussian_filter(as_array(image), _PER_VOXEL * np.sqrt(ratio[::-1] ** 2 - 1.0)), image)


def rigid(today: sitk.Image, earlier: sitk.Image, settings: RegistrationSettings) -> sitk.Transform:
    """From places of today's volume to those of the earlier one: the best of several starts, each improved."""
    fixed, moving = shrunk(today, settings.rigid_voxels), shrunk(earlier, settings.rigid_voxels)
    found = [_improved(fixed, moving, start, settings) for start in _starts(fixed, moving)]
    return max(found, key=lambda transform: _likeness(fixed, moving, transform, settings.window_mm))


def deformed(
    region: sitk.Image, earlier: sitk.Image, transform: sitk.Transform, settings: RegistrationSettings
) -> Match | None:
    """Both volumes laid over each other in a region; None where the filters cannot.

    Args:
        region: the part of today's volume that is worked on.
        earlier: the earlier volume, or the part of it that matters.
        transform: rigid, from places of today's volume to those of the earlier one.
        settings: how.
    """
    today = shrunk(region, settings.voxels)
    finest = np.full(3, min(today.GetSpacing()))
    inside = onto(ones_like(earlier), today, transform)
    fixed = normalised(today, inside, settings.window_mm)
    moving = normalised(onto(smoothed(earlier, finest), today, transform), inside, settings.window_mm)
    try:
        there, back = _demons(fixed, moving, settings), _demons(moving, fixed, settings)
    except RuntimeError:
        return None  # of ITK: a volume that it finds no forces in
    bent = _transform_of(there)
    agreement = _agreement(fixed, onto(moving, today, bent), settings.window_mm)
    astray_mm = np.linalg.norm(as_array(there) + as_array(onto(back, there, bent)), axis=-1)
    return Match(sitk.CompositeTransform([transform, bent]), agreement, _like(astray_mm, today))


def normalised(image: sitk.Image, inside: sitk.Image, window_mm: float) -> sitk.Image:
    """(value - local mean) / local standard deviation, both from what is inside alone; 0 outside.

    Args:
        image: what is normalised.
        inside: above 0.5 where the image says something.
        window_mm: standard deviation of the Gaussian window.
    """
    known = as_array(inside) > 0.5
    values = np.where(known, as_array(image), 0.0)
    if known.any():
        values = np.where(known, (values - values[known].mean()) / max(float(values[known].std()), 1e-6), 0.0)
    sigma = window_mm / np.array(image.GetSpacing())[::-1]
    share = np.maximum(ndimage.gaussian_filter(known.astype(np.float32), sigma), 1e-3)
    mean = ndimage.gaussian_filter(values, sigma) / share
    variance = ndimage.gaussian_filter(np.square(values - mean) * known, sigma) / share
    return _like((values - mean) / np.sqrt(variance + 1e-2) * known, image)


def _grid(image: sitk.Image, spacing: Vector) -> sitk.Image:
    """An empty image that fills the same box with voxels of about another size."""
    old, size = np.array(image.GetSpacing()), np.array(image.GetSize())
    count = np.maximum(np.round(size * old / spacing), np.minimum(size, FEWEST)).astype(int)
    spacing = size * old / count
    grid = sitk.Image(count.tolist(), sitk.sitkFloat32)
    grid.SetSpacing(spacing.tolist())
    grid.SetDirection(image.GetDirection())
    direction = np.array(image.GetDirection()).reshape(3, 3)
    grid.SetOrigin((np.array(image.GetOrigin()) + direction @ (0.5 * (spacing - old))).tolist())
    return grid


def _like(values: npt.NDArray[np.floating], image: sitk.Image) -> sitk.Image:
    result = sitk.GetImageFromArray(np.asarray(values, dtype=np.float32))
    result.CopyInformation(image)
    return result


def _starts(fixed: sitk.Image, moving: sitk.Image) -> list[sitk.Transform]:
    """Places as they are; then the centres of both volumes, and of what is bright in them, laid upon each other."""
    as_they_are = sitk.Euler3DTransform()
    as_they_are.SetCenter(fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()]))
    starts: list[sitk.Transform] = [as_they_are]
    for kind in (sitk.CenteredTransformInitializerFilter.GEOMETRY, sitk.CenteredTransformInitializerFilter.MOMENTS):
        try:
            starts.append(sitk.CenteredTransformInitializer(fixed, moving, sitk.Euler3DTransform(), kind))
        except RuntimeError:
            continue  # of ITK: a volume without any brightness has no centre of it
    return starts


def _improved(fixed: sitk.Image, moving: sitk.Image, start: sitk.Transform, settings: RegistrationSettings) -> sitk.Transform:
    """A rigid transform improved from its start; the start itself where the volumes do not overlap there."""
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, settings.rigid_iterations, relaxationFactor=0.6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([2, 1])
    method.SetSmoothingSigmasPerLevel([1.0, 0.0])
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(start, inPlace=False)
    try:
        improved: sitk.Transform = method.Execute(fixed, moving)
    except RuntimeError:
        return start  # of ITK: all samples outside, or too few of them
    return improved


def _likeness(fixed: sitk.Image, moving: sitk.Image, transform: sitk.Transform, window_mm: float) -> float:
    """Correlation of the locally normalised images over all of ``fixed``; where ``moving`` is not, nothing is alike."""
    inside = onto(ones_like(moving), fixed, transform)
    a = as_array(normalised(fixed, ones_like(fixed), window_mm))
    b = as_array(normalised(onto(moving, fixed, transform), inside, window_mm))
    return float((a * b).mean())


def _demons(fixed: sitk.Image, moving: sitk.Image, settings: RegistrationSettings) -> sitk.Image:
    """Displacement in mm from places of ``fixed`` to places of ``moving``, coarse to fine, on their common grid."""
    field = _like(np.zeros((*fixed.GetSize()[::-1], 3)), fixed)
    for level, iterations in zip(reversed(range(len(settings.iterations))), settings.iterations, strict=True):
        voxels = fixed.GetNumberOfPixels() // 8**level
        if level and voxels < FEWEST**3:
            continue
        a, b = shrunk(fixed, voxels), shrunk(moving, voxels)
        method = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        method.SetNumberOfThreads(1)
        method.SetNumberOfIterations(iterations)
        method.SetSmoothDisplacementField(True)
        spacing = np.array(a.GetSpacing())
        method.SetStandardDeviations(np.maximum(settings.stiffness * spacing.min() / spacing, 0.5).tolist())
        field = method.Execute(a, b, _as_field(onto(field, a)))
    return _as_field(onto(field, fixed))


def _as_field(image: sitk.Image) -> sitk.Image:
    """In the precision that displacements of transforms have."""
    field: sitk.Image = sitk.Cast(image, sitk.sitkVectorFloat64)
    return field


def _transform_of(field: sitk.Image) -> sitk.Transform:
    return sitk.DisplacementFieldTransform(sitk.Image(field))  # takes the image's memory


def _agreement(a: sitk.Image, b: sitk.Image, window_mm: float) -> sitk.Image:
    """Local correlation of two images on one grid."""
    sigma = window_mm / np.array(a.GetSpacing())[::-1]
    x, y = as_array(a), as_array(b)
    x, y = x - ndimage.gaussian_filter(x, sigma), y - ndimage.gaussian_filter(y, sigma)
    common, own, other = (ndimage.gaussian_filter(product, sigma) for product in (x * y, x * x, y * y))
    return _like(np.clip(common / np.sqrt(own * other + 1e-3), -1.0, 1.0), a)
