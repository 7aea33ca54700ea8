"""What the API tells and does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from versions import add_version

from learner import operations
from learner.domain.case import RoundEvent, RoundState
from learner.domain.job import JobKind
from learner.errors import StoreError
from learner.node import Node, NodeStatus
from learner.storage.store import LocalStore

MakeClient = Callable[..., TestClient]
Past = Any  # of conftest.py


@pytest.fixture
def calls(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the node's methods that were called."""
    made: list[str] = []
    for name in ("nudge", "answer_now", "reconcile_soon"):
        monkeypatch.setattr(node, name, lambda told=(), name=name: made.append(" ".join([name, *told])))
    return made


def test_a_nudge_wakes_the_intake_whatever_it_says(client: TestClient, calls: list[str]) -> None:
    for body in (b"", b'{"changes": [{"kind": "NewInstance", "id": ""}]}', b"\xff\x00 no JSON"):
        answer = client.post("/api/nudge", content=body)
        assert (answer.status_code, answer.json()) == (202, {"accepted": True})
    assert calls == ["nudge"] * 3


def test_a_nudge_passes_on_what_was_deleted(client: TestClient, calls: list[str]) -> None:
    changes = [{"kind": "Deleted", "id": "a1"}, {"kind": "NewSeries", "id": "b2"}, {"kind": "Deleted", "id": "c3"}]
    assert client.post("/api/nudge", json={"changes": changes}).status_code == 202
    for malformed in ({"changes": [{"kind": "Deleted"}]}, {"changes": 3}, [], {"changes": [None]}):
        assert client.post("/api/nudge", json=malformed).status_code == 202
    assert calls == ["nudge a1 c3", *["nudge"] * 4]


def test_nudges_with_a_wrong_token_wake_nobody(make_client: Callable[..., TestClient], calls: list[str]) -> None:
    for sent in ("", "wrong", "pa_" + 43 * "x"):
        client = make_client("the token", sent)
        answers = [client.post("/api/nudge", json={"changes": [{"kind": "Deleted", "id": "a1"}]}) for _ in range(20)]
        assert {answer.status_code for answer in answers} == {401}
    assert calls == []


