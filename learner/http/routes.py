"""The routes below ``/api``. They run in threads of the server's pool: the store has a connection for each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi import Path as InPath

from learner import operations
from learner.app.drift import drift_of_task
from learner.app.serving import serving_version
from learner.domain.case import Case, Round, RoundState
from learner.domain.job import JobState
from learner.domain.task import Task
from learner.http.forget_routes import forget_router
from learner.http.links import Links
from learner.http.models import (
    Accepted,
    CaseDetail,
    CaseView,
    CheckpointView,
    ComparisonView,
    JobView,
    Me,
    ModelView,
    NextCaseView,
    ResultView,
    RoundDetail,
    RoundView,
    TaskView,
    Training,
)
from learner.http.names import asker
from learner.http.page_routes import page_router
from learner.http.status_models import DriftView, JobCount, NodeView, ServingView, StatusView
from learner.node import Node
from learner.storage.store import LocalStore
from learner.version import __version__

_LARGEST_ID = 2**63 - 1
_KEPT_CHARTS = 64
Limit = Annotated[int, Query(ge=1, le=1000, description="Entries at most.")]
Offset = Annotated[int, Query(ge=0, le=_LARGEST_ID, description="Entries to leave out first.")]
Number = Annotated[int, InPath(ge=1, le=_LARGEST_ID)]
OptionalNumber = Annotated[int | None, Query(ge=1, le=_LARGEST_ID)]
Uid = Annotated[str, InPath(max_length=200)]

ModelName = Annotated[str, InPath(max_length=40)]
VersionName = Annotated[str, Query(max_length=60, description="Name of a version, or its number.")]
OptionalVersion = Annotated[str, Query(max_length=60, description="Name or number; what served before if left out.")]


def api_router(node: Node) -> APIRouter:
    """All routes of a node."""
    router = APIRouter(prefix="/api")
    _add_status(router, node)
    _add_tasks(router, node)
    _add_models(router, node)
    _add_cases(router, node)
    _add_rounds(router, node)
    _add_training(router, node.store)
    router.include_router(page_router(node))
    router.include_router(forget_router(node))
    return router


def _add_status(router: APIRouter, node: Node) -> None:
    store = node.store

    @router.post("/nudge", status_code=202, tags=["node"])
    async def nudge(request: Request) -> Accepted:
        """Something arrived in the archive, or was deleted there: look now.

        A body ``{"changes": [{"kind": "Deleted", "id": "..."}]}`` says what to look for first; any other body is as good as
        none, because the archive itself is the truth.
        """
        node.nudge(_deleted(await request.body()))
        return Accepted()

    @router.post("/reconcile", status_code=202, tags=["node"])
    def reconcile() -> Accepted:
        """Look through the whole archive for what its log lost."""
        node.reconcile_soon()
        return Accepted()

    @lru_cache(maxsize=_KEPT_CHARTS)
    def charts(task_id: str, _revision: int) -> tuple[DriftView, ...]:
        """The charts of a task; they stay as they are until something changes."""
        return tuple(DriftView.of(one) for one in drift_of_task(store.records, task_id))

    @router.get("/status", tags=["node"])
    def status() -> StatusView:
        """The node at a glance."""
        counts = sorted(store.queries.job_counts().items())
        return StatusView(
            version=__version__,
            node=NodeView.of(node.status()),
            training_paused=operations.training_paused(store),
            rounds=store.queries.round_counts(),
            jobs=tuple(JobCount(kind=kind, state=state, count=count) for (kind, state), count in counts),
            tasks=tuple(_serving(store, task, charts(task.task_id, store.overview.revision())) for task in node.tasks),
            viewer_url=node.settings.viewer_url,
        )

    @router.get("/me", tags=["node"])
    def me(request: Request) -> Me:
        """Who asks, and what they may do."""
        return Me.model_validate(request.state.user)

    @router.get("/jobs", tags=["node"])
    def jobs(state: Annotated[list[JobState] | None, Query()] = None, limit: Limit = 200) -> list[JobView]:
        """Jobs, oldest first; in some states, or in all."""
        return [JobView.of(job) for job in store.queries.jobs(*(state or ()), limit=limit)]


def _deleted(body: bytes) -> list[str]:
    """The archive's identifiers of what a nudge says was deleted."""
    try:
        changes = json.loads(body)["changes"]
        return [str(change["id"]) for change in changes if change["kind"] == "Deleted"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []


def _add_tasks(router: APIRouter, node: Node) -> None:
    checkpoints = node.store.checkpoints

    @router.get("/tasks", tags=["tasks"])
    def tasks() -> list[TaskView]:
        """What is segmented, and which versions serve."""
        return [TaskView.of(task, serving_version(checkpoints, task)) for task in node.tasks]

    @router.get("/tasks/{task_id}/next-cases", tags=["tasks"])
    def next_cases(task_id: ModelName, limit: Limit = 10) -> list[NextCaseView]:
        """Cases on which drawing is expected to teach most, best first; those with enough drawn are left out."""
        if all(task.task_id != task_id for task in node.tasks):
            raise HTTPException(404, f"there is no task {task_id}; /tasks lists them")
        return [NextCaseView.of(one) for one in operations.next_cases(node.store, task_id, limit)]


def _add_models(router: APIRouter, node: Node) -> None:
    store = node.store

    @router.get("/models", tags=["models"])
    def models() -> list[ModelView]:
        """Models, the tasks that share them, and which versions serve."""
        return [_model(node, model_id) for model_id in dict.fromkeys(task.model_id for task in node.tasks)]

    @router.get("/models/{model_id}/versions", tags=["models"])
    def versions(model_id: ModelName, limit: Limit = 200, offset: Offset = 0) -> list[CheckpointView]:
        """All versions of a model that there ever were, newest first, each with the gate's verdict."""
        _known(node, model_id)
        return [CheckpointView.of(checkpoint) for checkpoint in store.checkpoints.page(model_id, limit, offset)]

    @router.get("/models/{model_id}/compare", tags=["models"])
    def compare(model_id: ModelName, one: VersionName, other: VersionName) -> ComparisonView:
        """Two versions on the cases that are held back from training; takes seconds. 409 if no case is."""
        from learner.wiring import compare as compared  # noqa: PLC0415 - wiring names the network's loader

        _known(node, model_id)
        return ComparisonView.of(compared(node.settings, store, node.tasks, model_id, (one, other)))

    @router.post("/models/{model_id}/rollback", tags=["models"])
    def rollback(request: Request, model_id: ModelName, version: OptionalVersion = "", retrain: bool = False) -> CheckpointView:
        """An earlier version serves, until a later one is clearly better; training goes on from it, too, with ``retrain``."""
        _known(node, model_id)
        return CheckpointView.of(operations.roll_back(store, model_id, version, retrain=retrain, by=asker(request)))


def _known(node: Node, model_id: str) -> None:
    if all(task.model_id != model_id for task in node.tasks):
        raise HTTPException(404, "there is no model of that name")


def _model(node: Node, model_id: str) -> ModelView:
    checkpoints, lessons = node.store.checkpoints, node.store.lessons
    serving, head = checkpoints.serving(model_id), checkpoints.head(model_id)
    return ModelView(
        model_id=model_id,
        tasks=tuple(task.task_id for task in node.tasks if task.model_id == model_id),
        serving=CheckpointView.of(serving) if serving is not None else None,
        head=CheckpointView.of(head) if head is not None else None,
        held_cases=sum(lesson.held for lesson in lessons.of_model(model_id)),
    )


def _add_cases(router: APIRouter, node: Node) -> None:
    store = node.store

    @router.get("/cases", tags=["cases"])
    def cases(
        task: Annotated[str | None, Query(max_length=40)] = None, limit: Limit = 200, offset: Offset = 0
    ) -> list[CaseView]:
        """Cases, newest first; of one task, or of all."""
        return [CaseView.of(case) for case in store.queries.cases(task, limit, offset)]

    @router.get("/cases/{case_id}", tags=["cases"])
    def case(case_id: Number) -> CaseDetail:
        """A case and its rounds, newest first."""
        found = _case(store, case_id)
        if found is None:
            raise HTTPException(404, f"there is no case {case_id}")
        rounds = store.queries.rounds(case_id=case_id, limit=1000)
        return CaseDetail(case=CaseView.of(found), rounds=tuple(_views(node, rounds)))

    @router.get("/series/{series_uid}/rounds", tags=["rounds"])
    def rounds_of_series(series_uid: Uid, limit: Limit = 200, offset: Offset = 0) -> list[RoundView]:
        """Rounds that concern a series of images or of annotations, newest first."""
        return _views(node, store.queries.rounds_of_series(series_uid, limit, offset))


def _add_rounds(router: APIRouter, node: Node) -> None:
    store = node.store

    @router.get("/rounds", tags=["rounds"])
    def rounds(
        state: RoundState | None = None, case: OptionalNumber = None, limit: Limit = 200, offset: Offset = 0
    ) -> list[RoundView]:
        """Rounds, newest first; in one state and of one case, or all."""
        return _views(node, store.queries.rounds(case_id=case, state=state, limit=limit, offset=offset))

    @router.get("/rounds/{round_id}", tags=["rounds"])
    def round_(round_id: Number) -> RoundDetail:
        """A round with its facts (guidance among them), results and jobs."""
        return _detail(node, operations.find_round(store, round_id))

    @router.post("/rounds/{round_id}/retry", status_code=202, tags=["rounds"])
    def retry(round_id: Number, request: Request) -> RoundDetail:
        """Take up again what was refused, withdrawn or given up; 409 if the round is none of these."""
        retried = operations.retry_round(store, round_id, asker(request))
        node.answer_now()
        return _detail(node, retried)

    @router.get("/triggers/{uid}", tags=["rounds"])
    def trigger(uid: Uid) -> RoundDetail:
        """The round of an annotation, by its SOP Instance UID or the archive's identifier of it.

        The SOP Instance UID is known from the moment at which the annotation was read.
        """
        found = store.queries.find_trigger(uid)
        if found is None:
            raise HTTPException(404, "no round has that annotation; it may not have been taken in yet")
        return _detail(node, found)


def _add_training(router: APIRouter, store: LocalStore) -> None:
    @router.post("/training/pause", tags=["training"])
    def pause(request: Request) -> Training:
        """Hold training back; answers go on."""
        operations.pause_training(store, asker(request))
        return Training(paused=True)

    @router.post("/training/resume", tags=["training"])
    def resume(request: Request) -> Training:
        """Let training go on."""
        operations.resume_training(store, asker(request))
        return Training(paused=False)


def _serving(store: LocalStore, task: Task, drift: tuple[DriftView, ...]) -> ServingView:
    serving = serving_version(store.checkpoints, task)
    newest = next(iter(store.checkpoints.page(task.model_id, 1)), None)
    return ServingView(
        task_id=task.task_id,
        title=task.title,
        model_id=task.model_id,
        checkpoint=serving.name if serving is not None else "",
        steps=serving.steps if serving is not None else 0,
        newest=newest.name if newest is not None else "",
        newest_state=newest.state if newest is not None else "",
        gate=str(newest.gate.get("reason", "")) if newest is not None else "",
        drift=drift,
    )


def _case(store: LocalStore, case_id: int) -> Case | None:
    try:
        return store.records.find_case(case_id)
    except KeyError:
        return None


def _views(node: Node, rounds: Sequence[Round]) -> list[RoundView]:
    numbers = {one.case_id for one in rounds} - {None}
    cases = {number: _case(node.store, number) for number in numbers if number is not None}
    return [_view(node, one, cases.get(one.case_id) if one.case_id is not None else None) for one in rounds]


def _view(node: Node, round_: Round, case: Case | None) -> RoundView:
    """A round, with links to its answer in a viewer."""
    links = Links(node)
    prediction = links.prediction(round_.round_id)

    def link(instance: str) -> str:
        return links.to(case, instance, prediction)

    return RoundView.of(round_, case, link)


def _detail(node: Node, round_: Round) -> RoundDetail:
    (view,) = _views(node, [round_])
    return RoundDetail(
        round=view,
        results=tuple(ResultView.of(result) for result in node.store.records.results_of(round_.round_id)),
        jobs=tuple(JobView.of(job) for job in node.store.queries.jobs_of(round_.round_id)),
    )
