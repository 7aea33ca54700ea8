"""Fixtures with a real Orthanc, shared by tests/integration and tests/contract.

``PACS_APPRENTICE_ORTHANC_CHROOT`` names the root of another system whose Orthanc is to be used instead of this one's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from learner.demo.orthanc import LocalOrthanc

USER = "apprentice"
PASSWORD = "only-for-tests"
MakeOrthanc = Callable[..., LocalOrthanc]

_chroot = os.environ.get("PACS_APPRENTICE_ORTHANC_CHROOT")
CHROOT = Path(_chroot) if _chroot else None


def _make_orthanc(stack: ExitStack, **options: object) -> LocalOrthanc:
    if not ((CHROOT or Path("/")) / "usr/sbin/Orthanc").exists():
        pytest.skip("Orthanc absent: apt-get install --no-install-recommends orthanc orthanc-python orthanc-dicomweb")
    folder = Path(tempfile.mkdtemp(prefix="orthanc-", dir=None if CHROOT is None else CHROOT / "tmp"))
    stack.callback(shutil.rmtree, folder)
    node = LocalOrthanc(folder, **({"credentials": {USER: PASSWORD}, "chroot": CHROOT} | options))
    stack.callback(node.kill)  # nothing of it is needed any more, and SIGTERM takes seconds
    return node


@pytest.fixture(scope="session")
def orthanc() -> Iterator[LocalOrthanc]:
    """One plain Orthanc for all tests that leave it running."""
    with ExitStack() as stack:
        node = _make_orthanc(stack)
        node.start()
        yield node


@pytest.fixture
def make_orthanc() -> Iterator[MakeOrthanc]:
    """Makes Orthancs, not started yet, that a test may stop and kill as it likes."""
    with ExitStack() as stack:
        yield lambda **options: _make_orthanc(stack, **options)


@pytest.fixture(scope="module")
def make_orthanc_once() -> Iterator[MakeOrthanc]:
    """Like ``make_orthanc``, for nodes that all tests of a module share."""
    with ExitStack() as stack:
        yield lambda **options: _make_orthanc(stack, **options)