def test_many_nudges_are_one_look_each_at_most(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told between two looks is one set: it does not grow by being told again."""
    looks: list[set[str]] = []
    monkeypatch.setattr(node._intake, "catch_up", lambda: 0)
    monkeypatch.setattr(node._intake, "reconcile", lambda: 0)
    monkeypatch.setattr(node._intake, "look_for_deleted", lambda told: looks.append(set(told)) or 0)
    for _ in range(1000):
        node.nudge(["a1", "b2"])
    node._take_in()
    node._take_in()
    assert looks == [{"a1", "b2"}]


def test_a_reconciliation_is_asked_for(client: TestClient, calls: list[str]) -> None:
    assert client.post("/api/reconcile").status_code == 202
    assert calls == ["reconcile_soon"]


def test_status_counts_rounds_and_jobs(client: TestClient, past: Past) -> None:
    status = client.get("/api/status").json()
    assert status["rounds"] == {"answered": 2, "refused": 1, "waiting": 1}
    jobs = {(job["kind"], job["state"]): job["count"] for job in status["jobs"]}
    assert jobs == {("respond", "done"): 3, ("respond", "blocked"): 1, ("learn", "parked"): 1}
    (task,) = status["tasks"]
    assert (task["task_id"], task["model_id"], task["checkpoint"], task["steps"]) == ("prostate", "prostate", "prostate-1", 40)
    assert (task["newest"], task["newest_state"], task["gate"]) == ("prostate-1", "serving", "as the test wants it")
    assert status["node"]["trainer_alive"] is False
    assert status["training_paused"] is False
    assert status["viewer_url"].startswith("http://viewer/?StudyInstanceUIDs={study}")


def test_next_cases_of_a_task_and_404_for_one_that_there_is_not(client: TestClient, past: Past) -> None:
    (found,) = client.get("/api/tasks/prostate/next-cases").json()
    assert found["case"]["case_id"] == past.case
    assert found["expected_dice"] is None
    assert found["drawn_slices"] == 2
    assert client.get("/api/tasks/liver/next-cases").status_code == 404


def test_tasks_come_with_labels_rule_and_version(client: TestClient, past: Past) -> None:
    (task,) = client.get("/api/tasks").json()
    assert task["labels"][0]["colour"] == "#e6783c"
    assert task["labels"][0]["type"] == {"value": "41216001", "scheme": "SCT", "meaning": "Prostate"}
    assert task["match"]["series_description"] == "t2"
    assert task["serving"]["facts"] == {"loss": 0.25}


def test_models_tell_what_serves_and_what_the_gate_said(client: TestClient, node: Node, past: Past) -> None:
    add_version(node.store, "prostate", serve=False)
    (model,) = client.get("/api/models").json()
    assert (model["model_id"], model["tasks"], model["held_cases"]) == ("prostate", ["prostate"], 0)
    assert (model["serving"]["name"], model["head"]["name"]) == ("prostate-1", "prostate-2")
    versions = client.get("/api/models/prostate/versions").json()
    assert [(one["name"], one["state"], one["gate"]["serve"]) for one in versions] == [
        ("prostate-2", "shadow", False),
        ("prostate-1", "serving", True),
    ]
    (task,) = client.get("/api/status").json()["tasks"]
    assert (task["checkpoint"], task["newest"], task["newest_state"]) == ("prostate-1", "prostate-2", "shadow")
    for path in ("versions", "compare?one=1&other=2"):
        assert client.get(f"/api/models/liver/{path}").status_code == 404


def test_a_model_is_rolled_back(client: TestClient, node: Node, past: Past) -> None:
    assert client.post("/api/models/prostate/rollback").status_code == 409
    add_version(node.store, "prostate")
    answer = client.post("/api/models/prostate/rollback?retrain=true")
    assert (answer.status_code, answer.json()["name"], answer.json()["pinned"]) == (200, "prostate-1", True)
    head = node.store.checkpoints.head("prostate")
    assert head is not None
    assert head.name == "prostate-1"
    assert client.post("/api/models/prostate/rollback?version=2").json()["name"] == "prostate-2"
    assert client.post("/api/models/prostate/rollback?version=2").status_code == 409
    assert client.post("/api/models/prostate/rollback?version=7").status_code == 404
    assert client.post("/api/models/liver/rollback").status_code == 404
    assert client.get("/api/models/prostate/compare?one=1&other=2").status_code == 409, "no case is held back"
    assert client.get("/api/models/prostate/compare?one=1&other=9").status_code == 404


def test_answers_that_need_more_correction_are_told(client: TestClient, node: Node, past: Past) -> None:
    store = node.store
    for number in range(30):
        case = store.records.case("prostate", "2.25.1", f"2.25.70{number}").case_id
        round_id = _answered(store, f"drift-{number}", case)
        store.records.note_facts(round_id, annotation_uid="x", foresight=[0.9 - 0.3 * (number >= 15), None], site="ab12")
    (task,) = client.get("/api/status").json()["tasks"]
    charts = {one["measure"]: one for one in task["drift"]}
    assert set(charts) == {"foresight"}
    assert (charts["foresight"]["alarm"], charts["foresight"]["site"], charts["foresight"]["count"]) == (True, "", 30)
    drift = next(f for f in text_string_to_metric_families(client.get("/metrics").text) if f.name == "apprentice_drift")
    assert [(s.labels["task"], s.labels["measure"], s.value > 1) for s in drift.samples] == [("prostate", "foresight", True)]


def _answered(store: LocalStore, trigger: str, case: int) -> int:
    round_id = store.records.open_round(trigger, "2.25.7")
    assert round_id is not None
    store.records.apply(round_id, RoundEvent.COMPUTED, case_id=case, number=1)
    store.records.apply(round_id, RoundEvent.DELIVERED, answered_at=0.0)
    return round_id


def test_a_round_is_found_by_number_series_object_and_case(client: TestClient, past: Past) -> None:
    detail = client.get(f"/api/rounds/{past.answered}").json()
    assert detail["round"]["state"] == "answered"
    assert detail["round"]["facts"]["guidance"][0]["index"] == 4
    assert detail["round"]["case"]["study_instance_uid"] == "2.25.1"
    assert detail["round"]["answered_at"] - detail["round"]["received_at"] == pytest.approx(3.0)
    assert [(one["kind"], one["sop_instance_uid"], one["sent"]) for one in detail["results"]] == [
        ("prediction", "2.25.201", False)
    ]
    assert [(job["kind"], job["state"]) for job in detail["jobs"]] == [("respond", "done")]
    for uid in ("object-a", "2.25.101"):
        assert client.get(f"/api/triggers/{uid}").json() == detail
    assert client.get("/api/triggers/2.25.5").status_code == 404
    numbers = {one["round_id"] for one in client.get("/api/series/2.25.2/rounds").json()}
    assert numbers == {past.answered, past.parked}
    assert {one["round_id"] for one in client.get(f"/api/rounds?case={past.case}").json()} == numbers
    assert {one["round_id"] for one in client.get(f"/api/cases/{past.case}").json()["rounds"]} == numbers
    assert [one["case_id"] for one in client.get("/api/cases?task=prostate").json()] == [past.case]
    assert client.get("/api/cases?task=liver").json() == []


def test_answer_and_suggested_slices_have_links_to_the_viewer(client: TestClient, past: Past) -> None:
    detail = client.get(f"/api/rounds/{past.answered}").json()
    over = next(one["series_instance_uid"] for one in detail["results"])
    assert detail["round"]["link"] == f"http://viewer/?StudyInstanceUIDs=2.25.1&over={over}"
    (wanted,) = detail["round"]["guidance"]
    assert wanted["link"] == f"http://viewer/?StudyInstanceUIDs=2.25.1&image=1.2.3.4&over={over}"
    assert (wanted["index"], wanted["reason"]) == (4, "far from what is drawn")
    (in_case,) = (one for one in client.get(f"/api/cases/{past.case}").json()["rounds"] if one["round_id"] == past.answered)
    assert in_case["guidance"] == [wanted]
    refused = client.get(f"/api/rounds/{past.refused}").json()["round"]
    assert (refused["link"], refused["guidance"]) == ("", [])


def test_rounds_that_wait_are_found_by_the_series_that_they_wait_for(client: TestClient, past: Past) -> None:
    (waiting,) = client.get("/api/series/2.25.99/rounds").json()
    assert (waiting["round_id"], waiting["state"], waiting["case"]) == (past.waiting, "waiting", None)
    assert waiting["reason"] == "its images are not there"


def test_lists_are_cut_and_continued(client: TestClient, past: Past) -> None:
    everything = client.get("/api/rounds").json()
    assert len(everything) == 4
    assert client.get("/api/rounds?limit=3").json() + client.get("/api/rounds?limit=3&offset=3").json() == everything
    assert [one["round_id"] for one in client.get("/api/rounds?state=refused").json()] == [past.refused]


def test_jobs_are_chosen_by_state(client: TestClient, past: Past) -> None:
    jobs = client.get("/api/jobs?state=parked&state=blocked").json()
    assert {(job["kind"], job["state"], job["round_id"]) for job in jobs} == {
        ("learn", "parked", past.parked),
        ("respond", "blocked", past.waiting),
    }
    assert len(client.get("/api/jobs").json()) == 5


def test_a_refused_round_is_retried_once(client: TestClient, node: Node, past: Past, calls: list[str]) -> None:
    answer = client.post(f"/api/rounds/{past.refused}/retry")
    assert answer.status_code == 202
    assert (answer.json()["round"]["state"], answer.json()["round"]["reason"]) == ("queued", "")
    assert calls == ["answer_now"]
    job = node.store.jobs.claim(JobKind.RESPOND, 60.0)
    assert job is not None
    assert (job.round_id, job.attempts) == (past.refused, 1)
    assert client.post(f"/api/rounds/{past.refused}/retry").status_code == 409


def test_a_job_that_was_given_up_is_reopened(client: TestClient, node: Node, past: Past) -> None:
    answer = client.post(f"/api/rounds/{past.parked}/retry")
    assert answer.status_code == 202
    assert answer.json()["round"]["state"] == "answered"
    job = node.store.jobs.claim(JobKind.LEARN, 60.0)
    assert job is not None
    assert job.round_id == past.parked
    assert node.store.jobs.claim(JobKind.RESPOND, 60.0) is None


def test_what_was_not_given_up_is_not_retried(client: TestClient, node: Node, past: Past) -> None:
    for number, why in ((past.answered, "it is answered"), (past.waiting, "it waits for its images")):
        answer = client.post(f"/api/rounds/{number}/retry")
        assert answer.status_code == 409
        assert why in answer.json()["detail"]
    assert node.store.records.find_round(past.waiting).state is RoundState.WAITING


def test_training_is_paused_and_resumed(client: TestClient, node: Node) -> None:
    assert client.post("/api/training/pause").json() == {"paused": True}
    assert operations.training_paused(node.store)
    assert client.get("/api/status").json()["training_paused"] is True
    assert client.post("/api/training/resume").json() == {"paused": False}
    assert not operations.training_paused(node.store)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/rounds/999", 404),
        ("POST", "/api/rounds/999/retry", 404),
        ("GET", "/api/cases/999", 404),
        ("GET", "/nothing", 404),
        ("DELETE", "/api/rounds", 405),
        ("GET", "/api/nudge", 405),
        ("GET", "/api/rounds?state=odd", 422),
        ("GET", "/api/rounds?limit=0", 422),
        ("GET", "/api/rounds?limit=1001", 422),
        ("GET", "/api/rounds?offset=-1", 422),
        ("GET", "/api/rounds/abc", 422),
        ("GET", "/api/rounds/99999999999999999999", 422),
        ("GET", f"/api/triggers/{'1' * 201}", 422),
    ],
)
def test_errors_are_problem_details(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(problem) == {"type", "title", "status", "detail", "remedy"}
    assert problem["title"]
    assert problem["detail"]
    assert problem["remedy"]


def test_invalid_input_is_not_repeated(client: TestClient) -> None:
    assert "<script>" not in client.get("/api/rounds?state=<script>").text


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (sqlite3.OperationalError("database is locked"), 503),
        (StoreError("no disk at /srv/secret"), 503),
        (ZeroDivisionError("by a secret"), 500),
    ],
)
def test_faults_of_the_node_are_problems_without_details(
    make_client: MakeClient, node: Node, monkeypatch: pytest.MonkeyPatch, fault: Exception, status: int
) -> None:
    def broken(**_options: object) -> None:
        raise fault

    monkeypatch.setattr(node.store.queries, "rounds", broken)
    answer = make_client(raise_server_exceptions=False).get("/api/rounds")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert str(fault) not in answer.text


@pytest.mark.parametrize(
    ("archive_error", "last_intake_at", "status"), [("", 1.0, 200), ("", None, 503), ("archive down", 1.0, 503)]
)
def test_ready_means_that_the_archive_is_read(
    client: TestClient,
    node: Node,
    monkeypatch: pytest.MonkeyPatch,
    archive_error: str,
    last_intake_at: float | None,
    status: int,
) -> None:
    monkeypatch.setattr(node, "status", lambda: NodeStatus(archive_error, True, 0, last_intake_at))
    assert client.get("/health/ready").status_code == status
    assert client.get("/health/live").json() == {"status": "live"}


def test_metrics_are_read_from_the_store(client: TestClient, past: Past) -> None:
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}

    def value(family: str, sample: str, **labels: str) -> float:
        (found,) = [s.value for s in families[family].samples if s.name == sample and s.labels == labels]
        return found

    assert value("apprentice_rounds", "apprentice_rounds", state="answered") == 2
    assert value("apprentice_jobs", "apprentice_jobs", kind="learn", state="parked") == 1
    assert value("apprentice_training_steps", "apprentice_training_steps_total", task="prostate") == 40
    seconds = "apprentice_answer_seconds"
    assert value(seconds, f"{seconds}_bucket", le="2") == 0
    assert value(seconds, f"{seconds}_bucket", le="5") == 2
    assert value(seconds, f"{seconds}_bucket", le="+Inf") == value(seconds, f"{seconds}_count") == 2
    assert value(seconds, f"{seconds}_sum") == pytest.approx(6.0)


def test_the_description_is_openapi_and_says_which_routes_need_the_token(client: TestClient) -> None:
    document = client.get("/api/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    operations_ = {(path, name): one for path, methods in document["paths"].items() for name, one in methods.items()}
    for (path, _), operation in operations_.items():
        assert operation["summary"]
        assert operation["description"]
        assert bool(operation.get("security")) != path.startswith("/health")
    assert len({one["operationId"] for one in operations_.values()}) == len(operations_)
    references = {part.split('"')[0] for part in json.dumps(document).split('"$ref": "#/components/schemas/')[1:]}
    assert references <= set(document["components"]["schemas"])
    assert client.get("/docs").status_code == 404
