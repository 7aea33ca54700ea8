"""The network of a plan: a small U-Net with instance normalisation (MONAI's DynUNet) that corrects the proxy it is shown."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import cast

import torch
from monai.networks.nets.dynunet import DynUNet
from torch import Tensor, nn

from learner.model.plan import Plan
from learner.model.settings import Precision

_LEAST_PROBABILITY = 0.1


class ProxyCorrector(nn.Module):
    """A U-Net whose logits are added to those of the proxy that it is shown, these scaled by the proxy's confidence.

    Before it has learned anything it repeats the proxy; what it learns are corrections. The proxy's probabilities are bounded below
    by 0.1, so that a correction need not be large. A hidden proxy (zeros) adds nothing.

    Args:
        body: from image and condition channels to logits.
        image_channels: how many channels come before the condition.
        classes: background and labels.
    """

    def __init__(self, body: nn.Module, image_channels: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.trust = nn.Parameter(torch.ones(()))
        self._soft = slice(image_channels, image_channels + classes)

    def forward(self, channels: Tensor) -> Tensor:
        """``(N, image + condition channels, ...)`` to ``(N, classes, ...)`` logits."""
        confidence = channels[:, self._soft.stop : self._soft.stop + 1].float()
        proxy = torch.log(channels[:, self._soft].float().clamp_min(_LEAST_PROBABILITY))
        logits: Tensor = self.body(channels).float() + self.trust * confidence * proxy
        return logits


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
    return ProxyCorrector(cast("nn.Module", network), plan.image_channels, plan.label_count + 1)


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
