from __future__ import annotations

import numpy as np
import pytest
import torch

from learner.model.losses import (
    dice_semimetric,
    open_up,
    segmentation_loss,
    soft_cross_entropy,
    temporal_blend,
)


def _soft(seed: int, shape: tuple[int, ...] = (2, 3, 4, 5)) -> torch.Tensor:
    return torch.softmax(torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32)), dim=1)


def test_cross_entropy_is_least_at_the_soft_target() -> None:
    target, weight = _soft(0), torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    at_target = soft_cross_entropy(target.log(), target, weight)
    for seed in range(1, 6):
        assert soft_cross_entropy((0.9 * target + 0.1 * _soft(seed)).log(), target, weight) > at_target


def test_dice_semimetric_is_zero_only_at_the_soft_target() -> None:
    target, weight = _soft(0), torch.ones(2, 4, 5)
    assert dice_semimetric(target, target, weight).item() == pytest.approx(0, abs=1e-6)
    hard = torch.nn.functional.one_hot(target.argmax(dim=1), 3).movedim(-1, 1).float()
    assert dice_semimetric(hard, target, weight) > 0.05


def test_dice_semimetric_is_one_minus_dice_on_hard_masks() -> None:
    x, y = torch.zeros(1, 2, 10), torch.zeros(1, 2, 10)
    x[0, 1, :6], y[0, 1, 3:9] = 1, 1
    loss = dice_semimetric(x, y, torch.ones(1, 10), smooth=1e-6)
    assert loss.item() == pytest.approx(1 - 2 * 3 / 12, abs=1e-5)


def test_voxels_of_no_weight_do_not_count() -> None:
    target, logits, weight = _soft(0), _soft(1).log(), torch.ones(2, 4, 5)
    weight[:, :2] = 0
    changed = logits.clone()
    changed[:, :, :2] = torch.randn(2, 3, 2, 5, generator=torch.Generator().manual_seed(3))
    assert segmentation_loss(changed, target, weight, 1.0)[0].item() == pytest.approx(
        segmentation_loss(logits, target, weight, 1.0)[0].item(), rel=1e-6
    )


def test_nothing_known_gives_a_finite_loss() -> None:
    loss = segmentation_loss(_soft(1).log(), _soft(0), torch.zeros(2, 4, 5), 1.0)[0]
    assert torch.isfinite(loss)


def test_temporal_blend_leaves_drawings_and_yields_where_the_proxy_knows_nothing() -> None:
    target, earlier = _soft(0), _soft(1)
    confidence = torch.ones(2, 4, 5)
    confidence[0] = 0
    blended = temporal_blend(target, earlier, confidence, 0.4)
    torch.testing.assert_close(blended[1], target[1])
    torch.testing.assert_close(blended[0], 0.6 * target[0] + 0.4 * earlier[0])


def _unknown(*items: tuple[int, ...], classes: int = 4) -> torch.Tensor:
    unknown = torch.zeros(len(items), classes, dtype=torch.bool)
    for item, labels in enumerate(items):
        unknown[item, list(labels)] = True
    return unknown


def _partly_open(seed: int, unknown: torch.Tensor) -> torch.Tensor:
    return open_up(_soft(seed, (2, 4, 4, 5)), unknown)


def test_an_open_target_teaches_nothing_of_how_background_and_unknown_labels_share_it() -> None:
    unknown, weight = _unknown((2, 3), (2, 3)), torch.ones(2, 4, 5)
    target, logits = _partly_open(0, unknown), torch.randn(2, 4, 4, 5, generator=torch.Generator().manual_seed(1))
    shared = torch.softmax(torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(2)), dim=1).log()
    other = logits.clone()
    other[:, [0, 2, 3]] = logits[:, [0, 2, 3]].logsumexp(dim=1, keepdim=True) + shared
    losses = [segmentation_loss(each, target, weight, 1.0, unknown)[0].item() for each in (logits, other)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert segmentation_loss(logits, target, weight, 1.0)[0].item() != pytest.approx(losses[0], rel=0.05)


def test_the_marginal_loss_is_that_of_the_merged_classes() -> None:
    unknown, weight = _unknown((3,), (3,)), torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
    logits, full = _soft(1, (2, 4, 4, 5)).log(), _soft(0, (2, 4, 4, 5))
    merged = torch.cat([logits[:, [0, 3]].logsumexp(dim=1, keepdim=True), logits[:, 1:3]], dim=1)
    target = torch.cat([full[:, [0, 3]].sum(dim=1, keepdim=True), full[:, 1:3]], dim=1)
    marginal = soft_cross_entropy(logits, open_up(full, unknown), weight, unknown)
    assert marginal.item() == pytest.approx(soft_cross_entropy(merged, target, weight).item(), rel=1e-5)


def test_what_is_known_pushes_unknown_labels_away() -> None:
    unknown, weight = _unknown((3,)), torch.ones(1, 1)
    logits = torch.zeros(1, 4, 1, requires_grad=True)
    for known in (0, 1):
        target = torch.zeros(1, 4, 1)
        target[0, known] = 1
        (gradient,) = torch.autograd.grad(soft_cross_entropy(logits, target, weight, unknown), logits)
        assert gradient[0, 3, 0] > 0, "drawn as another label, or as background: not this one"
    (gradient,) = torch.autograd.grad(soft_cross_entropy(logits, torch.zeros(1, 4, 1), weight, unknown), logits)
    assert gradient[0, 3, 0] == gradient[0, 0, 0] < 0 < gradient[0, 1, 0]


def test_strokes_of_an_unknown_label_are_learned() -> None:
    target = torch.zeros(1, 4, 1)
    target[0, 3] = 1
    logits = torch.zeros(1, 4, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(segmentation_loss(logits, target, torch.ones(1, 1), 1.0, _unknown((3,)))[0], logits)
    assert gradient[0, 3, 0] < 0 < gradient[0, 0, 0]


def test_items_that_know_all_labels_lose_the_same_beside_ones_that_do_not() -> None:
    target, logits, weight = _soft(0, (2, 4, 4, 5)), _soft(1, (2, 4, 4, 5)).log(), torch.ones(2, 4, 5)
    weight[1] = 0
    mixed = segmentation_loss(logits, target, weight, 1.0, _unknown((), (2, 3)))[0]
    assert mixed.item() == pytest.approx(segmentation_loss(logits, target, weight, 1.0)[0].item(), rel=1e-5)


def test_opening_up_leaves_items_alone_that_know_all_labels() -> None:
    soft = _soft(0, (2, 4, 4, 5))
    opened = open_up(soft, _unknown((), (2,)))
    torch.testing.assert_close(opened[0], soft[0])
    assert not opened[1, [0, 2]].any()
    torch.testing.assert_close(opened[1, [1, 3]], soft[1, [1, 3]])
