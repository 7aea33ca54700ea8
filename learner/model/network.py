"""The network: a small U-Net with instance normalisation (MONAI's DynUNet) as trunk, a head for each task."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own convention
from monai.networks.nets.dynunet import DynUNet
from torch import Tensor, nn

from learner.model.plan import Plan
from learner.model.settings import DeviceName, Precision

CPU = torch.device("cpu")


class SharedNetwork(nn.Module):
    """One trunk for all tasks of a model.

    Of its own each task has the last 1x1 convolution. With one task it is a plain DynUNet.

    Args:
        whole: a plain network of each task, whose parts are taken: the trunk of the first, and of each its head.
    """

    def __init__(self, whole: Sequence[DynUNet]) -> None:
        super().__init__()
        trunk = whole[0]
        self.down = nn.ModuleList([trunk.input_block, *trunk.downsamples, trunk.bottleneck])
        self.up = nn.ModuleList(trunk.upsamples)
        self.heads = nn.ModuleList([one.output_block.conv.conv for one in whole])

    def forward(self, batch: Tensor, task: int = 0) -> Tensor:
        """Logits ``(N, L + 1, [D,] H, W)``.

        Args:
            batch: ``(N, image channels, [D,] H, W)``.
            task: number of the task.
        """
        values = [self.down[0](batch)]
        for block in self.down[1:]:
            values.append(block(values[-1]))
        value = values.pop()
        for block in self.up:
            value = block(value, values.pop())
        return _pointwise(value, self.heads[task])


def _pointwise(values: Tensor, convolution: nn.Module) -> Tensor:
    """A 1x1 convolution as a matrix product: for few outputs, on one CPU thread, 5 ms and not 21 forth and back."""
    weight, bias = cast("Tensor", convolution.weight).flatten(1), cast("Tensor", convolution.bias)
    items, outputs = len(values), len(weight)
    product = torch.baddbmm(
        bias[None, :, None].expand(items, outputs, 1), weight[None].expand(items, -1, -1), values.flatten(2)
    )
    return product.view(items, outputs, *values.shape[2:])


def _dynunet(plan: Plan, seed: int) -> DynUNet:
    """A plain network with fresh weights; the same plan and seed give the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DynUNet(**plain_arguments(plan))


class PaddedFirst(nn.Conv3d):
    """A convolution that learns faster on CPUs without AVX512: it pads its input itself and computes the same.

    For convolutions that pad, oneDNN has no AVX2 kernel of the weights' gradient in 3D and takes a slower one by matrix
    products; ``ONEDNN_VERBOSE=1`` tells which it takes.
    """

    def forward(self, batch: Tensor) -> Tensor:
        """The convolution of ``(N, channels, D, H, W)``."""
        if batch.device.type != "cpu" or not torch.is_grad_enabled():
            return super().forward(batch)
        depth, height, width = cast("tuple[int, int, int]", self.padding)
        padded = F.pad(batch, (width, width, height, height, depth, depth))
        return F.conv3d(padded, self.weight, self.bias, self.stride)


def pad_first(network: nn.Module) -> None:
    """Makes all 3D convolutions that pad with zeros :class:`PaddedFirst`; names and weights stay as they are."""
    for module in network.modules():
        if type(module) is nn.Conv3d and any(module.padding) and module.groups == 1:
            module.__class__ = PaddedFirst


def build_network(plans: Iterable[Plan], seed: int) -> SharedNetwork:
    """A network with fresh weights; the same plans and seed give the same weights. See :class:`SharedNetwork`.

    Args:
        plans: of the tasks, in the order in which they came; dimensions, filters and strides are the same in all.
        seed: of the weights.
    """
    network = SharedNetwork([_dynunet(plan, seed if number == 0 else number) for number, plan in enumerate(plans)])
    if not _capabilities().get("avx512_f"):
        pad_first(network)
    return network


def plain_network(plan: Plan, weights: Mapping[str, Tensor]) -> DynUNet:
    """MONAI's own network with the weights of one task; it computes the same.

    Args:
        plan: of the task.
        weights: of a :class:`SharedNetwork` of that task alone, see :func:`weights_of_task`.
    """
    plain = _dynunet(plan, seed=0)
    SharedNetwork([plain]).load_state_dict(weights)
    return plain.eval()


def weights_of_plain(plan: Plan, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back from :func:`plain_network`: weights of MONAI's network as a :class:`SharedNetwork` has them.

    Raises:
        RuntimeError: if they do not fit the plan; names the tensors.
    """
    plain = _dynunet(plan, seed=0)
    plain.load_state_dict(weights)
    return copy_weights(SharedNetwork([plain]))


def plain_arguments(plan: Plan) -> dict[str, Any]:
    """What :class:`monai.networks.nets.DynUNet` is made with, as plain data."""
    strides: list[list[int]] = [list(stride)[-plan.dimensions :] for stride in plan.strides]
    return {
        "spatial_dims": plan.dimensions,
        "in_channels": plan.image_channels,
        "out_channels": plan.label_count + 1,
        "kernel_size": [3] * len(strides),
        "strides": strides,
        "upsample_kernel_size": strides[1:],
        "filters": list(plan.filters),
        "norm_name": ["INSTANCE", {"affine": True}],
    }


def weights_of_task(weights: dict[str, Tensor], task: int) -> dict[str, Tensor]:
    """The weights of a network that serves one of the tasks alone."""
    result = {}
    for name, value in weights.items():
        part, _, rest = name.partition(".")
        if part != "heads":
            result[name] = value
        elif rest.split(".")[0] == str(task):
            result[".".join([part, "0", *rest.split(".")[1:]])] = value
    return result


def choose_device(name: DeviceName) -> torch.device:
    """The device of that name; ``auto`` is CUDA where there is any."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(name)


def bf16_in_hardware() -> bool:
    """Whether this CPU multiplies bfloat16 itself (AVX512_BF16 or AMX).

    Measured with this network's training step: 292 -> 125 ms on an AVX512_BF16 core pair without AMX, 278 -> 103 ms with AMX.
    Emulated bfloat16 is slower than float32. The flags decide rather than a stopwatch, so that a rerun gives the same weights.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        return False
    return bool(_capabilities().get("avx512_bf16") or _capabilities().get("amx_bf16"))


def _capabilities() -> Mapping[str, Any]:
    """What this CPU can do, by torch's names."""
    return torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}


def precision_context(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """The autocast context of a precision on a device; ``auto`` asks the hardware."""
    enabled = precision == "bf16"
    if precision == "auto":
        enabled = torch.cuda.is_bf16_supported() if device.type == "cuda" else bf16_in_hardware()
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


def copy_weights(network: nn.Module) -> dict[str, Tensor]:
    """Weights that stay as they are while training goes on."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def plain_parameters(plan: Plan) -> list[str]:
    """Names of the parameters of a plain DynUNet, in the order in which an optimizer counts them."""
    return [name for name, _ in _dynunet(plan, seed=0).named_parameters()]
