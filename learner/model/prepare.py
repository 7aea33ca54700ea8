"""From the source grid to the plan's grid and back: resampling, normalisation, and the annotation on the working grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from dicom_io.annotation import Plane, SparseAnnotation
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask, imprint
from learner.model.plan import Plan, Spacing, Triple

FloatArray = npt.NDArray[np.float32]


def normalise(image_DHW: FloatArray) -> FloatArray:
    """Intensities on a common scale: clipped to percentiles 0.5 and 99.5 of the volume, then mean 0 and deviation 1.

    Where a fifth or more of the voxels hold exactly the least value (air that was masked), they are left out of the statistics.
    """
    values = image_DHW[np.isfinite(image_DHW)]
    if values.size == 0:
        return np.zeros_like(image_DHW)
    inside = values[values > values.min()]
    if inside.size == 0 or inside.size > 0.8 * values.size:
        inside = values
    low, high = np.percentile(inside, [0.5, 99.5])
    clipped = np.clip(np.nan_to_num(image_DHW, nan=float(low), posinf=float(high), neginf=float(low)), low, high)
    inside = np.clip(inside, low, high)
    return np.asarray((clipped - inside.mean()) / max(float(inside.std()), 1e-6), dtype=np.float32)


def resample(array_CDHW: FloatArray, shape_DHW: Triple) -> FloatArray:
    """Linear resampling of all channels to ``shape_DHW``; the volumes' outer faces coincide, coarsening is antialiased."""
    if array_CDHW.shape[1:] == shape_DHW:
        return array_CDHW
    tensor = torch.from_numpy(np.array(array_CDHW, dtype=np.float32))  # a copy: torch wants arrays that may be written
    return resample_tensor(tensor, shape_DHW).numpy()


def resample_tensor(tensor: Tensor, shape_DHW: Triple) -> Tensor:
    """:func:`resample` of a float32 tensor ``(C, D, H, W)``, on the device where it is."""
    depth = tensor.shape[1]
    if tuple(tensor.shape[2:]) != shape_DHW[1:]:
        tensor = F.interpolate(tensor, size=shape_DHW[1:], mode="bilinear", antialias=True, align_corners=False)
    if depth != shape_DHW[0]:
        channels = tensor.shape[0]
        flat = tensor.reshape(channels, depth, -1).permute(0, 2, 1)[:, None]
        flat = F.interpolate(
            flat, size=(flat.shape[2], shape_DHW[0]), mode="bilinear", antialias=shape_DHW[0] < depth, align_corners=False
        )
        tensor = flat[:, 0].permute(0, 2, 1).reshape(channels, *shape_DHW)
    return tensor.contiguous()


def working_image(plan: Plan, image_DHW: FloatArray, spacing_DHW: Spacing) -> FloatArray:
    """The normalised image on the plan's grid."""
    shape = plan.working_shape((image_DHW.shape[0], image_DHW.shape[1], image_DHW.shape[2]), spacing_DHW)
    return normalise(resample(np.asarray(image_DHW, dtype=np.float32)[None], shape)[0])


def working_proxy(proxy: ProxyMask, shape_DHW: Triple) -> ProxyMask:
    """The proxy mask on the plan's grid."""
    if proxy.confidence_DHW.shape == shape_DHW:
        return proxy
    soft = resample(proxy.soft_CDHW, shape_DHW)
    soft = soft / np.maximum(soft.sum(axis=0), 1e-6)
    return ProxyMask(soft, np.clip(resample(proxy.confidence_DHW[None], shape_DHW)[0], 0, 1), proxy.method)


