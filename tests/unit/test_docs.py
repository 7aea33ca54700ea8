"""What the documentation names exists: files behind links, commands, options, files of the containers, versions."""

from __future__ import annotations

import itertools
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EVERY_PAGE = sorted(
    [
        *PAGES,
        *(
            page
            for folder in ("benchmarks", "config", "docker", "packaging", "tests")
            for page in (ROOT / folder).rglob("*.md")
        ),
    ]
)
DOCKER = ROOT / "docker"
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"""\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|^ *\[[^\]]+\]:\s+(\S+)""", re.MULTILINE)
_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_LARGEST_PICTURE = 200_000
_SHELL = ("", "sh", "bash", "console")


def _names(pages: list[Path]) -> list[str]:
    return [page.relative_to(ROOT).as_posix() for page in pages]


def _code(text: str) -> Iterator[str]:
    """Lines of shell in a page: of its code blocks, and its spans of code."""
    for language, block in _FENCE.findall(text):
        if language in _SHELL:
            yield from block.replace("\\\n", " ").splitlines()
    yield from re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))


def _words(line: str, program: str) -> list[str] | None:
    """Arguments of ``program`` in a line of shell, up to a comment; None if the line does not call it."""
    words = line.split(" #", maxsplit=1)[0].split()
    if not words or words[0].removeprefix(".venv/bin/") != program:
        return None
    return words[1:]


def _calls(program: str) -> list[tuple[str, tuple[str, ...]]]:
    """Every call of ``program`` in the pages, with its page; an option or an argument of it by itself is none."""
    found = set()
    for page in PAGES:
        for line in _code(page.read_text("utf-8")):
            words = _words(line, program)
            if words and re.fullmatch(r"[a-z][a-z0-9-]*", words[0]):
                found.add((page.relative_to(ROOT).as_posix(), tuple(words)))
    return sorted(found)


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page: a heading that was there before gets a number."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ (.+?)(?: #+)?$", _FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").strip().lower()
        plain = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
        numbered = (plain, *(f"{plain}-{number}" for number in range(1, 100)))
        anchors.add(next(anchor for anchor in numbered if anchor not in anchors))
    return anchors


def _broken_links(page: Path, text: str) -> list[str]:
    broken = []
    for target in (inline or defined for inline, defined in _LINK.findall(_without_code(text))):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        missing = not file.exists() or ROOT not in (file, *file.parents)
        if missing or (anchor and (file.suffix != ".md" or anchor not in _anchors(file.read_text("utf-8") if name else text))):
            broken.append(target)
    return broken


def _without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text))


@pytest.mark.parametrize("name", _names(EVERY_PAGE))
def test_relative_links_resolve(name: str) -> None:
    assert _broken_links(ROOT / name, (ROOT / name).read_text("utf-8")) == []


def test_a_broken_link_is_seen() -> None:
    good = (
        "[b](README.md) [c](https://example.org/x) [g](LICENSE) [h](#one) [i](#one-1) [j [k]](docs) `[l](m)`\n# One\n## `One`\n"
    )
    bad = "[a](nowhere.md) [d](README.md#no-such-heading) [e](../outside.md) ![f](no.png) [[g]](#two)\n[h]: gone.md\n"
    broken = ["nowhere.md", "README.md#no-such-heading", "../outside.md", "no.png", "#two", "gone.md"]
    assert _broken_links(ROOT / "CHANGELOG.md", good + bad) == broken


@pytest.mark.parametrize("name", _names(EVERY_PAGE))
def test_pictures_say_what_they_show_and_are_small(name: str) -> None:
    page = ROOT / name
    for words, target in _PICTURE.findall(page.read_text("utf-8")):
        assert len(words.split()) > 2, f"{target} needs words for those who do not see it"
        assert (page.parent / target).stat().st_size <= _LARGEST_PICTURE


def test_every_page_is_in_the_navigation() -> None:
    root = ROOT / "docs" / "README.md"
    listed = re.findall(r"^- \[[^\]]+\]\(([^)#]+\.md)\)", root.read_text("utf-8"), re.MULTILINE)
    reached = {(root.parent / target).resolve() for target in listed}
    decisions = set((ROOT / "docs" / "decisions").glob("*.md"))
    assert len(reached) == len(listed)
    assert {page for page in PAGES if page not in decisions} - reached == {root}


def test_every_picture_is_shown() -> None:
    shown = {
        (ROOT / name).parent / target
        for name in _names(PAGES)
        for _, target in _PICTURE.findall((ROOT / name).read_text("utf-8"))
    }
    pictures = {path for path in (ROOT / "docs" / "images").rglob("*") if path.suffix in (".png", ".svg", ".jpg")}
    assert pictures - {path.resolve() for path in shown} == set()


def _run_commands() -> set[str]:
    """Commands of the root script: the patterns of its last ``case``."""
    cases = (ROOT / "run").read_text("utf-8").rpartition("case $command in")[2]
    patterns = re.findall(r"^  ([a-z0-9|'-]+)\)", cases, re.MULTILINE)
    return {name for pattern in patterns for name in pattern.split("|") if name != "''"}


