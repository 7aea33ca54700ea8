"""Errors as problem details (RFC 9457): what is wrong, and what to do about it."""

from __future__ import annotations

import sqlite3
from http import HTTPStatus

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from dicom_io.errors import DicomIoError, PacsUnavailable
from learner.app.acceptance import NothingToAccept
from learner.app.lineage import NotInRecord
from learner.app.withdrawal import NothingToWithdraw, NotTheirDrawing
from learner.errors import ApprenticeError
from learner.operations import (
    BeingForgotten,
    NoSuchRound,
    NoSuchVersion,
    NotForgotten,
    NothingHeld,
    NothingToDrop,
    NothingToRetrain,
    NothingToRetry,
    NothingToRollBack,
)

MEDIA_TYPE = "application/problem+json"
_log = structlog.get_logger(__name__)
_REMEDIES = {
    401: "Sign in at /sign-in, or send `Authorization: Bearer` with a token (`apprentice access add-token`, api.token_file).",
    404: "See /api/openapi.json for what there is.",
    405: "See the header Allow, and /api/openapi.json.",
    413: "Send less; nothing here needs a large body.",
    422: "Correct the request as the detail says.",
}


class Problem(BaseModel):
    """Problem details (RFC 9457, section 3.1), and a remedy."""

    model_config = ConfigDict(frozen=True)

    type: str = Field("about:blank", description="Always `about:blank`: the status says what kind of problem it is.")
    title: str = Field(description="The HTTP status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What is wrong, this time.")
    remedy: str = Field(description="What to do about it; empty if nothing is known.")


def problem(status: int, detail: str, remedy: str = "", headers: dict[str, str] | None = None) -> JSONResponse:
    """A response that tells a problem."""
    body = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, remedy=remedy or _REMEDIES.get(status, ""))
    return JSONResponse(body.model_dump(), status, headers, media_type=MEDIA_TYPE)


def add_handlers(app: FastAPI) -> None:
    """Lets every error of ``app`` be answered with problem details."""

    @app.exception_handler(HTTPException)
    def on_http(_request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code, str(error.detail), headers=dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    def on_invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        # What was sent is not repeated: it may be anything.
        faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
        return problem(422, "; ".join(faults))

    @app.exception_handler(NoSuchRound)
    def on_no_round(_request: Request, error: NoSuchRound) -> JSONResponse:
        return problem(404, str(error), "GET /api/rounds lists them.")

    @app.exception_handler(NothingToRetry)
    def on_conflict(_request: Request, error: NothingToRetry) -> JSONResponse:
        return problem(409, str(error), "Only what was refused, withdrawn or parked can be retried.")

    @app.exception_handler(NotInRecord)
    def on_nothing_recorded(_request: Request, error: NotInRecord) -> JSONResponse:
        return problem(404, str(error), "GET /api/audit lists what is recorded.")

    @app.exception_handler(NoSuchVersion)
    def on_no_version(_request: Request, error: NoSuchVersion) -> JSONResponse:
        return problem(404, str(error), "GET /api/models/{model_id}/versions lists them.")

    @app.exception_handler(NothingToRollBack)
    @app.exception_handler(NothingHeld)
    def on_no_version_to_serve(_request: Request, error: ApprenticeError) -> JSONResponse:
        return problem(409, str(error), "GET /api/models tells how each model stands.")

    _add_forgetting_handlers(app)
    _add_companion_handlers(app)

    @app.exception_handler(ApprenticeError)
    @app.exception_handler(sqlite3.Error)
    def on_store(_request: Request, error: Exception) -> JSONResponse:
        _log.error("request failed", error=type(error).__name__, what=str(error))
        return problem(503, "the node's store cannot be used now", "Look at the node's log, its disk and its folder's rights.")

    @app.exception_handler(Exception)
    def on_fault(_request: Request, _error: Exception) -> JSONResponse:  # the server logs the traceback
        return problem(500, "an unexpected fault of the node", "Its log has the traceback; please report it.")


def _add_forgetting_handlers(app: FastAPI) -> None:
    @app.exception_handler(NothingToRetrain)
    @app.exception_handler(NothingToDrop)
    def on_nothing_to_do(_request: Request, error: ApprenticeError) -> JSONResponse:
        return problem(409, str(error), "GET /api/models/{model_id}/versions tells which are marked.")

    @app.exception_handler(NotForgotten)
    def on_not_forgotten(_request: Request, error: NotForgotten) -> JSONResponse:
        return problem(404, str(error), "GET /api/forgotten lists what is.")

    @app.exception_handler(BeingForgotten)
    def on_being_forgotten(_request: Request, error: BeingForgotten) -> JSONResponse:
        return problem(409, str(error), "GET /api/forgotten tells how far it is.")


def _add_companion_handlers(app: FastAPI) -> None:
    @app.exception_handler(NothingToAccept)
    def on_nothing_to_accept(_request: Request, error: NothingToAccept) -> JSONResponse:
        return problem(409, str(error), "GET /api/companion/studies/{study_uid} tells how the case stands.")

    @app.exception_handler(NothingToWithdraw)
    def on_nothing_to_withdraw(_request: Request, error: NothingToWithdraw) -> JSONResponse:
        return problem(409, str(error), "Only an answered drawing that was not withdrawn can be taken back.")

    @app.exception_handler(NotTheirDrawing)
    def on_not_theirs(_request: Request, error: NotTheirDrawing) -> JSONResponse:
        return problem(403, str(error), "Its reader may take it back, or somebody who may delete it in the archive.")

    @app.exception_handler(DicomIoError)
    def on_archive(_request: Request, error: DicomIoError) -> JSONResponse:
        _log.warning("archive", code=error.code, reason=str(error))
        return problem(503 if isinstance(error, PacsUnavailable) else 502, f"{error.subject}: {error.problem}", error.remedy)
