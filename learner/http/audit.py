"""Routes of the audit record. Names of people are told to people who are signed in, and to nobody's machine."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from learner.app.lineage import Lineage, RoundAudit, VersionAudit
from learner.domain.audit import Entry, Verification, nameless
from learner.http.names import names_are_told
from learner.node import Node
from learner.operations import find_answer

_LARGEST = 2**62
Limit = Annotated[int, Query(ge=1, le=1000, description="Entries at most.")]
Before = Annotated[int, Query(ge=1, le=_LARGEST, description="Entries with lower numbers than this.")]
Since = Annotated[float, Query(ge=0, le=1e12, description="From this POSIX time on.")]


def audit_router(node: Node) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/audit", tags=["audit"])
    audit = node.store.audit

    @router.get("")
    def entries(limit: Limit = 200, before: Before = _LARGEST, since: Since = 0.0) -> list[Entry]:
        """What happened, newest first."""
        found = [one for one in audit.newest(limit, before) if one.at >= since]
        return found if names_are_told.get() else [nameless(one) for one in found]

    @router.get("/verify")
    def verify() -> Verification:
        """Whether the record is as it was written: reads all of it."""
        return audit.verify()

    @router.get("/rounds/{which}")
    def round_(which: str) -> RoundAudit:
        """Why an answer looked as it did; by number of the round, or SOP Instance UID of a result or an annotation."""
        return Lineage(audit, names=names_are_told.get()).round(find_answer(node.store, which))

    @router.get("/models/{model_id}/versions/{version}")
    def version(model_id: str, version: str) -> VersionAudit:
        """What a version learned from, by its name or number."""
        return Lineage(audit, names=names_are_told.get()).version(model_id, version)

    return router
