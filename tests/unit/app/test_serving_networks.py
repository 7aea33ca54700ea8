"""Which network answers a task."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from versions import add_version, verdict

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from learner.app.serving import ServingNetworks
from learner.domain.task import Label, MatchingRule, Task
from learner.storage.store import LocalStore

LABEL = Label(1, "Liver", ANATOMICAL_STRUCTURE, Code("10200004", "SCT", "Liver"), (1, 2, 3))
LIVER = Task("liver", "Liver", (LABEL,), MatchingRule(("CT",)))
SPLEEN = replace(LIVER, task_id="spleen", model="liver")


class Named:
    """A network that remembers what it was made of."""

    def __init__(self, *made_of: object) -> None:
        self.made_of = made_of

    def predict(self, image_DHW: np.ndarray, spacing: tuple[float, float, float]) -> np.ndarray:
        raise NotImplementedError


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def test_what_serves_answers_and_what_is_in_shadow_does_not(store: LocalStore) -> None:
    networks = ServingNetworks(store, Named)
    assert networks.for_task(LIVER) is None
    add_version(store, "liver", serve=False)
    assert networks.for_task(LIVER) is None
    add_version(store, "liver")
    add_version(store, "liver", serve=False)
    serving = networks.for_task(LIVER)
    assert serving is not None
    assert serving.checkpoint == "liver-2"
    assert isinstance(serving.network, Named)
    assert serving.network.made_of == (b"state 2", "liver", 1)
    assert networks.for_task(LIVER) is serving, "it is loaded once"


def test_a_task_of_a_shared_model_is_answered_once_the_model_passed_for_it(store: LocalStore) -> None:
    networks = ServingNetworks(store, Named)
    version = add_version(store, "liver")
    assert networks.for_task(SPLEEN) is None
    store.checkpoints.judge(version, verdict("liver", "spleen"))
    serving = networks.for_task(SPLEEN)
    assert serving is not None
    assert isinstance(serving.network, Named)
    assert serving.network.made_of == (b"state 1", "spleen", 1)


def test_a_damaged_version_gives_way_to_the_one_that_served_before(store: LocalStore, tmp_path: Path) -> None:
    add_version(store, "liver")
    add_version(store, "liver", serve=False)
    newest = add_version(store, "liver")
    (tmp_path / newest.path).write_bytes(b"damaged")
    serving = ServingNetworks(store, Named).for_task(LIVER)
    assert serving is not None
    assert serving.checkpoint == "liver-1"


def test_what_began_to_serve_is_loaded_before_an_answer_needs_it(store: LocalStore) -> None:
    loaded: list[tuple[object, ...]] = []

    def load(*made_of: object) -> Named:
        loaded.append(made_of[:2])
        return Named(*made_of)

    networks = ServingNetworks(store, load)
    networks.make_ready([LIVER, SPLEEN])
    assert loaded == [], "nothing serves yet"
    store.checkpoints.judge(add_version(store, "liver"), verdict("liver", "spleen"))
    networks.make_ready([LIVER, SPLEEN])
    assert loaded == [(b"state 1", "liver")], "one at a time: an answer may be wanted meanwhile"
    networks.make_ready([LIVER, SPLEEN])
    networks.make_ready([LIVER, SPLEEN])
    assert loaded == [(b"state 1", "liver"), (b"state 1", "spleen")]
    networks.for_task(LIVER)
    assert len(loaded) == 2
    add_version(store, "liver")
    networks.make_ready([LIVER, SPLEEN])
    assert loaded[2:] == [(b"state 2", "liver")]


def test_what_cannot_be_loaded_is_left_for_the_answer_that_needs_it(store: LocalStore) -> None:
    tried = []

    def load(*_: object) -> Named:
        tried.append(1)
        raise RuntimeError("no such operator")

    networks = ServingNetworks(store, load)
    add_version(store, "liver")
    networks.make_ready([LIVER])
    networks.make_ready([LIVER])
    assert len(tried) == 1
    with pytest.raises(RuntimeError, match="no such operator"):
        networks.for_task(LIVER)
