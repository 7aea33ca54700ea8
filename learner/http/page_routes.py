"""Routes that the node's page lives on: summaries of few rows, small pictures, and word of every change."""

from __future__ import annotations

import asyncio
import time
from functools import lru_cache
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi import Path as InPath

from dicom_io.thumbnails import Overlay, render
from learner import operations
from learner.domain.case import Case, Round, RoundState
from learner.domain.job import JobKind, JobState
from learner.domain.progress import learning_curve
from learner.errors import CorruptFile
from learner.http.links import Links
from learner.http.page_models import (
    CasePage,
    CaseProgressView,
    CaseSummaryView,
    EffortView,
    LearningCurveView,
    MemoryGroupView,
    PictureView,
    ReplayView,
    ResourcesView,
    Revision,
    RoundPicturesView,
    TroublePage,
    TroubleView,
)
from learner.http.resources import Resources
from learner.node import Node
from learner.storage.overview import CaseSummary, Trouble

LOOK_S = 0.025
"""Time between two looks whether something changed; one look reads one row."""
_LARGEST_ID = 2**63 - 1
_KEPT_PNGS = 512
_MIB = 2**20
Limit = Annotated[int, Query(ge=1, le=1000, description="Entries at most.")]
Offset = Annotated[int, Query(ge=0, le=_LARGEST_ID, description="Entries to leave out first.")]
Number = Annotated[int, InPath(ge=1, le=_LARGEST_ID)]
Name = Annotated[str, InPath(max_length=40)]


def page_router(node: Node) -> APIRouter:
    """The routes of the page."""
    router = APIRouter()
    _add_changes(router, node)
    _add_overview(router, node)
    _add_pictures(router, node)
    _add_learning(router, node)
    return router


def _add_changes(router: APIRouter, node: Node) -> None:
    store, resources = node.store, Resources(node)

    @router.get("/changes", tags=["node"])
    async def changes(
        request: Request,
        after: Annotated[int, Query(ge=0, le=_LARGEST_ID, description="The revision that is known already.")] = 0,
        wait_s: Annotated[float, Query(ge=0, le=4, description="Longest wait for another one.")] = 4.0,
    ) -> Revision:
        """The revision of the records: at once if it is not ``after``, else as soon as something changes, or after ``wait_s``.

        Shorter than the time that the server gives open requests when it stops.
        """
        until = time.monotonic() + wait_s
        while (revision := store.overview.revision()) == after and time.monotonic() < until:
            if await request.is_disconnected():
                break
            await asyncio.sleep(LOOK_S)  # the trainer, another process, changes the records too: no event tells of it
        return Revision(revision=revision)

    @router.get("/resources", tags=["node"])
    def resources_() -> ResourcesView:
        """Processors, memory, disk and GPU that the node takes."""
        return resources.view()


def _add_overview(router: APIRouter, node: Node) -> None:
    store, links = node.store, Links(node)

    @router.get("/overview/cases", tags=["cases"])
    def cases(task: Annotated[str | None, Query(max_length=40)] = None, limit: Limit = 50, offset: Offset = 0) -> CasePage:
        """Cases as they stand, the one with the latest round first; small, whatever their rounds hold."""
        total, found = store.overview.cases(task, limit, offset)
        return CasePage(total=total, cases=tuple(_case_summary(one, links) for one in found))

    @router.get("/overview/trouble", tags=["node"])
    def trouble(limit: Limit = 50) -> TroublePage:
        """What waits for something, failed, or was given up, newest first, with the reason."""
        total, found = store.overview.trouble(limit)
        return TroublePage(total=total, entries=tuple(_trouble(one, links) for one in found))


def _add_pictures(router: APIRouter, node: Node) -> None:
    store, links = node.store, Links(node)

    @lru_cache(maxsize=_KEPT_PNGS)
    def png(round_id: int, place: int, overlay: Overlay, scale: int) -> bytes:
        """Pictures of a round never change once it has an answer; they may be forgotten."""
        try:
            picture = store.files.get_pictures(round_id)[place]
        except (CorruptFile, IndexError):
            raise HTTPException(404, f"round {round_id} has no such picture") from None
        return render(picture, _colours(node, store.records.find_round(round_id)), overlay, scale)

    if node.housekeeping is not None:
        node.housekeeping.purge.clears(png.cache_clear)

    @router.get("/rounds/{round_id}/pictures", tags=["rounds"])
    def pictures(round_id: Number) -> RoundPicturesView:
        """The small pictures of a round's answer; none of rounds that an earlier version answered."""
        round_ = operations.find_round(store, round_id)
        case = store.records.find_case(round_.case_id) if round_.case_id is not None else None
        return RoundPicturesView(
            round_id=round_id, pictures=_pictures(round_id, round_.facts, case, links, links.prediction(round_id))
        )

    @router.get("/rounds/{round_id}/pictures/{place}", tags=["rounds"], response_class=Response)
    def picture(
        round_id: Number,
        place: Annotated[int, InPath(ge=0, le=100)],
        overlay: Overlay = "both",
        scale: Annotated[int, Query(ge=1, le=2, description="2 for fine outlines.")] = 2,
    ) -> Response:
        """One of them as a PNG: the slice with outlines of the answer, the residual as heat, or both. No text is in it."""
        operations.find_round(store, round_id)
        return Response(png(round_id, place, overlay, scale), media_type="image/png")


