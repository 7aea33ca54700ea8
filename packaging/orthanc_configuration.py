"""Writes the configuration of the archive that an installation brings: config/orthanc.json, in three files of one folder.

``archive.json`` is everything but ``users.json``, which holds the password, and ``plugin.json``, without which Orthanc is an
archive like any other. Files that exist stay as they are: they are the site's.

usage: python3 orthanc_configuration.py TEMPLATE FOLDER PASSWORD_FILE TOKEN_FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

_GDCM = "/usr/share/orthanc/plugins/libOrthancGdcm.so"
_PLUGIN = ("PythonScript", "PythonVerbose", "Apprentice")
_USER = "apprentice"


def main(template: str, folder: str, password_file: str, token_file: str) -> None:
    """Writes what is missing of the three files."""
    whole = json.loads(Path(template).read_text("utf-8"))
    password = Path(password_file).read_text("utf-8").strip()
    plugin = {key: whole.pop(key) for key in _PLUGIN}
    plugin["Apprentice"]["TokenFile"] = token_file
    users = {"RegisteredUsers": {_USER: password}}
    whole.pop("RegisteredUsers")
    if Path(_GDCM).exists():
        whole["Plugins"].append(_GDCM)
    for name, content in {"archive": whole, "users": users, "plugin": plugin}.items():
        path = Path(folder, f"{name}.json")
        if not path.exists():
            path.touch(0o640)
            path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
