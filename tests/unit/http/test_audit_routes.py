"""The audit record over the API, and what the API writes into it: who signed in, who failed to, who steered the node."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from passwords import PASSWORD
from starlette.testclient import TestClient
from versions import add_version

from learner.domain.audit import Event
from learner.domain.user import Role
from learner.node import Node
from learner.storage.store import LocalStore

MakeClient = Callable[..., TestClient]
ORIGIN = {"Origin": "http://127.0.0.1:8075"}


@pytest.fixture
def audited(node: Node) -> Node:
    audit, told = node.store.audit, {"annotation": "2.25.101", "reader": "Eva", "station": {"station": "WS 1"}}
    audit.record(Event.ANSWERED, round_id=1, case=1, task="prostate", number=1, made_from=["2.25.101"], **told)  # type: ignore[arg-type]
    audit.record(Event.LEARNED, round_id=1, version="prostate-1", model="prostate", parent="", steps=20)
    return node


def signed_in(client: TestClient, name: str, password: str = PASSWORD) -> int:
    answer = client.post("/sign-in", data={"name": name, "password": password}, headers=ORIGIN, follow_redirects=False)
    return answer.status_code


@pytest.mark.usefixtures("past", "audited")
def test_a_person_is_told_names_and_a_machine_is_not(make_client: MakeClient, people: LocalStore) -> None:
    person, machine = make_client(), make_client(sent=people.accounts.add_token("script", Role.OPERATOR))
    assert signed_in(person, "operator") == 303
    for path in ("/api/audit", "/api/audit/rounds/1", "/api/audit/rounds/2.25.101", "/api/audit/models/prostate/versions/1"):
        told = [client.get(path) for client in (person, machine)]
        assert [answer.status_code for answer in told] == [200, 200]
        assert ["Eva" in answer.text for answer in told] == [True, False]
        assert all("2.25.101" in answer.text for answer in told)
    assert person.get("/api/audit/verify").json()["problems"] == []


@pytest.mark.usefixtures("past", "audited")
def test_the_log_is_read_page_by_page(make_client: MakeClient) -> None:
    client = make_client()
    newest, oldest = client.get("/api/audit?limit=2").json()
    assert [newest["event"], oldest["event"]] == ["learned", "answered"]
    assert client.get(f"/api/audit?before={newest['number']}").json() == [oldest]
    assert client.get(f"/api/audit?since={newest['at'] + 1}").json() == []


@pytest.mark.usefixtures("audited")
def test_what_is_not_recorded_is_404(make_client: MakeClient) -> None:
    client = make_client()
    for path in ("rounds/99", "rounds/9.9.9", "rounds/" + "9" * 300, "models/liver/versions/1", "models/prostate/versions/9"):
        assert client.get(f"/api/audit/{path}").status_code == 404, path


def test_signing_in_and_failing_to_is_recorded_and_no_name_that_is_nobodys(make_client: MakeClient, people: LocalStore) -> None:
    client, before = make_client(), people.audit.newest(1)[0].number
    assert signed_in(client, "reader", "thirteen red plums") == 403
    assert signed_in(client, "a password typed as the name") == 403
    assert signed_in(client, "reader") == 303
    client.post("/sign-out", headers=ORIGIN)
    told = [(one.event, one.facts["account"]) for one in people.audit.entries(after=before)]
    failed = Event.SIGN_IN_FAILED
    assert told == [(failed, "reader"), (failed, ""), (Event.SIGNED_IN, "reader"), (Event.SIGNED_OUT, "reader")]
    assert not any(text in str(people.audit.entries()) for text in ("plums", "apples", "typed as"))


@pytest.mark.usefixtures("past")
def test_who_steers_the_node_is_recorded(make_client: MakeClient, people: LocalStore) -> None:
    add_version(people, "prostate")
    client = make_client(sent=people.accounts.add_token("steers", Role.ADMIN))
    before = people.audit.newest(1)[0].number
    for path in ("training/pause", "training/pause", "training/resume", "models/prostate/rollback", "rounds/3/retry"):
        assert client.post(f"/api/{path}").status_code in (200, 202)
    told = [(one.event, one.facts["by"]) for one in people.audit.entries(after=before)]
    events = (Event.PAUSED, Event.RESUMED, Event.ROLLED_BACK, Event.RETRIED)
    assert told == [(event, "steers") for event in events], "what changed nothing is not recorded"
