"""The routes of the node's page: small summaries, pictures, word of changes, and what the node takes of its machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from filled_store import SITES, FilledStore, SetClock
from starlette.testclient import TestClient

from learner.domain.result_kinds import PREDICTION, RESIDUAL_BANDS
from learner.http import resources
from learner.node import Node
from learner.ports import ResultRecord

Past = Any  # of conftest.py


@pytest.fixture
def filled(node: Node) -> FilledStore:
    """Six cases with twelve rounds on the node's store."""
    filled = FilledStore(node.store, SetClock(1_700_000_000.0))
    filled.play(6, 12)
    return filled


def test_cases_are_summed_up_latest_first_page_by_page(client: TestClient, filled: FilledStore) -> None:
    page = client.get("/api/overview/cases?limit=4").json()
    assert (page["total"], [one["case_id"] for one in page["cases"]]) == (6, [6, 5, 4, 3])
    assert [one["case_id"] for one in client.get("/api/overview/cases?limit=4&offset=4").json()["cases"]] == [2, 1]
    first = page["cases"][0]
    assert (first["state"], first["number"], first["rounds"], first["slices"]) == ("answered", 2, 2, 28)
    assert first["link"] == "http://viewer/?StudyInstanceUIDs=2.25.1006"
    assert [(one["kind"], one["path"].startswith("/api/rounds/")) for one in first["pictures"]] == [
        ("answer", True),
        ("residual", True),
    ]
    assert client.get("/api/overview/cases?task=liver").json() == {"total": 0, "cases": []}


def test_a_summary_knows_the_prediction_that_a_viewer_lays_over(client: TestClient, filled: FilledStore) -> None:
    records = filled.store.records
    records.add_results([ResultRecord("2.25.71", "2.25.70", 12, RESIDUAL_BANDS, "a", sent=False)])
    records.add_results([ResultRecord("2.25.81", "2.25.80", 12, PREDICTION, "b", sent=False)])
    _, (first, second, *_) = filled.store.overview.cases()
    assert (first.answer_id, first.prediction, second.prediction) == (12, "2.25.80", "")
    links = client.get("/api/overview/cases").json()["cases"]
    assert links[0]["link"] == "http://viewer/?StudyInstanceUIDs=2.25.1006&over=2.25.80"
    assert "over=" not in links[1]["link"]


def test_a_summary_stays_small_whatever_a_round_holds(client: TestClient, filled: FilledStore) -> None:
    before = len(client.get("/api/overview/cases").content)
    filled.store.records.note_facts(12, planes=[[0, index, "drawn"] for index in range(2000)])
    assert len(client.get("/api/overview/cases").content) == before


def test_case_in_trouble_keeps_its_last_answer(client: TestClient, filled: FilledStore) -> None:
    answered = client.get("/api/overview/cases").json()["cases"][0]
    filled.opened(6)
    again = client.get("/api/overview/cases").json()["cases"][0]
    assert (again["case_id"], again["state"], again["rounds"]) == (6, "queued", 3)
    assert again["pictures"] == answered["pictures"]
    assert again["estimated_dice"] == answered["estimated_dice"]


def test_what_waits_and_failed_is_told_once_each_with_its_reason(client: TestClient, past: Past) -> None:
    page = client.get("/api/overview/trouble").json()
    told = {(one["round_id"], one["work"], one["state"], one["reason"], one["can_retry"]) for one in page["entries"]}
    assert told == {
        (past.parked, "learning", "parked", "its example does not have its hash", True),
        (past.refused, "answer", "refused", "nothing is drawn in it", True),
        (past.waiting, "answer", "waiting", "its images are not there", False),
    }
    assert page["total"] == 3
    assert client.get("/api/overview/trouble?limit=1").json()["total"] == 3
    client.post(f"/api/rounds/{past.parked}/retry")
    assert client.get("/api/overview/trouble").json()["total"] == 2


def test_a_job_that_is_tried_again_is_told(client: TestClient, filled: FilledStore) -> None:
    filled.parked(3, "odd")
    filled.store._database.run("UPDATE jobs SET state = 'ready', attempts = 2, reason = 'the archive is away'")
    (entry,) = client.get("/api/overview/trouble").json()["entries"]
    assert (entry["state"], entry["attempts"], entry["can_retry"], entry["case_id"]) == ("ready", 2, False, 2)


def test_pictures_are_png_of_the_right_slice_with_overlays(client: TestClient, filled: FilledStore) -> None:
    listed = client.get("/api/rounds/12/pictures").json()["pictures"]
    assert [one["kind"] for one in listed] == ["answer", "residual", "guidance", "guidance", "guidance"]
    assert listed[2]["reason"] == "both ends disagree"
    assert listed[2]["link"]
    pixels = {overlay: _png(client, f"{listed[2]['path']}?overlay={overlay}") for overlay in ("outline", "residual", "both")}
    assert pixels["both"].shape == (384, 384, 3)
    assert not np.array_equal(pixels["outline"], pixels["both"])
    assert _png(client, f"{listed[0]['path']}?scale=1").shape == (192, 192, 3)
    kept = filled.store.files.get_pictures(12)[0]
    outline = _png(client, f"{listed[0]['path']}?overlay=outline&scale=1")
    orange = (outline[..., 2].astype(int) - outline[..., 0]) > 60
    labels = kept.labels_HW > 0
    inside = cv2.erode(labels.astype(np.uint8), np.ones((3, 3)), borderValue=0) > 0
    assert orange.any()
    assert not (orange & ~labels).any()
    assert not (orange & inside).any()


