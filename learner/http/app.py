"""The node's HTTP service: the API, metrics, health, and the page."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Depends, FastAPI, Response
from fastapi.responses import FileResponse
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.types import ASGIApp

from learner.http.access import Access
from learner.http.audit import audit_router
from learner.http.companion import companion_router
from learner.http.guard import Guard
from learner.http.metrics import registry
from learner.http.models import Health
from learner.http.oidc_routes import build_issuer, oidc_router
from learner.http.problems import MEDIA_TYPE, Problem, add_handlers, problem
from learner.http.routes import api_router
from learner.http.sign_in import sign_in_router
from learner.http.viewer import viewer_app, viewer_paths
from learner.node import Node
from learner.version import __version__

STATIC = Path(__file__).parent / "static"
_ABOUT = (
    "A PACS node that learns to segment by watching a radiologist draw on a few slices. Research use; not a medical device. "
    "Errors are problem details (RFC 9457)."
)
_PROBLEMS = {
    400: "The request is none.",
    401: "Nobody is signed in, and no token was sent that is known.",
    403: "The role does not suffice, or another site's page asks.",
    404: "There is no such thing.",
    409: "It cannot be done in this state.",
    422: "A parameter is out of range.",
    429: "Too many requests from this address.",
}


def create_app(node: Node, token: str) -> FastAPI:
    """The service of a node.

    Args:
        node: what is served; it is started and stopped by the caller.
        token: bearer token that may do everything, besides the users and tokens of the store; empty for none.
    """
    app = FastAPI(
        title="PACS Apprentice",
        version=__version__,
        description=_ABOUT,
        openapi_url="/api/openapi.json",
        docs_url=None,  # its scripts would come from elsewhere
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        responses={status: _documented(what) for status, what in _PROBLEMS.items()},
    )
    documented = Depends(
        HTTPBearer(
            auto_error=False, description="A token of `apprentice access add-token`, or of the file that api.token_file names."
        )
    )
    app.include_router(api_router(node), dependencies=[documented])
    app.include_router(companion_router(node), dependencies=[documented])
    app.include_router(audit_router(node), dependencies=[documented])
    app.include_router(_metrics_router(registry(node)), dependencies=[documented])
    app.include_router(_health_router(node))
    access = Access(node.settings, node.store, token)
    app.include_router(sign_in_router(access))
    app.include_router(oidc_router(access, build_issuer(node.settings)))
    _add_page(app)
    add_handlers(app)
    app.add_middleware(Guard, access=access, beside=_viewer(node))
    return app


def _viewer(node: Node) -> dict[str, ASGIApp]:
    """OHIF and its way to the archive, where the node serves it."""
    viewer, pacs = node.settings.viewer, node.settings.pacs
    return (
        dict.fromkeys(viewer_paths(viewer.folder), viewer_app(viewer, pacs, node.store.authors))
        if viewer.folder is not None
        else {}
    )


def _documented(what: str) -> dict[str, object]:
    return {"description": what, "model": Problem, "content": {MEDIA_TYPE: {}}}


def _metrics_router(metrics: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["node"])

    @router.get("/metrics", response_class=Response)
    def scrape() -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(metrics), media_type=CONTENT_TYPE_LATEST)

    return router


def _health_router(node: Node) -> APIRouter:
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live")
    def live() -> Health:
        """The process serves requests."""
        return Health(status="live")

    @router.get("/ready", response_model=Health)
    def ready() -> Response | Health:
        """The store can be used and the archive was read to its end; 503 otherwise. Says no details: it needs no token."""
        node.store.queries.round_counts()
        status = node.status()
        if status.store_error:
            return problem(503, "the node's store cannot be used now", "GET /api/status tells why.")
        if status.archive_error or status.last_intake_at is None:
            return problem(503, "the archive has not been read", "GET /api/status tells why.")
        return Health(status="ready")

    return router


def _add_page(app: FastAPI) -> None:
    app.mount("/static", StaticFiles(directory=STATIC), name="static")

    @app.get("/", include_in_schema=False)
    def page() -> FileResponse:
        """The node's page."""
        return FileResponse(STATIC / "index.html", media_type="text/html")
