"""The network of a plan: a small U-Net with instance normalisation (MONAI's DynUNet), and how it is run."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

import torch
from monai.networks.nets.dynunet import DynUNet
from torch import Tensor, nn

from learner.model.plan import Plan
from learner.model.settings import Precision


def build_network(plan: Plan, seed: int) -> nn.Module:
    """A network with fresh weights; the same plan and seed give the same weights.

    Input is ``(N, image channels + condition channels, [D,] H, W)``, output ``(N, L + 1, [D,] H, W)`` logits.
    """
    strides: list[list[int]] = [list(stride)[-plan.dimensions :] for stride in plan.strides]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = DynUNet(
            spatial_dims=plan.dimensions,
            in_channels=plan.image_channels + plan.condition_channels,
            out_channels=plan.label_count + 1,
            kernel_size=[3] * len(strides),
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=list(plan.filters),
            norm_name=("INSTANCE", {"affine": True}),
        )
    return cast("nn.Module", network)


def bf16_in_hardware() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX512_BF16 or AMX).

    Measured with this network's training step: 292 -> 125 ms on an AVX512_BF16 core pair without AMX, 278 -> 103 ms with AMX.
    Emulated bfloat16 is slower than float32. The flags decide rather than a stopwatch, so that a rerun gives the same weights.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return False
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def precision_context(precision: Precision) -> AbstractContextManager[object]:
    """The autocast context of a precision; ``auto`` asks the hardware."""
    enabled = precision == "bf16" or (precision == "auto" and bf16_in_hardware())
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled)


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """Weights that stay as they are while training goes on."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}
