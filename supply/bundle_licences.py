"""Says under which licences the parts of a bundle are, as a page in Markdown, from what the parts themselves say.

usage: python supply/bundle_licences.py BUNDLE
"""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

from licences import LicenceError, licence_of, stated, words

_UNSAID = "see the files of licences in it"
_HEAD = """# Licences of what is in this bundle

PACS Apprentice is under Apache-2.0 (`project/LICENSE`), its Orthanc plugin under AGPL-3.0-or-later
(`project/orthanc_plugin/LICENSE`). OHIF is under MIT (`ohif/LICENSE`). Everything else is unchanged as its makers published it,
and keeps its terms.

## Python packages

The texts are inside the wheels, in the folders that end in `.dist-info`.

| package | version | licence |
|---|---|---|
"""
_DEBIAN = """
## Debian packages

Each installs its terms as `/usr/share/doc/PACKAGE/copyright`. Their sources are at <https://sources.debian.org>, by the name
and version of the source package.

| package | version | source package |
|---|---|---|
"""


def wheel_row(wheel: Path) -> str:
    """Name, version and licence of a wheel, from its core metadata."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n))
        said = Parser().parsestr(archive.read(name).decode("utf-8", "replace"), headersonly=True)
    expressions = stated(said)
    try:
        licence = licence_of(re.sub(r"[-_.]+", "-", said["Name"]).lower(), *words(), expressions)
    except LicenceError:
        licence = "; ".join(one.removeprefix("OSI Approved :: ") for one in expressions)[:80] or _UNSAID
    return f"| {said['Name']} | {said['Version']} | {licence} |"


def package_row(package: Path) -> str:
    """Name, version and source package of a Debian package."""
    command = [
        "dpkg-deb",
        "--show",
        "--showformat",
        "${Package}\t${Version}\t${source:Package} ${source:Version}",
        str(package),
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - no text from outside
    return f"| {' | '.join(said.split(chr(9)))} |"


def page(bundle: Path) -> str:
    """The whole page."""
    wheels = sorted(map(wheel_row, (bundle / "wheels").glob("*.whl")), key=str.casefold)
    packages = sorted(map(package_row, (bundle / "debian").glob("*.deb")))
    return _HEAD + "\n".join(wheels) + "\n" + _DEBIAN + "\n".join(packages)


if __name__ == "__main__":
    sys.stdout.write(page(Path(sys.argv[1])) + "\n")
