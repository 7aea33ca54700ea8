"""Checks of OHIF as the node serves it: its files, its configuration, and its way through the node to the archive."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from learner.doctor.findings import Findings, Found, error, ok, warning
from learner.doctor.site import Site
from learner.http.viewer import DEFAULT_CONFIGURATION, PASSED_ROOTS

_TESTED = "3.12.10"
_NEEDED_FILES = ("index.html",)
_ROOTS = ("qidoRoot", "wadoRoot", "wadoUriRoot", "stowRoot")
_REQUIRED_ROOTS = ("qidoRoot", "wadoRoot")
_SCRIPTS = "*.bundle.*.js"
_INSTALL = "Get OHIF again (`./run viewer`), and set viewer.folder to what it names."
_TOKENS = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"""
    r"""(?P<text>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)|(?P<bracket>[][(){}])""",
    re.DOTALL,
)
_EMPTY_STORE = b"--doctor--\r\n"
_STORE_HEADERS = {
    "Content-Type": 'multipart/related; type="application/dicom"; boundary=doctor',
    "Accept": "application/dicom+json",
}


def files(site: Site) -> Findings:
    """The built files of OHIF."""
    folder = site.settings.viewer.folder
    if folder is None:
        return
    missing = [name for name in _NEEDED_FILES if not (folder / name).is_file()]
    scripts = sorted(folder.glob(_SCRIPTS))
    if missing or not scripts:
        yield error(f"{folder} is no built OHIF: {missing[0] if missing else _SCRIPTS} is not there", _INSTALL)
        return
    asked = set(re.findall(r'src="/?(?:ohif/)?([\w.-]+\.bundle\.[\w.]+js)"', (folder / "index.html").read_text("utf-8")))
    lost = sorted(name for name in asked if not (folder / name).is_file())
    if lost:
        yield error(f"{folder} lacks {lost[0]}, which its page asks for", _INSTALL)
    elif any(_TESTED.encode() in script.read_bytes() for script in scripts):
        yield ok(f"OHIF {_TESTED}, the version that was tested, is in {folder}")
    else:
        yield ok(f"OHIF is in {folder}, in another version than {_TESTED}, which was tested")


def configuration(site: Site) -> Findings:
    """OHIF's configuration can be read, and its data source points to this node."""
    viewer = site.settings.viewer
    if viewer.folder is None:
        return
    path = viewer.configuration or DEFAULT_CONFIGURATION
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        yield error(f"{path} cannot be read ({fault})", "Check viewer.configuration, and the file's rights.")
        return
    yield from _configured(path, text) or [ok(f"{path} lets the viewer read and store by this node")]


def _configured(path: Path, text: str) -> list[Found]:
    """What is wrong with a configuration."""
    fault = _unbalanced(text)
    if fault or "window.config" not in text:
        remedy = "Correct it; config/ohif.js is one that works."
        return [error(f"{path} is no configuration of OHIF: {fault or 'window.config is not set'}", remedy)]
    code = _TOKENS.sub(lambda token: token["text"] or token["bracket"] or " ", text)
    roots = {name: _value(code, name) for name in _ROOTS}
    found = [
        error(f"{path}: {name} is not set", f"Set it to '{PASSED_ROOTS[0]}'.") for name in _REQUIRED_ROOTS if not roots[name]
    ]
    for name, root in roots.items():
        if urlsplit(root).netloc:
            what = f"{path}: {name} is {root}, another origin; the page's policy keeps the viewer from asking it"
            found.append(error(what, f"Set it to a path of this node: '{PASSED_ROOTS[name == 'wadoUriRoot']}'."))
        elif root and root.rstrip("/") not in PASSED_ROOTS:
            what = f"{path}: {name} is {root}, a path that the node does not pass on to the archive"
            found.append(error(what, f"Set it to '{PASSED_ROOTS[name == 'wadoUriRoot']}'."))
    base = _value(code, "routerBasename")
    if base and base.rstrip("/") != "/ohif":
        found.append(error(f"{path}: routerBasename is {base}; the node serves the viewer at /ohif", "Set it to '/ohif'."))
    return found


def _value(code: str, name: str) -> str:
    """The text that a key of the configuration has; empty without one."""
    found = re.search(rf"""\b{name}["']?\s*:\s*['"`]([^'"`]*)""", code)
    return found[1] if found else ""


def _unbalanced(text: str) -> str:
    """Why the brackets of a script do not fit each other; empty where they do."""
    pairs, opened = {")": "(", "]": "[", "}": "{"}, []
    for token in _TOKENS.finditer(text):
        bracket, line = token["bracket"], text.count("\n", 0, token.start()) + 1
        if not bracket:
            continue
        if bracket not in pairs:
            opened.append((bracket, line))
        elif not opened or opened.pop()[0] != pairs[bracket]:
            return f"'{bracket}' in line {line} closes nothing"
    return f"'{opened[-1][0]}' in line {opened[-1][1]} is not closed" if opened else ""


def route(site: Site) -> Findings:
    """Through the running node: the viewer's page, a query, and a store request without an object."""
    if site.settings.viewer.folder is None:
        return
    with site.node() as client:
        page, configured = client.get("/ohif/"), client.get("/ohif/app-config.js")
        asked = client.get("/dicom-web/studies", params={"limit": 1}, headers={"Accept": "application/dicom+json"})
        stored = client.post("/dicom-web/studies", content=_EMPTY_STORE, headers=_STORE_HEADERS)
    restart = "Restart `apprentice serve` after a change of section viewer."
    bad = [answer for answer in (page, configured) if not answer.is_success]
    if bad:
        yield error(f"the node answered {bad[0].status_code} to {bad[0].request.url.path}", restart)
    if not asked.is_success:
        remedy = "See the finding on dicomweb; the viewer reads by Orthanc's DICOMweb."
        yield error(f"the viewer cannot read: a query through the node is answered by {asked.status_code}", remedy)
    if not _takes(stored):
        remedy = "Allow POST to DICOMweb's /studies in what stands between node and archive."
        yield error(f"the viewer cannot save: a store request through the node is answered by {stored.status_code}", remedy)
    if not bad and asked.is_success and _takes(stored):
        yield ok("the viewer reads and saves through the node")
    if site.settings.api.token_file is not None:
        what = "a browser does not send the token that the node asks for (api.token_file)"
        yield warning(what, "Let a reverse proxy with your login add the Authorization header (docs/operations.md).")


def _takes(answer: httpx2.Response) -> bool:
    """Whether a store request came through; it held nothing, so that an archive may call it a bad one."""
    return answer.is_success or answer.status_code in (400, 409)
