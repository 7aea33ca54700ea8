"""Signing in with a browser: a page that needs no script, a session's cookie, and signing out."""

from __future__ import annotations

from html import escape
from string import Template
from urllib.parse import parse_qs, quote, urlsplit

import structlog
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from learner.domain.audit import Event
from learner.domain.user import User
from learner.http.access import Access, Refused, check_same_origin, session_cookie, session_cookie_name
from learner.http.problems import problem

ISSUER_PATH = "/sign-in/oidc"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "same-origin",  # with `no-referrer` browsers send `Origin: null` with a form
}
_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="dark">
  <title>Sign in - PACS Apprentice</title>
  <link rel="icon" href="/static/icon.svg" type="image/svg+xml">
  <link rel="stylesheet" href="/static/page.css">
  <link rel="stylesheet" href="/static/sign-in.css">
</head>
<body class="sign-in">
  <header>
    <h1>PACS Apprentice</h1>
    <p class="use">Research use only; not a medical device.</p>
  </header>
  <main>
$content
  </main>
</body>
</html>
""")
_ISSUER = Template("""    <p><a href="$address">Sign in with $title</a></p>
""")
_FAILED = Template("""    <h2>Not signed in</h2>
    <p id="message" class="error" role="alert">$message</p>
    <p><a href="/sign-in">Back to signing in</a></p>
""")
_FORM = Template("""    <h2>Sign in</h2>
$issuer    <p id="message" class="error" role="alert">$message</p>
    <form method="post" action="/sign-in">
      <input type="hidden" name="next" value="$next">
      <label for="name">Name</label>
      <input id="name" name="name" value="$name" autocomplete="username" required maxlength="64" $focus_name>
      <label for="password">Password</label>
      <input id="password" name="password" type="password" autocomplete="current-password" required $focus_password>
      <button>Sign in</button>
    </form>
    <p class="use">What you draw and save is recorded as yours. Users are added by <code>apprentice access add-user</code>.</p>
""")
_NO_USERS = """    <h2>Sign in</h2>
    <p>Nobody can sign in with a password here yet. Add a user on the node's machine:
    <code>apprentice access add-user NAME --role reader</code></p>
"""
_SIGNED_IN = Template("""    <h2>Signed in</h2>
    <p>You are <strong>$name</strong>, $role.</p>
    <p><a href="$next">Go on</a></p>
    <form method="post" action="/sign-out"><button>Sign out</button></form>