def _add_learning(router: APIRouter, node: Node) -> None:
    store = node.store

    @router.get("/tasks/{task_id}/learning", tags=["tasks"])
    def learning(task_id: Name, limit: Limit = 200) -> LearningCurveView:
        """The learning curve of a task, case by case; ``docs/page.md`` says how each figure is computed."""
        if all(task.task_id != task_id for task in node.tasks):
            raise HTTPException(404, "there is no task of that name")
        curve = learning_curve(store.overview.progress(task_id))
        return LearningCurveView(
            task_id=task_id,
            total=len(curve.cases),
            cases=tuple(CaseProgressView.model_validate(one) for one in curve.cases[-limit:]),
            first=EffortView.model_validate(curve.first) if curve.first is not None else None,
            latest=EffortView.model_validate(curve.latest) if curve.latest is not None else None,
            saved=curve.saved,
            foresight=curve.foresight,
        )

    @router.get("/models/{model_id}/memory", tags=["models"])
    def memory(model_id: Name) -> ReplayView:
        """What the replay memory of a model holds, by task and site, and how many cases are held back."""
        if all(task.model_id != model_id for task in node.tasks):
            raise HTTPException(404, "there is no model of that name")
        return _memory(node, model_id)


def _memory(node: Node, model_id: str) -> ReplayView:
    version, found = node.store.overview.remembered(model_id)
    held: dict[tuple[str, str], int] = {}
    for lesson in node.store.lessons.of_model(model_id):
        if lesson.held:
            held[lesson.task_id, lesson.site] = held.get((lesson.task_id, lesson.site), 0) + 1
    groups = {(one["task_id"], one["site"]): one for one in found}
    nothing = {"cases": 0, "size": 0, "readers": 0}
    return ReplayView(
        model_id=model_id,
        version=version,
        capacity=node.settings.learning.replay_mb * _MIB,
        size=sum(one["size"] for one in found),
        groups=tuple(
            MemoryGroupView(
                **{"task_id": task, "site": site, **groups.get((task, site), nothing), "held": held.get((task, site), 0)}
            )
            for task, site in sorted({*groups, *held})
        ),
    )


def _colours(node: Node, round_: Round) -> dict[int, tuple[int, int, int]]:
    if round_.case_id is None:
        return {}
    task_id = node.store.records.find_case(round_.case_id).task_id
    return {label.number: label.colour for task in node.tasks if task.task_id == task_id for label in task.labels}


def _case_summary(one: CaseSummary, links: Links) -> CaseSummaryView:
    case, latest, facts = one.case, one.latest, one.answer
    pictures = _pictures(one.answer_id, facts, case, links, one.prediction) if one.answer_id is not None else ()
    drawn = facts.get("drawn_slices")
    return CaseSummaryView(
        case_id=case.case_id,
        task_id=case.task_id,
        study_instance_uid=case.study_instance_uid,
        series_instance_uid=case.series_instance_uid,
        link=links.to(case, prediction=one.prediction),
        rounds=one.rounds,
        round_id=latest.round_id,
        state=latest.state,
        number=latest.number,
        reason=latest.reason,
        reader=latest.reader,
        received_at=latest.received_at,
        answered_at=latest.answered_at,
        checkpoint=latest.checkpoint,
        drawn=len(drawn) if isinstance(drawn, list) else None,
        slices=facts.get("slices"),
        estimated_dice=_mean(facts.get("estimated_dice")),
        foresight=_mean(facts.get("foresight")),
        enough=bool(facts.get("enough")),
        pictures=tuple(picture for picture in pictures if picture.kind != "guidance"),
    )


def _pictures(
    round_id: int, facts: dict[str, Any], case: Case | None, links: Links, prediction: str
) -> tuple[PictureView, ...]:
    """What pictures a round has; those of guidance with the reason for each slice."""
    suggested = {(one["axis"], one["index"]): one for one in facts.get("guidance") or ()}
    found = []
    for place, picture in enumerate(facts.get("pictures") or ()):
        kind, axis, index = picture["kind"], picture["axis"], picture["index"]
        why = suggested.get((axis, index), {}) if kind == "guidance" else {}
        found.append(
            PictureView(
                path=f"/api/rounds/{round_id}/pictures/{place}",
                kind=kind,
                axis=axis,
                index=index,
                link=links.to(case, why.get("sop_instance_uid", ""), prediction),
                score=why.get("score"),
                reason=why.get("reason", ""),
            )
        )
    return tuple(found)


def _trouble(one: Trouble, links: Links) -> TroubleView:
    round_, case = one.round_, one.case
    given_up = one.state in {JobState.PARKED, RoundState.REFUSED}
    return TroubleView(
        round_id=round_.round_id,
        case_id=round_.case_id,
        task_id=case.task_id if case is not None else "",
        work="answer" if one.job in ("", JobKind.RESPOND) else "learning",
        state=one.state,
        attempts=one.attempts,
        reason=one.reason,
        received_at=round_.received_at,
        can_retry=given_up,
        link=links.to(case),
    )


def _mean(values: Any) -> float | None:
    numbers = [float(value) for value in values if isinstance(value, int | float)] if isinstance(values, list) else []
    return sum(numbers) / len(numbers) if numbers else None
