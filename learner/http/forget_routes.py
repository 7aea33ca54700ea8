"""Routes about what is to be forgotten: studies, and what models learned from them."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi import Path as InPath
from pydantic import BaseModel

from learner import operations
from learner.app.forgetting import ASKED
from learner.http.forget_models import ForgottenView
from learner.http.models import CheckpointView
from learner.http.names import asker
from learner.node import Housekeeping, Node

StudyUid = Annotated[str, InPath(max_length=64, pattern=r"^[0-9]+(\.[0-9]+)*$", description="Study Instance UID.")]
ModelName = Annotated[str, InPath(max_length=40)]


class Lifted(BaseModel):
    """A study may be taken in again."""

    lifted: bool = True


class Ordered(BaseModel):
    """A model is going to be trained anew."""

    ordered: bool = True


def forget_router(node: Node) -> APIRouter:
    """The routes."""
    router = APIRouter()
    _add_studies(router, node)
    _add_models(router, node)
    return router


def _add_studies(router: APIRouter, node: Node) -> None:
    store = node.store

    @router.get("/forgotten", tags=["forgetting"])
    def forgotten() -> list[ForgottenView]:
        """Studies that are forgotten, newest order first, and what is left to do."""
        return [ForgottenView.of(one, store) for one in store.forgotten.all()]

    @router.post("/studies/{study_uid}/forget", status_code=202, tags=["forgetting"])
    def forget(
        study_uid: StudyUid,
        request: Request,
        keep_results: Annotated[bool, Query(description="Leave the study's results in the archive.")] = False,
    ) -> ForgottenView:
        """Forget a study for good: all that was drawn, answered and remembered of it. Its versions are marked.

        The work is done between two answers, and goes on after a restart; `GET /api/forgotten` tells how far it is.
        """
        forgotten = _housekeeping(node).forgotten
        order = forgotten.order(study_uid, why=ASKED, asked_by=asker(request), results=not keep_results)
        node.answer_now()
        return ForgottenView.of(order, store)

    @router.delete("/studies/{study_uid}/forget", tags=["forgetting"])
    def lift(study_uid: StudyUid, request: Request) -> Lifted:
        """Let a forgotten study be taken in again, as if it had never been seen; 404 if it is not forgotten."""
        operations.lift(_housekeeping(node).forgotten, study_uid, asker(request))
        node.reconcile_soon()
        return Lifted()


def _add_models(router: APIRouter, node: Node) -> None:
    store = node.store

    @router.post("/models/{model_id}/retrain", status_code=202, tags=["models"])
    def retrain(model_id: ModelName, request: Request) -> Ordered:
        """Train a model anew from what it remembers: a new version, which has to pass the gate. 409 if that cannot be."""
        operations.retrain(store, model_id, asker(request))
        return Ordered()

    @router.post("/models/{model_id}/drop-marked", tags=["models"])
    def drop_marked(model_id: ModelName, request: Request) -> list[CheckpointView]:
        """Remove the files of versions that learned from a forgotten study. 409 if there are none, or only needed ones."""
        return [CheckpointView.of(one) for one in operations.drop_marked(store, model_id, asker(request))]


def _housekeeping(node: Node) -> Housekeeping:
    if node.housekeeping is None:
        raise HTTPException(503, "this node was made without what forgets studies")
    return node.housekeeping
