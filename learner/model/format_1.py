"""Checkpoints of format 1, of a model with one task whose network was a plain DynUNet, as of format 2.

The network of format 1 saw the proxy as well; what it made of the image alone is kept.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from learner.model.network import plain_parameters
from learner.model.plan import Plan


def from_format_1(header: dict[str, Any], loaded: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and tensors as format 2 has them.

    Raises:
        KeyError, ValueError, TypeError: if something is missing.
    """
    task_id = str(header["replay"][0]["group"]) if header["replay"] else ""
    plans = [[task_id, header["plan"]]] if header["plan"] else []
    new = {**header, "labels": {task_id: header["label_count"]}, "plans": plans}
    if not plans:
        return new, {"weights": {}, "average": {}, "moments": {}}
    plan = Plan.from_json(header["plan"])
    moments: dict[str, dict[str, Tensor]] = {}
    old = loaded["optimizer"]["state"]
    for number, name in enumerate(plain_parameters(plan)):
        for kind, value in old.get(number, {}).items():
            for renamed, part in _renamed(name, value, plan).items():
                moments.setdefault(renamed, {})[kind] = part
    return new, {
        "weights": _all_renamed(loaded["weights"], plan),
        "average": _all_renamed(loaded["average"], plan),
        "moments": moments,
    }


def _all_renamed(weights: dict[str, Tensor], plan: Plan) -> dict[str, Tensor]:
    return {new: part for name, value in weights.items() for new, part in _renamed(name, value, plan).items()}


def _renamed(name: str, value: Tensor, plan: Plan) -> dict[str, Tensor]:
    """What a tensor is called now; of the first convolution's, the part that sees the image."""
    part, _, rest = name.partition(".")
    if part == "skip_layers":  # the same tensors under other names
        return {}
    if name == "input_block.conv1.conv.weight":
        seen = value if value.ndim == 0 else value[:, : plan.image_channels].clone()  # the optimizer counts steps in a scalar
        return {"down.0.conv1.conv.weight": seen}
    if part == "downsamples":
        number, _, rest = rest.partition(".")
        return {f"down.{int(number) + 1}.{rest}": value}
    places = {
        "input_block": "down.0",
        "bottleneck": f"down.{len(plan.strides) - 1}",
        "upsamples": "up",
    }
    if part == "output_block":
        return {f"heads.0.{rest.rpartition('.')[2]}": value}
    return {f"{places[part]}.{rest}": value}
