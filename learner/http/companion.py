"""Routes of the companion panel: how a study stands, accepting an answer, taking a drawing back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, HTTPException, Request

from dicom_io.annotation import PlaneKind
from learner.app.standing import Standing, standing, unplaced
from learner.app.withdrawal import may_withdraw, withdraw
from learner.domain.case import Case, Round, RoundState
from learner.domain.result_kinds import PREDICTION, RESIDUAL_BANDS
from learner.domain.task import Task
from learner.domain.user import User
from learner.http.companion_models import (
    AcceptedView,
    AcceptRequest,
    AnswerView,
    CompanionCase,
    CompanionView,
    LastDrawingView,
    NextSliceView,
    NoticeView,
    StructureView,
    WithdrawRequest,
)
from learner.http.models import Accepted
from learner.http.routes import Number, Uid
from learner.node import Node
from learner.operations import find_round
from learner.storage.store import LocalStore

Facts = dict[str, Any]
"""What was measured in a round, as it was read from JSON."""


def companion_router(node: Node) -> APIRouter:
    """The panel's routes."""
    router = APIRouter(prefix="/api/companion", tags=["companion"])
    store = node.store

    @router.get("/studies/{study_uid}")
    def study(study_uid: Uid, request: Request) -> CompanionView:
        """What the node makes of a study: its cases, their answers, and what to do next."""
        rounds, reader = store.queries.rounds_of_study(study_uid), reader_of(request)
        return CompanionView(
            study_instance_uid=study_uid,
            reader=reader,
            archive_error=node.status().archive_error,
            cases=tuple(
                _case(node, case, [r for r in rounds if r.case_id == case.case_id], reader)
                for case in store.queries.cases_of_study(study_uid)
            ),
            notices=tuple(
                NoticeView(round_id=r.round_id, state=r.state, reason=_reason(store, r), received_at=r.received_at)
                for r in unplaced(rounds)
            ),
        )

    @router.post("/cases/{case_id}/accept", status_code=201)
    def accept(case_id: Number, wanted: AcceptRequest, request: Request) -> AcceptedView:
        """Accept an answer as it is, on some slices or as a whole. It stands in the archive then, as an annotation.

        409 if the answer is not the newest, or all of it is drawn or accepted already.
        """
        case = _find(store, case_id)
        if any(
            r.case_id is None and r.state is RoundState.QUEUED for r in store.queries.rounds_of_study(case.study_instance_uid)
        ):
            raise HTTPException(409, "a drawing of the study is being answered; look at that answer first")
        uid = node.accept(case, wanted.round_id, wanted.slices, reader_of(request))
        return AcceptedView(sop_instance_uid=uid)

    @router.post("/cases/{case_id}/withdraw", status_code=202)
    def take_back(case_id: Number, wanted: WithdrawRequest, request: Request) -> Accepted:
        """Take a drawing, or an acceptance, back: a new round answers what is left. The object stays in the archive.

        403 if it is another reader's; 409 if it does not count (any more).
        """
        round_ = find_round(store, wanted.round_id)
        if round_.case_id != _find(store, case_id).case_id:
            raise HTTPException(404, f"case {case_id} has no round {wanted.round_id}")
        withdraw(store, round_, reader_of(request))
        node.answer_now()
        return Accepted()

    return router


def reader_of(request: Request) -> str:
    """Which person is signed in; an empty string for nobody, and for a machine's token."""
    user: User = request.state.user
    return user.name if user.is_person else ""


def _find(store: LocalStore, case_id: int) -> Case:
    try:
        return store.records.find_case(case_id)
    except KeyError:
        raise HTTPException(404, f"there is no case {case_id}") from None


def _case(node: Node, case: Case, rounds: Sequence[Round], reader: str) -> CompanionCase:
    store, task, now = node.store, node.tasks.get(case.task_id), standing(rounds)
    prior = next(iter(store.records.drawn_before(case.task_id, case.study_instance_uid)), None)
    return CompanionCase(
        case_id=case.case_id,
        task_id=case.task_id,
        title=task.title if task is not None else case.task_id,
        series_instance_uid=case.series_instance_uid,
        part=case.part,
        state=now.state,
        since=(now.latest.answered_at or now.latest.received_at) if now.latest is not None else None,
        reason=_reason(store, now.latest) if now.latest is not None else "",
        answer=_answer(store, task, now.answer, prior) if now.answer is not None else None,
        prior_study_uid=_study_of(store, prior),
        last_drawing=_last_drawing(now, reader),
    )


def _answer(store: LocalStore, task: Task | None, round_: Round, prior: Round | None) -> AnswerView:
    facts: Facts = round_.facts
    series = {one.kind: one.series_instance_uid for one in store.records.results_of(round_.round_id) if one.sent}
    answered_at = round_.answered_at or round_.received_at
    return AnswerView(
        round_id=round_.round_id,
        number=round_.number or 0,
        answered_at=answered_at,
        seconds=round(answered_at - round_.received_at, 1),
        version=round_.checkpoint,
        prediction_series_uid=series.get(PREDICTION, ""),
        residual_series_uid=series.get(RESIDUAL_BANDS, ""),
        slices=facts.get("slices", 0),
        drawn=_planes(facts, PlaneKind.DRAWN),
        accepted=_planes(facts, PlaneKind.CONFIRMED),
        structures=_structures(task, facts, prior.facts if prior is not None else {}),
        next_slices=tuple(NextSliceView.model_validate(one) for one in facts.get("guidance") or ()),
        enough=bool(facts.get("enough")),
        remarks=tuple(facts.get("remarks") or ()),
    )


def _structures(task: Task | None, facts: Facts, prior: Facts) -> tuple[StructureView, ...]:
    """The labels that the task has now; one that it gained since has no volume."""
    volumes, before = facts.get("volumes_ml") or {}, prior.get("volumes_ml") or {}
    dice = facts.get("estimated_dice") or ()
    return tuple(
        StructureView(
            number=label.number,
            name=label.name,
            colour=f"#{bytes(label.colour).hex()}",
            volume_ml=volumes.get(label.name),
            prior_volume_ml=before.get(label.name),
            estimated_dice=dice[label.number - 1] if label.number <= len(dice) else None,
        )
        for label in (task.labels if task is not None else ())
    )


def _last_drawing(now: Standing, reader: str) -> LastDrawingView | None:
    last = now.last_drawing
    if last is None:
        return None
    facts: Facts = last.facts
    return LastDrawingView(
        round_id=last.round_id,
        received_at=last.received_at,
        reader=last.reader,
        planes=facts.get("new_slices", 0),
        accepted=bool(facts.get("accepted")),
        may_withdraw=may_withdraw(last, reader),
    )


def _reason(store: LocalStore, round_: Round) -> str:
    """Why a round stands where it does; why its job was given up, where it was."""
    parked = [job.reason for job in store.queries.jobs_of(round_.round_id) if job.kind == "respond" and job.reason]
    return round_.reason or (parked[0] if parked and round_.state in (RoundState.QUEUED, RoundState.COMPUTED) else "")


def _study_of(store: LocalStore, round_: Round | None) -> str:
    return store.records.find_case(round_.case_id).study_instance_uid if round_ is not None and round_.case_id else ""


def _planes(facts: Facts, kind: PlaneKind) -> tuple[int, ...]:
    """Slices of a kind; ``facts`` hold axis, index and kind of each known plane."""
    return tuple(index for axis, index, name in facts.get("planes") or () if axis == 0 and name == kind)
