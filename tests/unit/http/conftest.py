"""A node that is not started, with a store in which something happened, and clients of its API."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from passwords import PASSWORD
from starlette.testclient import TestClient
from versions import add_version

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.pacs.memory import MemoryArchive
from learner.app.compute import Compute
from learner.app.images import SeriesImages
from learner.app.intake import Intake
from learner.app.respond import Respond, RespondSettings
from learner.app.serving import ServingNetworks
from learner.app.subject import Subjects
from learner.app.task_choice import TaskChoice
from learner.app.tasks import TaskBook
from learner.domain.case import RoundEvent
from learner.domain.contract import ContractNames
from learner.domain.job import JobKind
from learner.domain.task import Label, MatchingRule, Task
from learner.domain.user import Role
from learner.http.app import create_app
from learner.node import Node
from learner.ports import Network, ResultRecord
from learner.propagation import make_propagator
from learner.settings import ApiSettings, NodeSettings, Settings
from learner.storage.store import LocalStore, SystemClock
from learner.trainer_process import TrainerProcess
from learner.wiring import build_housekeeping

TOKEN = "only-for-tests"
TASK = Task(
    "prostate",
    "Prostate",
    (Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (230, 120, 60)),),
    MatchingRule(("MR",), series_description="t2"),
)
VIEWER = "http://viewer/?StudyInstanceUIDs={study}&image={instance}&over={segmentation}"
GUIDANCE = [{"axis": 0, "index": 4, "sop_instance_uid": "1.2.3.4", "score": 0.5, "reason": "far from what is drawn"}]


def _no_network(_state: bytes, _task_id: str, _label_count: int) -> Network:
    raise AssertionError("no test loads a network")


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """A node on a store and an archive in memory; nothing of it is started."""
    settings = Settings(node=NodeSettings(data=tmp_path / "data"), api=ApiSettings(viewer_url=VIEWER))
    archive, store, tasks = MemoryArchive(), LocalStore(settings.node.data), TaskBook([TASK])
    choice = TaskChoice(tasks, store, from_annotations=False)
    compute = Compute(
        Subjects(archive, store, SeriesImages(archive, 0), choice, ContractNames()),
        store,
        make_propagator(),
        ServingNetworks(store, _no_network),
        str,
    )
    respond = Respond(archive, archive, store, compute, RespondSettings(), SystemClock())
    intake, trainer = Intake(archive, store, tasks), TrainerProcess(tmp_path / "none.toml")
    housekeeping = build_housekeeping(settings, store, archive)
    return Node(settings, store, tasks, intake, respond, trainer, None, None, housekeeping)


@dataclass(frozen=True)
class Past:
    """Numbers of rounds by what became of them, and the case's."""

    case: int
    answered: int
    refused: int
    waiting: int
    parked: int


def _new_round(store: LocalStore, trigger: str) -> int:
    round_id = store.records.open_round(trigger, "2.25.7")
    assert round_id is not None
    store.jobs.add(JobKind.RESPOND, round_id)
    return round_id


@pytest.fixture
def past(node: Node) -> Past:
    """One round of each kind: answered, refused, waiting, and one whose learn job was given up."""
    store = node.store
    case = store.records.case("prostate", "2.25.1", "2.25.2").case_id
    add_version(store, "prostate", steps=40, loss=0.25)
    answered, parked = _new_round(store, "object-a"), _new_round(store, "object-b")
    for number, round_id in ((1, answered), (2, parked)):
        job = store.jobs.claim(JobKind.RESPOND, 60.0)
        assert job is not None
        assert job.round_id == round_id
        store.records.note_facts(round_id, annotation_uid=f"2.25.10{number}", guidance=GUIDANCE, slices=20, drawn_slices=[3, 9])
        store.records.apply(round_id, RoundEvent.COMPUTED, case_id=case, number=number, checkpoint="prostate-1")
        store.records.add_results(
            [ResultRecord(f"2.25.20{number}", f"2.25.30{number}", round_id, "prediction", "x", sent=False)]
        )
        received = store.records.find_round(round_id).received_at
        store.records.apply(round_id, RoundEvent.DELIVERED, answered_at=received + 3.0)
        store.jobs.finish(job)
    store.jobs.add(JobKind.LEARN, parked)
    learn = store.jobs.claim(JobKind.LEARN, 60.0)
    assert learn is not None
    store.jobs.park(learn, "its example does not have its hash")
    refused, waiting = _new_round(store, "object-c"), _new_round(store, "object-d")
    job = store.jobs.claim(JobKind.RESPOND, 60.0)
    assert job is not None
    store.records.apply(refused, RoundEvent.NOT_UNDERSTOOD, reason="nothing is drawn in it")
    store.jobs.finish(job)
    job = store.jobs.claim(JobKind.RESPOND, 60.0)
    assert job is not None
    store.records.await_source(waiting, "2.25.99", "its images are not there")
    store.jobs.block(job, "its images are not there")
    return Past(case, answered, refused, waiting, parked)


MakeClient = Callable[..., TestClient]


@pytest.fixture
def people(node: Node) -> LocalStore:
    """Users ``reader``, ``operator`` and ``admin`` with :data:`passwords.PASSWORD`, hashed at little cost."""
    accounts = node.store.accounts
    accounts._hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    for role in (Role.READER, Role.OPERATOR, Role.ADMIN):
        accounts.add_user(str(role), role, PASSWORD)
    return node.store


@pytest.fixture
def make_client(node: Node) -> Iterator[MakeClient]:
    """Makes clients of the node's API; ``token`` is the node's, ``sent`` what the client sends."""
    clients: list[TestClient] = []

    def make(token: str = "", sent: str = "", base_url: str = "http://127.0.0.1:8075", **options: object) -> TestClient:
        headers = {"Authorization": f"Bearer {sent}"} if sent else {}
        client = TestClient(create_app(node, token), base_url=base_url, headers=headers, **options)  # type: ignore[arg-type]
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    """A client of a node without a token."""
    return make_client()
