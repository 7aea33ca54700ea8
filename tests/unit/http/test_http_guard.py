"""Who may ask what: the token before every route, limits, and what browsers are told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.routing import Mount, Route
from starlette.testclient import TestClient

from learner.http.app import create_app
from learner.http.guard import LARGEST_BODY
from learner.node import Node
from learner.operations import training_paused

MakeClient = Callable[..., TestClient]
TOKEN = "only-for-tests"
OPEN = {("GET", "/"), ("GET", "/health/live"), ("GET", "/health/ready")}
CLOSED = {
    ("POST", "/api/nudge"),
    ("POST", "/api/reconcile"),
    ("GET", "/api/status"),
    ("GET", "/api/jobs"),
    ("GET", "/api/tasks"),
    ("GET", "/api/models"),
    ("GET", "/api/models/{model_id}/versions"),
    ("GET", "/api/models/{model_id}/compare"),
    ("POST", "/api/models/{model_id}/rollback"),
    ("GET", "/api/cases"),
    ("GET", "/api/cases/{case_id}"),
    ("GET", "/api/series/{series_uid}/rounds"),
    ("GET", "/api/rounds"),
    ("GET", "/api/rounds/{round_id}"),
    ("POST", "/api/rounds/{round_id}/retry"),
    ("GET", "/api/triggers/{uid}"),
    ("POST", "/api/training/pause"),
    ("POST", "/api/training/resume"),
    ("GET", "/api/changes"),
    ("GET", "/api/resources"),
    ("GET", "/api/overview/cases"),
    ("GET", "/api/overview/trouble"),
    ("GET", "/api/rounds/{round_id}/pictures"),
    ("GET", "/api/rounds/{round_id}/pictures/{place}"),
    ("GET", "/api/tasks/{task_id}/learning"),
    ("GET", "/api/models/{model_id}/memory"),
    ("GET", "/metrics"),
    ("GET", "/api/openapi.json"),
}
ALL = sorted(OPEN | CLOSED)
VALUES = {"model_id": "prostate", "case_id": "1", "series_uid": "2.25.2", "round_id": "1", "uid": "object-a"}
VALUES |= {"task_id": "prostate", "place": "0"}


def test_the_table_names_every_route(node: Node) -> None:
    app = create_app(node, "")
    found = {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods}
    found |= {("GET", route.path) for route in app.routes if isinstance(route, Route)}
    assert found == OPEN | CLOSED
    assert [route.path for route in app.routes if isinstance(route, Mount)] == ["/static"]


@pytest.mark.parametrize("sent", ["", "wrong", TOKEN + "x", TOKEN[:-1]])
def test_no_token_and_a_wrong_one_open_only_what_is_open(make_client: MakeClient, sent: str) -> None:
    client = make_client(TOKEN, sent)
    answers = {(method, path): client.request(method, path.format(**VALUES)) for method, path in ALL}
    refused = {route for route, answer in answers.items() if answer.status_code == 401}
    assert refused == CLOSED
    for route in refused:
        assert answers[route].headers["www-authenticate"] == "Bearer"
        assert answers[route].headers["content-type"] == "application/problem+json"
        assert "token_file" in answers[route].json()["remedy"]


@pytest.mark.usefixtures("past")
def test_the_right_token_opens_everything(make_client: MakeClient) -> None:
    client = make_client(TOKEN, TOKEN)
    found = {(method, path): client.request(method, path.format(**VALUES)).status_code for method, path in ALL}
    others = {("GET", "/health/ready"): 503, ("POST", "/api/rounds/{round_id}/retry"): 409}
    others |= {("GET", "/api/rounds/{round_id}/pictures/{place}"): 404}
    others |= {("GET", "/api/models/{model_id}/compare"): 422, ("POST", "/api/models/{model_id}/rollback"): 409}
    accepted = {("POST", "/api/nudge"): 202, ("POST", "/api/reconcile"): 202}
    assert found == dict.fromkeys(ALL, 200) | others | accepted


def test_what_is_not_there_needs_the_token_too(make_client: MakeClient) -> None:
    assert make_client(TOKEN).get("/api/nothing").status_code == 401
    assert make_client(TOKEN, TOKEN).get("/api/nothing").status_code == 404


@pytest.mark.parametrize("header", ["Bearer", "Basic b25seTpmb3I=", f"Basic {TOKEN}", TOKEN, "Bearer \u00e9"])
def test_other_forms_of_authorization_are_refused(make_client: MakeClient, header: str) -> None:
    answer = make_client(TOKEN).get("/api/status", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401


def test_the_scheme_is_case_insensitive(make_client: MakeClient) -> None:
    assert make_client(TOKEN).get("/api/status", headers={"Authorization": f"bearer {TOKEN}"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost:8075"}, 200),
        ({"Host": "[::1]:8075"}, 200),
        ({"Origin": "http://127.0.0.1:8075"}, 200),
        ({"Host": "rebound.example:8075"}, 403),
        ({"Origin": "https://other.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "[broken"}, 403),
    ],
)
def test_without_a_token_only_loopback_is_served(
    make_client: MakeClient, node: Node, headers: dict[str, str], status: int
) -> None:
    answer = make_client().post("/api/training/pause", headers=headers)
    assert answer.status_code == status
    assert training_paused(node.store) == (status == 200)


def test_with_a_token_other_hosts_are_served(make_client: MakeClient) -> None:
    assert make_client(TOKEN, TOKEN, "https://node.example").get("/api/status").status_code == 200


def test_a_body_within_the_limit_passes_and_one_beyond_does_not(make_client: MakeClient) -> None:
    client = make_client()
    assert client.post("/api/nudge", content=b"x" * LARGEST_BODY).status_code == 202
    refused = client.post("/api/nudge", content=b"x" * (LARGEST_BODY + 1))
    assert refused.status_code == 413
    assert str(LARGEST_BODY) in refused.json()["detail"]


def test_a_body_that_does_not_say_its_length_is_limited_too(make_client: MakeClient) -> None:
    assert make_client().post("/api/nudge", content=iter([b"x" * LARGEST_BODY])).status_code == 202
    assert make_client().post("/api/nudge", content=iter([b"x" * LARGEST_BODY, b"x"])).status_code == 413


@pytest.mark.parametrize("length", ["-1", "many", str(10**30)])
def test_a_length_that_is_none_is_refused(make_client: MakeClient, length: str) -> None:
    answer = make_client().post("/api/nudge", content=b"", headers={"Content-Length": length})
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/api/status", "/api/nothing"])
def test_browsers_are_told_to_load_nothing_from_elsewhere(make_client: MakeClient, path: str) -> None:
    headers = make_client().get(path).headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert {value for name, value in policy.items() if name.endswith("-src")} == {"'none'", "'self'"}
    assert policy["frame-ancestors"] == "'none'"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers
