"""docs/api.md and docs/configuration.md say what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from learner.app.tasks import TaskBook
from learner.domain.case import RoundState
from learner.http.app import create_app
from learner.node import Node
from learner.settings import Settings
from learner.settings_reference import reference
from learner.storage.store import LocalStore

DOCS = Path(__file__).resolve().parents[2] / "docs"


def described(tmp_path: Path) -> dict[str, Any]:
    node = SimpleNamespace(store=LocalStore(tmp_path), tasks=TaskBook([]), settings=Settings(), housekeeping=None)
    return create_app(cast("Node", node), "").openapi()


def test_every_route_is_in_the_documentation_and_none_else(tmp_path: Path) -> None:
    paths = described(tmp_path)["paths"]
    routes = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} | {"GET /api/openapi.json"}
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `((?:GET|POST|PUT|DELETE) [^`]+)` \|", text, re.MULTILINE)) == routes


def test_every_state_of_a_round_is_in_the_documentation() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    section = text.partition("## What became of an annotation")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `([a-z]+)` \|", section, re.MULTILINE)) == {str(state) for state in RoundState}


def test_the_settings_reference_is_up_to_date() -> None:
    assert (DOCS / "configuration.md").read_text(encoding="utf-8") == reference(), (
        "run: python -m learner.settings_reference > docs/configuration.md"
    )