def test_commands_of_run_are_found() -> None:
    assert {"demo", "test", "setup", "check", "serve"} <= _run_commands()


def test_commands_of_run_exist() -> None:
    calls = _calls("./run")
    assert {words[0] for _, words in calls} >= {"demo", "test"}
    assert [(page, words) for page, words in calls if words[0] not in _run_commands()] == []


def test_benchmarks_exist() -> None:
    named = {(page, words[1]) for page, words in _calls("./run") if words[0] == "bench" and len(words) > 1}
    assert named
    assert [(page, name) for page, name in sorted(named) if not (ROOT / "benchmarks" / f"{name}.py").is_file()] == []


@pytest.fixture(scope="module")
def commands() -> dict[str, click.Command]:
    from learner.cli import app  # noqa: PLC0415 - pulls in the command line

    group = typer.main.get_command(app)
    assert hasattr(group, "commands")
    return dict(group.commands)


def test_commands_of_apprentice_exist(commands: dict[str, click.Command]) -> None:
    calls = _calls("apprentice")
    assert {words[0] for _, words in calls} >= {"serve", "simulate", "doctor", "rounds"}
    assert [(page, words) for page, words in calls if words[0] not in commands] == []


def test_options_of_apprentice_exist(commands: dict[str, click.Command]) -> None:
    through_run = [(page, words) for page, words in _calls("./run") if words[0] in ("demo", "serve")]
    unknown = []
    for page, words in [*_calls("apprentice"), *through_run]:
        command = commands[words[0]]
        if hasattr(command, "commands") and len(words) > 1:
            command = command.commands[words[1]]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        unknown += [(page, word) for word in words[1:] if word.startswith("-") and word.split("=")[0] not in options]
    assert unknown == []


def test_required_options_of_simulate_stand_in_its_example(commands: dict[str, click.Command]) -> None:
    examples = [words for page, words in _calls("apprentice") if words[0] == "simulate" and len(words) > 8]
    required = {parameter.opts[0] for parameter in commands["simulate"].params if parameter.required}
    assert examples
    for words in examples:
        assert required <= set(words)


def test_fields_of_simulate_are_documented() -> None:
    from dataclasses import fields  # noqa: PLC0415 - beside what it is for

    from learner.evaluation.results import CaseResult  # noqa: PLC0415 - heavy

    pages = (ROOT / "README.md").read_text("utf-8") + (ROOT / "docs" / "evaluation.md").read_text("utf-8")
    assert [field.name for field in fields(CaseResult) if f"`{field.name}`" not in pages.replace("cases[].", "")] == []


def test_every_task_file_is_named_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8").lower()
    assert [path.stem for path in (ROOT / "config" / "tasks").glob("*.toml") if path.stem not in readme] == []


def test_debian_packages_are_those_of_run() -> None:
    listed = re.search(r'DEBIAN_PACKAGES="([^"]+)"', (ROOT / "run").read_text("utf-8"))
    assert listed
    readme = " ".join((ROOT / "README.md").read_text("utf-8").split())
    assert listed.group(1) in readme


def test_changelog_has_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert re.search(rf"^## {re.escape(version)}( |$)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)


def test_versions_agree() -> None:
    plugin = re.search(r'^VERSION = "(.+)"$', (ROOT / "orthanc_plugin" / "__init__.py").read_text("utf-8"), re.MULTILINE)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    images = re.findall(r'image: "pacs-apprentice/[^:]*(?::-\w+\})?:([\d.]+)', (DOCKER / "compose.yaml").read_text("utf-8"))
    assert cited
    assert plugin
    assert {cited.group(1), plugin.group(1), *images} == {version}


def test_decisions_are_complete() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    parts = ("**Context.**", "**Decision.**", "**Consequences.**")
    assert [(page.name, part) for page in pages for part in parts if part not in page.read_text("utf-8")] == []


def test_every_dependency_is_explained() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    names = [re.split(r"[<>=\[ ]", requirement)[0] for requirement in requirements]
    explained = (ROOT / "docs" / "decisions" / "0001-dependencies.md").read_text("utf-8")
    assert [name for name in names if not re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", explained)] == []


def test_plugin_lines_in_the_pages_name_options_that_exist() -> None:
    from orthanc_plugin.options import read_options  # noqa: PLC0415 - beside what it is for

    sections = []
    for page in PAGES:
        for language, block in _FENCE.findall(page.read_text("utf-8")):
            if language == "json" and '"Apprentice"' in block:
                sections.append(json.loads("{" + block + "}"))
    assert sections
    for configuration in [*sections, json.loads((DOCKER / "orthanc.json").read_text("utf-8"))]:
        read_options(json.dumps(configuration), {})


def test_settings_in_the_pages_are_understood(tmp_path: Path) -> None:
    from learner.settings import load_settings  # noqa: PLC0415 - pydantic

    kinds = set()
    for page in PAGES:
        for language, block in _FENCE.findall(page.read_text("utf-8")):
            if language == "toml" and "[pacs]" in block:
                (tmp_path / "apprentice.toml").write_text(block, "utf-8")
                kinds.add(load_settings(tmp_path / "apprentice.toml").pacs.kind)
    assert kinds >= {"dicomweb", "dimse", "inbox"}
