"""What an operator sees of a disk that is full or nearly so, of a node that works: health, status, metrics, doctor, page."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from small_disk import SmallDisk, read_only, small_disk
from starlette.testclient import TestClient

from learner.domain.job import JobKind
from learner.errors import StoreUnavailable
from learner.http.app import create_app
from learner.node import Node
from learner.settings import NodeSettings
from learner.storage import disk as disks


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """The disk of the node's data folder; goes before the node is made."""
    with small_disk(tmp_path / "data", "8m") as made:
        yield made


@pytest.fixture
def working(disk: SmallDisk, node: Node) -> Iterator[Node]:
    """A node whose intake and responder run; nothing is in its archive."""
    for worker in (node._intake_worker, node._respond_worker):
        worker.start()
    yield node
    for worker in (node._intake_worker, node._respond_worker):
        worker.stop()
    node.store.close()


def metric(client: TestClient, name: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    (found,) = (sample.value for family in families for sample in family.samples if sample.name == name)
    return found


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end, f"waited in vain for: {what}"
        time.sleep(0.02)  # the pause of a wait for a condition


def test_a_full_disk_is_said_everywhere_and_goes_by_itself(
    working: Node, disk: SmallDisk, capsys: pytest.CaptureFixture[str]
) -> None:
    with TestClient(create_app(working, ""), base_url="http://127.0.0.1:8075") as client:
        until(lambda: client.get("/health/ready").status_code == 200, "a node that is well")
        disk.fill()
        ready = client.get("/health/ready")
        assert (ready.status_code, "store" in ready.json()["detail"]) == (503, True)
        assert str(disk.folder) not in ready.text, "it needs no token, and tells no paths"
        told = client.get("/api/status").json()["node"]
        assert "the disk is full (0 MiB free). Free some space" in told["store_error"]
        assert told["archive_error"] == ""
        assert told["disk_free_mb"] == 0
        assert metric(client, "apprentice_store_up") == 0
        assert metric(client, "apprentice_archive_up") == 1
        assert metric(client, "apprentice_disk_free_bytes") == 0
        assert client.get("/health/live").status_code == 200
        disk.empty()
        round_id = working.store.records.open_round("trigger", "9.1")
        assert round_id is not None
        working.store.jobs.add(JobKind.RESPOND, round_id)
        until(lambda: working.store.records.find_round(round_id).state == "withdrawn", "the node to go on")
        assert client.get("/health/ready").status_code == 200
        assert client.get("/api/status").json()["node"]["store_error"] == ""
        assert metric(client, "apprentice_store_up") == 1
    assert "Traceback" not in capsys.readouterr().out


def test_a_disk_that_is_nearly_full_stops_learning_alone(client: TestClient, node: Node) -> None:
    assert metric(client, "apprentice_learning_waits_for_space") == 0
    assert client.get("/api/status").json()["node"]["learning_waits"] == ""
    free = disks.free_bytes(node.settings.node.data) // 2**20
    node.settings = node.settings.model_copy(
        update={"node": NodeSettings(data=node.settings.node.data, min_free_mb=free + 10**6)}
    )
    told = client.get("/api/status").json()["node"]
    assert "node.min_free_mb" in told["learning_waits"]
    assert told["store_error"] == ""
    assert metric(client, "apprentice_learning_waits_for_space") == 1
    assert metric(client, "apprentice_store_up") == 1


def test_a_data_folder_that_vanished_is_no_fault_of_the_status(client: TestClient, node: Node) -> None:
    """A disk that was taken away, say: what can be told is told."""
    node.settings = node.settings.model_copy(update={"node": NodeSettings(data=Path("/nowhere/at/all"))})
    told = client.get("/api/status").json()["node"]
    assert (told["disk_free_mb"], "0 MiB are free" in told["learning_waits"]) == (0, True)
    assert "No such file or directory" in told["store_error"]
    assert client.get("/health/ready").status_code == 503


def test_a_read_only_disk_is_said(client: TestClient, node: Node) -> None:
    with read_only(node.settings.node.data):
        assert "the disk is read-only" in client.get("/api/status").json()["node"]["store_error"]
        assert client.get("/health/ready").status_code == 503
    assert node.status().store_error == ""


def test_a_worker_that_the_disk_holds_up_says_so_in_one_line(
    node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise StoreUnavailable("/data: the disk is full (0 MiB free).")

    node.store.jobs.add(JobKind.RESPOND, node.store.records.open_round("trigger", "9.1") or 0)
    with monkeypatch.context() as patch:
        patch.setattr(node.store.jobs, "claim", full)
        node._respond_worker.start()
        until(lambda: "the disk is full" in node.status().store_error, "the fault to be seen")
        assert node.status().archive_error == ""
    until(lambda: node.status().store_error == "", "the worker to go on")
    node._respond_worker.stop()
    log = capsys.readouterr().out
    assert "worker waits" in log
    assert "Traceback" not in log
