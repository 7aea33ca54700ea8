"""Which licence each Python package of the environment has, and whether it is one that may be in it.

python supply/licences.py --check          fails where a licence is not on the list of ``licences.toml``, or unknown
python supply/licences.py --out FILE       writes packages, licences and their texts
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).resolve().parent
LISTS = HERE.parent / "requirements"
_PARTS = {
    "node": ("node",),
    "export": ("node",),
    "torch": ("node", "gpu"),
    "dev": ("node", "tools"),
    "docs": ("node", "tools"),
}
"""By list of packages, which licences may be in it."""
_APPROVED = "License :: OSI Approved ::"
_TEXTS = re.compile(r"(^|/)(licen[cs]e|copying|notice|authors)[^/]*$", re.IGNORECASE)


class LicenceError(Exception):
    """A package whose licence is not known, or not allowed; names the package and what to do."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package as it is installed.

    Attributes:
        name: as in the lists of packages.
        version: its version.
        part: the list of packages that it is in.
        licence: an SPDX expression.
    """

    name: str
    version: str
    part: str
    licence: str


def rules() -> dict[str, dict[str, list[str] | str]]:
    """What ``licences.toml`` says."""
    return tomllib.loads((HERE / "licences.toml").read_text(encoding="utf-8"))


def installed() -> Iterator[tuple[str, str, metadata.PackageMetadata]]:
    """Name, part and metadata of each package of the lists that is installed."""
    for part in _PARTS:
        for name in sorted(set(re.findall(r"^([a-z0-9-]+)==", (LISTS / f"{part}.txt").read_text("utf-8"), re.MULTILINE))):
            try:
                yield name, part, metadata.metadata(name)
            except metadata.PackageNotFoundError:
                continue  # for another platform


def words() -> tuple[dict[str, object], dict[str, object]]:
    """What words in packages' metadata mean, and what somebody read in licences' texts, by package."""
    known = rules()
    return {one: one for names in known["allowed"].values() for one in names} | known["stated"], known["read"]


def licence_of(name: str, said: Mapping[str, object], read: Mapping[str, object], expressions: list[str]) -> str:
    """The licence of a package as an SPDX expression.

    Args:
        name: of the package.
        said: what words in packages' metadata mean, by word; empty where they do not say enough.
        read: what somebody read in a licence's text, by package.
        expressions: what the package says, the most exact first.

    Raises:
        LicenceError: it says nothing that is understood.
    """
    for text in expressions:
        if meant := said.get(text, text if text and re.fullmatch(r"[\w.+-]+( (AND|OR|WITH) [\w.+-]+)+", text) else ""):
            return str(meant)
    if name in read:
        return str(read[name])
    remedy = "read its licence and add it to supply/licences.toml, or do without it"
    raise LicenceError(f"{name}: its licence is not understood ({'; '.join(expressions) or 'none is named'}); {remedy}")


def stated(about: metadata.PackageMetadata) -> list[str]:
    """What a package says of its licence: an SPDX expression (PEP 639), else classifiers, else its own words."""
    if expression := about.get("License-Expression"):
        return [expression]
    classifiers = [one.partition(" :: ")[2] for one in about.get_all("Classifier") or [] if one.startswith(_APPROVED)]
    if len(classifiers) > 1:
        return ["; ".join(classifiers)]  # says not whether all hold, or one may be chosen
    return [*classifiers, *([line] if (line := (about.get("License") or "").strip().partition("\n")[0]) else [])]


def is_allowed(expression: str, allowed: set[str]) -> bool:
    """Whether one of the alternatives of an SPDX expression is allowed as a whole."""
    return any(all(one.strip() in allowed for one in choice.split(" AND ")) for choice in expression.split(" OR "))


def packages() -> tuple[list[Package], list[str]]:
    """All packages, and what is wrong with their licences."""
    known, found, wrong = rules(), [], []
    said, read = words()
    for name, part, about in installed():
        allowed = {one for group in _PARTS[part] for one in known["allowed"][group]}
        try:
            licence = licence_of(name, said, read, stated(about))
        except LicenceError as error:
            wrong.append(str(error))
            continue
        found.append(Package(name, about["Version"], part, licence))
        if not is_allowed(licence, allowed):
            wrong.append(f"{name} {about['Version']}: {licence} is not on the list of supply/licences.toml for {part}")
    return found, wrong


def texts(name: str) -> Iterator[str]:
    """The licences' texts that a package brings."""
    for file in metadata.files(name) or []:
        if ".dist-info/" in file.as_posix() and _TEXTS.search(file.as_posix()):
            yield file.read_text(encoding="utf-8").strip()


def listing(found: list[Package]) -> str:
    """Packages with their licences, then the texts."""
    lines = [f"{one.name} {one.version}: {one.licence}" for one in found]
    bodies = [f"{'=' * 80}\n{one.name} {one.version}\n{'=' * 80}\n\n" + "\n\n".join(texts(one.name)) for one in found]
    about = "Python packages beside PACS Apprentice, their licences, and the texts that they bring."
    return "\n".join([about, "", *lines, "", *bodies, ""])


def main() -> int:
    """Checks, or writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="say nothing unless a licence is not allowed")
    parser.add_argument("--json", action="store_true", help="licences by package, as JSON")
    parser.add_argument("--out", type=Path, help="file to write")
    options = parser.parse_args()
    found, wrong = packages()
    for line in wrong:
        print(line, file=sys.stderr)
    if options.out is not None:
        options.out.write_text(listing(found), encoding="utf-8")
        print(f"{options.out}: {len(found)} packages")
    elif options.json:
        print(json.dumps({one.name: one.licence for one in found}))
    elif not options.check:
        for one in found:
            print(f"{one.name:28} {one.version:18} {one.part:6} {one.licence}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
