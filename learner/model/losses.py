"""Losses that are valid on soft labels, and the smoothing of labels.

Soft Dice is minimised by hard predictions even where the target is soft; cross-entropy and the Dice semimetric loss are
minimised by the target itself (Wang et al., "Dice Semimetric Losses: Optimizing the Dice Score with Soft Labels", MICCAI
2023, DML-1).

Labels that nobody looked for in a case are neither there nor absent: the target is then marginal (Shi et al., "Marginal loss
and exclusion loss for partially supervised multi-organ segmentation", Medical Image Analysis 2021). What a target lacks to a
sum of 1 is *open*: background or any of these labels. It is compared with the sum of their probabilities, so that nothing is
taught of how they share it. ``unknown`` says for each item, bool ``(N, C)``, which classes these labels are; None where no item
has any.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from torch import Tensor


def soft_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor, unknown: Tensor | None = None) -> Tensor:
    """Cross-entropy against soft labels, averaged with a weight per voxel.

    Args:
        logits: ``(N, C, ...)``.
        target: ``(N, C, ...)``, sums to 1 over C; to less where it is open.
        weight: ``(N, ...)``, not negative; the mean is over the sum of weights, so that its scale does not matter.
        unknown: which labels nobody looked for.
    """
    logarithms = F.log_softmax(logits, dim=1)
    per_voxel = -(target * logarithms).sum(dim=1)
    if unknown is not None:
        others = _over_space(~_open_classes(unknown), logits)
        is_open = (1 - target.sum(dim=1)).clamp_min(0)
        per_voxel = per_voxel - is_open * logarithms.masked_fill(others, -torch.inf).logsumexp(dim=1)
    return (per_voxel * weight).sum() / weight.sum().clamp_min(1e-6)


def open_up(probabilities: Tensor, unknown: Tensor) -> Tensor:
    """Probabilities ``(N, C, ...)`` as a target that claims nothing of unknown labels: in items with any, these are open."""
    withheld = _open_classes(unknown) & unknown.any(dim=1, keepdim=True)
    return probabilities.masked_fill(_over_space(withheld, probabilities), 0.0)


def _open_classes(unknown: Tensor) -> Tensor:
    """The classes that share what is open: background and unknown labels."""
    classes = unknown.clone()
    classes[:, 0] = True
    return classes


def _over_space(classes: Tensor, like: Tensor) -> Tensor:
    """``(N, C)`` as it broadcasts over the voxels of ``like``."""
    return classes[(..., *[None] * (like.ndim - 2))]


def dice_semimetric(
    probabilities: Tensor, target: Tensor, weight: Tensor, unknown: Tensor | None = None, smooth: float = 1.0
) -> Tensor:
    """DML-1 over the labels (background left out), batch and space taken together, with a weight per voxel.

    ``1 - (|x| + |y| - |x - y|) / (|x| + |y|)`` with L1 norms: equals soft Dice on hard targets, and 0 exactly where x = y.

    Args:
        probabilities: ``(N, C, ...)``.
        target: ``(N, C, ...)``, soft.
        weight: ``(N, ...)``.
        unknown: which labels nobody looked for; in those items they do not count.
        smooth: keeps labels that are absent from the batch finite, in units of mean-weighted voxels.
    """
    scale = weight / weight.mean().clamp_min(1e-6)
    x, y = probabilities[:, 1:] * scale[:, None], target[:, 1:] * scale[:, None]
    if unknown is not None:
        left_out = _over_space(unknown[:, 1:], x)
        x, y = x.masked_fill(left_out, 0.0), y.masked_fill(left_out, 0.0)
    axes = [0, *range(2, x.ndim)]
    total = x.sum(dim=axes) + y.sum(dim=axes)
    difference = (x - y).abs().sum(dim=axes)
    return (1 - (total - difference + smooth) / (total + smooth)).mean()


def segmentation_loss(
    logits: Tensor, target: Tensor, weight: Tensor, dice_weight: float, unknown: Tensor | None = None
) -> Tensor:
    """Weighted soft cross-entropy plus ``dice_weight`` times the Dice semimetric loss."""
    logits = logits.float()
    loss = soft_cross_entropy(logits, target, weight, unknown)
    if dice_weight > 0:
        loss = loss + dice_weight * dice_semimetric(torch.softmax(logits, dim=1), target, weight, unknown)
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
