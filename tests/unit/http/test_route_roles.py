"""Every route without, with wrong, with too weak and with right credentials, from a table that is held against the routes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from starlette.routing import BaseRoute, Mount
from starlette.testclient import TestClient

from learner.domain.user import Role
from learner.http.app import create_app
from learner.http.roles import NEEDED, needed_role
from learner.node import Node
from learner.storage.sessions import SessionLimits
from learner.storage.store import LocalStore

MakeClient = Callable[..., TestClient]
Route = tuple[str, str]
ANYBODY, READER, OPERATOR, ADMIN = Role.NONE, Role.READER, Role.OPERATOR, Role.ADMIN
TABLE: dict[Route, tuple[Role, int]] = {
    ("GET", "/"): (ANYBODY, 200),
    ("GET", "/health/live"): (ANYBODY, 200),
    ("GET", "/health/ready"): (ANYBODY, 503),
    ("GET", "/sign-in"): (ANYBODY, 200),
    ("POST", "/sign-in"): (ANYBODY, 403),
    ("GET", "/sign-in/oidc"): (ANYBODY, 404),
    ("GET", "/sign-in/oidc/back"): (ANYBODY, 404),
    ("POST", "/sign-out"): (ANYBODY, 200),
    ("GET", "/metrics"): (READER, 200),
    ("GET", "/api/openapi.json"): (READER, 200),
    ("GET", "/api/me"): (READER, 200),
    ("POST", "/api/nudge"): (READER, 202),
    ("POST", "/api/reconcile"): (OPERATOR, 202),
    ("GET", "/api/status"): (READER, 200),
    ("GET", "/api/jobs"): (READER, 200),
    ("GET", "/api/tasks"): (READER, 200),
    ("GET", "/api/models"): (READER, 200),
    ("GET", "/api/models/{model_id}/versions"): (READER, 200),
    ("GET", "/api/models/{model_id}/compare"): (OPERATOR, 422),
    ("POST", "/api/models/{model_id}/rollback"): (ADMIN, 409),
    ("GET", "/api/cases"): (READER, 200),
    ("GET", "/api/cases/{case_id}"): (READER, 200),
    ("GET", "/api/series/{series_uid}/rounds"): (READER, 200),
    ("GET", "/api/rounds"): (READER, 200),
    ("GET", "/api/rounds/{round_id}"): (READER, 200),
    ("POST", "/api/rounds/{round_id}/retry"): (OPERATOR, 409),
    ("GET", "/api/triggers/{uid}"): (READER, 200),
    ("GET", "/api/companion/studies/{study_uid}"): (READER, 200),
    ("POST", "/api/companion/cases/{case_id}/accept"): (READER, 422),
    ("POST", "/api/companion/cases/{case_id}/withdraw"): (READER, 422),
    ("GET", "/api/changes"): (READER, 200),
    ("GET", "/api/resources"): (READER, 200),
    ("GET", "/api/overview/cases"): (READER, 200),
    ("GET", "/api/overview/trouble"): (READER, 200),
    ("GET", "/api/rounds/{round_id}/pictures"): (READER, 200),
    ("GET", "/api/rounds/{round_id}/pictures/{place}"): (READER, 404),
    ("GET", "/api/tasks/{task_id}/learning"): (READER, 200),
    ("GET", "/api/models/{model_id}/memory"): (READER, 200),
    ("GET", "/api/tasks/{task_id}/next-cases"): (READER, 200),
    ("GET", "/api/audit"): (OPERATOR, 200),
    ("GET", "/api/audit/verify"): (OPERATOR, 200),
    ("GET", "/api/audit/rounds/{which}"): (OPERATOR, 200),
    ("GET", "/api/audit/models/{model_id}/versions/{version}"): (OPERATOR, 404),
    ("POST", "/api/training/pause"): (OPERATOR, 200),
    ("POST", "/api/training/resume"): (OPERATOR, 200),
    ("POST", "/api/models/{model_id}/retrain"): (ADMIN, 409),
    ("POST", "/api/models/{model_id}/drop-marked"): (ADMIN, 409),
    ("GET", "/api/forgotten"): (OPERATOR, 200),
    ("DELETE", "/api/studies/{study_uid}/forget"): (ADMIN, 404),
    ("POST", "/api/studies/{study_uid}/forget"): (ADMIN, 202),
}
"""The role that each route needs, and what it answers whoever has it, in a node where something happened."""
VALUES = {
    "model_id": "prostate",
    "case_id": "1",
    "series_uid": "2.25.2",
    "study_uid": "2.25.1",
    "round_id": "1",
    "uid": "object-a",
    "task_id": "prostate",
    "place": "0",
    "which": "1",
    "version": "99",
}
CLOSED = {route: need for route, (need, _) in TABLE.items() if need is not ANYBODY}
TOKEN = "only-for-tests"
BELOW = {READER: ANYBODY, OPERATOR: READER, ADMIN: OPERATOR}


def routes_of(routes: Iterable[BaseRoute]) -> set[Route]:
    """Method and path of each route, those of included routers too."""
    found: set[Route] = set()
    for route in routes:
        if (included := getattr(route, "original_router", None)) is not None:
            prefix = route.include_context.prefix  # type: ignore[attr-defined]
            found |= {(method, prefix + path) for method, path in routes_of(included.routes)}
        elif not isinstance(route, Mount):
            found |= {(method, route.path) for method in route.methods - {"HEAD"}}  # type: ignore[attr-defined]
    return found


def answers(client: TestClient, routes: Iterable[Route]) -> dict[Route, int]:
    return {
        (method, path): client.request(method, path.format(**VALUES), headers={"Origin": str(client.base_url)}).status_code
        for method, path in routes
    }


def test_the_table_names_every_route(node: Node) -> None:
    app = create_app(node, "")
    assert routes_of(app.routes) == set(TABLE)
    assert [route.path for route in app.routes if isinstance(route, Mount)] == ["/static"]
    assert {(method.upper(), path) for path, methods in app.openapi()["paths"].items() for method in methods} <= set(TABLE)


def test_the_table_says_what_the_code_says() -> None:
    assert {route: need for route, (need, _) in TABLE.items()} == NEEDED


@pytest.mark.usefixtures("past")
def test_without_credentials_only_what_anybody_may_use_is_served(make_client: MakeClient) -> None:
    client = make_client(TOKEN)
    found = answers(client, sorted(TABLE))
    assert found == {route: 401 if route in CLOSED else status for route, (_, status) in TABLE.items()}
    refused = client.get("/api/status")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert refused.headers["content-type"] == "application/problem+json"
    assert "api.token_file" in refused.json()["remedy"]


@pytest.mark.parametrize("sent", ["wrong", TOKEN + "x", TOKEN[:-1], "pa_" + 43 * "x"])
def test_a_wrong_token_opens_nothing(make_client: MakeClient, sent: str) -> None:
    assert answers(make_client(TOKEN, sent), CLOSED) == dict.fromkeys(CLOSED, 401)


@pytest.mark.usefixtures("people")
def test_a_wrong_cookie_opens_nothing(make_client: MakeClient) -> None:
    client = make_client()
    client.cookies.set("apprentice-session", 43 * "x")
    assert answers(client, CLOSED) == dict.fromkeys(CLOSED, 401)


@pytest.mark.parametrize("role", [READER, OPERATOR])
def test_a_role_that_is_too_weak_is_told_so(make_client: MakeClient, node: Node, role: Role) -> None:
    client = make_client(sent=node.store.accounts.add_token("machine", role))
    beyond = [route for route, need in CLOSED.items() if not role.covers(need)]
    assert beyond
    assert answers(client, beyond) == dict.fromkeys(beyond, 403)
    assert f"yours is {role}" in client.post("/api/models/prostate/rollback").json()["detail"]


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("role", [READER, OPERATOR, ADMIN])
def test_the_least_role_that_suffices_opens_the_route(make_client: MakeClient, node: Node, role: Role) -> None:
    client = make_client(sent=node.store.accounts.add_token("machine", role))
    enough = [route for route, need in CLOSED.items() if need is role]
    assert answers(client, enough) == {route: TABLE[route][1] for route in enough}


@pytest.mark.usefixtures("past")
@pytest.mark.parametrize("role", [READER, OPERATOR, ADMIN])
def test_a_session_opens_what_its_users_role_opens(make_client: MakeClient, people: LocalStore, role: Role) -> None:
    client = make_client()
    client.cookies.set("apprentice-session", people.sessions.open(str(role), SessionLimits()))
    expected = {route: TABLE[route][1] if role.covers(need) else 403 for route, need in CLOSED.items()}
    assert answers(client, CLOSED) == expected


@pytest.mark.usefixtures("past")
def test_the_token_of_the_file_opens_everything(make_client: MakeClient) -> None:
    assert answers(make_client(TOKEN, TOKEN), CLOSED) == {route: TABLE[route][1] for route in CLOSED}


def test_what_is_not_listed_is_closed(make_client: MakeClient, node: Node) -> None:
    operator, admin = (node.store.accounts.add_token(name, Role(name)) for name in ("operator", "admin"))
    assert make_client(sent=operator).post("/api/new").status_code == 403
    assert make_client(sent=admin).post("/api/new").status_code == 404
    assert needed_role("GET", "/api/new") is READER
    assert needed_role("DELETE", "/dicom-web/studies/1.2") is ADMIN
    assert needed_role("POST", "/dicom-web/studies") is READER
    assert needed_role("HEAD", "/health/live") is ANYBODY


def test_a_path_with_control_characters_is_refused(make_client: MakeClient, node: Node) -> None:
    client = make_client(sent=node.store.accounts.add_token("machine", READER))
    assert client.get("/api/models/prostate/compare%0a").status_code == 400


def test_a_store_that_cannot_be_read_lets_nobody_in(make_client: MakeClient, node: Node) -> None:
    client = make_client()
    node.store._database.run("DROP TABLE accounts")
    answer = client.get("/api/status")
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
