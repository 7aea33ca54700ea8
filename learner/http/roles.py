"""Who may use which route. What is not listed is closed to all but the highest role that its method can need."""

from __future__ import annotations

import re

from learner.domain.user import Role

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ANYBODY, _READER, _OPERATOR, _ADMIN = Role.NONE, Role.READER, Role.OPERATOR, Role.ADMIN

NEEDED: dict[tuple[str, str], Role] = {
    ("GET", "/"): _ANYBODY,
    ("GET", "/health/live"): _ANYBODY,
    ("GET", "/health/ready"): _ANYBODY,
    ("GET", "/sign-in"): _ANYBODY,
    ("POST", "/sign-in"): _ANYBODY,
    ("GET", "/sign-in/oidc"): _ANYBODY,
    ("GET", "/sign-in/oidc/back"): _ANYBODY,
    ("POST", "/sign-out"): _ANYBODY,
    ("GET", "/metrics"): _READER,
    ("GET", "/api/openapi.json"): _READER,
    ("GET", "/api/me"): _READER,
    ("POST", "/api/nudge"): _READER,
    ("POST", "/api/reconcile"): _OPERATOR,
    ("GET", "/api/status"): _READER,
    ("GET", "/api/jobs"): _READER,
    ("GET", "/api/tasks"): _READER,
    ("GET", "/api/models"): _READER,
    ("GET", "/api/models/{model_id}/versions"): _READER,
    ("GET", "/api/models/{model_id}/compare"): _OPERATOR,
    ("POST", "/api/models/{model_id}/rollback"): _ADMIN,
    ("POST", "/api/models/{model_id}/retrain"): _ADMIN,
    ("POST", "/api/models/{model_id}/drop-marked"): _ADMIN,
    ("GET", "/api/forgotten"): _OPERATOR,
    ("POST", "/api/studies/{study_uid}/forget"): _ADMIN,
    ("DELETE", "/api/studies/{study_uid}/forget"): _ADMIN,
    ("GET", "/api/cases"): _READER,
    ("GET", "/api/cases/{case_id}"): _READER,
    ("GET", "/api/series/{series_uid}/rounds"): _READER,
    ("GET", "/api/rounds"): _READER,
    ("GET", "/api/rounds/{round_id}"): _READER,
    ("POST", "/api/rounds/{round_id}/retry"): _OPERATOR,
    ("GET", "/api/triggers/{uid}"): _READER,
    ("GET", "/api/companion/studies/{study_uid}"): _READER,
    ("POST", "/api/companion/cases/{case_id}/accept"): _READER,
    ("POST", "/api/companion/cases/{case_id}/withdraw"): _READER,
    ("GET", "/api/changes"): _READER,
    ("GET", "/api/resources"): _READER,
    ("GET", "/api/overview/cases"): _READER,
    ("GET", "/api/overview/trouble"): _READER,
    ("GET", "/api/rounds/{round_id}/pictures"): _READER,
    ("GET", "/api/rounds/{round_id}/pictures/{place}"): _READER,
    ("GET", "/api/tasks/{task_id}/learning"): _READER,
    ("GET", "/api/models/{model_id}/memory"): _READER,
    ("GET", "/api/tasks/{task_id}/next-cases"): _READER,
    ("GET", "/api/audit"): _OPERATOR,
    ("GET", "/api/audit/verify"): _OPERATOR,
    ("GET", "/api/audit/rounds/{which}"): _OPERATOR,
    ("GET", "/api/audit/models/{model_id}/versions/{version}"): _OPERATOR,
    ("POST", "/api/training/pause"): _OPERATOR,
    ("POST", "/api/training/resume"): _OPERATOR,
}
"""By method and path of the route, as the application names them."""
_BELOW: dict[tuple[str, str], Role] = {("GET", "/static/"): _ANYBODY, ("POST", "/dicom-web/"): _READER}
"""By method and beginning of the path, for what is no route of the application."""
_PATTERNS = [(method, re.compile(re.sub(r"\{\w+\}", "[^/]+", path)), role) for (method, path), role in NEEDED.items()]


def needed_role(method: str, path: str) -> Role:
    """The role that a request needs."""
    asked = "GET" if method == "HEAD" else method
    for of, pattern, role in _PATTERNS:
        if of == asked and pattern.fullmatch(path):
            return role
    for (of, beginning), role in _BELOW.items():
        if of == asked and path.startswith(beginning):
            return role
    return _READER if method in SAFE_METHODS else _ADMIN
