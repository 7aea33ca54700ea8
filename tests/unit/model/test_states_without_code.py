"""A checkpoint that would run code when it is unpickled is refused, and does not run it."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from learner.errors import CorruptFile, StoreError
from learner.model.serving import load_network
from learner.model.state import load_state
from learner.storage.files import unpack


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self._path,)


@pytest.fixture
def proof(tmp_path: Path) -> Path:
    """The file that only code from outside would make; that it would is shown first."""
    tried = tmp_path / "tried"
    pickle.loads(pickle.dumps(Evil(tried)))
    assert tried.exists()
    return tmp_path / "proof"


def states(path: Path) -> dict[str, bytes]:
    saved = io.BytesIO()
    torch.save({"header": "{}", "weights": Evil(path)}, saved)
    return {"by torch": saved.getvalue(), "by pickle": pickle.dumps({"header": Evil(path)}, protocol=2)}


@pytest.mark.parametrize("how", ["by torch", "by pickle"])
def test_a_checkpoint_that_would_run_code_is_refused(how: str, proof: Path) -> None:
    state = states(proof)[how]
    with pytest.raises(StoreError):
        load_state(state)
    with pytest.raises(StoreError):
        load_network(state, "prostate", 1, threads=1)
    assert not proof.exists()


def test_arrays_that_would_run_code_are_refused(proof: Path, tmp_path: Path) -> None:
    path = tmp_path / "arrays.npz"
    np.savez(path, labels=np.array([Evil(proof)], dtype=object))
    with pytest.raises(CorruptFile):
        unpack(path, path.name)
    assert not proof.exists()
