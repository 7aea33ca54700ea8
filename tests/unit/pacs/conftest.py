from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from certificates import Certificates


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    if shutil.which("openssl") is None:
        pytest.skip("openssl absent: apt-get install openssl")
    made = Certificates(tmp_path_factory.mktemp("certificates"))
    made.make("ca")
    for name in ("node", "sender"):
        made.make(name, "ca")
    made.make("stranger")
    return made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened
