"""The token of a file, loopback without one, limits, and what browsers are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient
from starlette.types import Message

from learner.http import guard
from learner.http.app import create_app
from learner.http.guard import LARGEST_BODY
from learner.node import Node
from learner.operations import training_paused

MakeClient = Callable[..., TestClient]
TOKEN = "only-for-tests"


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


def test_a_body_that_does_not_come_is_given_up(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "_SLOWEST_BODY_S", 0.05)
    sent: list[Message] = []

    async def receive() -> Message:
        if sent:
            return {"type": "http.disconnect"}
        await asyncio.Event().wait()
        raise AssertionError("nothing comes")

    async def send(message: Message) -> None:
        sent.append(message)

    path = "/api/nudge"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [(b"host", b"127.0.0.1")]}
    asyncio.run(create_app(node, "")(scope, receive, send))
    assert sent[0]["status"] == 408


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