""")
_SIGNING = ("/sign-in", "/sign-out")
_WRONG = "Name or password is wrong."
_log = structlog.get_logger(__name__)


def sign_in_router(access: Access) -> APIRouter:
    """The page, and what its forms send."""
    router = APIRouter(include_in_schema=False)
    hashing = CapacityLimiter(2)  # each check takes 64 MiB

    @router.get("/sign-in")
    def page(request: Request) -> Response:
        """The form; who is signed in sees that, and may sign out."""
        back = safe_address(request.query_params.get("next", "/"))
        if access.is_open:
            return RedirectResponse(back, 303)
        user: User = request.state.user
        if user.name:
            return _html(_SIGNED_IN, name=user.name, role=user.role, next=back)
        issuer = _issuer(access, back)
        if access.accounts.users_exist():
            return _form(back, issuer=issuer)
        return _answer(f"    <h2>Sign in</h2>\n{issuer}" if issuer else _NO_USERS, 200)

    @router.post("/sign-in")
    async def sign_in(request: Request) -> Response:
        """Opens a session. The same answer, after the same time, whether the name or the password is wrong."""
        try:
            check_same_origin(request.scope, request.headers)  # or another site could sign its own user in
        except Refused as refused:
            return problem(refused.status, str(refused), refused.remedy)
        fields = _fields(await request.body())
        name, password, back = fields.get("name", ""), fields.get("password", ""), safe_address(fields.get("next", "/"))
        client = access.client(request.scope, request.headers)
        if seconds := access.failures.attempt(name, client):
            wait = f"Too many failed tries. Wait {_duration(seconds)}, then try again."
            return _form(back, wait, name, 429, seconds, _issuer(access, back))
        right = await to_thread.run_sync(access.accounts.check_password, name, password, limiter=hashing)
        if not right:
            _log.warning("sign-in failed", client=client)
            await to_thread.run_sync(_note_failure, access, name, client)
            return _form(back, _WRONG, name, 403, issuer=_issuer(access, back))
        access.failures.succeeded(name, client)
        answer = RedirectResponse(back, 303)
        await to_thread.run_sync(begin_session, access, request, answer, name)
        return answer

    @router.post("/sign-out")
    def sign_out(request: Request) -> Response:
        """Ends the session, here and everywhere that its cookie is."""
        secure = access.is_secure(request.scope, request.headers)
        if cookie := session_cookie(request.headers, secure):
            access.sessions.close(cookie)
        if request.state.user.name:
            client = access.client(request.scope, request.headers)
            access.audit.record(Event.SIGNED_OUT, account=request.state.user.name, client=client)
        answer = RedirectResponse("/sign-in", 303)
        answer.delete_cookie(session_cookie_name(secure=secure), secure=secure, httponly=True, samesite="strict")
        return answer

    return router


def begin_session(access: Access, request: Request, answer: Response, name: str) -> None:
    """Opens a session and sets its cookie on ``answer``; the one before, if any, ends."""
    secure = access.is_secure(request.scope, request.headers)
    if before := session_cookie(request.headers, secure):
        access.sessions.close(before)
    secret = access.sessions.open(name, access.limits)
    # Without an age: it goes with the browser. How long it is good for is decided here.
    answer.set_cookie(session_cookie_name(secure=secure), secret, secure=secure, httponly=True, samesite="strict", path="/")
    access.audit.record(Event.SIGNED_IN, account=name, client=access.client(request.scope, request.headers))
    _log.info("signed in")


def _note_failure(access: Access, name: str, client: str) -> None:
    """Records a failed sign-in. A name that is nobody's is not kept: people type passwords there."""
    known = name if access.accounts.find(name) is not None else ""
    access.audit.record(Event.SIGN_IN_FAILED, account=known, client=client)


def safe_address(text: str) -> str:
    """An address to return to: a path of this very node, or ``/``."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return "/"
    leads_elsewhere = parts.scheme or parts.netloc or not text.startswith("/") or text.startswith("//") or "\\" in text
    if leads_elsewhere or not text.isprintable() or len(text) > 4000 or parts.path.startswith(_SIGNING):
        return "/"
    return text


def _fields(body: bytes) -> dict[str, str]:
    """The first value of each field of a form."""
    try:
        sent = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=10)
    except ValueError:
        return {}
    return {name: values[0] for name, values in sent.items()}


def sign_in_failed(message: str, status: int) -> Response:
    """A page that says why nobody is signed in, with the way back."""
    return _html(_FAILED, status, message=message)


def _issuer(access: Access, back: str) -> str:
    """The way to the issuer, where there is one."""
    if not access.issuer:
        return ""
    address = f"{ISSUER_PATH}?next={quote(back, safe='')}"
    return _ISSUER.substitute(address=escape(address), title=escape(access.issuer_title))


def _form(back: str, message: str = "", name: str = "", status: int = 200, retry_after: int = 0, issuer: str = "") -> Response:
    focus_name, focus_password = ("", "autofocus") if name else ("autofocus", "")
    answer = _html(
        _FORM,
        status,
        issuer,
        next=back,
        message=message,
        name=name[:64],
        focus_name=focus_name,
        focus_password=focus_password,
    )
    if retry_after:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


def _html(content: Template, status: int = 200, issuer: str = "", **values: str) -> Response:
    """A page of texts, and of the way to the issuer, which is HTML."""
    return _answer(content.substitute({name: escape(value) for name, value in values.items()} | {"issuer": issuer}), status)


def _answer(content: str, status: int) -> Response:
    return HTMLResponse(_PAGE.substitute(content=content.rstrip("\n")), status, _HEADERS)


def _duration(seconds: int) -> str:
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} minutes"
