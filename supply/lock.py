"""Makes the lists of ``requirements/`` of ``constraints.txt``: its versions with the hashes of PyPI's files, without addresses.

Each package stands in one list: what a node needs, what development, documentation and the bill of materials need besides, and
torch with what its builds for GPUs ask for. Called by ``./run lock``: python supply/lock.py UV
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = "3.11"
BUILD = "setuptools"
TORCH = re.compile(r"torch|triton|nvidia-.+|cuda-.+")
"""Of these PyPI has the builds for GPUs; other indices have others under the same version, with other hashes."""
LISTS = {
    "torch": "torch, and what its builds of PyPI ask for on Linux; not installed from here unless a site wants it",
    "node": "what a node needs, without torch",
    "export": "what `apprentice export` needs besides",
    "dev": "what tests and checks need besides",
    "docs": "what the documentation's site needs besides",
    "sbom": "what makes the bill of materials, in an environment of its own",
}
_ALONE = ("sbom",)
"""Lists that are installed by themselves, so that they hold all that they need."""


def main(uv: str) -> None:
    """Writes all lists."""
    blocks = _hashed(uv)
    written: set[str] = set()
    for name, about in LISTS.items():
        wanted = {one for one in blocks if TORCH.fullmatch(one)} if name == "torch" else _needed(uv, name)
        wanted -= set() if name in _ALONE else written
        written |= wanted
        text = "".join(blocks[one] for one in sorted(wanted))
        path = ROOT / "requirements" / f"{name}.txt"
        path.write_text(f"# Made by `./run lock` of constraints.txt: {about}.\n{text}", encoding="utf-8")
        print(f"{path.relative_to(ROOT)}: {len(wanted)} packages, {text.count('--hash=')} hashes")


def _hashed(uv: str) -> dict[str, str]:
    """Lines of each package, by its name: its pins, each with the hashes of its files."""
    text = _compiled(uv, ROOT / "constraints.txt", "--no-deps", "--generate-hashes")
    blocks: dict[str, str] = {}
    for pin in re.split(r"\n(?=\S)", text.strip()):
        name = pin.partition("==")[0]
        blocks[name] = blocks.get(name, "") + pin + "\n"
    return blocks


def _needed(uv: str, name: str) -> set[str]:
    """Names of what a part of the project needs, on any platform."""
    if name in _ALONE:
        with tempfile.NamedTemporaryFile("w", suffix=".in") as file:
            file.write("cyclonedx-bom\n")
            file.flush()
            return _names(_compiled(uv, Path(file.name), "--constraint", str(ROOT / "constraints.txt")))
    extra = () if name == "node" else ("--extra", name)
    found = _names(_compiled(uv, ROOT / "pyproject.toml", "--constraint", str(ROOT / "constraints.txt"), *extra))
    return found | ({BUILD} if name == "node" else set())


def _names(compiled: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", compiled, re.MULTILINE))


def _compiled(uv: str, source: Path, *options: str) -> str:
    plain = ("--universal", "--no-header", "--no-annotate", "--no-emit-index-url", "--python-version", OLDEST_PYTHON, "--quiet")
    command = [uv, "pip", "compile", str(source), *plain, *options]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - our own command


if __name__ == "__main__":
    main(sys.argv[1])
