from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class FakeOrthanc(ModuleType):
    """Orthanc's injected module, as far as plugin 4.0 has it and we use it; notes what is registered and logged."""

    ChangeType = SimpleNamespace(
        NEW_INSTANCE=2, NEW_SERIES=4, STABLE_SERIES=9, DELETED=1, ORTHANC_STARTED=11, ORTHANC_STOPPED=12, NEW_STUDY=5
    )

    def __init__(self, section: object) -> None:
        super().__init__("orthanc")
        self.section = section
        self.on_change: Callable[..., None] | None = None
        self.routes: dict[str, Callable[..., None]] = {}
        self.explorer = ""
        self.lines: list[str] = []

    def GetConfiguration(self) -> str:
        return json.dumps({} if self.section is None else {"Apprentice": self.section})

    def RegisterOnChangeCallback(self, callback: Callable[..., None]) -> None:
        self.on_change = callback

    def RegisterRestCallback(self, route: str, callback: Callable[..., None]) -> None:
        self.routes[route] = callback

    def ExtendOrthancExplorer(self, script: str) -> None:
        self.explorer = script

    def LogWarning(self, line: str) -> None:
        self.lines.append(line)

    LogError = LogWarning


@pytest.fixture
def load_callbacks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[object], tuple[Any, FakeOrthanc]]]:
    """Imports ``orthanc_plugin.callbacks`` anew against a fake Orthanc with that section of configuration."""

    def load(section: object = None) -> tuple[Any, FakeOrthanc]:
        fake = FakeOrthanc(section)
        monkeypatch.setitem(sys.modules, "orthanc", fake)
        sys.modules.pop("orthanc_plugin.callbacks", None)
        return importlib.import_module("orthanc_plugin.callbacks"), fake

    yield load
    sys.modules.pop("orthanc_plugin.callbacks", None)
