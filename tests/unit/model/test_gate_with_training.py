"""The gate before a real, tiny network: good cases pass, a case drawn wrongly does not reach readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from learning_fakes import Stream, keys

from learner.app.gate import GateSettings
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.model.serving import load_network
from learner.model.trainer import OnlineTrainer
from learner.ports import Network


def nonsense(given: Example) -> Example:
    """The same case with label 2 all over every drawn plane, and a proxy that is sure of it."""
    labels_DHW = np.where(given.annotation.known_LDHW[0], 2, 0).astype(np.uint8)
    soft_CDHW = np.zeros_like(given.proxy.soft_CDHW)
    soft_CDHW[2] = 1.0
    proxy = ProxyMask(soft_CDHW, np.ones_like(given.proxy.confidence_DHW), "wrong")
    return replace(given, annotation=replace(given.annotation, labels_DHW=labels_DHW), proxy=proxy)


def test_a_case_drawn_wrongly_stays_behind_the_gate(
    tmp_path: Path, make_example: Callable[..., Example], make_trainer: Callable[..., OnlineTrainer]
) -> None:
    def load(state: bytes, task: str, label_count: int) -> Network:
        return load_network(state, task, label_count, threads=1)

    stream = Stream(tmp_path / "data", GateSettings(cases=2, every=2), trainer=make_trainer, load=load, steps=40)
    take, hold = keys("take", 3), keys("hold", 1)
    for seed, key in enumerate((take[0], *hold, take[1])):
        stream.add(make_example(seed, key=key, task="liver"))
        stream.run()
    good = stream.serving
    assert good is not None
    assert good.gate["slices"] == 3
    assert max(f["candidate"] for f in good.gate["figures"]) > 0.5  # type: ignore[attr-defined]
    stream.add(nonsense(make_example(7, key=take[2], task="liver")))
    stream.run()
    assert stream.serving is not None
    assert stream.serving.name == good.name
    newest = stream.store.checkpoints.versions("liver")[0]
    assert (newest.state, newest.gate["serve"]) == ("shadow", False)
    assert "worse: label" in str(newest.gate["reason"])
