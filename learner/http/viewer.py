"""OHIF on one origin with the archive: the application below ``/ohif/``, and DICOMweb passed on to Orthanc.

A viewer in a browser may only save where it came from, and Orthanc's password does not belong into one. So the node serves
both: files as they are, requests of DICOMweb streamed to Orthanc with its own credentials. Reading and storing are passed
on, nothing else. The policy sent with every page lets a browser ask no other address.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath

import httpx2
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learner.domain.user import NOBODY, User
from learner.http.problems import problem
from learner.http.stow import refused_objects, watched
from learner.ports import Authors
from learner.settings import PacsSettings, ViewerSettings
from learner.wiring.archive import http_access

PASSED_ROOTS = ("/dicom-web", "/wado")
"""Paths below which requests are passed on to the archive: DICOMweb, and WADO-URI."""
_PREFIXES = ("/ohif", *PASSED_ROOTS)
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; worker-src 'self' blob:; "
        "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
        "connect-src 'self' data: blob:; manifest-src 'self'; base-uri 'self'; form-action 'none'; frame-ancestors 'self'"
    ),
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""OHIF decodes images in workers by WebAssembly and styles itself inline: so much its policy has to allow."""
_HASHED = re.compile(r"\.[0-9a-f]{16,}\.|^[0-9a-f]{16,}\.")
_PASSED_ON = ("accept", "content-type", "content-length", "range", "if-none-match", "if-modified-since")
_PASSED_BACK = ("content-type", "content-length", "content-range", "accept-ranges", "etag", "last-modified", "warning")
DEFAULT_CONFIGURATION = Path(__file__).parents[2] / "config" / "ohif.js"
"""OHIF's configuration where the settings name no other."""


def viewer_paths(folder: Path) -> tuple[str, ...]:
    """First parts of the paths that belong to the viewer: its own, and the files that its built code asks for at the root."""
    built = sorted(path.name for path in folder.iterdir() if path.name not in {"index.html", "app-config.js"})
    return (*_PREFIXES, *(f"/{name}" for name in built))


def viewer_app(settings: ViewerSettings, pacs: PacsSettings, authors: Authors | None = None) -> ASGIApp:
    """The viewer and its way to the archive.

    Args:
        settings: where OHIF's files are.
        pacs: the archive.
        authors: remembers who stored what; None where that is not to be known.
    """
    assert settings.folder is not None, "there is no viewer to serve"
    files = ViewerFiles(settings.folder, settings.configuration or DEFAULT_CONFIGURATION)
    gateway = Gateway(pacs, settings.largest_upload_mb * 2**20, authors)
    routes = [
        Route("/ohif", files.index),
        Route("/ohif/{path:path}", files.below),
        Route("/dicom-web/{path:path}", gateway.dicomweb, methods=["GET", "POST"]),
        Route("/wado", gateway.wado),
        Route("/{path:path}", files.file),
    ]

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await gateway.close()

    return _with_headers(Starlette(routes=routes, lifespan=lifespan))


class ViewerFiles:
    """OHIF's built files. Its page lives below ``/ohif/``; the code that was built asks for its parts at the root.

    Args:
        folder: with ``index.html``.
        configuration: file that is served as ``app-config.js``.
    """

    def __init__(self, folder: Path, configuration: Path) -> None:
        self._folder = folder.resolve()
        self._configuration = configuration

    async def index(self, _request: Request) -> Response:
        """The application's page, whose addresses begin at the root of a server, moved below ``/ohif/``."""
        page = (self._folder / "index.html").read_text(encoding="utf-8")
        page = re.sub(r"""((?:src|href|content)=")/(?!/)""", r"\1/ohif/", page)
        page = page.replace("window.PUBLIC_URL = '/'", "window.PUBLIC_URL = '/ohif/'")
        return Response(page, media_type="text/html", headers={"Cache-Control": "no-cache"})

    async def below(self, request: Request) -> Response:
        """What is asked for below ``/ohif/``; what has no extension is a page of the application."""
        name = request.path_params["path"]
        if name == "app-config.js":
            return FileResponse(self._configuration, media_type="text/javascript", headers={"Cache-Control": "no-cache"})
        if not PurePosixPath(name).suffix or name == "index.html":
            return await self.index(request)
        return await self.file(request)

    async def file(self, request: Request) -> Response:
        """One built file."""
        path = (self._folder / request.path_params["path"]).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            return problem(404, f"the viewer has no file {path.name[:80]}")
        lasting = "public, max-age=31536000, immutable" if _HASHED.search(path.name) else "no-cache"
        return FileResponse(path, headers={"Cache-Control": lasting})


class Gateway:
    """Requests of the viewer to the archive, streamed both ways.

    Args:
        pacs: the archive, its DICOMweb root and the node's credentials.
        largest_upload: bytes of a request to store, at most.
        authors: remembers who stored what, because neither viewer nor archive does.
    """

    def __init__(self, pacs: PacsSettings, largest_upload: int, authors: Authors | None = None) -> None:
        self._authors = authors
        self._root = pacs.dicomweb_root.strip("/")
        self._largest = largest_upload
        access = http_access(pacs)
        token = {"Authorization": f"Bearer {access['token']}"} if access["token"] else {}
        self._client = httpx2.AsyncClient(
            base_url=pacs.url.rstrip("/"),
            auth=(access["user"], access["password"]) if access["user"] else None,
            timeout=httpx2.Timeout(pacs.timeout_s, read=None),
            headers={"Accept-Encoding": "identity", **token},
            verify=access["verify"],
            trust_env=False,
        )

    async def close(self) -> None:
        """Closes the connections."""
        await self._client.aclose()

    async def dicomweb(self, request: Request) -> Response:
        """QIDO-RS, WADO-RS and STOW-RS (PS3.18 sections 10.4 to 10.6)."""
        path = request.path_params["path"]
        if ".." in path.split("/"):
            return problem(404, "there is no such resource")
        if request.method == "POST" and not re.fullmatch(r"studies(/[0-9.]+)?", path):
            return problem(405, "storing is passed on, nothing else", headers={"Allow": "GET"})
        if int(request.headers.get("content-length", "0")) > self._largest:
            return problem(413, f"more than {self._largest // 2**20} MiB at once", "Raise viewer.largest_upload_mb.")
        user: User = getattr(request.state, "user", NOBODY)
        if request.method == "POST" and user.is_person and self._authors is not None:
            return await self._store_for(user, self._authors, request, f"/{self._root}/{path}")
        body = self._limited(request) if request.method == "POST" else None
        return await self._pass_on(request, f"/{self._root}/{path}", body)

    async def wado(self, request: Request) -> Response:
        """WADO-URI (PS3.18 section 9)."""
        return await self._pass_on(request, "/wado")

    async def _store_for(self, user: User, authors: Authors, request: Request, path: str) -> Response:
        """Stores what somebody drew, and remembers whose it is.

        It is remembered before the archive has the whole object: the node may hear of it before the archive's answer is here.
        What the archive then refuses is forgotten.
        """
        claimed: list[str] = []

        async def claim(uid: str) -> None:
            if await run_in_threadpool(authors.claim, uid, user.name):
                claimed.append(uid)

        body = watched(self._limited(request), request.headers.get("content-type", ""), claim)
        answer = await self._pass_on(request, path, body)
        if not isinstance(answer, StreamingResponse):  # the archive did not answer: nobody knows what it has
            return answer
        content = b"".join([bytes(chunk) async for chunk in answer.body_iterator])  # type: ignore[arg-type]  # all are bytes
        refused = set(claimed) if answer.status_code >= 400 else refused_objects(content) & set(claimed)
        if refused:
            await run_in_threadpool(authors.disclaim, refused, user.name)
        kept = {name: value for name, value in answer.headers.items() if name != "content-length"}
        return Response(content, answer.status_code, kept, background=answer.background)

    async def _pass_on(self, request: Request, path: str, body: AsyncIterator[bytes] | None = None) -> Response:
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        headers["Host"] = request.headers.get("host", "")  # Orthanc makes addresses of it
        sent = self._client.build_request(
            request.method,
            f"{path}?{request.url.query}" if request.url.query else path,
            headers=headers,
            content=body,
        )
        try:
            answer = await self._client.send(sent, stream=True)
        except httpx2.RequestError as error:
            return problem(502, f"the archive does not answer ({type(error).__name__})", "Look at `apprentice doctor`.")
        kept = {name: answer.headers[name] for name in _PASSED_BACK if name in answer.headers}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=BackgroundTask(answer.aclose))

    async def _limited(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it comes; one that says no length is cut off at the limit, which the archive answers as a broken one."""
        length = 0
        async for chunk in request.stream():
            length += len(chunk)
            if length > self._largest:
                return
            yield chunk


def _with_headers(app: ASGIApp) -> ASGIApp:
    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name.lower().encode(): value.encode() for name, value in HEADERS.items()}
                others = [(name, value) for name, value in message["headers"] if name.lower() not in named]
                message["headers"] = [*others, *named.items()]
            await send(message)

        await app(scope, receive, send_with_headers)

    return wrapped