@dataclass(frozen=True, eq=False)
class _Regrid:
    """Where the voxels of another grid come from.

    Attributes:
        picks: source index of each target index along each axis.
        strokes: source voxels ``(n, 3)`` that are known apart from any plane and that ``picks`` leaves out.
        places: target voxels ``(n, 3)`` that they lie in.
    """

    picks: tuple[npt.NDArray[np.intp], ...]
    strokes: npt.NDArray[np.intp]
    places: npt.NDArray[np.intp]

    @classmethod
    def of(cls, annotation: SparseAnnotation, shape_DHW: Triple) -> _Regrid:
        """The nearest voxels, except that no known plane and no stroke is lost where voxels are merged."""
        source = annotation.labels_DHW.shape
        picks = [_nearest(size, target) for size, target in zip(source, shape_DHW, strict=True)]
        for plane in annotation.planes:
            position = min(int((plane.index + 0.5) * shape_DHW[plane.axis] / source[plane.axis]), shape_DHW[plane.axis] - 1)
            picks[plane.axis][position] = plane.index
        strokes = np.argwhere(annotation.strokes_DHW)
        left = np.any([~np.isin(strokes[:, axis], picks[axis]) for axis in range(3)], axis=0)
        strokes = strokes[left]
        places = ((strokes + 0.5) * np.array(shape_DHW) / np.array(source)).astype(np.intp)
        known_DHW = np.asarray(annotation.known_LDHW.any(axis=0))
        free = ~known_DHW[tuple(picks[axis][places[:, axis]] for axis in range(3))]
        return cls(tuple(picks), strokes[free], places[free])

    def apply(self, array_DHW: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The array on the other grid."""
        result = array_DHW[np.ix_(*self.picks)]
        result[tuple(self.places.T)] = array_DHW[tuple(self.strokes.T)]
        return result


def _nearest(size: int, target: int) -> npt.NDArray[np.intp]:
    """Source index of each target index, outer faces coinciding."""
    return np.minimum(((np.arange(target) + 0.5) * size / target).astype(np.intp), size - 1)


def working_annotation(annotation: SparseAnnotation, shape_DHW: Triple) -> SparseAnnotation:
    """The annotation on the plan's grid; no known plane and no stroke is lost where voxels are merged."""
    if annotation.labels_DHW.shape == shape_DHW:
        return annotation
    regrid = _Regrid.of(annotation, shape_DHW)
    known_LDHW = np.stack([regrid.apply(known_DHW) for known_DHW in annotation.known_LDHW])
    planes: dict[tuple[int, int], Plane] = {}
    for plane in annotation.planes:
        for place in np.flatnonzero(regrid.picks[plane.axis] == plane.index).tolist():
            planes[plane.axis, place] = Plane(plane.axis, place, plane.kind)
    return SparseAnnotation(
        regrid.apply(annotation.labels_DHW), known_LDHW, tuple(sorted(planes.values())), annotation.sources, annotation.readers
    )


def working_example(plan: Plan, example: Example) -> Example:
    """The example on the plan's grid, with a normalised image.

    The proxy's soft labels keep the partial volumes that resampling the drawing gives; its confidence is 1 on observed voxels.
    """
    image = working_image(plan, example.image_DHW, example.spacing_DHW)
    shape: Triple = (image.shape[0], image.shape[1], image.shape[2])
    exact = ProxyMask(imprint(example.proxy.soft_CDHW, example.annotation), example.proxy.confidence_DHW, example.proxy.method)
    proxy = working_proxy(exact, shape)
    annotation = working_annotation(example.annotation, shape)
    confidence = np.where(annotation.observed_DHW, np.float32(1), proxy.confidence_DHW).astype(np.float32)
    agreement = example.agreement_DHW
    if agreement is not None and agreement.shape != shape:
        agreement = _Regrid.of(example.annotation, shape).apply(agreement)
    spacing = [s * n / m for s, n, m in zip(example.spacing_DHW, example.image_DHW.shape, shape, strict=True)]
    return Example(
        key=example.key,
        task_id=example.task_id,
        round_number=example.round_number,
        image_DHW=image,
        spacing_DHW=(spacing[0], spacing[1], spacing[2]),
        annotation=annotation,
        proxy=ProxyMask(proxy.soft_CDHW, confidence, proxy.method),
        agreement_DHW=agreement,
        site=example.site,
        reader=example.reader,
    )
