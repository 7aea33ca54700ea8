"""Files that are whole or not there, whenever a process is killed or the power fails."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader, or a crash at any moment, finds the old one or the new one and nothing between.

    Written aside, synced, renamed; then its folder is synced, and that one's, which may be new. Several threads and processes
    may do so at the same time.

    Raises:
        OSError: it cannot be written; what was there before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:
        with aside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    for folder in (path.parent, path.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class DamagedFile(Exception):
    """A file does not hold what was written into it."""


Opened = io.BufferedReader | io.BytesIO
"""An open file: as it lies on disk, or what it holds, in memory."""


class WholeFiles:
    """Files that are written whole, and lie on disk as they are. What keeps them in another form derives from it."""

    def write(self, path: Path, content: bytes) -> None:
        """Writes a file as :func:`write_whole` does.

        Raises:
            OSError: it cannot be written; what was there before stays.
            ValueError: the content cannot be told from another form of it.
        """
        write_whole(path, content)

    def read(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            OSError: it cannot be read.
            DamagedFile: it is not as it was written, as far as its form tells.
        """
        return path.read_bytes()

    def open(self, path: Path) -> Opened:
        """The content of a file, of which no more is read than is asked for where its form allows that; raises as ``read``."""
        return path.open("rb")


PLAIN = WholeFiles()
"""Files as they are."""
