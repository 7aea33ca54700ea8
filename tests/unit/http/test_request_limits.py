"""How often somebody may ask, and how often fail to sign in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from learner.http import limits
from learner.http.app import create_app
from learner.http.limits import FailedSignIns, RequestRate
from learner.node import Node
from learner.settings_access import AccessSettings

MakeClient = Callable[..., TestClient]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_what_a_minute_brings_passes_at_once_and_more_waits(clock: Clock) -> None:
    rate = RequestRate(60, clock)
    assert [rate.wait_s("a") for _ in range(61)] == [0] * 60 + [1]
    assert rate.wait_s("b") == 0
    clock.now += 2.5
    assert [rate.wait_s("a") for _ in range(3)] == [0, 0, 1]
    clock.now += 3600
    assert [rate.wait_s("a") for _ in range(61)][-2:] == [0, 1]


def test_no_limit_is_no_limit(clock: Clock) -> None:
    rate = RequestRate(0, clock)
    assert not any(rate.wait_s("a") for _ in range(10_000))


def test_only_so_many_clients_are_remembered(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MOST_CLIENTS", 3)
    rate, failures = RequestRate(1, clock), FailedSignIns(clock)
    for client in "abcde":
        rate.wait_s(client)
        failures.attempt("name", client)
    assert len(rate._buckets) == 3
    assert len(failures._tries) == 3


def test_pauses_grow_end_and_are_forgiven(clock: Clock) -> None:
    failures, pauses = FailedSignIns(clock), []
    assert not any(failures.attempt("eva", "a") for _ in range(5))
    for _ in range(9):
        pauses.append(failures.attempt("eva", "a"))
        clock.now += pauses[-1]
        assert failures.attempt("eva", "a") == 0
    assert pauses == [15, 30, 60, 120, 240, 480, 900, 900, 900]
    clock.now += 2 * 3600
    assert [failures.attempt("eva", "a") for _ in range(6)] == [0] * 5 + [15]


def test_nobody_is_locked_out_by_others_who_guess(clock: Clock) -> None:
    failures = FailedSignIns(clock)
    assert [failures.attempt("eva", "a") for _ in range(6)][-1] == 15
    assert failures.attempt("eva", "b") == 0


def test_one_client_cannot_try_many_names(clock: Clock) -> None:
    failures = FailedSignIns(clock)
    assert [failures.attempt(f"name-{number}", "a") for number in range(31)] == [0] * 30 + [15]
    assert failures.attempt("eva", "b") == 0


def test_who_signs_in_is_not_counted(clock: Clock) -> None:
    failures = FailedSignIns(clock)
    for _ in range(100):
        assert failures.attempt("eva", "a") == 0
        failures.succeeded("eva", "a")


def test_the_api_says_when_it_is_asked_too_often_and_the_page_stays(node: Node) -> None:
    access = AccessSettings(requests_per_minute=5)
    node.settings = node.settings.model_copy(update={"access": access})
    app = create_app(node, "")
    client, other = (TestClient(app, base_url="http://127.0.0.1:8075", client=(name, 1)) for name in ("a", "b"))
    assert [client.get("/api/jobs").status_code for _ in range(6)] == [200] * 5 + [429]
    refused = client.get("/api/jobs")
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 13
    assert client.get("/").status_code == client.get("/health/live").status_code == 200
    assert other.get("/api/jobs").status_code == 200
