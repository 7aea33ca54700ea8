"""What Prometheus and Grafana are told to ask for is what a node's ``/metrics`` gives."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from learner.domain.case import RoundState
from learner.domain.job import JobKind, JobState
from learner.node import Node

ROOT = Path(__file__).resolve().parents[3]
DOCKER = ROOT / "docker"
RULES = DOCKER / "prometheus" / "rules.yml"
_METRIC = re.compile(r"\bapprentice_[a-z_]+\b")
_SELECTED = re.compile(r'(\w+)\s*!?=~?\s*"([^"$]*)"')
_VALUES = {"state": {*map(str, JobState), *map(str, RoundState)}, "kind": set(map(str, JobKind)), "job": {"pacs-apprentice"}}
_MACROS = {"$__rate_interval": "5m", "$instance": ".*"}


def alerts() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((DOCKER / "grafana" / "dashboard.json").read_text("utf-8"))
    return found


def expressions() -> Iterator[str]:
    yield from (alert["expr"] for alert in alerts())
    yield from (target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])
    yield from (one["query"]["query"] for one in dashboard()["templating"]["list"] if one["type"] == "query")


def exposed(text: str) -> set[str]:
    """Every name that can be asked for: of samples, and of families that have none yet."""
    names = set()
    for family in text_string_to_metric_families(text):
        suffix = {"counter": "_total", "info": "_info"}.get(family.type, "")
        names |= {family.name + suffix, *(sample.name for sample in family.samples)}
    return names


@pytest.fixture
def asked() -> set[str]:
    return {name for expression in expressions() for name in _METRIC.findall(expression)}


def test_every_metric_asked_for_is_exposed(client: TestClient, node: Node, asked: set[str]) -> None:
    node._last_intake_at = 1.0  # before the first look there is no such time
    names = exposed(client.get("/metrics").text)
    assert asked
    assert asked - names == set()


def test_what_is_exposed_is_shown(client: TestClient, asked: set[str]) -> None:
    families = text_string_to_metric_families(client.get("/metrics").text)
    assert [family.name for family in families if not any(name.startswith(family.name) for name in asked)] == []


def test_labels_are_selected_by_values_that_exist() -> None:
    selected = [pair for expression in expressions() for pair in _SELECTED.findall(expression)]
    assert selected
    assert [(label, value) for label, value in selected if value not in _VALUES[label]] == []


def test_alerts_say_what_to_do() -> None:
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert set(alert["annotations"]) == {"summary", "remedy"}


def test_every_alert_is_in_the_documentation_and_none_else() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
    assert set(re.findall(r"^\| `(Apprentice\w+)` \|", page, re.MULTILINE)) == {alert["alert"] for alert in alerts()}


def test_panels_ask_the_chosen_data_source_and_lie_side_by_side() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + i, place["y"] + j) for i in range(place["w"]) for j in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        assert {one["datasource"]["uid"] for one in (panel, *panel["targets"])} == {"${datasource}"}


def test_prometheus_asks_for_the_job_that_alerts_name_and_shows_a_token() -> None:
    (job,) = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text("utf-8"))["scrape_configs"]
    assert job["job_name"] in _VALUES["job"]
    assert job["authorization"]["credentials_file"].startswith("/run/secrets/")


def _promtool(*arguments: str | Path) -> None:
    """Runs Prometheus' own checker, from the path or from ``.cache/prometheus``, where ``.ci/run`` puts it."""
    places = os.pathsep.join([os.environ.get("PATH", os.defpath), str(ROOT / ".cache" / "prometheus" / "usr" / "bin")])
    promtool = shutil.which("promtool", path=places)
    if promtool is None:
        pytest.skip("promtool absent: it is in Debian's package prometheus")
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules_and_they_fire_as_they_should() -> None:
    _promtool("check", "rules", RULES)
    _promtool("test", "rules", DOCKER / "prometheus" / "rules.test.yml")


def test_prometheus_takes_the_configuration() -> None:
    _promtool("check", "config", "--syntax-only", DOCKER / "prometheus" / "prometheus.yml")


def test_prometheus_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    rules = []
    for number, panel in enumerate(dashboard()["panels"]):
        for target in panel["targets"]:
            expression = target["expr"]
            for macro, value in _MACROS.items():
                expression = expression.replace(macro, value)
            rules.append({"record": f"panel:{number}_{target['refId']}", "expr": expression})
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), "utf-8")
    _promtool("check", "rules", tmp_path / "panels.yml")
