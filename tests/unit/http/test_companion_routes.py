"""What the companion panel is told of a study, and what it can do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.requests import Request
from starlette.testclient import TestClient

from dicom_io.errors import PacsUnavailable
from learner.app.acceptance import NothingToAccept
from learner.app.standing import CaseState, standing, unplaced
from learner.domain.case import Case, Round, RoundEvent, RoundState
from learner.domain.job import JobKind
from learner.domain.trigger import withdrawal_trigger
from learner.domain.user import EVERYBODY, Role, User
from learner.http.companion import reader_of
from learner.node import Node

Past = Any  # of conftest.py
STUDY = "2.25.1"


def told(client: TestClient, study: str = STUDY) -> Any:
    answer = client.get(f"/api/companion/studies/{study}")
    assert answer.status_code == 200
    return answer.json()


def test_a_study_of_no_task_has_no_cases(client: TestClient) -> None:
    assert told(client, "9.9") == {
        "study_instance_uid": "9.9", "reader": "", "archive_error": "", "cases": [], "notices": []
    }  # fmt: skip


def test_the_answer_comes_with_what_a_reader_needs(client: TestClient, node: Node, past: Past) -> None:
    node.store.records.note_facts(
        past.parked,
        volumes_ml={"Prostate": 41.5},
        estimated_dice=[0.93],
        planes=[[0, 3, "drawn"], [0, 9, "drawn"], [0, 4, "confirmed"], [1, 7, "drawn"]],
        enough=True,
        remarks=["Read with a grain of salt."],
        new_slices=2,
    )
    node.store.records.mark_sent("2.25.202")
    (case,) = told(client)["cases"]
    assert (case["title"], case["state"], case["reason"]) == ("Prostate", "answered", "")
    answer = case["answer"]
    assert (answer["round_id"], answer["number"], answer["seconds"], answer["version"]) == (past.parked, 2, 3.0, "prostate-1")
    assert (answer["prediction_series_uid"], answer["residual_series_uid"]) == ("2.25.302", "")
    assert (answer["slices"], answer["drawn"], answer["accepted"]) == (20, [3, 9], [4])
    assert answer["structures"] == [
        {
            "number": 1,
            "name": "Prostate",
            "colour": "#e6783c",
            "volume_ml": 41.5,
            "prior_volume_ml": None,
            "estimated_dice": 0.93,
        }
    ]
    (wanted,) = answer["next_slices"]
    assert (wanted["index"], wanted["sop_instance_uid"], wanted["reason"]) == (4, "1.2.3.4", "far from what is drawn")
    assert (answer["enough"], answer["remarks"]) == (True, ["Read with a grain of salt."])
    last = case["last_drawing"]
    assert (last["round_id"], last["planes"], last["accepted"], last["may_withdraw"]) == (past.parked, 2, False, True)


def test_a_label_that_the_task_gained_since_has_no_numbers(client: TestClient, past: Past) -> None:
    (structure,) = told(client)["cases"][0]["answer"]["structures"]
    assert (structure["volume_ml"], structure["estimated_dice"]) == (None, None)


def test_volumes_of_the_other_study_of_the_patient_stand_beside(client: TestClient, node: Node, past: Past) -> None:
    for study in (STUDY, "2.25.9"):
        node.store.records.set_patient(study, "hash")
    other = node.store.records.case("prostate", "2.25.9", "2.25.92")
    round_id = node.store.records.open_round("object-x", "2.25.93")
    assert round_id is not None
    node.store.records.note_facts(round_id, annotation_uid="2.25.94", volumes_ml={"Prostate": 30.0})
    node.store.records.apply(round_id, RoundEvent.COMPUTED, case_id=other.case_id, number=1)
    node.store.records.apply(round_id, RoundEvent.DELIVERED, answered_at=1.0)
    (case,) = told(client)["cases"]
    assert case["prior_study_uid"] == "2.25.9"
    assert case["answer"]["structures"][0]["prior_volume_ml"] == 30.0


def test_an_annotation_is_told_before_its_case_is_known_and_why_it_is_refused(
    client: TestClient, node: Node, past: Past
) -> None:
    for round_id in (past.refused, past.waiting):
        node.store.records.note_facts(round_id, study_instance_uid=STUDY)
    notices = told(client)["notices"]
    assert [(one["round_id"], one["state"]) for one in notices] == [(past.waiting, "waiting"), (past.refused, "refused")]
    assert notices[1]["reason"] == "nothing is drawn in it"
    assert told(client, "2.25.7")["notices"] == []


@pytest.fixture
def accepted(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []

    def accept(case: Case, round_id: int, slices: list[int] | None, reader: str) -> str:
        made.append((case.case_id, round_id, slices, reader))
        return "2.25.77"

    monkeypatch.setattr(node, "accept", accept)
    return made


def test_an_answer_is_accepted_on_some_slices_or_as_a_whole(client: TestClient, past: Past, accepted: list[Any]) -> None:
    path = f"/api/companion/cases/{past.case}/accept"
    for body in ({"round_id": past.parked, "slices": [4, 5]}, {"round_id": past.parked}):
        answer = client.post(path, json=body)
        assert (answer.status_code, answer.json()) == (201, {"sop_instance_uid": "2.25.77"})
    assert accepted == [(past.case, past.parked, [4, 5], ""), (past.case, past.parked, None, "")]


@pytest.mark.parametrize(
    "body", [{}, {"round_id": 0}, {"round_id": 1, "slices": []}, {"round_id": 1, "slices": [-1]}, {"round_id": 1, "all": True}]
)
def test_what_makes_no_sense_is_not_accepted(client: TestClient, past: Past, accepted: list[Any], body: Any) -> None:
    assert client.post(f"/api/companion/cases/{past.case}/accept", json=body).status_code == 422
    assert accepted == []


def test_nothing_is_accepted_while_a_drawing_of_the_study_is_to_be_read(
    client: TestClient, node: Node, past: Past, accepted: list[Any]
) -> None:
    round_id = node.store.records.open_round("object-y", "2.25.8")
    assert round_id is not None
    node.store.records.note_facts(round_id, study_instance_uid=STUDY)
    answer = client.post(f"/api/companion/cases/{past.case}/accept", json={"round_id": past.parked})
    assert (answer.status_code, accepted) == (409, [])


@pytest.mark.parametrize(
    ("error", "status"),
    [(NothingToAccept("there is a newer answer"), 409), (PacsUnavailable("archive", "no answer", "Start it."), 503)],
)
def test_why_nothing_is_accepted_is_a_problem_with_a_remedy(
    client: TestClient, node: Node, past: Past, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def refuse(*_given: object) -> str:
        raise error

    monkeypatch.setattr(node, "accept", refuse)
    answer = client.post(f"/api/companion/cases/{past.case}/accept", json={"round_id": past.parked})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["remedy"]


def test_a_drawing_is_withdrawn_once_and_opens_a_round(
    client: TestClient, node: Node, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    woken: list[bool] = []
    monkeypatch.setattr(node, "answer_now", lambda: woken.append(True))
    path = f"/api/companion/cases/{past.case}/withdraw"
    assert client.post(path, json={"round_id": past.parked}).status_code == 202
    assert woken == [True]
    assert node.store.queries.rounds()[0].trigger_uid == withdrawal_trigger(past.parked)
    assert node.store.jobs.pending(JobKind.RESPOND) == 1
    (case,) = told(client)["cases"]
    assert (case["state"], case["last_drawing"]["round_id"]) == ("answering", past.answered)
    for round_id in (past.parked, past.refused):
        assert client.post(path, json={"round_id": round_id}).status_code in {404, 409}
    assert client.post("/api/companion/cases/999/withdraw", json={"round_id": past.answered}).status_code == 404


def test_another_readers_drawing_is_not_withdrawn(
    client: TestClient, node: Node, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("learner.http.companion.reader_of", lambda _request: "Jane")
    node.store.records.apply(past.waiting, RoundEvent.SOURCE_ARRIVED)
    node.store.records.note_facts(past.waiting, annotation_uid="2.25.5")
    node.store.records.apply(past.waiting, RoundEvent.COMPUTED, case_id=past.case, number=3, reader="John")
    node.store.records.apply(past.waiting, RoundEvent.DELIVERED, answered_at=9.0)
    assert told(client)["cases"][0]["last_drawing"]["may_withdraw"] is False
    answer = client.post(f"/api/companion/cases/{past.case}/withdraw", json={"round_id": past.waiting})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("user", "name"),
    [
        (User("jane", Role.READER, is_person=True), "jane"),
        (User("monitoring", Role.READER), ""),
        (EVERYBODY, ""),
    ],
)
def test_the_reader_is_the_person_who_is_signed_in(user: User, name: str) -> None:
    assert reader_of(Request({"type": "http", "state": {"user": user}})) == name


@pytest.mark.usefixtures("past")
def test_the_guard_tells_the_panel_who_is_signed_in(make_client: Callable[..., TestClient], node: Node) -> None:
    node.store.accounts.add_user("jane", Role.READER, "long enough for a test")
    client = make_client()
    form = {"name": "jane", "password": "long enough for a test"}
    client.post("/sign-in", data=form, headers={"Origin": str(client.base_url)})
    assert told(client)["reader"] == "jane"


def of(number: int, state: RoundState, case: int | None = 1, trigger: str = "", **facts: object) -> Round:
    return Round(number, trigger or f"object-{number}", "1.2", state, case, number, "", "", "", 1.0, None, facts)


@pytest.mark.parametrize(
    ("rounds", "state", "answer"),
    [
        ([], CaseState.UNDRAWN, None),
        ([of(1, RoundState.QUEUED)], CaseState.ANSWERING, None),
        ([of(1, RoundState.ANSWERED), of(2, RoundState.COMPUTED)], CaseState.ANSWERING, 1),
        ([of(1, RoundState.ANSWERED), of(2, RoundState.WAITING)], CaseState.WAITING, 1),
        ([of(2, RoundState.ANSWERED), of(1, RoundState.ANSWERED)], CaseState.ANSWERED, 2),
        ([of(1, RoundState.ANSWERED), of(2, RoundState.UNCHANGED)], CaseState.UNCHANGED, 1),
        ([of(1, RoundState.ANSWERED), of(2, RoundState.REFUSED)], CaseState.REFUSED, 1),
        ([of(1, RoundState.ANSWERED), of(2, RoundState.UNCHANGED, trigger=withdrawal_trigger(1))], CaseState.UNDRAWN, None),
    ],
)
def test_where_a_case_stands(rounds: list[Round], state: CaseState, answer: int | None) -> None:
    found = standing(rounds)
    assert (found.state, found.answer.round_id if found.answer is not None else None) == (state, answer)


def test_the_last_drawing_is_one_that_counts() -> None:
    rounds = [
        of(1, RoundState.ANSWERED, annotation_uid="1"),
        of(2, RoundState.ANSWERED, annotation_uid="2", withdrawn=True),
        of(3, RoundState.ANSWERED, trigger=withdrawal_trigger(2)),
    ]
    found = standing(rounds).last_drawing
    assert found is not None
    assert found.round_id == 1


def test_a_refusal_is_told_until_a_later_drawing_is_answered() -> None:
    refused = of(2, RoundState.REFUSED, case=None)
    assert unplaced([of(1, RoundState.ANSWERED), refused]) == [refused]
    assert unplaced([of(3, RoundState.ANSWERED), refused]) == []
