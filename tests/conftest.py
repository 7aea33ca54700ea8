from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data that developers and CI have; users have none."""
    folder = Path(os.environ.get("PACS_APPRENTICE_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real data absent: set PACS_APPRENTICE_DATA to its folder")
    return folder
