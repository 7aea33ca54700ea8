"""What Orthanc's ``PythonScript`` names. Whatever goes wrong in here is logged, and Orthanc goes on without the plugin.

Orthanc imports this file as a top-level module with this folder first on ``sys.path``, where a sibling would shadow a standard
module of the same name; so the folder gives way to its parent, at the end, and the package is imported from there.
"""

import sys
from pathlib import Path

import orthanc


def _load() -> None:
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    sys.path.append(str(here.parent))
    from orthanc_plugin import callbacks  # noqa: PLC0415  # importable only now, and its errors are ours to catch

    callbacks.register()


try:
    _load()
except BaseException as error:  # an exception that leaves this file keeps Orthanc from starting
    orthanc.LogError(f"PACS Apprentice plugin: not loaded, Orthanc goes on without it. {type(error).__name__}: {error}")
