"""Losses that are valid on soft labels, and the smoothing of labels.

Soft Dice is minimised by hard predictions even where the target is soft; cross-entropy and the Dice semimetric loss are
minimised by the target itself (Wang et al., "Dice Semimetric Losses: Optimizing the Dice Score with Soft Labels", MICCAI
2023, DML-1).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


def soft_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Cross-entropy against soft labels, averaged with a weight per voxel.

    Args:
        logits: ``(N, C, ...)``.
        target: ``(N, C, ...)``, sums to 1 over C.
        weight: ``(N, ...)``, not negative; the mean is over the sum of weights, so that its scale does not matter.
    """
    per_voxel = -(target * F.log_softmax(logits, dim=1)).sum(dim=1)
    return (per_voxel * weight).sum() / weight.sum().clamp_min(1e-6)


def dice_semimetric(probabilities: Tensor, target: Tensor, weight: Tensor, smooth: float = 1.0) -> Tensor:
    """DML-1 over the labels (background left out), batch and space taken together, with a weight per voxel.

    ``1 - (|x| + |y| - |x - y|) / (|x| + |y|)`` with L1 norms: equals soft Dice on hard targets, and 0 exactly where x = y.

    Args:
        probabilities: ``(N, C, ...)``.
        target: ``(N, C, ...)``, soft.
        weight: ``(N, ...)``.
        smooth: keeps labels that are absent from the batch finite, in units of mean-weighted voxels.
    """
    scale = weight / weight.mean().clamp_min(1e-6)
    x, y = probabilities[:, 1:] * scale[:, None], target[:, 1:] * scale[:, None]
    axes = [0, *range(2, x.ndim)]
    total = x.sum(dim=axes) + y.sum(dim=axes)
    difference = (x - y).abs().sum(dim=axes)
    return (1 - (total - difference + smooth) / (total + smooth)).mean()


def segmentation_loss(logits: Tensor, target: Tensor, weight: Tensor, dice_weight: float) -> Tensor:
    """Weighted soft cross-entropy plus ``dice_weight`` times the Dice semimetric loss."""
    logits = logits.float()
    loss = soft_cross_entropy(logits, target, weight)
    if dice_weight > 0:
        loss = loss + dice_weight * dice_semimetric(torch.softmax(logits, dim=1), target, weight)
    return loss


def temporal_blend(target: Tensor, earlier: Tensor, confidence: Tensor, share: float) -> Tensor:
    """Targets blended with what the model predicted before this case: ``(1 - w) proxy + w earlier``.

    ``w = share * (1 - confidence)``: what a reader drew stays as it is, what the proxy hardly knows is mostly the model's own
    memory. This is distillation, and is never stored as annotation.

    Args:
        target: ``(N, C, ...)`` soft labels.
        earlier: ``(N, C, ...)`` the earlier model's probabilities.
        confidence: ``(N, ...)`` in [0, 1].
        share: w where the confidence is 0.
    """
    w = (share * (1 - confidence))[:, None]
    return (1 - w) * target + w * earlier


def spatial_smoothing(target_CDHW: Tensor, share: float, *, through_plane: bool) -> Tensor:
    """Soft labels blended with their Gaussian blur, after spatially varying label smoothing (Islam and Glocker, IPMI 2021).

    Their kernel: 3x3(x3) Gaussian with sigma 1, the centre's weight equal to the sum of its neighbours'.

    Args:
        target_CDHW: float32 soft labels.
        share: 0 leaves them as they are, 1 is the full smoothing of the paper.
        through_plane: whether slices blend with their neighbours as well; not wise when slices are thick.
    """
    if share <= 0:
        return target_CDHW
    line = torch.exp(-0.5 * torch.tensor([-1.0, 0.0, 1.0]) ** 2)
    depth = line if through_plane else torch.tensor([1.0])
    kernel = depth[:, None, None] * line[None, :, None] * line[None, None, :]
    centre = tuple(size // 2 for size in kernel.shape)
    kernel[centre] = kernel.sum() - kernel[centre]
    kernel = kernel / kernel.sum()
    pad = (1, 1, 1, 1, 1, 1) if through_plane else (1, 1, 1, 1, 0, 0)
    blurred = F.conv3d(F.pad(target_CDHW[:, None], pad, mode="replicate"), kernel[None, None])[:, 0]
    return (1 - share) * target_CDHW + share * blurred
