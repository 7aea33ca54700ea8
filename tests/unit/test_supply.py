"""What is installed has hashes on record and a licence that is allowed; the lists are those of the pins."""

from __future__ import annotations

import re
import sys
import tomllib
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
SUPPLY = ROOT / "supply"
sys.path.insert(0, str(SUPPLY))

import licences  # noqa: E402 - a script beside the packages

PIN = re.compile(r"^([a-z0-9-]+)==([^\s;]+)(?: ; ([^\\\n]+?))?(?: \\)?$", re.MULTILINE)
LISTS = sorted((ROOT / "requirements").glob("*.txt"))


def pins(path: Path) -> set[tuple[str, str, str]]:
    return set(PIN.findall(path.read_text(encoding="utf-8")))


def test_the_lists_hold_all_pins_and_no_other() -> None:
    assert set().union(*map(pins, LISTS)) == pins(ROOT / "constraints.txt"), "run ./run lock"


def test_each_package_stands_in_one_list() -> None:
    """But for what makes the bill of materials, which is installed by itself."""
    names = {path.stem: {name for name, _, _ in pins(path)} for path in LISTS}
    assert set(names) == {"node", "export", "torch", "dev", "docs", "sbom"}
    together = [name for part in ("node", "export", "torch", "dev", "docs") for name in names[part]]
    assert len(together) == len(set(together))


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_pin_has_hashes_and_no_address(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^-", text, re.MULTILINE)
    for pin in re.split(r"\n(?=[a-z])", text.partition("\n")[2].strip()):
        assert re.fullmatch(r"[^\\\n]+( \\\n    --hash=sha256:[0-9a-f]{64})+", pin), pin[:80]


def needs(requirements: list[str], extra: str = "") -> set[str]:
    """Names of what is required on this platform."""
    parsed = map(Requirement, requirements)
    return {canonicalize_name(one.name) for one in parsed if one.marker is None or one.marker.evaluate({"extra": extra})}


@pytest.mark.parametrize(
    ("part", "lists"),
    [("node", ("node", "torch")), ("export", ("node", "torch", "export")), ("dev", ("node", "torch", "export", "dev"))],
)
def test_a_list_holds_all_that_its_packages_need(part: str, lists: tuple[str, ...]) -> None:
    """pip installs it without looking for more."""
    there = {name for one in lists for name, _, _ in pins(ROOT / "requirements" / f"{one}.txt")}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    wanted = needs(project["build-system"]["requires"]) | needs(project["project"]["dependencies"])
    if part != "node":
        wanted |= needs(project["project"]["optional-dependencies"][part])
    assert wanted <= there
    for name, _, marker in pins(ROOT / "requirements" / f"{part}.txt"):
        if not marker or Marker(marker).evaluate():
            assert needs(metadata.requires(name) or []) <= there, name


def test_every_licence_is_allowed() -> None:
    found, wrong = licences.packages()
    assert wrong == []
    assert {"torch", "pydicom", "numpy", "authlib"} <= {one.name for one in found}


@pytest.mark.parametrize(
    ("expression", "allowed"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("GPL-2.0-only OR MIT AND AGPL-3.0-only", False),
        ("Apache-2.0 WITH LLVM-exception AND MIT", True),
        ("Apache-2.0 WITH other-exception", False),
        ("MPL-2.0", False),
        ("", False),
    ],
)
def test_an_expression_is_allowed_if_one_of_its_choices_is(expression: str, allowed: bool) -> None:
    assert licences.is_allowed(expression, set(licences.rules()["allowed"]["node"])) is allowed


def about(**fields: list[str]) -> Message:
    made = Message()
    for name, values in fields.items():
        for value in values:
            made[name.replace("_", "-")] = value
    return made


def licence(said: Message, name: str = "a-package") -> str:
    rules = licences.rules()
    return licences.licence_of(name, {"MIT": "MIT"} | rules["stated"], rules["read"], licences.stated(said))


def test_what_a_package_says_is_understood_or_it_is_refused() -> None:
    mit, bsd, gpl = (f"License :: OSI Approved :: {one} License" for one in ("MIT", "BSD", "GNU General Public"))
    assert licence(about(License_Expression=["MIT OR Apache-2.0"], Classifier=[gpl])) == "MIT OR Apache-2.0"
    assert licence(about(Classifier=["License :: DFSG approved", mit])) == "MIT"
    assert licence(about(License=["Apache License 2.0\n\nand its text"])) == "Apache-2.0"
    assert licence(about(Classifier=[bsd]), "scipy") == "BSD-3-Clause"
    for unclear in (about(), about(Classifier=[bsd]), about(Classifier=[mit, gpl]), about(License=["do what you like"])):
        with pytest.raises(licences.LicenceError, match=r"a-package: its licence is not understood"):
            licence(unclear)


def test_the_texts_are_listed(tmp_path: Path) -> None:
    found, _ = licences.packages()
    (pydicom,) = (one for one in found if one.name == "pydicom")
    text = licences.listing([pydicom])
    assert f"pydicom {pydicom.version}: MIT" in text
    assert "Permission is hereby granted, free of charge" in text
