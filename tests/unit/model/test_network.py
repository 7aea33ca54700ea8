"""The network's own arithmetic."""

from __future__ import annotations

import copy

import torch
from torch import nn

from learner.model.network import PaddedFirst, build_network, pad_first
from learner.model.plan import plan_for


def test_padding_first_changes_neither_output_nor_gradient_nor_names() -> None:
    plan = plan_for((16, 16, 24), (1.0, 1.0, 1.0), 2, dimensions=3)
    plain = build_network([plan], seed=3)
    for module in plain.modules():
        if isinstance(module, PaddedFirst):
            module.__class__ = nn.Conv3d
    padded = copy.deepcopy(plain)
    pad_first(padded)
    changed = [module for module in padded.modules() if isinstance(module, PaddedFirst)]
    assert len(changed) == sum(type(module) is nn.Conv3d and any(module.padding) for module in plain.modules()) > 5
    assert list(padded.state_dict()) == list(plain.state_dict())

    batch = torch.randn(2, 1, 16, 16, 24, generator=torch.Generator().manual_seed(1))
    outputs = [network(batch) for network in (plain, padded)]
    torch.testing.assert_close(outputs[1], outputs[0])
    for output in outputs:
        output.square().mean().backward()
    for one, other in zip(padded.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-3, atol=1e-6)


def test_a_copy_pads_first_as_well() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1))
    pad_first(network)
    assert isinstance(copy.deepcopy(network)[0], PaddedFirst)
