"""Settings of the documentation site; ``./run docs`` builds it.

The pages are plain Markdown that reads well without a generator, so nothing of the site stands in them: its navigation is the
lists of links in ``docs/README.md``, one caption a section. A page that is in no list fails the build.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent

project = "PACS Apprentice"
author = "The PACS Apprentice authors"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

extensions = ["myst_parser"]
root_doc = "docs/README"
include_patterns = ["*.md", "docs/*.md", "docs/decisions/*.md", "benchmarks/RESULTS.md"]
exclude_patterns = [".*", "site", "var", "build", "dist", "tests", "docs/images"]
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # excerpts of JSON and TOML are not whole files

html_theme = "furo"
html_title = f"{project} {version}"
html_extra_path = ["site_root"]
html_copy_source = False
html_show_copyright = False

_SECTION = re.compile(r"^## (.+)\n((?:(?!^## ).*\n?)*)", re.MULTILINE)
_ENTRY = re.compile(r"^- \[[^\]]+\]\(([^)#]+)\.md\)", re.MULTILINE)


def navigation(text: str) -> str:
    """Tables of contents, one for each section of a page that lists pages, as MyST's directives."""
    parts = []
    for caption, body in _SECTION.findall(text):
        pages = _ENTRY.findall(body)
        if pages:
            parts.append("\n".join(["```{toctree}", f":caption: {caption}", ":hidden:", "", *pages, "```"]))
    return "\n\n".join(parts)


def add_navigation(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Gives the root its tables of contents, and the page on decisions its list."""
    if docname == root_doc:
        source[0] += "\n\n" + navigation(source[0])
    elif docname == "docs/decisions":
        source[0] += "\n\n```{toctree}\n:glob:\n\ndecisions/*\n```\n"


def leave_paths(app: Sphinx, doctree: nodes.document) -> None:
    """Shows what links to a folder of the repository, which the site has no page of, without the link."""
    page = Path(app.env.doc2path(app.env.docname))
    for reference in list(doctree.findall(pending_xref)):
        if (page.parent / unquote(reference["reftarget"])).is_dir():
            reference.replace_self(reference.children)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", leave_paths)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
