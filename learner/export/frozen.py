"""The whole prediction as one TorchScript module: from voxels as a series gives them to probabilities on the same grid.

It does what :mod:`learner.model.prepare` and :mod:`learner.model.serving` do, in float32. MONAI's transforms for these steps
differ: ``Spacingd`` does not average where it coarsens, ``ScaleIntensityRangePercentilesd`` counts masked air, and no inferer
stacks neighbouring slices. So these steps are part of the module; its network is MONAI's own.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor, nn

from learner.model.network import plain_network
from learner.model.plan import Plan
from learner.model.serving import OVERLAP, SLICES_AT_ONCE, WHOLE

_SIGMA = 0.125
"""Width of the blending weight as a share of the window, as in MONAI's sliding window."""


class Core(nn.Module):
    """Network and softmax: from normalised patches to probabilities. What the ONNX file holds.

    Args:
        plan: of the network.
        weights: of one task, as a checkpoint has them.
    """

    def __init__(self, plan: Plan, weights: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network = plain_network(plan, weights)

    def forward(self, image: Tensor) -> Tensor:
        """Probabilities ``(N, L + 1, [D,] H, W)`` of normalised patches ``(N, image channels, [D,] H, W)``."""
        return torch.softmax(self.network(image), dim=1)


class FrozenPrediction(nn.Module):
    """What is frozen; see :func:`freeze`.

    Args:
        plan: of the network.
        core: traced network and softmax.
    """

    def __init__(self, plan: Plan, core: nn.Module) -> None:
        super().__init__()
        self.core = core
        self.flat = plan.dimensions == 2
        self.context = plan.context
        self.spacing = [float(mm) for mm in plan.spacing_DHW]
        self.factors = list(plan.factors)
        self.patch = list(plan.patch_DHW)
        self.whole = float(WHOLE)
        self.overlap = float(OVERLAP)
        self.at_once = int(SLICES_AT_ONCE)
        self.sigma = float(_SIGMA)

    def forward(self, image: Tensor, spacing: Tensor) -> Tensor:
        """Probabilities of background and labels.

        Args:
            image: float32 ``(1, 1, D, H, W)``, axes (slice, row, column), voxels as the series gives them.
            spacing: float64 or float32 ``(3,)``, distance of voxel centres along D, H, W in mm.

        Returns:
            float32 ``(1, L + 1, D, H, W)``; sums to 1 over the second axis.
        """
        source = [image.shape[2], image.shape[3], image.shape[4]]
        working = self.normalise(self.resample(image[0].float(), self.working_shape(source, spacing)))
        probabilities = self.slices(working) if self.flat else self.volume(working)
        result = self.resample(probabilities, source)
        return (result / result.sum(dim=0, keepdim=True).clamp_min(1e-6))[None]

    def working_shape(self, shape: list[int], spacing: Tensor) -> list[int]:
        """See :meth:`learner.model.plan.Plan.working_shape`."""
        sizes = [shape[0], shape[1], shape[2]]
        for axis in range(1 if self.flat else 0, 3):
            source, target = float(spacing[axis]), self.spacing[axis]
            if abs(source / target - 1) > 0.1:
                wished = torch.tensor(shape[axis] * source / target, dtype=torch.float64)
                sizes[axis] = max(1, int(torch.round(wished)))  # half to even, as Python rounds
        return sizes

    def resample(self, array: Tensor, shape: list[int]) -> Tensor:
        """See :func:`learner.model.prepare.resample_tensor`."""
        depth = array.shape[1]
        if array.shape[2] != shape[1] or array.shape[3] != shape[2]:
            array = F.interpolate(array, size=[shape[1], shape[2]], mode="bilinear", antialias=True, align_corners=False)
        if depth != shape[0]:
            channels = array.shape[0]
            flat = array.reshape(channels, depth, -1).permute(0, 2, 1).unsqueeze(1)
            size = [flat.shape[2], shape[0]]
            flat = F.interpolate(flat, size=size, mode="bilinear", antialias=shape[0] < depth, align_corners=False)
            array = flat[:, 0].permute(0, 2, 1).reshape(channels, shape[0], shape[1], shape[2])
        return array.contiguous()

    def normalise(self, image: Tensor) -> Tensor:
        """See :func:`learner.model.prepare.normalise`."""
        values = image[torch.isfinite(image)]
        if values.numel() == 0:
            return torch.zeros_like(image)
        inside = values[values > values.min()]
        if inside.numel() == 0 or inside.numel() > 0.8 * values.numel():
            inside = values
        ordered = torch.sort(inside)[0]
        low, high = self.percentile(ordered, 0.005), self.percentile(ordered, 0.995)
        clipped = torch.nan_to_num(image, nan=low, posinf=high, neginf=low).clamp(low, high)
        inside = inside.clamp(low, high).double()
        mean, deviation = float(inside.mean()), float(inside.std(unbiased=False))
        return (clipped - mean) / max(deviation, 1e-6)

    def percentile(self, ordered: Tensor, share: float) -> float:
        """Linear between neighbours, as numpy's; ``torch.quantile`` takes 16 million values at most."""
        place = share * (ordered.numel() - 1)
        first = int(place)
        last = min(first + 1, ordered.numel() - 1)
        low, high = float(ordered[first]), float(ordered[last])
        return low + (high - low) * (place - first)

    def window(self, shape: list[int]) -> list[int]:
        """See :class:`learner.model.serving.ServingNetwork`: the whole, if that is not much more than the patch."""
        whole = [0, 0, 0]
        seen, trained = 1, 1
        for axis in range(3):
            factor = self.factors[axis]
            whole[axis] = max((shape[axis] + factor - 1) // factor * factor, self.patch[axis])
            seen *= whole[axis]
            trained *= self.patch[axis]
        return whole if seen <= self.whole * trained else self.patch

    def volume(self, image: Tensor) -> Tensor:
        """Probabilities ``(L + 1, D, H, W)`` on the working grid, by a 3D network."""
        shape = [image.shape[1], image.shape[2], image.shape[3]]
        window = self.window(shape)
        before = [max(0, window[axis] - shape[axis]) // 2 for axis in range(3)]
        padded = self.padded(image, before, [max(0, window[axis] - shape[axis]) - before[axis] for axis in range(3)])
        result = self.run(padded[None], window)[0]
        for axis in range(3):
            result = result.narrow(axis + 1, before[axis], shape[axis])
        return result

    def slices(self, image: Tensor) -> Tensor:
        """Probabilities ``(L + 1, D, H, W)`` on the working grid, by a 2D network that sees neighbouring slices."""
        depth, rows, columns = image.shape[1], image.shape[2], image.shape[3]
        window = self.window([1, rows, columns])
        reach = self.context // 2
        top, left = max(0, window[1] - rows) // 2, max(0, window[2] - columns) // 2
        bottom, right = max(0, window[1] - rows) - top, max(0, window[2] - columns) - left
        volume = self.padded(image, [reach, top, left], [reach, bottom, right])[0]
        outputs: list[Tensor] = []
        first = 0
        while first < depth:
            last = min(first + self.at_once, depth)
            batch = volume[first : last + self.context - 1].unfold(0, self.context, 1).permute(0, 3, 1, 2)
            outputs.append(self.run(batch.contiguous(), [window[1], window[2]]))
            first = last
        return torch.cat(outputs).transpose(0, 1).narrow(2, top, rows).narrow(3, left, columns)

    def padded(self, image: Tensor, before: list[int], after: list[int]) -> Tensor:
        """``(C, D, H, W)`` continued at its edges."""
        widths = [before[2], after[2], before[1], after[1], before[0], after[0]]
        return F.pad(image[None], widths, mode="replicate")[0]

    def run(self, batch: Tensor, window: list[int]) -> Tensor:
        """In one piece if it is one window, else MONAI's sliding window with Gaussian weights."""
        spatial = batch.shape[2:]
        if list(spatial) == window:
            whole: Tensor = self.core(batch)
            return whole
        starts: list[list[int]] = [self.starts(spatial[axis], window[axis]) for axis in range(len(window))]
        if len(window) == 2:
            batch, window, starts = batch.unsqueeze(2), [1, window[0], window[1]], [[0], starts[0], starts[1]]
        weight = self.importance(window, batch)
        result, total = torch.zeros(0), torch.zeros_like(batch[:1, :1])
        for z in starts[0]:
            for y in starts[1]:
                for x in starts[2]:
                    patch = batch.narrow(2, z, window[0]).narrow(3, y, window[1]).narrow(4, x, window[2])
                    seen = self.core(patch.squeeze(2)).unsqueeze(2) if self.flat else self.core(patch)
                    if result.numel() == 0:
                        sizes = [batch.shape[0], seen.shape[1], batch.shape[2], batch.shape[3], batch.shape[4]]
                        result = torch.zeros(sizes, dtype=batch.dtype, device=batch.device)
                    result.narrow(2, z, window[0]).narrow(3, y, window[1]).narrow(4, x, window[2]).add_(seen * weight)
                    total.narrow(2, z, window[0]).narrow(3, y, window[1]).narrow(4, x, window[2]).add_(weight)
        result = result / total
        return result.squeeze(2) if self.flat else result

    def starts(self, size: int, window: int) -> list[int]:
        """Where windows begin along an axis, as in ``monai.data.utils.dense_patch_slices``."""
        interval = window if size == window else max(1, int(window * (1 - self.overlap)))
        places: list[int] = [0]
        while places[-1] + window < size:
            places.append(min(places[-1] + interval, size - window))
        return places

    def importance(self, window: list[int], like: Tensor) -> Tensor:
        """Gaussian weight of a window, as ``monai.data.utils.compute_importance_map`` makes it."""
        result = torch.ones([1, 1, 1], dtype=like.dtype, device=like.device)
        for axis in range(3):
            if window[axis] > 1:
                size = window[axis]
                x = torch.arange(size, dtype=like.dtype, device=like.device) - (size - 1) / 2.0
                sides = [1, 1, 1]
                sides[axis] = size
                result = result * torch.exp(x * x / (-2.0 * (self.sigma * size) * (self.sigma * size))).view(sides)
        return result.clamp_min(max(float(result.min()), 1e-3))


def freeze(plan: Plan, weights: Mapping[str, Tensor]) -> bytes:
    """The prediction of one task as a TorchScript file. See :class:`FrozenPrediction` for what goes in and comes out.

    Args:
        plan: of the network.
        weights: of one task, as a checkpoint has them.
    """
    core = Core(plan, weights).eval()
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of what is deprecated: torch.export, the successor, takes no loop over windows
        trace: Callable[..., nn.Module] = torch.jit.trace
        traced = trace(core, example_input(plan), check_trace=False)
        torch.jit.save(torch.jit.script(FrozenPrediction(plan, traced).eval()), buffer)
    return buffer.getvalue()


def example_input(plan: Plan, items: int = 2) -> Tensor:
    """A batch of patches of the size that the network was trained on, ``(N, image channels, [D,] H, W)``."""
    sizes = plan.patch_DHW if plan.dimensions == 3 else plan.patch_DHW[1:]
    return torch.rand([items, plan.image_channels, *sizes], generator=torch.Generator().manual_seed(0))
