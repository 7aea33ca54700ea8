"""Records of finished runs, small enough to lie beside the tables: what these say can be checked, and is not computed again.

A file ``DIGEST.tar.xz`` is a run's folder as ``learner/evaluation/run_folder.py`` leaves it when it is finished: settings, a
record for each case and each test, and facts such as the digest of the code. Weights and images are not in it.
"""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

from dicom_io.whole_files import write_whole

_LAST = "finished.json"
_RECORDS = ("settings.json", "cases.jsonl", "tests.jsonl", _LAST)


def keep(folder: Path, kept: Path) -> None:
    """Writes the record of the finished run in ``folder``; the same run gives the same bytes."""
    kept.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name in _RECORDS:
            if (folder / name).is_file():
                content = (folder / name).read_bytes()
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    write_whole(kept / f"{folder.name}.tar.xz", packed.getvalue())


def restore(folder: Path, kept: Path) -> None:
    """Makes the folder of a run that is kept and not there, or not finished; does nothing where none is kept.

    Raises:
        tarfile.TarError: if the file is no such record.
    """
    file = kept / f"{folder.name}.tar.xz"
    if (folder / _LAST).is_file() or not file.is_file():
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file) as archive:
        for name in _RECORDS:  # the mark that it is finished comes last
            if (entry := archive.extractfile(name) if name in archive.getnames() else None) is not None:
                write_whole(folder / name, entry.read())
