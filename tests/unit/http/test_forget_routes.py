"""Forgetting by the API: a study, and what models learned from it."""

from __future__ import annotations

from collections.abc import Callable

from filled_store import FilledStore, SetClock
from starlette.testclient import TestClient

from learner.domain.user import Role
from learner.node import Node
from learner.storage.store import LocalStore

MakeClient = Callable[..., TestClient]


def filled(node: Node) -> FilledStore:
    made = FilledStore(node.store, SetClock(1_700_000_000.0))
    made.play(3, 6)
    return made


def forget(client: TestClient, study: str, **query: str) -> dict[str, object]:
    answer = client.post(f"/api/studies/{study}/forget", params=query)
    assert answer.status_code == 202
    return answer.json()  # type: ignore[no-any-return]


def test_a_study_is_forgotten_by_whoever_may(make_client: MakeClient, node: Node) -> None:
    filled(node)
    client = make_client(sent=node.store.accounts.add_token("privacy", Role.ADMIN))
    told = forget(client, "2.25.1002")
    assert (told["asked_by"], told["rounds"], told["purged_at"]) == ("privacy", [3, 4], None)
    assert told["marked"] == ["prostate-2", "prostate-3"]
    assert node.housekeeping is not None
    node.housekeeping.run_once()
    (listed,) = client.get("/api/forgotten").json()
    assert listed["purged_at"] is not None
    assert "2.25.1002" not in client.get("/api/forgotten").text
    versions = client.get("/api/models/prostate/versions").json()
    assert [one["from_forgotten"] for one in versions] == [True, True, False]
    assert [one["case_id"] for one in client.get("/api/overview/cases").json()["cases"]] == [3, 1]
    assert [one["case_id"] for one in client.get("/api/cases").json()] == [3, 1]
    assert client.get("/api/rounds/3").json()["round"]["state"] == "forgotten"
    refused = client.post("/api/rounds/3/retry")
    assert (refused.status_code, "was forgotten" in refused.json()["detail"]) == (409, True)


def test_pictures_of_a_forgotten_study_are_not_shown_any_more(client: TestClient, node: Node) -> None:
    filled(node)
    assert client.get("/api/rounds/3/pictures/0").status_code == 200
    forget(client, "2.25.1002")
    assert node.housekeeping is not None
    node.housekeeping.run_once()
    assert client.get("/api/rounds/3/pictures/0").status_code == 404
    assert client.get("/api/rounds/5/pictures/0").status_code == 200


def test_a_study_is_taken_in_again_only_once_it_is_forgotten(client: TestClient, node: Node) -> None:
    assert client.delete("/api/studies/2.25.1/forget").status_code == 404
    forget(client, "2.25.1", keep_results="true")
    early = client.delete("/api/studies/2.25.1/forget")
    assert (early.status_code, "still being removed" in early.json()["detail"]) == (409, True)
    assert node.housekeeping is not None
    node.housekeeping.run_once()
    assert client.delete("/api/studies/2.25.1/forget").json() == {"lifted": True}
    assert client.get("/api/forgotten").json() == []


def test_what_is_no_uid_is_refused(client: TestClient) -> None:
    assert client.post("/api/studies/not-a-uid/forget").status_code == 422


def test_a_model_is_trained_anew_and_its_marked_versions_are_dropped(client: TestClient, node: Node) -> None:
    made: LocalStore = filled(node).store
    assert client.post("/api/models/prostate/retrain").json() == {"ordered": True}
    assert client.post("/api/models/prostate/retrain").status_code == 409
    assert [one.kind for one in made.queries.jobs("ready")] == ["retrain"]
    forget(client, "2.25.1003")
    assert client.post("/api/models/prostate/drop-marked").status_code == 409  # the only marked one serves
    forget(client, "2.25.1001")
    dropped = client.post("/api/models/prostate/drop-marked").json()
    assert [one["name"] for one in dropped] == ["prostate-2", "prostate-1"]
