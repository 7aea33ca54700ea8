"""A disk of a few megabytes, for tests that fill it; and folders that become read-only. Mounted, so that the faults are real."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

_PIECE = 64 * 1024


class SmallDisk:
    """A file system of its own.

    Attributes:
        folder: where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Not a byte is free any more."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as file:
            for size in (_PIECE, 512):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    def empty(self) -> None:
        """There is space again."""
        self._ballast.unlink(missing_ok=True)


@contextmanager
def small_disk(folder: Path, options: str = "size=6m") -> Iterator[SmallDisk]:
    """A disk at ``folder``, gone at the end; the test is left out where this user may not mount."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("mounting a small disk needs root")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """What is below ``folder`` cannot be seen, and nothing can be written there."""
    with small_disk(folder, "ro"):
        yield
