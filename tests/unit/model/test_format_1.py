"""Checkpoints of the version before: one task without a name, a plain DynUNet, the optimizer's state by position."""

from __future__ import annotations

import io
import json
from collections.abc import Callable

import numpy as np
import pytest
import torch
from monai.networks.nets.dynunet import DynUNet

from learner.domain.example import Example
from learner.errors import StoreError
from learner.model.plan import Plan, Spacing, Triple, plan_for
from learner.model.serving import load_network
from learner.model.state import load_state
from learner.model.trainer import OnlineTrainer

MakeTrainer = Callable[..., OnlineTrainer]


def _header(plan: Plan | None, replay: list[dict[str, object]]) -> str:
    rng = np.random.default_rng(7).bit_generator.state
    return json.dumps(
        {
            "format": 1,
            "label_count": 2,
            "plan": plan.to_json() if plan else None,
            "steps": 1,
            "skipped": 0,
            "rng": rng,
            "replay": replay,
            "settings": "0123456789abcdef",
            "torch": "2.8.0",
        }
    )


def _entry(task: str) -> dict[str, object]:
    return {"key": "k", "group": task, "file": "gone.npz", "size": 10, "purity": 0.5, "loss": -1.0, "rank": 0.5}


def _network(plan: Plan) -> DynUNet:
    """As the version before had it: it saw the image, the proxy's classes and its confidence."""
    strides = [list(stride)[-plan.dimensions :] for stride in plan.strides]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return DynUNet(
            spatial_dims=plan.dimensions,
            in_channels=plan.image_channels + _conditions(plan),
            out_channels=plan.label_count + 1,
            kernel_size=[3] * len(strides),
            strides=strides,
            upsample_kernel_size=strides[1:],
            filters=list(plan.filters),
            norm_name=("INSTANCE", {"affine": True}),
        ).train()


def _conditions(plan: Plan) -> int:
    return plan.label_count + 2


def _hidden_and_shown(plan: Plan, shape: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """The proxy's channels as they were for the image alone, and with a proxy."""
    noise = torch.Generator().manual_seed(2)
    return torch.zeros(1, _conditions(plan), *shape), torch.rand(1, _conditions(plan), *shape, generator=noise)


def _old(plan: Plan, replay: list[dict[str, object]]) -> tuple[bytes, DynUNet, torch.optim.AdamW]:
    """A checkpoint as the version before wrote it, after one step; its network and its optimizer."""
    network = _network(plan)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    shape = plan.patch_DHW[3 - plan.dimensions :]
    batch = torch.randn(2, plan.image_channels + _conditions(plan), *shape, generator=torch.Generator().manual_seed(0))
    network(batch).square().mean().backward()
    optimizer.step()
    buffer = io.BytesIO()
    content = {"weights": network.state_dict(), "average": network.state_dict(), "optimizer": optimizer.state_dict()}
    torch.save({"header": _header(plan, replay), **content}, buffer)
    return buffer.getvalue(), network, optimizer


@pytest.mark.parametrize("replay", [[], [_entry("task")]])
def test_an_old_checkpoint_serves_and_goes_on(
    make_example: Callable[..., Example], make_trainer: MakeTrainer, replay: list[dict[str, object]]
) -> None:
    example = make_example(0)
    plan = plan_for((16, 16, 16), (1.0, 1.0, 1.0), 2)
    content, _, _ = _old(plan, replay)
    trainer = make_trainer()
    trainer.restore(content)
    assert (trainer.steps, list(trainer.plans)) == (1, ["task"])
    report = trainer.learn(example, 2, lambda: None)
    assert (report.steps, trainer.skipped, len(load_state(trainer.save()).moments["down.0.conv1.conv.weight"])) == (2, 0, 3)


@pytest.mark.parametrize("case", [((16, 16, 16), (1.0, 1.0, 1.0)), ((10, 32, 32), (4.0, 1.0, 1.0))])
def test_what_the_old_network_made_of_the_image_alone_is_kept(case: tuple[Triple, Spacing]) -> None:
    plan = plan_for(*case, 2)
    content, network, _ = _old(plan, [])
    served = load_network(content, "task", 2, threads=1)._network
    shape, noise = plan.patch_DHW[3 - plan.dimensions :], torch.Generator().manual_seed(1)
    image = torch.randn(1, plan.image_channels, *shape, generator=noise)
    hidden, shown = (torch.cat([image, condition], dim=1) for condition in _hidden_and_shown(plan, shape))
    with torch.no_grad():
        torch.testing.assert_close(served(image), network.eval()(hidden), atol=1e-5, rtol=1e-4)
        assert not torch.allclose(served(image), network(shown), atol=1e-3), "the old network did see the proxy"


def test_the_optimizer_keeps_what_it_knew_of_each_weight() -> None:
    plan = plan_for((16, 16, 16), (1.0, 1.0, 1.0), 2)
    content, network, optimizer = _old(plan, [])
    state = load_state(content)
    assert state.labels == {"": 2}
    assert set(state.moments) == set(dict(load_network(content, "", 2, threads=1)._network.named_parameters()))
    for kind in ("exp_avg", "exp_avg_sq"):
        first = optimizer.state[network.input_block.conv1.conv.weight][kind]
        assert first.shape[1] == 5
        torch.testing.assert_close(state.moments["down.0.conv1.conv.weight"][kind], first[:, :1])
        bottleneck = optimizer.state[network.bottleneck.conv2.conv.weight][kind]
        torch.testing.assert_close(state.moments["down.2.conv2.conv.weight"][kind], bottleneck)
        upper = optimizer.state[network.upsamples[0].transp_conv.conv.weight][kind]
        torch.testing.assert_close(state.moments["up.0.transp_conv.conv.weight"][kind], upper)
    assert {float(moments["step"]) for moments in state.moments.values()} == {1.0}


def test_an_old_checkpoint_without_a_network_loads(make_trainer: MakeTrainer) -> None:
    buffer = io.BytesIO()
    torch.save({"header": _header(None, []), "weights": {}, "average": {}, "optimizer": {}}, buffer)
    trainer = make_trainer()
    trainer.restore(buffer.getvalue())
    assert (dict(trainer.plans), load_state(trainer.save()).labels) == ({}, {"task": 2})


def test_a_later_format_is_refused() -> None:
    buffer = io.BytesIO()
    torch.save({"header": json.dumps({"format": 3})}, buffer)
    with pytest.raises(StoreError, match="format 3, this version reads up to 2"):
        load_state(buffer.getvalue())
