"""Every command that the documentation shows is run by a test, or the list says why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from documented_commands import FENCE, NOT_RUN, PAGES, ROOT, STEPS, TESTED, commands_of

SHOWN = {command: page.relative_to(ROOT).as_posix() for page in PAGES for command in commands_of(page.read_text("utf-8"))}
LISTED = [step.command for step in STEPS] + [*TESTED, *NOT_RUN]
_PROGRAMS = re.compile(
    r"^\s*(\$ )?(\./run|apprentice|\.venv/bin/\w+|curl|docker|sh|(?:/usr/bin/)?storescu|python3?|promtool) ", re.MULTILINE
)


def test_commands_are_found() -> None:
    text = "a\n```sh\n./run demo   # why\na \\\n  b  # more\n\n# nothing\n```\n```toml\nx = 1\n```\n"
    text += "- c\n\n  ```sh\n  echo 'a  b'\n  ```\n"
    assert commands_of(text) == ["./run demo", "a b", "echo 'a  b'"]


def test_every_command_is_listed() -> None:
    unlisted = [f"{page}: {command}" for command, page in SHOWN.items() if command not in LISTED]
    assert unlisted == [], "add each to a table of tests/documented_commands.py"


def test_the_list_names_no_command_twice_and_none_that_is_gone() -> None:
    assert sorted(LISTED) == sorted(set(LISTED))
    assert [command for command in LISTED if command not in SHOWN and command != "./run docs"] == []


@pytest.mark.parametrize("named", sorted(set(TESTED.values())))
def test_named_tests_exist(named: str) -> None:
    file, _, name = named.partition("::")
    assert (ROOT / file).is_file()
    assert name == "*" or re.search(rf"^ *def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE)


def test_reasons_are_given() -> None:
    assert [command for command, reason in NOT_RUN.items() if len(reason.split()) < 2] == []
    assert {command for command, reason in NOT_RUN.items() if ".ci/run" in reason} <= {
        line.split(" --junit")[0] for line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_no_command_hides_in_a_block_without_a_language(page: Path) -> None:
    blocks = [block for language, block in FENCE.findall(page.read_text("utf-8")) if language in ("", "text")]
    assert [block for block in blocks if _PROGRAMS.search(block)] == [], "mark the block as sh"
