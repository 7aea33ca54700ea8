"""The bill of materials (CycloneDX 1.6, ECMA-424) of a node: Python packages, Debian packages, and the viewer.

Completes what ``cyclonedx-py environment`` found: licences that were read, the hashes that a package's file may have, Debian's
packages as they are installed here with all that they need, and OHIF with the components that its maintainers name. Run by
``./run sbom`` with the Python that has cyclonedx-python-lib:

    sbom.py ENVIRONMENT.json LICENCES.json OUT.json --debian "orthanc ..." --ohif VERSION SHA256
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from licences import LISTS

Component = dict[str, Any]
_FILE = "pacs-apprentice:file:sha-256"
"""Property: a hash that a package's file may have, one for each platform."""
_COPYRIGHT = Path("/usr/share/doc")


def complete(bill: dict[str, Any], concluded: dict[str, str]) -> None:
    """Adds the licences that ``licences.py`` found where a package names none by its SPDX name, and hashes."""
    hashes = dict(_hashes())
    for component in bill["components"]:
        name = re.sub(r"[-_.]+", "-", component["name"]).lower()
        named = [one for one in component.get("licenses", []) if "expression" in one or "id" in one["license"]]
        if not named and name in concluded:
            component["licenses"] = [{"expression": concluded[name], "acknowledgement": "concluded"}]
        known = [{"name": _FILE, "value": value} for value in hashes.get((name, component["version"]), ())]
        component["properties"] = [*component.get("properties", []), *known]


def _hashes() -> Iterator[tuple[tuple[str, str], list[str]]]:
    for path in LISTS.glob("*.txt"):
        for pin in re.split(r"\n(?=\S)", path.read_text(encoding="utf-8")):
            if named := re.match(r"([a-z0-9-]+)==([^\s;]+)", pin):
                yield (named[1], named[2]), re.findall(r"--hash=sha256:([0-9a-f]{64})", pin)


def debian(names: list[str]) -> Iterator[Component]:
    """The packages that are installed of these, and of all that they need; none where there is no Debian."""
    if shutil.which("apt-cache") is None:
        return
    without = [f"--no-{what}" for what in ("recommends", "suggests", "conflicts", "breaks", "replaces", "enhances")]
    tree = _output("apt-cache", "depends", "--recurse", "--installed", *without, *names)
    wanted = sorted(set(re.findall(r"^[a-z0-9][a-z0-9.+-]*", tree, re.MULTILINE)))
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', Path("/etc/os-release").read_text(encoding="utf-8"), re.MULTILINE))
    for name in wanted:
        told = _output("dpkg-query", "-W", "-f", "${Version} ${Architecture} ${db:Status-Status}", name, check=False).split()
        if len(told) == 3 and told[2] == "installed":
            yield _debian_package(name, told[0], told[1], f"{release['ID']}-{release.get('VERSION_ID', '')}")


def _debian_package(name: str, version: str, architecture: str, release: str) -> Component:
    purl = f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}&distro={release}"
    file = _COPYRIGHT / name / "copyright"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    licences = sorted(set(re.findall(r"^License: *(\S[^\n]*?) *$", text, re.MULTILINE)))
    component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
    return component | ({"licenses": [{"license": {"name": one}} for one in licences]} if licences else {})


def ohif(version: str, sha256: str) -> tuple[Component, list[Component]]:
    """The viewer, and what its maintainers say that it is built of; that is left out where npm or its registry is away."""
    purl = f"pkg:npm/%40ohif/app@{version}"
    viewer = {"type": "application", "bom-ref": purl, "name": "@ohif/app", "version": version, "purl": purl}
    viewer |= {"licenses": [{"license": {"id": "MIT"}}], "hashes": [{"alg": "SHA-256", "content": sha256}]}
    told = _output("npm", "view", f"@ohif/app@{version}", "dependencies", "--json", check=False) if shutil.which("npm") else ""
    parts = [_npm_package(name, wanted) for name, wanted in sorted(json.loads(told or "{}").items())]
    return viewer, parts


def _npm_package(name: str, version: str) -> Component:
    purl = f"pkg:npm/{name.replace('@', '%40')}@{version}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _output(*command: str, check: bool = True) -> str:
    return subprocess.run(command, check=check, capture_output=True, text=True).stdout  # noqa: S603 - our own commands


def main() -> int:
    """Reads, completes, validates, writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", type=Path)
    parser.add_argument("licences", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--debian", default="")
    parser.add_argument("--ohif", nargs=2, metavar=("VERSION", "SHA256"), required=True)
    options = parser.parse_args()
    bill = json.loads(options.environment.read_text(encoding="utf-8"))
    complete(bill, json.loads(options.licences.read_text(encoding="utf-8")))
    packages = list(debian(options.debian.split()))
    viewer, parts = ohif(*options.ohif)
    python = len(bill["components"])
    bill["components"] += [*packages, viewer, *parts]
    bill["dependencies"].append({"ref": viewer["bom-ref"], "dependsOn": [one["bom-ref"] for one in parts]})
    text = json.dumps(bill, indent=1)
    if (wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)) is not None:
        print(f"the bill of materials is not valid: {wrong}", file=sys.stderr)
        return 1
    options.out.write_text(text, encoding="utf-8")
    viewers = f"OHIF with {len(parts)} components" if parts else "OHIF without its components (npm gave none)"
    print(f"{options.out}: {python} Python packages, {len(packages)} Debian packages, {viewers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
