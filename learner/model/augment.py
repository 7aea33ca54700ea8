"""Augmentation of batches: small rotations and scalings, mirroring where the anatomy allows it, and changes of intensity."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor

from learner.model.plan import Plan
from learner.model.settings import TrainingSettings

_GEOMETRY_SHARE = 0.8
FloatArray = npt.NDArray[np.float32]


def augment(items: Tensor, plan: Plan, settings: TrainingSettings, rng: np.random.Generator) -> Tensor:
    """A batch of :class:`~learner.model.sampling.Sampler` items, changed at random.

    Args:
        items: ``(N, K, d, h, w)``, on any device, may be changed; geometry changes all channels alike (linear
            interpolation keeps soft labels valid), intensity only the image's.
        plan: of the network.
        settings: how much.
        rng: source of all randomness.
    """
    items = _geometry(items, plan, settings, rng)
    for axis in settings.mirror_axes:
        for item in range(items.shape[0]):
            if rng.random() < 0.5 and items.shape[2 + axis] > 1:
                items[item] = items[item].flip(1 + axis)
    image = items[:, : plan.image_channels]
    items[:, : plan.image_channels] = torch.stack([_intensity(one, rng) for one in image])
    return items


def _geometry(items: Tensor, plan: Plan, settings: TrainingSettings, rng: np.random.Generator) -> Tensor:
    """Resamples those items that are moved at all."""
    matrices = [_matrix(plan, settings, rng) for _ in range(items.shape[0])]
    moved = [number for number, matrix in enumerate(matrices) if matrix is not None]
    if not moved:
        return items
    first = 3 - plan.dimensions
    theta = torch.from_numpy(np.stack([matrix[first:, first:] for matrix in matrices if matrix is not None])).to(items.device)
    theta = torch.cat([theta.flip(1, 2), theta.new_zeros(len(theta), plan.dimensions, 1)], dim=2)
    source = items[moved] if len(moved) < len(items) else items
    source = source[:, :, 0] if plan.dimensions == 2 else source
    grid = F.affine_grid(theta, list(source.shape), align_corners=False)
    result = F.grid_sample(source, grid, mode="bilinear", padding_mode="border", align_corners=False)
    result = result[:, :, None] if plan.dimensions == 2 else result
    if len(moved) == len(items):
        return result
    items[moved] = result
    return items


def _matrix(plan: Plan, settings: TrainingSettings, rng: np.random.Generator) -> FloatArray | None:
    """Rotation and scaling about the patch's centre in normalised coordinates, axes (d, h, w), true to millimetres; or none."""
    draws = rng.uniform(-1, 1, size=7)
    if draws[6] > 2 * _GEOMETRY_SHARE - 1:
        return None
    angles = np.radians(settings.rotation_degrees) * draws[:3]
    if plan.dimensions == 2:
        angles[1:] = 0
    rotation = _rotation(0, angles[0]) @ _rotation(1, angles[1]) @ _rotation(2, angles[2])
    scale = np.diag(np.exp(math.log1p(settings.scaling) * (draws[3] + 0.3 * draws[3:6])))
    half = np.diag(np.array(plan.patch_DHW) * np.array(plan.spacing_DHW) / 2)
    return np.asarray(np.linalg.inv(half) @ rotation @ scale @ half, dtype=np.float32)


def _rotation(axis: int, angle: float) -> npt.NDArray[np.float64]:
    matrix = np.eye(3)
    first, second = (other for other in range(3) if other != axis)
    matrix[first, first] = matrix[second, second] = math.cos(angle)
    matrix[first, second], matrix[second, first] = -math.sin(angle), math.sin(angle)
    return matrix


def _intensity(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Gamma, contrast, brightness, a linear bias field and noise on a normalised image ``(k, d, h, w)``."""
    gamma, contrast, brightness, noise = rng.uniform([-0.35, -0.25, -0.2, 0.0], [0.35, 0.25, 0.2, 1.0])
    slopes = rng.uniform(-0.2, 0.2, size=3)
    low, high = image.amin(), image.amax()
    width = (high - low).clamp_min(1e-6)
    image = ((image - low) / width) ** math.exp(gamma) * width + low
    ramps = [
        torch.linspace(-1, 1, size, device=image.device) * float(slope)
        for size, slope in zip(image.shape[1:], slopes, strict=True)
    ]
    field = ramps[1][:, None] + ramps[2][None, :]
    if image.shape[1] > 1:
        field = ramps[0][:, None, None] + field[None]
    image = image * math.exp(contrast) * (1 + field) + float(brightness)
    if noise > 0.5:
        grain = rng.standard_normal(tuple(image.shape), dtype=np.float32) * np.float32(0.2 * (noise - 0.5))
        image = image + torch.from_numpy(grain).to(image.device)
    return image
