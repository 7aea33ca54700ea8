"""This process: its memory, and the code that it runs."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path

_MIB = 2**20
_PACKAGES = ("app", "domain", "evaluation", "memory", "model", "propagation")


def memory_mb() -> float:
    """Resident memory now, in MiB; 0 where the system does not say (no /proc)."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0.0
    return pages * resource.getpagesize() / _MIB


def peak_mb() -> float:
    """The largest resident memory so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MIB


def code_digest() -> str:
    """Short hash of the sources that figures depend on: runs of other code may say other things."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for package in _PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
