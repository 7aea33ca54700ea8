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
    sums = _cross_entropy_sums(F.log_softmax(logits, dim=1), target, weight, unknown)
    return sums.sum() / weight.sum().clamp_min(1e-6)


def _cross_entropy_sums(logarithms: Tensor, target: Tensor, weight: Tensor, unknown: Tensor | None) -> Tensor:
    """The weighted sum over each item's voxels, ``(N,)``; see :func:`soft_cross_entropy`."""
    per_voxel = -(target * logarithms).sum(dim=1)
    if unknown is not None:
        others = _over_space(~_open_classes(unknown), logarithms)
        is_open = (1 - target.sum(dim=1)).clamp_min(0)
        per_voxel = per_voxel - is_open * logarithms.masked_fill(others, -torch.inf).logsumexp(dim=1)
    return (per_voxel * weight).flatten(1).sum(dim=1)


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
) -> tuple[Tensor, Tensor]:
    """Weighted soft cross-entropy plus ``dice_weight`` times the Dice semimetric loss.

    Returns:
        The loss, and the cross-entropy of each item ``(N,)`` without gradient.
    """
    logarithms = F.log_softmax(logits.float(), dim=1)
    sums, weights = _cross_entropy_sums(logarithms, target, weight, unknown), weight.flatten(1).sum(dim=1)
    loss = sums.sum() / weights.sum().clamp_min(1e-6)
    if dice_weight > 0:
        loss = loss + dice_weight * dice_semimetric(logarithms.exp(), target, weight, unknown)
    return loss, (sums / weights.clamp_min(1e-6)).detach()


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
