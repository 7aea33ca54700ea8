"""The plan: what network, grid and patch fit the data of a task, decided once from its first example's fingerprint.

As nnU-Net does (Isensee et al., Nature Methods 2021), shape and spacing decide; unlike it, the budget is that of a CPU which
works beside readers: about 0.1-0.3 s a training step. Near-isotropic data get a small 3D U-Net. Thick slices get a 2.5D
network: five neighbouring slices in, the labels of the middle one out; on few cases it learns much faster than 3D. Its pixels
are 1 to 1.5 mm: a step then sees twice as many slices, which counts for more than sharper ones (decision 0023).
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from typing import cast

from learner.errors import StoreError

Triple = tuple[int, int, int]
Spacing = tuple[float, float, float]

_THICK_RATIO = 2.5
_FINEST_2D_MM = 1.0
_COARSER_2D_MM = 1.5
_FINEST_3D_MM = 0.8
_LARGEST_SLICE = 256
_PLEASANT_SLICE = 128
_LARGEST_VOLUME = 2_000_000
_PATCH_VOXELS = 98_000
_BATCH_VOXELS_2D = 184_000
_BATCH_VOXELS_3D = 104_000
_LARGEST_PATCH_2D = 50_176
_FILTERS = (16, 32, 64, 96, 128)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the network looks like and on which grid it works.

    Attributes:
        dimensions: 3 for a volume network, 2 for neighbouring slices.
        context: slices that a 2D network sees at once (odd); 1 for 3D.
        label_count: labels L; the network has L + 1 outputs.
        spacing_DHW: target spacing in mm; along axis 0 unused by a 2D network, which keeps the source's slices.
        patch_DHW: what one item of a batch covers; its first size is 1 for a 2D network.
        batch: items per training step.
        filters: channels per stage.
        strides: downsampling before each stage, per axis (D, H, W); ones for the first.
    """

    dimensions: int
    context: int
    label_count: int
    spacing_DHW: Spacing
    patch_DHW: Triple
    batch: int
    filters: tuple[int, ...]
    strides: tuple[Triple, ...]

    @property
    def image_channels(self) -> int:
        """Channels that carry the image."""
        return self.context

    @property
    def factors(self) -> Triple:
        """By how much each axis shrinks from input to bottleneck; every patch size is a multiple."""
        return cast("Triple", tuple(math.prod(stride[axis] for stride in self.strides) for axis in range(3)))

    def working_shape(self, shape_DHW: Triple, spacing_DHW: Spacing) -> Triple:
        """Shape of a volume on the plan's grid; an axis within a tenth of the target spacing is left as it is."""
        sizes = [
            size if abs(source / target - 1) <= 0.1 else max(1, round(size * source / target))
            for size, source, target in zip(shape_DHW, spacing_DHW, self.spacing_DHW, strict=True)
        ]
        if self.dimensions == 2:
            sizes[0] = shape_DHW[0]
        return cast("Triple", tuple(sizes))

    def to_json(self) -> str:
        """The plan as one line of JSON."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """The plan that ``to_json`` wrote.

        Raises:
            StoreError: if it is not a plan.
        """
        try:
            values = json.loads(text)
            return cls(
                dimensions=int(values["dimensions"]),
                context=int(values["context"]),
                label_count=int(values["label_count"]),
                spacing_DHW=cast("Spacing", tuple(map(float, values["spacing_DHW"]))),
                patch_DHW=cast("Triple", tuple(map(int, values["patch_DHW"]))),
                batch=int(values["batch"]),
                filters=tuple(map(int, values["filters"])),
                strides=tuple(cast("Triple", tuple(map(int, stride))) for stride in values["strides"]),
            )
        except (ValueError, TypeError, KeyError) as error:
            raise StoreError(f"the checkpoint holds no readable network plan: {error}") from error


def plan_for(
    shape_DHW: Triple, spacing_DHW: Spacing, label_count: int, dimensions: int | None = None, trunk: Plan | None = None
) -> Plan:
    """The plan for data like this first example of a task.

    Args:
        shape_DHW: voxels along (slice, row, column).
        spacing_DHW: distance of voxel centres in mm.
        label_count: labels L of the task.
        dimensions: of the network, 2 or 3; None to let the data decide.
        trunk: plan of a task whose network is shared: same dimensions, filters and strides, but this task's grid and patch.
    """
    if trunk is not None:
        dimensions = trunk.dimensions
    if dimensions is None:
        dimensions = 2 if spacing_DHW[0] / max(spacing_DHW[1:]) > _THICK_RATIO or shape_DHW[0] < 8 else 3
    plan = (_plan_2d if dimensions == 2 else _plan_3d)(shape_DHW, spacing_DHW, label_count, trunk)
    return plan if trunk is None else replace(plan, filters=trunk.filters, strides=trunk.strides)


def _plan_2d(shape_DHW: Triple, spacing_DHW: Spacing, label_count: int, trunk: Plan | None) -> Plan:
    largest_mm = max(size * spacing for size, spacing in zip(shape_DHW[1:], spacing_DHW[1:], strict=True))
    finest = max(_FINEST_2D_MM, min(_COARSER_2D_MM, largest_mm / _PLEASANT_SLICE), largest_mm / _LARGEST_SLICE)
    target = (spacing_DHW[0], max(spacing_DHW[1], finest), max(spacing_DHW[2], finest))
    sizes = [round(n * s / t) for n, s, t in zip(shape_DHW[1:], spacing_DHW[1:], target[1:], strict=True)]
    pools, patch = _pools_and_patch(sizes, len(_FILTERS) - 1, trunk.factors[1:] if trunk else None)
    while math.prod(patch) > _LARGEST_PATCH_2D:
        longest = patch.index(max(patch))
        patch[longest] -= 2 ** pools[longest]
    return Plan(
        dimensions=2,
        context=5,
        label_count=label_count,
        spacing_DHW=target,
        patch_DHW=(1, patch[0], patch[1]),
        batch=min(16, max(4, _BATCH_VOXELS_2D // (patch[0] * patch[1]))),
        filters=_FILTERS[: 1 + max(pools)],
        strides=_strides((0, pools[0], pools[1])),
    )


def _plan_3d(shape_DHW: Triple, spacing_DHW: Spacing, label_count: int, trunk: Plan | None) -> Plan:
    target = [max(spacing, _FINEST_3D_MM) for spacing in spacing_DHW]
    extent = [size * spacing for size, spacing in zip(shape_DHW, spacing_DHW, strict=True)]
    while math.prod(e / t for e, t in zip(extent, target, strict=True)) > _LARGEST_VOLUME:
        finest = min(target)
        target = [t * 1.05 if t <= finest * 1.05 else t for t in target]
    sizes = [max(1, round(e / t)) for e, t in zip(extent, target, strict=True)]
    while math.prod(sizes) > _PATCH_VOXELS:
        largest_mm = max(size * t for size, t in zip(sizes, target, strict=True))
        sizes = [int(size * 0.95) if size * t == largest_mm else size for size, t in zip(sizes, target, strict=True)]
    pools, patch = _pools_and_patch(sizes, 3, trunk.factors if trunk else None)
    return Plan(
        dimensions=3,
        context=1,
        label_count=label_count,
        spacing_DHW=cast("Spacing", tuple(target)),
        patch_DHW=(patch[0], patch[1], patch[2]),
        batch=min(4, max(2, _BATCH_VOXELS_3D // max(1, round(math.prod(patch) * 0.85)))),
        filters=(16, 32, 64, 128)[: 1 + max(pools)],
        strides=_strides((pools[0], pools[1], pools[2])),
    )


def _strides(pools: Triple) -> tuple[Triple, ...]:
    """An axis that is halved less often than others is halved in the last stages, as nnU-Net does with thick slices."""
    stages = max(pools)
    later = [cast("Triple", tuple(2 if stage > stages - pool else 1 for pool in pools)) for stage in range(1, stages + 1)]
    return ((1, 1, 1), *later)


def _pools_and_patch(sizes: list[int], most: int, factors: tuple[int, ...] | None) -> tuple[list[int], list[int]]:
    """How often each axis is halved, and the patch that this allows; the network has at least three stages.

    Args:
        sizes: voxels of the volume along each axis.
        most: halvings at most.
        factors: how much a network that is there already shrinks each axis; None if the sizes decide.
    """
    least = 1
    if factors is not None:
        pools = [factor.bit_length() - 1 for factor in factors]
        least = 2 * max(factors) if all(size < 2 * factor for size, factor in zip(sizes, factors, strict=True)) else 1
        return pools, [_multiple(max(size, least), factor) for size, factor in zip(sizes, factors, strict=True)]
    pools = [_pools(size, most) for size in sizes]
    if max(pools) < 2:
        pools, least = [2] * len(sizes), 8
    return pools, [_multiple(max(size, least), 2**pool) for size, pool in zip(sizes, pools, strict=True)]


def _pools(size: int, most: int) -> int:
    """How often an axis can be halved and keep at least three voxels."""
    count = 0
    while count < most and size >= 8:
        size, count = (size + 1) // 2, count + 1
    return count


def _multiple(size: int, factor: int) -> int:
    """The largest multiple that fits into the size, so that no step is spent on padding; at least one."""
    return max(1, size // factor) * factor
