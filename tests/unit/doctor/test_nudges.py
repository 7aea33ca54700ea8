"""How long the check of the plugin waits for a nudge: longer where the plugin had met no node for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from learner.doctor import plugin as module
from learner.doctor.findings import Level
from learner.doctor.plugin import nudges


class Orthanc:
    """An archive whose plugin delivers the nudge that it is asked for after so many seconds of a clock of its own."""

    def __init__(self, delay_s: float, problem: str) -> None:
        self.now, self.delay_s, self.asked_at = 0.0, delay_s, -1.0
        self.plugin: dict[str, Any] = {"version": "1", "delivered": 5, "delivered_at": 1.0, "problem": problem}

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def post(self, _path: str) -> SimpleNamespace:
        self.asked_at = self.now
        return SimpleNamespace(is_success=True)

    def get(self, _path: str) -> SimpleNamespace:
        came = self.now - self.asked_at >= self.delay_s
        told = {"plugin": {**self.plugin, "delivered": 6, "problem": ""} if came else self.plugin}
        return SimpleNamespace(is_success=True, json=lambda: told)


def level(monkeypatch: pytest.MonkeyPatch, delay_s: float, problem: str) -> Level:
    orthanc = Orthanc(delay_s, problem)

    @contextmanager
    def archive() -> Iterator[Orthanc]:
        yield orthanc

    site = SimpleNamespace(
        is_orthanc=True, plugin={"learner": {"reachable": True}, "plugin": orthanc.plugin}, archive=archive, node_url=""
    )
    monkeypatch.setattr(module, "time", orthanc)
    monkeypatch.setattr(module, "json_object", lambda answer: answer.json())
    monkeypatch.setattr(module, "_nudged_at", lambda _site: None)
    (found,) = nudges(site)  # type: ignore[arg-type]  # as much of a site as is looked at
    return found.level


@pytest.mark.parametrize(
    ("delay_s", "problem", "wanted"),
    [
        (0.5, "", Level.OK),
        (5.0, "", Level.WARNING),
        (25.0, "Connection refused", Level.OK),
        (60.0, "Connection refused", Level.WARNING),
    ],
)
def test_a_plugin_that_was_alone_for_a_while_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, delay_s: float, problem: str, wanted: Level
) -> None:
    assert level(monkeypatch, delay_s, problem) is wanted