def _png(client: TestClient, path: str) -> np.ndarray:
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["cache-control"] == "no-store"
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


def test_a_round_without_pictures_says_so(client: TestClient, past: Past) -> None:
    assert client.get(f"/api/rounds/{past.answered}/pictures").json()["pictures"] == []
    assert client.get(f"/api/rounds/{past.answered}/pictures/0").status_code == 404
    assert client.get("/api/rounds/999/pictures/0").status_code == 404
    assert client.get(f"/api/rounds/{past.answered}/pictures/0?overlay=odd").status_code == 422


def test_the_learning_curve_is_that_of_first_drawings(client: TestClient, filled: FilledStore) -> None:
    curve = client.get("/api/tasks/prostate/learning").json()
    assert [one["case_id"] for one in curve["cases"]] == [1, 2, 3, 4, 5, 6]
    assert curve["cases"][0]["foresight"] is None
    facts = filled.store.records.find_round(3).facts
    second = curve["cases"][1]
    assert (second["foresight"], second["version"], second["rounds"]) == (facts["foresight"][0], "prostate-1", 2)  # type: ignore[index]
    assert second["share"] == pytest.approx(second["drawn"] / 28)
    assert (curve["first"]["cases"], curve["latest"]["cases"]) == (3, 3)
    assert curve["saved"] == pytest.approx(1 - curve["latest"]["share"] / curve["first"]["share"])
    assert len(client.get("/api/tasks/prostate/learning?limit=2").json()["cases"]) == 2
    assert client.get("/api/tasks/liver/learning").status_code == 404


def test_a_withdrawn_drawing_is_no_point_of_the_curve(client: TestClient, filled: FilledStore) -> None:
    filled.store.records.note_facts(3, withdrawn=True)
    second = client.get("/api/tasks/prostate/learning").json()["cases"][1]
    assert (second["case_id"], second["foresight"], second["rounds"]) == (2, None, 1)
    filled.store.records.note_facts(4, withdrawn=True)
    assert [one["case_id"] for one in client.get("/api/tasks/prostate/learning").json()["cases"]] == [1, 3, 4, 5, 6]


def test_replay_memory_is_told_by_task_and_site(client: TestClient, filled: FilledStore) -> None:
    found = client.get("/api/models/prostate/memory").json()
    assert (found["version"], [one["site"] for one in found["groups"]]) == ("prostate-5", sorted(SITES))
    assert found["size"] == sum(one["size"] for one in found["groups"])
    assert {one["site"]: one["held"] for one in found["groups"]} == {SITES[1]: 1, SITES[0]: 0}
    assert client.get("/api/models/liver/memory").status_code == 404


def test_a_change_is_told_at_once_and_silence_after_the_wait(client: TestClient, filled: FilledStore) -> None:
    revision = client.get("/api/changes").json()["revision"]
    assert client.get(f"/api/changes?after={revision}&wait_s=0.05").json()["revision"] == revision
    other = threading.Timer(0.2, lambda: filled.store.records.set_flag("anything", "else"))
    other.start()
    assert client.get(f"/api/changes?after={revision}&wait_s=4").json()["revision"] == revision + 1
    other.join()
    assert client.get("/api/changes?wait_s=5").status_code == 422


def test_a_renewed_lease_is_no_change(filled: FilledStore) -> None:
    store = filled.store
    from learner.domain.job import JobKind  # noqa: PLC0415 - used here alone

    store.jobs.add(JobKind.LEARN, 2, "prostate")
    job = store.jobs.claim(JobKind.LEARN, 10.0)
    assert job is not None
    before = store.overview.revision()
    store.jobs.renew(job, 10.0)
    assert store.overview.revision() == before
    store.jobs.finish(job)
    assert store.overview.revision() > before


def test_versions_are_told_page_by_page(client: TestClient, filled: FilledStore) -> None:
    names = [one["name"] for one in client.get("/api/models/prostate/versions?limit=2&offset=1").json()]
    assert names == ["prostate-4", "prostate-3"]


def test_resources_are_those_of_this_process(client: TestClient, node: Node) -> None:
    found = client.get("/api/resources").json()
    assert found["cores"] >= 1
    assert 0 < found["memory_available"] <= found["memory_total"]
    (process,) = found["processes"]
    assert process["name"] == "node"
    assert process["memory"] > 10_000_000
    assert {"name": "database", "size": sum(p.stat().st_size for p in node.store.folder.glob("apprentice.sqlite*"))} in found[
        "disk"
    ]["parts"]


def test_gpus_are_told_as_far_as_the_driver_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA H100, 37, 1024, 81559'\necho 'Odd one, [N/A], [N/A], [N/A]'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    one, other = resources._gpus()
    assert (one.name, one.share, one.memory, one.memory_total) == ("NVIDIA H100", 0.37, 1024 * 2**20, 81559 * 2**20)
    assert (other.share, other.memory) == (None, None)
    tool.write_text("#!/bin/sh\nexit 9\n")
    assert resources._gpus() == ()


def test_what_was_measured_is_asked_for_again_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now, found = [0.0], iter(range(9))
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    find: Callable[[], int] = lambda: next(found)  # noqa: E731 - one line says it
    kept = resources._Kept(find, 5.0)
    assert (kept.get(), kept.get()) == (0, 0)
    now[0] = 5.0
    assert kept.get() == 1
